//! From a range of tracks to HLS, by arithmetic on their indexes: no media is read and no process started.
//! One init segment, one continuous timeline, no discontinuity; segments are our `moof` and slices of chunks as they lie.
//! The range begins at the key frame at or before its start and ends exactly; the wall clock decides where both tracks lie.

mod apple;
mod convert;
mod lead;
mod live;
mod moment;
mod need;
mod run;
mod segment;
mod shot_sound;
mod shots;
mod sound;
mod still;

pub use live::{LivePlan, is_gap, live, segments_in};
pub use need::{Answers, Coded, EdgeSource, Make, Need, Promised, Recipe, SoundSource};
pub use segment::{SegmentLayout, SegmentPart, Slice};
pub use shots::{Shot, compile};
pub use still::Still;

use std::fmt::Write as _;

use bytes::Bytes;
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};

use crate::codec::{AAC_FRAME, Codec};
use crate::fmp4;
use crate::index::Form;
use crate::track::{Chunk, Place, TrackView};
use run::Run;
pub(crate) use run::silent_frame;

/// Every sample of a chunk, in order: when it begins, and where its bytes lie.
pub fn slices_of(chunk: &Chunk) -> impl Iterator<Item = (WallTime, Slice)> + '_ {
    let slice = |at: run::At<'_>| Slice { place: chunk.place.clone(), offset: at.offset, length: u64::from(at.size) };
    run::samples(std::slice::from_ref(chunk)).map(move |at| (at.wall, slice(at)))
}

/// How a plan is cut.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// A segment ends at the first key frame after so long.
    pub segment: Span,
    /// And, where no key frame comes, at the first sample after so long: for what is told while it grows, and so must promise at
    /// its beginning how long its segments are.
    pub longest: Option<Span>,
    /// Whether the last picture lasts until the end of the range, even if its recording ended before: so it is for an asset, whose
    /// range was chosen with its sound in mind.
    pub held: bool,
}

impl PlanOptions {
    /// For a range of something that may still grow.
    pub fn growing() -> PlanOptions {
        PlanOptions { longest: Some(live::LONGEST), ..PlanOptions::default() }
    }

    /// For the range of an asset.
    pub fn asset() -> PlanOptions {
        PlanOptions { held: true, ..PlanOptions::default() }
    }
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions { segment: Span::seconds(2), longest: None, held: false }
    }
}

/// A range worked out to segments.
#[derive(Debug)]
pub struct Plan {
    tracks: Vec<PlannedTrack>,
    segments: Vec<Segment>,
    complete: bool,
    /// The least target duration that the playlist tells, in seconds.
    promise: u64,
    /// Whether every segment begins with a key frame.
    independent: bool,
    /// Whether it is told when it was recorded.
    dated: bool,
}

/// The first one leads: its samples decide where segments begin.
#[derive(Debug)]
struct PlannedTrack {
    codec: Codec,
    chunks: Vec<Chunk>,
    /// Ticks by which everything is shown later than planned, all tracks alike, so that no picture is shown before it is decoded:
    /// ffmpeg does not expect that of a fragment. Only B-frames need it.
    delay: u32,
}

/// One segment: for each track its decode time and its runs of samples.
#[derive(Debug)]
struct Segment {
    /// Of its first picture (or sound, where there is none).
    wall: WallTime,
    /// In the leading track's ticks.
    duration: u64,
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
struct Part {
    decode_time: u64,
    runs: Vec<Run>,
}

/// No recording is so old: what has an earlier time was uploaded.
const UPLOADED: WallTime = WallTime(1_000_000_000_000_000);

/// Plans `range` of a picture, a sound, or both.
pub fn plan(
    video: Option<&TrackView>,
    audio: Option<&TrackView>,
    range: TimeRange,
    options: &PlanOptions,
) -> Result<Plan> {
    let has_samples = |t: &&TrackView| t.chunks.iter().any(|c| !c.entries.is_empty());
    let (video, audio) = (video.filter(has_samples), audio.filter(has_samples));
    let leading = video.or(audio).ok_or_else(|| Error::not_found("a recording in this range"))?;
    let mut segments = match video {
        Some(picture) => lead::segments(&picture.chunks, range, options),
        None => sound::segments(&leading.chunks, range, options.segment),
    };
    if segments.is_empty() && !leading.growing {
        return Err(Error::not_found("a recording in this range"));
    }
    let mut growing = leading.growing;
    if growing {
        // What may still become longer is not told yet.
        segments.pop();
    }
    let mut tracks = vec![PlannedTrack::of(leading)];
    if let (Some(_), Some(audio)) = (video, audio) {
        let timescale = tracks[0].codec.timescale();
        let whole = sound::add(&mut segments, timescale, audio);
        growing |= audio.growing;
        segments.truncate(whole);
        tracks.push(PlannedTrack::of(audio));
    }
    let promise = if options.longest.is_some() { live::TARGET as u64 } else { 2 };
    let independent = segments.iter().all(|s| s.parts[0].begins_with_key(&leading.chunks));
    // What was uploaded has times of its own, which count from zero.
    let dated = segments.first().is_some_and(|s| s.wall > UPLOADED);
    Ok(Plan { tracks, segments, complete: !growing, promise, independent, dated })
}

impl Part {
    fn begins_with_key(&self, chunks: &[Chunk]) -> bool {
        match self.runs.first() {
            Some(Run::Samples { chunk, first, .. }) => chunks[*chunk].entries[*first].key,
            _ => true,
        }
    }
}

impl PlannedTrack {
    fn of(view: &TrackView) -> PlannedTrack {
        let shifts = view.chunks.iter().filter(|c| c.form == Form::InPlace).flat_map(|c| c.entries.iter());
        let delay = shifts.map(|e| e.shift).min().unwrap_or(0).min(0).unsigned_abs();
        PlannedTrack { codec: view.chunks[0].codec.clone(), chunks: view.chunks.clone(), delay }
    }
}

impl Plan {
    /// Whether nothing will be added.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    pub fn duration(&self) -> Span {
        let ticks: u64 = self.segments.iter().map(|s| s.duration).sum();
        Span::of_ticks(ticks as i64, self.timescale())
    }

    /// Pictures (or frames of sound, where there are none).
    pub fn samples(&self) -> u64 {
        self.segments.iter().flat_map(|s| &s.parts[0].runs).map(Run::samples).sum()
    }

    /// The wall time of the first sample.
    pub fn start(&self) -> Option<WallTime> {
        self.segments.first().map(|s| s.wall)
    }

    fn timescale(&self) -> u32 {
        self.tracks[0].codec.timescale()
    }

    /// The segment that is played at a moment, counted from the beginning; none beyond the end.
    pub fn segment_at(&self, at: Span) -> Option<usize> {
        let wanted = u64::try_from(at.to_ticks(self.timescale())).ok()?;
        let mut end = 0;
        self.segments.iter().position(|s| {
            end += s.duration;
            wanted < end
        })
    }

    /// By how much everything is shown later in the segments than it is counted here.
    pub fn delay(&self) -> Span {
        Span::of_ticks(i64::from(self.tracks[0].delay), self.timescale())
    }

    /// Width and height of the first picture.
    pub fn picture_size(&self) -> Result<(u32, u32)> {
        self.tracks[0].codec.picture_size()
    }

    /// When a segment begins, counted as in `segment_at`.
    pub fn segment_start(&self, n: usize) -> Span {
        let ticks: u64 = self.segments.iter().take(n).map(|s| s.duration).sum();
        Span::of_ticks(ticks as i64, self.timescale())
    }

    /// Whether there is something to see.
    pub fn has_picture(&self) -> bool {
        self.tracks[0].codec.is_video()
    }

    /// The m3u8. While the range grows it has no end, and what it lists is the beginning of what it will list.
    pub fn playlist(&self) -> String {
        let rate = u64::from(self.timescale());
        // Rounded, as the format wants it. While the list grows, what was said first stays said: only a picture that is held longer
        // than a segment may be does not keep to it.
        let longest = self.segments.iter().map(|s| (s.duration + rate / 2) / rate).max().unwrap_or(0);
        let longest = if self.complete { longest.max(self.promise) } else { self.promise };
        let kind = if self.complete { "VOD" } else { "EVENT" };
        let mut out = String::with_capacity(40 * self.segments.len() + 256);
        let mut line = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("writing to a string succeeds");
        line(format_args!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{longest}\n#EXT-X-PLAYLIST-TYPE:{kind}\n"));
        if self.complete && self.independent {
            line(format_args!("#EXT-X-INDEPENDENT-SEGMENTS\n"));
        }
        line(format_args!("#EXT-X-MAP:URI=\"init.mp4\"\n"));
        for (n, segment) in self.segments.iter().enumerate() {
            if n == 0 && self.dated {
                line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", segment.wall));
            }
            let micros = segment.duration * 1_000_000 / rate;
            line(format_args!("#EXTINF:{}.{:06},\n{n}.m4s\n", micros / 1_000_000, micros % 1_000_000));
        }
        if self.complete {
            out.push_str("#EXT-X-ENDLIST\n");
        }
        out
    }

    pub fn init(&self) -> Result<Bytes> {
        self.init_of(Span::ZERO)
    }

    /// The chunk that must be made before there is an init segment: as long as all of its picture is promised, nobody knows how it is coded.
    pub fn needs_for_init(&self) -> Option<Promised> {
        let lead = &self.tracks[0];
        let is_unknown = matches!(&lead.codec, Codec::H264 { sps, .. } if sps.is_empty());
        lead.chunks.iter().filter(|_| is_unknown).find_map(|chunk| match &chunk.place {
            Place::Promised(track) => Some(Promised { track: track.clone(), start: chunk.start }),
            _ => None,
        })
    }

    /// The init segment, with the leading track coded as that chunk turned out to be.
    pub fn init_as(&self, lead: &Codec) -> Result<Bytes> {
        let codecs: Vec<&Codec> = std::iter::once(lead).chain(self.tracks.iter().skip(1).map(|t| &t.codec)).collect();
        fmp4::init(&codecs, Span::ZERO).map(Bytes::from)
    }

    /// The init segment of one file that holds all segments.
    pub fn file_init(&self) -> Result<Bytes> {
        let ticks: u64 = self.segments.iter().map(|s| s.duration).sum();
        self.init_of(Span::of_ticks(ticks as i64, self.timescale()))
    }

    fn init_of(&self, length: Span) -> Result<Bytes> {
        let codecs: Vec<&Codec> = self.tracks.iter().map(|t| &t.codec).collect();
        fmp4::init(&codecs, length).map(Bytes::from)
    }

    /// The codec of each track, as far as it is known before all of it is encoded.
    pub fn codecs(&self) -> Vec<Codec> {
        self.tracks.iter().map(|t| t.codec.clone()).collect()
    }

    /// Segment `n`: what is ours of it, and where the rest lies.
    pub fn segment_layout(&self, n: usize, have: &Answers) -> Result<SegmentLayout> {
        segment::layout(n, self.segment(n)?, &self.tracks, have)
    }

    /// What segment `n` needs beside what there is. To be asked again when it was answered: an edge in a promised chunk is known only
    /// when the chunk is there.
    pub fn needs(&self, n: usize, have: &Answers) -> Result<Vec<Need>> {
        Ok(segment::needs(self.segment(n)?, &self.tracks, have))
    }

    fn segment(&self, n: usize) -> Result<&Segment> {
        self.segments.get(n).ok_or_else(|| Error::not_found(format_args!("segment {n}")))
    }

    /// How much later the sound ends than the pictures; None if there are not both.
    pub fn sound_drift(&self) -> Option<Span> {
        let [pictures, sound] = &self.tracks[..] else { return None };
        let last = self.segments.last()?;
        let frames: u64 = self.segments.iter().flat_map(|s| &s.parts[1].runs).map(Run::samples).sum();
        let heard = Span::of_ticks((frames * u64::from(AAC_FRAME)) as i64, sound.codec.timescale());
        let shown = (last.parts[0].decode_time + last.duration) as i64;
        Some(heard - Span::of_ticks(shown, pictures.codec.timescale()))
    }

    /// Samples of all its chunks: what it weighs.
    pub fn weight(&self) -> usize {
        self.tracks.iter().flat_map(|t| &t.chunks).map(|c| c.entries.len()).sum()
    }
}
