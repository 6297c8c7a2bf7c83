//! The speech models on real recordings and the embedding model on real texts, found where `./run setup` installs them. A missing model is a failure that says so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may as well panic")]
#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

mod complete;
mod embed;
mod noise;
mod order;
mod provider;
mod speech;
#[path = "../../examples/wav/mod.rs"]
mod wav;
