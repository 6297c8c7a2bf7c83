//! The memory of Vitascope: the only room with SQL, and the only one that holds objects.
//! One file per table family; a `*Row` never leaves its file. Reads are methods of `Store`; writes take the open transaction,
//! so that a change, its job and its event are one commit, and only the server's `app` opens transactions.

mod asset;
pub mod asset_transcript;
pub mod audio;
pub mod audit;
pub mod capture;
pub mod collection;
pub mod connection;
mod db;
pub mod deletion;
pub mod delivery;
mod disk;
pub mod encoding;
pub mod image;
pub mod job;
mod kept;
pub mod live_index;
pub mod media_index;
mod objects;
pub mod original;
pub mod outbox;
pub mod retention;
pub mod rtstream;
pub mod setting;
pub mod stream;
pub mod takeout;
pub mod token;
pub mod track;
pub mod transcript;
pub mod upload;
pub mod usage;
pub mod user;
mod vectors;
pub mod video;
pub mod webhook_secret;
mod writer;

pub use db::{Store, Tx, Work};
pub use disk::{Disk, disk_of};
pub use objects::{ObjectFile, Objects, RemoteConfig};
pub use writer::Written;
