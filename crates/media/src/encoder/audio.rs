//! The live sound encoder: PCM in, AAC-LC frames with wall times out. Sound is a count of samples from one moment on: whoever
//! feeds it decides what a gap is worth (silence, or time without any sound) and keeps that count true. Nothing is ever left out here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Bytes of the two samples of one moment.
    fn pair(&self) -> usize {
        match self.format {
            PcmFormat::S16 => 4,
            PcmFormat::F32 => 8,
        }
    }

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
        let gaps = Gaps::default();
        tokio::spawn(write_pcm(stdin, queue, plan.pair(), gaps.clone()));
        let (mut frame, mut left_out) = (0, 0);
        tokio::spawn(pump(running, stdout, output, move |_, tag| {
            let Tag::Unit { data, .. } = tag else { return Ok(None) };
            left_out += gaps.before(frame);
            let ticks = frame * FRAME + left_out;
            frame += 1;
            // The encoder looks one frame ahead: its frame n is heard as input samples from (n - 1) * 1024 on.
            Ok(Some(Sample { ticks, key: true, data, wall: start + Span::of_ticks(ticks - FRAME, RATE) }))
        }));
        Ok(AudioEncoder { feed: AudioFeed(feed), output: samples })
    }
}

/// Where PCM goes in.
#[derive(Clone, Debug)]
pub struct AudioFeed(mpsc::UnboundedSender<Fed>);

#[derive(Debug)]
enum Fed {
    Pcm(Bytes),
    Gap(i64),
}

impl AudioFeed {
    /// Whole sample pairs in the plan's format. Never waits; an encoder that has died is told by its output, not here.
    pub fn pcm(&self, pcm: Bytes) {
        self.0.send(Fed::Pcm(pcm)).ok();
    }

    /// So many sample pairs of time pass without any sound: the samples before and after it have that hole between them,
    /// but for the silence that fills up a frame.
    pub fn gap(&self, pairs: i64) {
        self.0.send(Fed::Gap(pairs)).ok();
    }
}

/// For each gap the first AAC frame after it, and how many sample pairs it leaves out.
#[derive(Clone, Debug, Default)]
struct Gaps(Arc<Mutex<VecDeque<(i64, i64)>>>);

impl Gaps {
    fn add(&self, frame: i64, pairs: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((frame, pairs));
    }

    /// What is left out right before `frame`.
    fn before(&self, frame: i64) -> i64 {
        let mut gaps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = 0;
        while gaps.front().is_some_and(|(first, _)| *first <= frame) {
            pairs += gaps.pop_front().map_or(0, |(_, pairs)| pairs);
        }
        pairs
    }
}

/// Ends when the feed is dropped (the encoder then finishes) or when the encoder no longer reads (its output tells why).
async fn write_pcm(mut stdin: ChildStdin, mut queue: mpsc::UnboundedReceiver<Fed>, pair: usize, gaps: Gaps) {
    let mut count = 0;
    while let Some(fed) = queue.recv().await {
        let pcm = match fed {
            Fed::Pcm(pcm) => pcm,
            Fed::Gap(pairs) => {
                let fill = (FRAME - count % FRAME) % FRAME;
                if pairs > fill {
                    // Told before anything of the frame after it is written, so before that frame comes out.
                    gaps.add((count + fill) / FRAME + 1, pairs - fill);
                }
                Bytes::from(vec![0; pairs.clamp(0, fill) as usize * pair])
            }
        };
        count += (pcm.len() / pair) as i64;
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

    #[tokio::test]
    async fn a_gap_is_time_without_samples() {
        let start = WallTime(1_764_000_000_000_000);
        let mut encoder = AudioEncoder::start(&AudioPlan { format: PcmFormat::S16, kbps: 128 }, start).unwrap();
        let pcm = |pairs: usize| Bytes::from(vec![0; pairs * 4]);
        encoder.feed.pcm(pcm(5000));
        // Less than the frame lacks is silence and no gap.
        encoder.feed.gap(100);
        encoder.feed.gap(3600 * i64::from(RATE));
        encoder.feed.pcm(pcm(5000));
        drop(encoder.feed);
        let mut ticks = Vec::new();
        while let Some(encoded) = encoder.output.recv().await {
            if let Encoded::Sample(sample) = encoded.unwrap() {
                assert_eq!(sample.wall, start + Span::of_ticks(sample.ticks - FRAME, RATE));
                ticks.push(sample.ticks);
            }
        }
        let steps: Vec<i64> = ticks.windows(2).map(|w| w[1] - w[0]).collect();
        let hour = 3600 * i64::from(RATE);
        // 5120 pairs are the frames 1 to 5 (0 is the encoder's lead-in); 20 of the hour are the end of frame 5.
        assert_eq!(steps.iter().filter(|s| **s != FRAME).collect::<Vec<_>>(), [&(FRAME + hour - 20)]);
        assert_eq!(ticks[6] - ticks[5], FRAME + hour - 20);
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
