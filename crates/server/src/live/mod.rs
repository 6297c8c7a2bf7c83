//! What is live: publications and their recordings, the taps on them (mix, transcript), live indexes, and the supervisor of each capture session.
//! It calls `app` for every write; nothing here speaks HTTP.

pub mod browser;
pub mod feed;
pub mod health;
pub mod hearing;
pub mod indexing;
pub mod ingest;
pub mod mix;
pub mod publisher;
pub mod recording;
pub mod remix;
pub mod session;
pub mod space;
mod take;
mod tap;
pub mod transcribe;
mod windows;
