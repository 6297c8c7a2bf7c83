//! What is live: publications and their recordings, the taps on them (mix, transcript), and the supervisor of each capture session.
//! It calls `app` for every write; nothing here speaks HTTP.

pub mod browser;
pub mod feed;
mod hearing;
pub mod ingest;
pub mod mix;
pub mod publisher;
pub mod recording;
pub mod session;
mod take;
pub mod transcribe;
