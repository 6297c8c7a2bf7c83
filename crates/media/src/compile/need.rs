//! What a segment needs that is not there when it is planned, and what was found for it: chunks that were only promised, pictures
//! and sound that must be coded anew. Here needs are named and answers are kept; who answers, and what is cached, is the server's business.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::Bytes;
use vitascope_model::id::TrackId;
use vitascope_model::{Span, WallTime};

use super::run::{Run, parameter_sets};
use super::segment::{SegmentPart, Slice};
use crate::codec::Codec;
use crate::track::{Chunk, Place};

/// Something to be had before a segment can be laid out.
#[derive(Clone, Debug)]
pub enum Need {
    /// A chunk that is still to be encoded.
    Promised(Promised),
    /// Samples that are still to be made.
    Coded(Recipe),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    pub track: TrackId,
    pub start: WallTime,
}

/// How samples are made. The same name is always the same samples.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub name: String,
    /// Key of the object that it is made of, and with which it must go; none for what is made of nothing.
    pub object: Option<String>,
    pub make: Make,
}

#[derive(Clone, Debug)]
pub enum Make {
    /// Some pictures of a group coded anew, the first as a key frame.
    Edge(EdgeSource),
    /// One black picture.
    Black { width: u32, height: u32 },
    /// Frames of sound in the form that streams have: 48 kHz stereo.
    Sound(SoundSource),
}

/// A group of pictures from its key frame on.
#[derive(Clone, Debug)]
pub struct EdgeSource {
    /// The coded pictures in order, length-prefixed.
    pub parts: Vec<SegmentPart>,
    /// Pictures that only lead to the first one wanted.
    pub skip: usize,
    pub take: usize,
}

#[derive(Clone, Debug)]
pub struct SoundSource {
    pub codec: Codec,
    /// Frames as they lie, with their sizes.
    pub parts: Vec<SegmentPart>,
    pub sizes: Vec<u32>,
    /// From the beginning of the first of them to that of the first frame wanted; negative where sound begins later.
    pub skip: Span,
    /// Frames wanted.
    pub take: u32,
}

/// Samples that were made: back to back in `data`, the first picture with its parameter sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coded {
    pub sizes: Vec<u32>,
    pub data: Bytes,
}

impl Coded {
    /// As a file: how many samples, their sizes, then the samples.
    pub fn to_bytes(&self) -> Bytes {
        let count = (self.sizes.len() as u32).to_le_bytes();
        let head = std::iter::once(count).chain(self.sizes.iter().map(|size| size.to_le_bytes()));
        let mut out: Vec<u8> = head.flatten().collect();
        out.extend_from_slice(&self.data);
        out.into()
    }

    /// None if the file is torn.
    pub fn from_bytes(mut bytes: Bytes) -> Option<Coded> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let count = word(0)? as usize;
        let sizes: Vec<u32> = (1..=count).map(|n| word(n * 4)).collect::<Option<_>>()?;
        let data = bytes.split_off((count + 1) * 4);
        (sizes.iter().map(|s| u64::from(*s)).sum::<u64>() == data.len() as u64).then_some(Coded { sizes, data })
    }
}

/// What was found for the needs of a segment.
#[derive(Debug, Default)]
pub struct Answers {
    chunks: HashMap<(TrackId, WallTime), Chunk>,
    coded: HashMap<String, Coded>,
}

impl Answers {
    /// The chunk that was promised, as it became.
    pub fn fulfil(&mut self, promised: Promised, chunk: Chunk) {
        self.chunks.insert((promised.track, promised.start), chunk);
    }

    pub fn made(&mut self, name: String, coded: Coded) {
        self.coded.insert(name, coded);
    }

    pub(super) fn coded(&self, name: &str) -> Option<&Coded> {
        self.coded.get(name)
    }

    /// The chunk itself, or what became of its promise; as an error, what is still promised.
    pub(super) fn chunk<'a>(&'a self, chunk: &'a Chunk) -> Result<&'a Chunk, Promised> {
        let Place::Promised(track) = &chunk.place else { return Ok(chunk) };
        let promised = || Promised { track: track.clone(), start: chunk.start };
        self.chunks.get(&(track.clone(), chunk.start)).ok_or_else(promised)
    }
}

/// The recipe of an edge: pictures `first..last` of the group that begins with `key`.
pub(super) fn edge(chunk: &Chunk, key: usize, first: usize, last: usize) -> Recipe {
    let source = EdgeSource { parts: parts_of(chunk, key, last), skip: first - key, take: last - first };
    Recipe {
        name: format!("{} {} {}", name_of_first(&source.parts), source.skip, source.take),
        object: Some(name_of(&chunk.place)),
        make: Make::Edge(source),
    }
}

pub(super) fn black(codec: &Codec) -> Recipe {
    // A size that cannot be read would have failed the init before.
    let (width, height) = codec.picture_size().unwrap_or((16, 16));
    Recipe { name: format!("black {width} {height}"), object: None, make: Make::Black { width, height } }
}

/// Samples `from..to` of a chunk: the bytes to read, parameter sets where they must stand.
pub(super) fn parts_of(chunk: &Chunk, from: usize, to: usize) -> Vec<SegmentPart> {
    let mut parts: Vec<SegmentPart> = Vec::new();
    let in_front = parameter_sets(chunk);
    let mut next = 0;
    for (n, entry) in chunk.entries[..to].iter().enumerate() {
        let offset = next + entry.skip;
        next = offset + u64::from(entry.size);
        if n < from {
            continue;
        }
        if entry.key && !in_front.is_empty() {
            parts.push(SegmentPart::Bytes(in_front.clone().into()));
        }
        match parts.last_mut() {
            Some(SegmentPart::Slice(slice)) if slice.offset + slice.length == offset => {
                slice.length += u64::from(entry.size);
            }
            _ => {
                let slice = Slice { place: chunk.place.clone(), offset, length: u64::from(entry.size) };
                parts.push(SegmentPart::Slice(slice));
            }
        }
    }
    parts
}

/// The bytes with which something begins. Chunks of several tracks may lie in one object, so its key alone says too little.
pub(super) fn name_of_first(parts: &[SegmentPart]) -> String {
    let first = parts.iter().find_map(|part| match part {
        SegmentPart::Slice(slice) => Some(format!("{} {}", name_of(&slice.place), slice.offset)),
        SegmentPart::Bytes(_) => None,
    });
    first.unwrap_or_else(|| "nothing".to_owned())
}

/// A journal file and the object that it becomes have one name, so that what was made of the one serves the other.
pub(super) fn name_of(place: &Place) -> String {
    let mut name = String::new();
    match place {
        Place::Object(key) => name.push_str(key),
        Place::Promised(track) => write!(name, "promised {track}").expect("writing to a string succeeds"),
        Place::File(path) => {
            let last: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
            name.push_str("tracks");
            last.iter().rev().for_each(|part| {
                name.push('/');
                name.push_str(part);
            });
        }
    }
    name
}

/// A run of a promised chunk on what became of it: the same samples where each picture became one, else those of the same time. Together
/// they last as long as was promised.
pub(super) fn adapt(run: &Run, promised: &Chunk, real: &Chunk) -> Run {
    let fitted = |first: usize, last: usize, tail: u32, late: i32| fit(promised, real, (first, last), tail, late);
    match *run {
        Run::Samples { chunk, first, last, tail, late, .. } => {
            let (first, last, tail) = fitted(first, last, tail, late);
            let (offset, bytes) = super::run::bytes_of(real, first, last);
            Run::Samples { chunk, first, last, offset, bytes, tail, late }
        }
        Run::Edge { chunk, first, last, tail, late, .. } => {
            let (first, last, tail) = fitted(first, last, tail, late);
            let key = real.entries[..=first].iter().rposition(|e| e.key).unwrap_or(0);
            Run::Edge { chunk, key, first, last, tail, late }
        }
        ref other => other.clone(),
    }
}

fn fit(promised: &Chunk, real: &Chunk, (first, last): (usize, usize), tail: u32, late: i32) -> (usize, usize, u32) {
    let ticks = |chunk: &Chunk, to: usize| chunk.entries[..=to].iter().map(|e| i64::from(e.delta)).sum::<i64>();
    let begin = ticks(promised, first);
    let shown_from = begin + i64::from(late);
    let end = i64::from(tail) + if last - first == 1 { shown_from } else { ticks(promised, last - 1) };
    let (mut from, mut to) = (first, last);
    if real.entries.len() != promised.entries.len() {
        // What begins less than half a picture before the promise is meant by it.
        let near = i64::from(real.codec.usual_delta() / 2);
        from = count_before(real, begin - near).min(real.entries.len().saturating_sub(1));
        to = count_before(real, end - near).max(from + 1);
    }
    let last_from = if to - from == 1 { shown_from } else { begin + ticks(real, to - 1) - ticks(real, from) };
    (from, to, u32::try_from(end - last_from).unwrap_or(1).max(1))
}

/// How many samples of a chunk begin before a moment, in ticks from its start.
fn count_before(chunk: &Chunk, moment: i64) -> usize {
    let mut at = 0;
    let begins_before = |e: &&crate::index::Entry| {
        at += i64::from(e.delta);
        at < moment
    };
    chunk.entries.iter().take_while(begins_before).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_reads_back_and_a_torn_file_does_not() {
        let coded = Coded { sizes: vec![3, 1], data: Bytes::from_static(b"abcd") };
        let file = coded.to_bytes();
        assert_eq!(Coded::from_bytes(file.clone()), Some(coded));
        for cut in 0..file.len() {
            assert_eq!(Coded::from_bytes(file.slice(..cut)), None, "cut at {cut}");
        }
        assert_eq!(Coded::from_bytes(Bytes::from_static(&[255; 9])), None);
    }

    #[test]
    fn edges_of_chunks_in_one_object_have_names_of_their_own() {
        use crate::index::{Entry, Form};
        // Two chunks of a file in place, alike but for where they lie in it.
        let chunk = |start: i64, skip: u64| {
            let entry =
                |n: u64| Entry { delta: 3000, size: 10, key: n == 0, skip: if n == 0 { skip } else { 0 }, shift: 0 };
            Chunk {
                start: WallTime(start),
                end: WallTime(start + 1),
                codec: Codec::H264 { sps: vec![1], pps: vec![2] },
                form: Form::InPlace,
                entries: (0..5).map(entry).collect(),
                place: Place::Object("originals/org-1".to_owned()),
            }
        };
        let (one, other) = (chunk(0, 100), chunk(8, 5000));
        assert_ne!(edge(&one, 0, 2, 5).name, edge(&other, 0, 2, 5).name);
        assert_eq!(edge(&one, 0, 2, 5).name, edge(&chunk(0, 100), 0, 2, 5).name);
    }

    #[test]
    fn a_journal_file_is_named_as_the_object_that_it_becomes() {
        let file = Place::File("/data/journal/trk-1/1790000000000000.dat".into());
        assert_eq!(name_of(&file), name_of(&Place::Object("tracks/trk-1/1790000000000000.dat".to_owned())));
    }
}
