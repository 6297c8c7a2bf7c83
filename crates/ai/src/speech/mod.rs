//! Speech to text: Silero finds utterances, Moonshine (or a provider) writes them down, live and in whole files alike.
//! `live.rs` is the door; the rest are its parts, none of which knows where the sound comes from or who reads the words.

mod align;
mod channel;
mod clip;
mod gain;
mod live;
mod local;
mod moonshine;
mod queue;
mod remote;
pub mod score;
mod segment;
mod vad;
mod vocabulary;
mod worker;

pub use live::{ChannelWatch, LiveChannel, LiveConfig, LiveTranscriber, Pressure, SpokenWord, Utterance};
pub use remote::Remote;
pub use segment::SegmentConfig;

/// Samples a second that the models hear.
pub const RATE: usize = 16_000;
/// Samples of a VAD frame: 32 ms, the unit in which utterances are measured.
pub(crate) const FRAME: usize = 512;

/// Seconds of so many frames.
pub(crate) fn seconds(frames: usize) -> f64 {
    (frames * FRAME) as f64 / RATE as f64
}
