//! The live picture encoder: I420 pictures with capture times in, H.264 samples with the same times out, one for one.
//! Pictures come when they come (a still screen gives few), and key frames by their times, so that time in the recording is never
//! counted in frames. When the encoder cannot follow, the newest picture is left out and counted; capture never waits.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use vitascope_model::{Error, Result, Span, WallTime};

use super::{Output, WAITING, pump, raw_video};
use crate::codec::{Codec, Sample};
use crate::flv::Tag;
use crate::process::{self, CommandLine, Program};

/// Pictures that may wait for the encoder.
const QUEUE: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub struct VideoPlan {
    /// Both even.
    pub width: u32,
    pub height: u32,
    /// At most so many pictures a second will come.
    pub fps: u32,
    /// Quality, x264's scale: lower is better.
    pub crf: u8,
    pub max_kbps: u32,
    /// A key frame is the first picture of each such stretch of time.
    pub key_every: Span,
}

impl VideoPlan {
    /// Bytes of one I420 picture.
    pub fn picture_len(&self) -> usize {
        self.width as usize * self.height as usize * 3 / 2
    }

    pub fn command_line(&self) -> CommandLine {
        let text = "-nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -probesize 32 -analyzeduration 0 -fpsprobesize 0 \
             -f matroska -i pipe:0 -fps_mode passthrough -enc_time_base 1:1000 -an -sn -dn \
             -c:v libx264 -preset veryfast -tune zerolatency -profile:v high -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p \
             -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv";
        let mut args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        // One slice is smaller; above full HD one thread no longer keeps up with 15 pictures a second.
        let threads = if self.width * self.height > 1920 * 1200 { 4 } else { 1 };
        let settings = [
            ("-threads", threads.to_string()),
            ("-crf", self.crf.to_string()),
            ("-maxrate", format!("{}k", self.max_kbps)),
            ("-bufsize", format!("{}k", self.max_kbps * 2)),
            ("-force_key_frames", format!("expr:gte(t,n_forced*{})", self.key_every.to_seconds())),
            ("-x264-params", "scenecut=0:open-gop=0:stitchable=1".to_owned()),
            ("-f", "flv".to_owned()),
            ("-flvflags", "no_duration_filesize".to_owned()),
            ("-flush_packets", "1".to_owned()),
        ];
        args.extend(settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        args.push("pipe:1".to_owned());
        CommandLine::new(Program::Ffmpeg, args)
    }
}

/// A running encoder: pictures go into `feed`, samples come from `output`. Dropping the feed ends it after its last picture.
#[derive(Debug)]
pub struct VideoEncoder {
    pub feed: VideoFeed,
    pub output: Output,
}

impl VideoEncoder {
    /// Must be called within a tokio runtime.
    pub fn start(plan: &VideoPlan) -> Result<VideoEncoder> {
        if !plan.width.is_multiple_of(2) || !plan.height.is_multiple_of(2) || plan.picture_len() == 0 {
            return Err(Error::invalid("a picture's width and height must be even and not 0"));
        }
        let (running, stdin, stdout) = process::start(&plan.command_line())?;
        let (pictures, queue) = mpsc::channel(QUEUE);
        let (times, mut given) = mpsc::unbounded_channel::<Given>();
        let (output, samples) = mpsc::channel(WAITING);
        let spare = Spare::default();
        let header = raw_video::header(plan.width, plan.height, plan.fps);
        tokio::spawn(write_pictures(stdin, header, queue, times, spare.clone()));
        tokio::spawn(pump(running, stdout, output, move |codec, tag| {
            let Tag::Unit { millis, key, data } = tag else { return Ok(None) };
            Ok(Some(timed(&mut given, millis)?.sample(codec, key, &data)?))
        }));
        let feed = VideoFeed { pictures, spare, picture_len: plan.picture_len(), dropped: 0 };
        Ok(VideoEncoder { feed, output: samples })
    }
}

/// Where pictures go in.
#[derive(Debug)]
pub struct VideoFeed {
    pictures: mpsc::Sender<(Vec<u8>, WallTime)>,
    spare: Spare,
    picture_len: usize,
    dropped: u64,
}

impl VideoFeed {
    /// A buffer for one picture, used before where possible; its content is left over.
    pub fn buffer(&self) -> Vec<u8> {
        self.spare.take().unwrap_or_else(|| vec![0; self.picture_len])
    }

    /// Hands a picture on without waiting. False when the encoder has not kept up and it was left out.
    /// An encoder that has died is told by its output, not here.
    pub fn picture(&mut self, picture: Vec<u8>, at: WallTime) -> bool {
        debug_assert_eq!(picture.len(), self.picture_len);
        let Err(mpsc::error::TrySendError::Full((picture, _))) = self.pictures.try_send((picture, at)) else {
            return true;
        };
        self.spare.put(picture);
        self.dropped += 1;
        false
    }

    /// The same, waiting for a place: for the one picture that must not be missed, the last. From a thread of its own only.
    pub fn picture_blocking(&mut self, picture: Vec<u8>, at: WallTime) {
        // An encoder that has died is told by its output.
        self.pictures.blocking_send((picture, at)).ok();
    }

    /// Pictures left out so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Buffers of pictures that were written, to be filled again: a new one costs a page fault for each 4 kB.
#[derive(Clone, Debug, Default)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// A picture that went in: what ffmpeg was told, and when it was taken.
#[derive(Clone, Copy, Debug)]
struct Given {
    millis: u32,
    ticks: i64,
    at: WallTime,
}

impl Given {
    fn sample(self, codec: &Codec, key: bool, data: &Bytes) -> Result<Sample> {
        Ok(Sample { ticks: self.ticks, key, data: whole_sample(codec, key, data)?, wall: self.at })
    }
}

/// A coded picture in our form: see `with_parameters`.
pub(super) fn whole_sample(codec: &Codec, key: bool, data: &Bytes) -> Result<Bytes> {
    let Codec::H264 { sps, pps } = codec else { return Err(Error::internal("a picture encoder gave sound")) };
    with_parameters(data, key.then_some([sps, pps]))
}

/// The picture that carries the time `millis`; any before it that gave no sample are forgotten.
fn timed(given: &mut mpsc::UnboundedReceiver<Given>, millis: u32) -> Result<Given> {
    while let Ok(picture) = given.try_recv() {
        if picture.millis == millis {
            return Ok(picture);
        }
    }
    Err(Error::internal("the encoder gave a picture that it never got"))
}

/// Slices only (parameter sets and SEI of the encoder's own are left out), after the parameter sets if it is a key frame.
fn with_parameters(units: &[u8], parameters: Option<[&Vec<u8>; 2]>) -> Result<Bytes> {
    let mut sample = BytesMut::with_capacity(units.len() + 64);
    for set in parameters.into_iter().flatten() {
        sample.extend_from_slice(&(set.len() as u32).to_be_bytes());
        sample.extend_from_slice(set);
    }
    let mut rest = units;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let unit = tail.get(..length).filter(|u| !u.is_empty()).ok_or_else(|| Error::internal("a torn NAL unit"))?;
        if matches!(unit[0] & 31, 1..=5) {
            sample.extend_from_slice(&rest[..4 + length]);
        }
        rest = &tail[length..];
    }
    Ok(sample.freeze())
}

/// Ends when the feed is dropped (the encoder then finishes) or when the encoder no longer reads (its output tells why).
async fn write_pictures(
    mut stdin: ChildStdin,
    header: Vec<u8>,
    mut queue: mpsc::Receiver<(Vec<u8>, WallTime)>,
    times: mpsc::UnboundedSender<Given>,
    spare: Spare,
) {
    if stdin.write_all(&header).await.is_err() {
        return;
    }
    let (mut first, mut last_millis) = (None, None);
    while let Some((picture, at)) = queue.recv().await {
        let since = at - *first.get_or_insert(at);
        let millis = (since.0.max(0) / 1000) as u32;
        // Two pictures never share a millisecond, or the encoder would lose one.
        let millis = last_millis.map_or(millis, |last: u32| millis.max(last + 1));
        last_millis = Some(millis);
        let before = raw_video::before_picture(millis, picture.len());
        let given = Given { millis, ticks: since.to_ticks(90_000), at };
        if times.send(given).is_err()
            || stdin.write_all(&before).await.is_err()
            || stdin.write_all(&picture).await.is_err()
        {
            return;
        }
        spare.put(picture);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Encoded;

    fn plan() -> VideoPlan {
        VideoPlan { width: 320, height: 180, fps: 15, crf: 23, max_kbps: 3000, key_every: Span::millis(3800) }
    }

    #[test]
    fn the_command_line_is_as_it_was_measured() {
        insta::assert_snapshot!(plan().command_line(), @"ffmpeg -nostdin -hide_banner -loglevel warning -protocol_whitelist pipe -probesize 32 -analyzeduration 0 -fpsprobesize 0 -f matroska -i pipe:0 -fps_mode passthrough -enc_time_base 1:1000 -an -sn -dn -c:v libx264 -preset veryfast -tune zerolatency -profile:v high -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv -threads 1 -crf 23 -maxrate 3000k -bufsize 6000k -force_key_frames expr:gte(t,n_forced*3.8) -x264-params scenecut=0:open-gop=0:stitchable=1 -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1");
    }

    #[tokio::test]
    async fn each_picture_gives_one_sample_with_its_own_time_and_keys_come_by_time() {
        let plan = plan();
        let mut encoder = VideoEncoder::start(&plan).unwrap();
        let begin = WallTime(1_764_000_000_123_456);
        // Irregular, with a long silence, and two in one millisecond.
        let offsets: Vec<i64> =
            vec![0, 66_000, 133_333, 133_400, 3_700_000, 3_801_000, 3_900_000, 11_000_000, 11_400_001];
        let times: Vec<WallTime> = offsets.iter().map(|o| begin + Span(*o)).collect();
        let (sent, mut feed) = (times.clone(), encoder.feed);
        let feeder = std::thread::spawn(move || {
            for (n, at) in sent.into_iter().enumerate() {
                let mut picture = feed.buffer();
                picture.fill(16 + 20 * n as u8);
                feed.picture_blocking(picture, at);
            }
        });
        let (mut walls, mut keys, mut ticks) = (Vec::new(), Vec::new(), Vec::new());
        let mut codec = None;
        while let Some(encoded) = encoder.output.recv().await {
            match encoded.unwrap() {
                Encoded::Codec(it) => codec = Some(it),
                Encoded::Sample(sample) => {
                    assert_eq!(sample.data[4] & 31, if sample.key { 7 } else { 1 });
                    walls.push(sample.wall);
                    ticks.push(sample.ticks);
                    keys.push(sample.key);
                }
            }
        }
        feeder.join().unwrap();
        assert_eq!(walls, times);
        assert_eq!(ticks[1..3], [5940, 11_999]);
        assert_eq!(keys, [true, false, false, false, false, true, false, true, true]);
        assert!(matches!(codec, Some(Codec::H264 { sps, .. }) if sps[0] & 31 == 7));
    }

    #[tokio::test]
    async fn a_full_queue_leaves_the_newest_out_and_never_waits() {
        let mut encoder = VideoEncoder::start(&plan()).unwrap();
        let mut taken = 0;
        // No await in between: the encoder's tasks cannot run on this one-threaded runtime.
        for n in 0..10 {
            let picture = encoder.feed.buffer();
            taken += i32::from(encoder.feed.picture(picture, WallTime(n * 66_000)));
        }
        assert_eq!((taken, encoder.feed.dropped()), (3, 7));
    }

    #[tokio::test]
    async fn an_encoder_that_cannot_work_says_why() {
        let mut plan = plan();
        plan.crf = 200;
        plan.key_every = Span(-1);
        let encoder = VideoEncoder::start(&VideoPlan { width: 100_000, ..plan }).unwrap();
        let mut output = encoder.output;
        let mut feed = encoder.feed;
        let feeder = std::thread::spawn(move || {
            let picture = feed.buffer();
            feed.picture_blocking(picture, WallTime(0));
        });
        let error = output.recv().await.unwrap().unwrap_err();
        assert!(error.message.contains("ffmpeg ended"), "{error}");
        feeder.join().unwrap();
    }
}
