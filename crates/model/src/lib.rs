//! The nouns of Vitascope: ids, time, errors, and the things the system knows, with their state machines.
//! Nothing here does I/O, awaits, or knows the JSON of the wire; every other crate may depend on this one and it depends on none of ours.

pub mod account;
pub mod asset;
pub mod capture;
pub mod clock;
pub mod collection;
pub mod error;
pub mod event;
pub mod health;
pub mod id;
pub mod image;
pub mod job;
pub mod live_index;
pub mod media_index;
pub mod rtstream;
pub mod stream;
pub mod takeout;
pub mod time;
pub mod transcript;
pub mod upload;
pub mod usage;

pub use clock::Clock;
pub use error::{Error, ErrorKind, Result};
pub use time::{MediaTime, Span, TimeRange, WallTime};
