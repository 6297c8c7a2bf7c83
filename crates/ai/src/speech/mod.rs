//! Speech to text in this process: Silero finds utterances, Moonshine writes them down, live and in whole files alike.
//! `live.rs` is the door; the rest are its parts, none of which knows where the sound comes from or who reads the words.

mod align;
mod channel;
mod clip;
mod gain;
mod live;
mod moonshine;
mod queue;
pub mod score;
mod segment;
mod vad;
mod vocabulary;

pub use live::{LiveChannel, LiveConfig, LiveTranscriber, SpokenWord, Utterance};

/// Samples a second that the models hear.
pub const RATE: usize = 16_000;
/// Samples of a VAD frame: 32 ms, the unit in which utterances are measured.
pub(crate) const FRAME: usize = 512;

/// Seconds of so many frames.
pub(crate) fn seconds(frames: usize) -> f32 {
    (frames * FRAME) as f32 / RATE as f32
}
