//! Reads a WAV file (16-bit PCM, any rate, any channels) as what speech models hear. For examples and tests.

use std::path::Path;

use vitascope_media::pcm::SpeechResampler;

pub(crate) fn read(file: &Path) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(bytes.len() > 44 && &bytes[8..12] == b"WAVE", "{} is no WAV file", file.display());
    let (mut at, mut format) = (12, None);
    loop {
        let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes")) as usize;
        let body = &bytes[at + 8..(at + 8 + size).min(bytes.len())];
        match &bytes[at..at + 4] {
            b"fmt " => {
                assert_eq!((body[0], body[14]), (1, 16), "only 16-bit PCM is read");
                format = Some((u32::from_le_bytes(body[4..8].try_into().expect("four bytes")), body[2]));
            }
            b"data" => {
                let (rate, channels) = format.expect("a format before the data");
                let pcm: Vec<f32> =
                    body.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect();
                let mut out = Vec::new();
                SpeechResampler::new(rate, channels).push(&pcm, &mut out);
                return out;
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
}
