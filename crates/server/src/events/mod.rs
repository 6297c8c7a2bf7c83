//! Telling the world: sockets at once, webhooks until they answer. What happened comes from the outbox, in order, and is kept for a day;
//! interim transcripts come straight from the analyser and are told at most once. The JSON that is pushed is made in `frames.rs` and nowhere else.

pub(crate) mod frames;
mod hub;
mod passes;
mod queue;
mod relay;
mod signature;
mod sockets;
mod webhook;

pub use hub::{Connection, Ended, Place};
pub use passes::run as run_passes;
pub use queue::{Next, Outlet, Taken};
pub use relay::{begin, run as run_relay};
pub use signature::secret_of;
pub use sockets::Sockets;
pub use webhook::run as run_webhooks;
