//! Telling the world: sockets at once, webhooks until they answer. What happened comes from the outbox, in order;
//! live transcript frames come straight from the analyser. The JSON that is pushed is made in `frames.rs` and nowhere else.

mod frames;
mod passes;
mod relay;
mod sockets;
mod webhook;

pub use passes::run as run_passes;
pub use relay::run as run_relay;
pub use sockets::{Connection, Ended, Sockets};
pub use webhook::run as run_webhooks;
