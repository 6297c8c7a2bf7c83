//! A segment on its way out: the header that is ours, then the slices of chunks that hold its samples, in order.
//! Who reads the slices, and from where, is the caller's business.

use bytes::Bytes;
use vitascope_model::Error;

use super::need::{Answers, Need, Promised, Recipe, adapt};
use super::run::{Run, describe, length_of, parameter_sets, silent_frame};
use super::{PlannedTrack, Segment, convert, need};
use crate::codec::{AAC_FRAME, Codec};
use crate::fmp4::{Fragment, FragmentSample, moof};
use crate::track::{Chunk, Place};

/// Bytes `offset .. offset + length` of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub place: Place,
    pub offset: u64,
    pub length: u64,
}

#[derive(Clone, Debug)]
pub enum SegmentPart {
    /// Ours.
    Bytes(Bytes),
    /// To be read.
    Slice(Slice),
}

impl SegmentPart {
    pub fn size(&self) -> u64 {
        match self {
            SegmentPart::Bytes(bytes) => bytes.len() as u64,
            SegmentPart::Slice(slice) => slice.length,
        }
    }
}

#[derive(Clone, Debug)]
pub struct SegmentLayout {
    parts: Vec<SegmentPart>,
    fragments: Vec<Fragment>,
    /// How the pictures of a track are to be decoded, each way once.
    codecs: Vec<(u32, Codec)>,
}

impl SegmentLayout {
    pub fn parts(&self) -> &[SegmentPart] {
        &self.parts
    }

    /// The samples of each track, in the order of their bytes.
    pub(crate) fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// The tracks whose pictures need to be told how they are decoded, and how, as often as that differs.
    pub(crate) fn codecs(&self) -> &[(u32, Codec)] {
        &self.codecs
    }

    /// The samples alone, without what tells a player of them.
    pub fn into_data(mut self) -> Vec<SegmentPart> {
        self.parts.drain(..1);
        self.parts
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(SegmentPart::size).sum()
    }
}

/// What a segment still needs.
pub(super) fn needs(segment: &Segment, tracks: &[PlannedTrack], have: &Answers) -> Vec<Need> {
    let mut needs = Vec::new();
    for (part, track) in segment.parts.iter().zip(tracks) {
        for run in &part.runs {
            match recipe(run, track, have) {
                Ok(Some(recipe)) if have.coded(&recipe.name).is_none() => needs.push(Need::Coded(recipe)),
                Ok(_) => {}
                Err(promised) => needs.push(Need::Promised(promised)),
            }
        }
    }
    needs
}

/// How the samples of a run are made, where they do not lie in a chunk already.
fn recipe(run: &Run, track: &PlannedTrack, have: &Answers) -> Result<Option<Recipe>, Promised> {
    match *run {
        Run::Samples { chunk, .. } => have.chunk(&track.chunks[chunk]).map(|_| None),
        Run::Edge { chunk, .. } => {
            let promised = &track.chunks[chunk];
            let real = have.chunk(promised)?;
            let Run::Edge { key, first, last, .. } = on(run, promised, real) else { return Ok(None) };
            Ok(Some(need::edge(real, key, first, last)))
        }
        Run::Converted { chunks: (from, to), from: moment, frames } => {
            let chunks = track.chunks[from..to].iter().map(|chunk| have.chunk(chunk));
            let chunks: Vec<&Chunk> = chunks.collect::<Result<_, _>>()?;
            Ok(Some(convert::recipe(&chunks, moment, frames)))
        }
        Run::Black { .. } => Ok(Some(need::black(&track.codec))),
        Run::Silence { .. } => Ok(None),
    }
}

/// A run on what became of its chunk.
fn on(run: &Run, planned: &Chunk, real: &Chunk) -> Run {
    if matches!(planned.place, Place::Promised(_)) { adapt(run, planned, real) } else { run.clone() }
}

pub(super) fn layout(
    n: usize,
    segment: &Segment,
    tracks: &[PlannedTrack],
    have: &Answers,
) -> vitascope_model::Result<SegmentLayout> {
    let mut fragments = Vec::with_capacity(tracks.len());
    let mut codecs = Vec::new();
    let mut parts = vec![SegmentPart::Bytes(Bytes::new())];
    let (delay, lead_rate) = (u64::from(tracks[0].delay), u64::from(tracks[0].codec.timescale()));
    for ((part, track), id) in segment.parts.iter().zip(tracks).zip(1..) {
        if part.runs.is_empty() {
            continue;
        }
        let mut samples = Vec::new();
        for run in &part.runs {
            lay(run, track, have, &mut samples, &mut parts)?;
            if let Some(codec) = codec_of(run, track, have).map(|codec| (id, codec))
                && !codecs.contains(&codec)
            {
                codecs.push(codec);
            }
        }
        let mut decode_time = part.decode_time;
        if track.codec.is_video() {
            samples.iter_mut().for_each(|s| s.shift += delay as i32);
        } else {
            decode_time += delay * u64::from(track.codec.timescale()) / lead_rate;
        }
        fragments.push(Fragment { track: id, decode_time, samples });
    }
    parts[0] = SegmentPart::Bytes(moof(n as u32 + 1, &fragments).into());
    Ok(SegmentLayout { parts, fragments, codecs })
}

/// How the pictures of a run are decoded; none for sound.
fn codec_of(run: &Run, track: &PlannedTrack, have: &Answers) -> Option<Codec> {
    match *run {
        Run::Samples { chunk, .. } => have.chunk(&track.chunks[chunk]).ok().map(|real| real.codec.clone()),
        Run::Edge { .. } | Run::Black { .. } => {
            let coded = have.coded(&recipe(run, track, have).ok()??.name)?;
            let mut codec = Codec::H264 { sps: Vec::new(), pps: Vec::new() };
            codec.learn(coded.data.get(..*coded.sizes.first()? as usize)?);
            Some(codec)
        }
        Run::Converted { .. } | Run::Silence { .. } => None,
    }
    .filter(Codec::is_video)
}

/// One run: its samples as a `trun` names them, and where their bytes come from.
fn lay(
    run: &Run,
    track: &PlannedTrack,
    have: &Answers,
    samples: &mut Vec<FragmentSample>,
    parts: &mut Vec<SegmentPart>,
) -> vitascope_model::Result<()> {
    let missing = || Error::internal("a segment was laid out before all that it needs was there");
    match *run {
        Run::Samples { chunk, .. } => {
            let planned = &track.chunks[chunk];
            let real = have.chunk(planned).map_err(|_| missing())?;
            let Run::Samples { first, last, offset, bytes, tail, late, .. } = on(run, planned, real) else {
                return Err(missing());
            };
            let in_front = parameter_sets(real);
            if real.entries[first].key && !in_front.is_empty() {
                parts.push(SegmentPart::Bytes(in_front.into()));
            }
            samples.extend(describe(real, (first, last), tail, late));
            parts.push(SegmentPart::Slice(Slice { place: real.place.clone(), offset, length: bytes }));
        }
        Run::Silence { frames } => {
            let silence = silent_frame(&track.codec);
            let size = silence.len() as u32;
            let one = FragmentSample { duration: AAC_FRAME, size, key: true, shift: 0 };
            samples.extend(std::iter::repeat_n(one, frames as usize));
            parts.push(SegmentPart::Bytes(silence.repeat(frames as usize).into()));
        }
        Run::Edge { .. } | Run::Converted { .. } | Run::Black { .. } => {
            let recipe = recipe(run, track, have).ok().flatten().ok_or_else(missing)?;
            let coded = have.coded(&recipe.name).ok_or_else(missing)?;
            let (lengths, is_sound) = (lengths(run, track, have), !track.codec.is_video());
            if lengths.len() != coded.sizes.len() {
                return Err(Error::internal(format!("{:?} has {} samples", recipe.name, coded.sizes.len())));
            }
            let sized = coded.sizes.iter().zip(lengths).enumerate();
            samples.extend(sized.map(|(i, (size, duration))| FragmentSample {
                duration,
                size: *size,
                key: is_sound || i == 0,
                shift: 0,
            }));
            parts.push(SegmentPart::Bytes(coded.data.clone()));
        }
    }
    Ok(())
}

/// How long each sample of a run that is coded anew lasts.
fn lengths(run: &Run, track: &PlannedTrack, have: &Answers) -> Vec<u32> {
    match *run {
        Run::Edge { chunk, .. } => {
            let planned = &track.chunks[chunk];
            let real = have.chunk(planned).unwrap_or(planned);
            let Run::Edge { first, last, tail, late, .. } = on(run, planned, real) else { return Vec::new() };
            (first..last).map(|i| length_of(&real.entries, i, (first, last), tail, late)).collect()
        }
        Run::Black { ticks } => vec![ticks],
        Run::Converted { frames, .. } => vec![AAC_FRAME; frames as usize],
        Run::Samples { .. } | Run::Silence { .. } => Vec::new(),
    }
}
