//! AAC-LC frames to PCM, in this process: no start-up, no pipe, and a frame of delay at the most.
//! A damaged frame becomes silence and is counted: time must go on.

use symphonia_codec_aac::AacDecoder as Decoder;
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use crate::codec::{AAC_FRAME, Codec};

pub struct AacDecoder {
    decoder: Decoder,
    channels: usize,
    pcm: Vec<f32>,
    /// Frames that could not be decoded.
    pub damaged: u64,
}

/// The element that ends a frame.
const END: u8 = 7;

impl AacDecoder {
    pub fn new(codec: &Codec) -> Result<AacDecoder> {
        let Codec::Aac { rate, channels, config } = codec else { return Err(Error::invalid("this is no sound")) };
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_AAC).with_sample_rate(*rate).with_extra_data(config.clone().into());
        let decoder =
            Decoder::try_new(&params, &AudioDecoderOptions::default()).invalid("this AAC cannot be decoded")?;
        Ok(AacDecoder { decoder, channels: usize::from(*channels), pcm: Vec::new(), damaged: 0 })
    }

    /// One frame as interleaved samples, 1024 of each channel.
    pub fn decode(&mut self, frame: &[u8]) -> &[f32] {
        let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(u64::from(AAC_FRAME)), frame);
        self.pcm.clear();
        // A frame that ends before any sound would give what the decoder's buffer held before.
        let says_something = frame.first().is_some_and(|b| b >> 5 != END);
        if says_something && let Ok(decoded) = self.decoder.decode_ref(&packet) {
            decoded.copy_to_vec_interleaved(&mut self.pcm);
        }
        let whole = AAC_FRAME as usize * self.channels;
        if self.pcm.len() != whole {
            self.damaged += 1;
            self.pcm.clear();
            self.pcm.resize(whole, 0.0);
        }
        &self.pcm
    }
}
