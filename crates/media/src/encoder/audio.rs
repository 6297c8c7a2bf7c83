//! The live sound encoder: PCM in, AAC-LC frames with wall times out. Sound is a count of samples from one moment on: whoever
//! feeds it decides what a gap is worth (silence or less) and keeps that count true. Nothing is ever left out here.

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use vitascope_model::{Result, Span, WallTime};

use super::{Output, WAITING, pump};
use crate::codec::Sample;
use crate::flv::Tag;
use crate::process::{self, CommandLine, Program};

/// Samples a second, of every channel; always two channels.
pub const RATE: u32 = 48_000;
/// Samples of one AAC frame.
pub const FRAME: i64 = 1024;

/// How the caller has its PCM; always 48 kHz stereo, interleaved, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcmFormat {
    S16,
    F32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPlan {
    pub format: PcmFormat,
    pub kbps: u32,
}

impl AudioPlan {
    pub fn command_line(&self) -> CommandLine {
        let format = match self.format {
            PcmFormat::S16 => "s16le",
            PcmFormat::F32 => "f32le",
        };
        let text = format!(
            "-nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -probesize 32 -analyzeduration 0 \
             -f {format} -ar {RATE} -ac 2 -i pipe:0 \
             -vn -sn -dn -c:a aac -profile:a aac_low -b:a {}k -ar {RATE} -ac 2 \
             -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1",
            self.kbps
        );
        CommandLine::new(Program::Ffmpeg, text.split_whitespace())
    }
}

/// A running encoder: PCM goes into `feed`, samples come from `output`. Dropping the feed ends it after its last sample.
#[derive(Debug)]
pub struct AudioEncoder {
    pub feed: AudioFeed,
    pub output: Output,
}

impl AudioEncoder {
    /// `start` is the wall time of the first PCM sample that will be fed. Ticks count from 0 at the first AAC frame, which holds
    /// the encoder's own lead-in: so its wall time is one frame before `start`. Must be called within a tokio runtime.
    pub fn start(plan: &AudioPlan, start: WallTime) -> Result<AudioEncoder> {
        let (running, stdin, stdout) = process::start(&plan.command_line())?;
        let (feed, queue) = mpsc::unbounded_channel();
        let (output, samples) = mpsc::channel(WAITING);
        tokio::spawn(write_pcm(stdin, queue));
        let mut ticks = 0;
        tokio::spawn(pump(running, stdout, output, move |_, tag| {
            let Tag::Unit { data, .. } = tag else { return Ok(None) };
            // The encoder looks one frame ahead: its frame n is heard as input samples from (n - 1) * 1024 on.
            let sample = Sample { ticks, key: true, data, wall: start + Span::of_ticks(ticks - FRAME, RATE) };
            ticks += FRAME;
            Ok(Some(sample))
        }));
        Ok(AudioEncoder { feed: AudioFeed(feed), output: samples })
    }
}

/// Where PCM goes in.
#[derive(Clone, Debug)]
pub struct AudioFeed(mpsc::UnboundedSender<Bytes>);

impl AudioFeed {
    /// Whole sample pairs in the plan's format. Never waits; an encoder that has died is told by its output, not here.
    pub fn pcm(&self, pcm: Bytes) {
        self.0.send(pcm).ok();
    }
}

/// Ends when the feed is dropped (the encoder then finishes) or when the encoder no longer reads (its output tells why).
async fn write_pcm(mut stdin: ChildStdin, mut queue: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(pcm) = queue.recv().await {
        if stdin.write_all(&pcm).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::encoder::Encoded;

    #[test]
    fn the_command_line_is_as_it_was_measured() {
        insta::assert_snapshot!(AudioPlan { format: PcmFormat::S16, kbps: 128 }.command_line(), @"ffmpeg -nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -probesize 32 -analyzeduration 0 -f s16le -ar 48000 -ac 2 -i pipe:0 -vn -sn -dn -c:a aac -profile:a aac_low -b:a 128k -ar 48000 -ac 2 -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1");
    }

    async fn encode(plan: &AudioPlan, start: WallTime, pcm: Vec<u8>) -> (Option<Codec>, Vec<Sample>) {
        let mut encoder = AudioEncoder::start(plan, start).unwrap();
        encoder.feed.pcm(pcm.into());
        drop(encoder.feed);
        let (mut codec, mut samples) = (None, Vec::new());
        while let Some(encoded) = encoder.output.recv().await {
            match encoded.unwrap() {
                Encoded::Codec(it) => codec = Some(it),
                Encoded::Sample(sample) => samples.push(sample),
            }
        }
        (codec, samples)
    }

    /// As ADTS, so that any decoder takes the frames as they lie and hides no lead-in.
    fn adts(samples: &[Sample]) -> Vec<u8> {
        let mut stream = Vec::new();
        for sample in samples {
            let length = sample.data.len() + 7;
            stream.extend([
                0xff,
                0xf1,
                0x4c,
                0x80 | (length >> 11) as u8,
                (length >> 3) as u8,
                (length << 5) as u8 | 31,
                0xfc,
            ]);
            stream.extend_from_slice(&sample.data);
        }
        stream
    }

    async fn decode(stream: &[u8]) -> Vec<i16> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("click.aac");
        std::fs::write(&file, stream).unwrap();
        let args = ["-nostdin", "-v", "error", "-i", file.to_str().unwrap(), "-f", "s16le", "-ac", "1", "pipe:1"];
        let line = CommandLine::new(Program::Ffmpeg, args);
        let pcm = process::output(&line, 1 << 24, std::time::Duration::from_secs(20)).await.unwrap();
        pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
    }

    #[tokio::test]
    async fn a_click_keeps_its_wall_time() {
        let start = WallTime(1_764_000_000_000_000);
        for (format, click) in [(PcmFormat::S16, 30_000usize), (PcmFormat::F32, 5_000)] {
            let pcm: Vec<u8> = (0..60_000usize)
                .flat_map(|n| {
                    let loud = (click..click + 96).contains(&n) && n % 8 < 4;
                    match format {
                        PcmFormat::S16 => (if loud { 30_000i16 } else { 0 }).to_le_bytes().repeat(2),
                        PcmFormat::F32 => (if loud { 0.9f32 } else { 0.0 }).to_le_bytes().repeat(2),
                    }
                })
                .collect();
            let (codec, samples) = encode(&AudioPlan { format, kbps: 128 }, start, pcm).await;
            assert!(matches!(codec, Some(Codec::Aac { rate: 48_000, channels: 2, .. })));
            assert_eq!((samples[0].ticks, samples[3].ticks), (0, 3 * FRAME));
            assert_eq!(samples.len() as i64, 60_000 / FRAME + 2, "every sample and the lead-in");
            let heard = decode(&adts(&samples)).await;
            let at = heard.iter().position(|s| s.unsigned_abs() > 12_000).unwrap() as i64;
            let wall = samples[0].wall + Span::of_ticks(at, RATE);
            let off = wall - (start + Span::of_ticks(click as i64, RATE));
            assert!(off.0.abs() < 1_000, "the click is {} µs off", off.0);
        }
    }
}
