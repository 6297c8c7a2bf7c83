//! Sound as numbers: AAC decoded, resampled for speech or for mixing, and mixed by wall time.
//! Everything here is pure arithmetic on blocks that are handed in; who hands them in, and when, is the caller's business.

mod aac;
mod mixer;
mod resample;

pub use aac::AacDecoder;
pub use mixer::Mixer;
pub use resample::{SpeechResampler, StereoResampler};
