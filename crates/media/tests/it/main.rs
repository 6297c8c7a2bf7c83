//! The integration tests of the media crate: real H.264 and AAC is recorded, planned and played, and every picture counted.
//! Needs the package ffmpeg.

#![expect(clippy::unwrap_used, reason = "in a test, a failed unwrap is a failed test")]

mod crash;
mod decoding;
mod downloads;
mod encoded;
mod film;
mod frames;
mod growing;
mod live;
mod mp4;
mod mp4_hostile;
mod pictures;
mod player;
mod recording;
mod shots;
mod sound;
