//! What a browser's recorder writes, made into samples of our own form: one supervised ffmpeg reads its container from a pipe, decodes,
//! and encodes to the cut-friendly form. Always encoded and never copied: browsers choose key frames and picture sizes as they like, even
//! in the middle of a recording. When something was captured is the caller's to know; samples say how far from the beginning they lie.

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vitascope_model::{Error, Result, Span, WallTime};

use super::{FRAME, Output, RATE, WAITING, pump, video};
use crate::codec::Sample;
use crate::flv::Tag;
use crate::process::{self, CommandLine, Program};

/// Chunks that may wait for ffmpeg; a recorder hands over four or five a second.
const QUEUE: usize = 16;
/// An ffmpeg that takes nothing for so long has stalled.
const STALLED: std::time::Duration = std::time::Duration::from_secs(20);
/// The largest picture that is decoded: a screen of 5120 × 2880.
const MAX_PIXELS: u32 = 1 << 24;
/// The largest picture that is made.
const WIDEST: u32 = 3840;
const HIGHEST: u32 = 2400;
const SOUND_KBPS: u32 = 128;

/// The containers that browsers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Webm,
    Mp4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A picture of this size, into which what comes is fitted: a window may be resized while it is recorded.
    Picture {
        width: u32,
        height: u32,
    },
    Sound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserPlan {
    pub container: Container,
    pub wanted: Wanted,
}

impl BrowserPlan {
    pub fn command_line(&self) -> CommandLine {
        let demuxer = match self.container {
            Container::Webm => "matroska",
            Container::Mp4 => "mov",
        };
        // One thread decodes: more of them hold back a picture each.
        let read = format!(
            "-nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -format_whitelist {demuxer} \
             -codec_whitelist vp8,vp9,libdav1d,h264,opus,aac -max_pixels {MAX_PIXELS} -threads 1 -flags low_delay \
             -probesize 32 -analyzeduration 0 -fpsprobesize 0 -copyts -f {demuxer} -i pipe:0"
        );
        let encode = match self.wanted {
            Wanted::Picture { width, height } => picture_options(width, height),
            Wanted::Sound => format!(
                "-map 0:a:0 -vn -sn -dn -af aresample=async=1:first_pts=0 \
                 -c:a aac -profile:a aac_low -b:a {SOUND_KBPS}k -ar {RATE} -ac 2"
            ),
        };
        let write = "-f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1";
        CommandLine::new(Program::Ffmpeg, [&read, &encode, write].iter().flat_map(|text| text.split_whitespace()))
    }
}

/// As the recorder of desktops has it (`VideoPlan`), and a key frame at least every 3.8 s.
fn picture_options(width: u32, height: u32) -> String {
    let kbps = if width * height > 1280 * 800 { 8000 } else { 4000 };
    format!(
        "-map 0:v:0 -an -sn -dn -fps_mode passthrough -enc_time_base 1:1000 \
         -vf scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2,pad={width}:{height}:-1:-1,setsar=1 \
         -c:v libx264 -preset veryfast -tune zerolatency -profile:v high -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p \
         -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv -threads 1 -crf 23 -maxrate {kbps}k -bufsize {}k \
         -force_key_frames expr:gte(t,n_forced*3.8) -x264-params scenecut=0:open-gop=0:stitchable=1",
        kbps * 2
    )
}

/// A running encoder: chunks go into `feed`, samples come from `output`; their wall times count from the beginning of the recording.
/// Dropping the feed ends it after its last chunk.
#[derive(Debug)]
pub struct BrowserEncoder {
    pub feed: BrowserFeed,
    pub output: Output,
}

impl BrowserEncoder {
    /// Must be called within a tokio runtime.
    pub fn start(plan: &BrowserPlan) -> Result<BrowserEncoder> {
        if let Wanted::Picture { width, height } = plan.wanted
            && !(is_side(width, WIDEST) && is_side(height, HIGHEST))
        {
            return Err(Error::invalid(format!("a picture of {width} × {height} cannot be recorded")));
        }
        let (running, stdin, stdout) = process::start(&plan.command_line())?;
        let (feed, queue) = mpsc::channel(QUEUE);
        let (output, samples) = mpsc::channel(WAITING);
        tokio::spawn(write_chunks(stdin, queue));
        let mut ticks = 0;
        tokio::spawn(pump(running, stdout, output, move |codec, tag| {
            let Tag::Unit { millis, key, data } = tag else { return Ok(None) };
            if codec.is_video() {
                let (ticks, wall) = (i64::from(millis) * 90, WallTime(i64::from(millis) * 1000));
                return Ok(Some(Sample { ticks, key, data: video::whole_sample(codec, key, &data)?, wall }));
            }
            // Sound is a count, and the encoder looks one frame ahead (`AudioEncoder`).
            let sample = Sample { ticks, key: true, data, wall: WallTime(0) + Span::of_ticks(ticks - FRAME, RATE) };
            ticks += FRAME;
            Ok(Some(sample))
        }));
        Ok(BrowserEncoder { feed: BrowserFeed(feed), output: samples })
    }
}

fn is_side(length: u32, most: u32) -> bool {
    (16..=most).contains(&length) && length.is_multiple_of(2)
}

/// Where chunks go in, in their order.
#[derive(Clone, Debug)]
pub struct BrowserFeed(mpsc::Sender<Bytes>);

impl BrowserFeed {
    /// Waits for a place for the next chunk. None when the encoder takes no more; its output tells why.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, Bytes>> {
        self.0.reserve().await.ok()
    }
}

/// Ends when the feed is dropped (the encoder then finishes), or when the encoder no longer reads (its output tells why).
async fn write_chunks(mut stdin: ChildStdin, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(chunk) = queue.recv().await {
        match timeout(STALLED, stdin.write_all(&chunk)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::error!("an encoder of what a browser records has stalled");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::Codec;
    use crate::encoder::Encoded;

    const PICTURE: BrowserPlan =
        BrowserPlan { container: Container::Webm, wanted: Wanted::Picture { width: 320, height: 180 } };

    #[test]
    fn the_command_lines_are_as_they_were_measured() {
        insta::assert_snapshot!(PICTURE.command_line(), @"ffmpeg -nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -format_whitelist matroska -codec_whitelist vp8,vp9,libdav1d,h264,opus,aac -max_pixels 16777216 -threads 1 -flags low_delay -probesize 32 -analyzeduration 0 -fpsprobesize 0 -copyts -f matroska -i pipe:0 -map 0:v:0 -an -sn -dn -fps_mode passthrough -enc_time_base 1:1000 -vf scale=320:180:force_original_aspect_ratio=decrease:force_divisible_by=2,pad=320:180:-1:-1,setsar=1 -c:v libx264 -preset veryfast -tune zerolatency -profile:v high -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv -threads 1 -crf 23 -maxrate 4000k -bufsize 8000k -force_key_frames expr:gte(t,n_forced*3.8) -x264-params scenecut=0:open-gop=0:stitchable=1 -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1");
        insta::assert_snapshot!(BrowserPlan { container: Container::Mp4, wanted: Wanted::Sound }.command_line(), @"ffmpeg -nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -format_whitelist mov -codec_whitelist vp8,vp9,libdav1d,h264,opus,aac -max_pixels 16777216 -threads 1 -flags low_delay -probesize 32 -analyzeduration 0 -fpsprobesize 0 -copyts -f mov -i pipe:0 -map 0:a:0 -vn -sn -dn -af aresample=async=1:first_pts=0 -c:a aac -profile:a aac_low -b:a 128k -ar 48000 -ac 2 -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1");
    }

    /// What a browser might write: `graph` in `codec`, for `seconds`.
    async fn recording(graph: &str, codec: &str) -> Vec<u8> {
        let text = format!("-nostdin -v error -f lavfi -i {graph} {codec} -f webm -live 1 pipe:1");
        let line = CommandLine::new(Program::Ffmpeg, text.split_whitespace());
        process::output(&line, 1 << 24, Duration::from_secs(20)).await.unwrap()
    }

    async fn encoded(plan: &BrowserPlan, bytes: Vec<u8>) -> (Option<Codec>, Vec<Sample>, Option<Error>) {
        let BrowserEncoder { feed, mut output } = BrowserEncoder::start(plan).unwrap();
        let feeder = tokio::spawn(async move {
            for chunk in bytes.chunks(3000) {
                let Some(room) = feed.room().await else { return };
                room.send(Bytes::copy_from_slice(chunk));
            }
        });
        let (mut codec, mut samples, mut error) = (None, Vec::new(), None);
        while let Some(said) = output.recv().await {
            match said {
                Ok(Encoded::Codec(it)) => codec = Some(it),
                Ok(Encoded::Sample(sample)) => samples.push(sample),
                Err(it) => error = Some(it),
            }
        }
        feeder.await.unwrap();
        (codec, samples, error)
    }

    #[tokio::test]
    async fn pictures_keep_their_times_and_are_fitted_to_the_wanted_size() {
        let webm =
            recording("testsrc=size=200x300:rate=10:duration=5", "-c:v libvpx -deadline realtime -b:v 300k").await;
        let (codec, samples, error) = encoded(&PICTURE, webm).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(codec.unwrap().picture_size().unwrap(), (320, 180));
        assert_eq!(samples.len(), 50);
        assert!(samples.iter().enumerate().all(|(n, s)| s.wall == WallTime(n as i64 * 100_000)));
        let keys: Vec<usize> = samples.iter().enumerate().filter(|(_, s)| s.key).map(|(n, _)| n).collect();
        assert_eq!(keys, [0, 38]);
    }

    #[tokio::test]
    async fn sound_is_counted_and_a_hole_in_it_is_silence() {
        let graph = "sine=frequency=440:duration=3,aselect='lt(t,1)+gte(t,2)'";
        let webm = recording(graph, "-c:a libopus -frame_duration 60 -ac 1").await;
        let plan = BrowserPlan { container: Container::Webm, wanted: Wanted::Sound };
        let (codec, samples, error) = encoded(&plan, webm).await;
        assert!(error.is_none(), "{error:?}");
        assert!(matches!(codec, Some(Codec::Aac { rate: 48_000, channels: 2, .. })));
        let seconds = samples.len() as f64 * FRAME as f64 / f64::from(RATE);
        assert!((2.95..3.15).contains(&seconds), "{seconds}");
        assert_eq!(samples[0].wall, WallTime(0) + Span::of_ticks(-FRAME, RATE));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error_and_starts_nothing_else() {
        for garbage in [b"#EXTM3U\nfile:///etc/passwd\n".repeat(400), vec![0x1a; 9000]] {
            let (codec, samples, error) = encoded(&PICTURE, garbage).await;
            assert!(codec.is_none() && samples.is_empty());
            assert!(error.unwrap().message.contains("ffmpeg ended"));
        }
        let huge = BrowserPlan { wanted: Wanted::Picture { width: 100_000, height: 2 }, ..PICTURE };
        assert!(BrowserEncoder::start(&huge).is_err());
    }
}
