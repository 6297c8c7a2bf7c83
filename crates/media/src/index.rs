//! The sample index of a chunk: a text line (the codec), then two varints a sample. An entry holds the distance to the sample before it,
//! not its own duration, so that a sample can be indexed when it arrives, even if the next one is seconds away.
//! Distances change seldom, so what is written is the change of the distance: 2 to 4 bytes a sample.
//! Samples that are left where they lie, in a file of somebody else's making, need two varints more: see `Form`.

use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use crate::codec::Codec;

/// How the samples of a chunk lie in their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As we write them: back to back, in the order of decoding and of showing, parameter sets in front of each key frame.
    #[default]
    Packed,
    /// As an uploaded file has them: with other bytes between, perhaps shown in another order, and with the parameter sets in the
    /// codec line alone, so that who sends a key frame puts them in front.
    InPlace,
}

impl Form {
    /// Stands before the codec in the first line of an index.
    const IN_PLACE: &str = "in-place ";

    /// The first line of an index.
    pub fn line(self, codec: &Codec) -> String {
        let mark = if self == Form::InPlace { Form::IN_PLACE } else { "" };
        format!("{mark}{}", codec.to_line())
    }
}

/// One sample of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Ticks since the sample before it; 0 for the first. In the order of decoding.
    pub delta: u32,
    /// Bytes.
    pub size: u32,
    pub key: bool,
    /// Bytes of something else between the sample before (or the beginning of the object) and this one. Packed: 0.
    pub skip: u64,
    /// Ticks from its decoding to its showing. Packed: 0.
    pub shift: i32,
}

/// Writes entries one after the other.
#[derive(Debug, Default)]
pub struct Encoder {
    form: Form,
    last_delta: u32,
    last_shift: i32,
}

impl Encoder {
    pub fn new(form: Form) -> Encoder {
        Encoder { form, ..Encoder::default() }
    }

    pub fn push(&mut self, entry: Entry, out: &mut Vec<u8>) {
        let change = i64::from(entry.delta) - i64::from(self.last_delta);
        self.last_delta = entry.delta;
        put_varint(out, zigzag(change) << 1 | u64::from(entry.key));
        put_varint(out, u64::from(entry.size));
        if self.form == Form::InPlace {
            put_varint(out, entry.skip);
            put_varint(out, zigzag(i64::from(entry.shift) - i64::from(self.last_shift)));
            self.last_shift = entry.shift;
        }
    }
}

/// A decoded index, with the bytes of samples and of index that it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    pub codec: Codec,
    pub form: Form,
    pub entries: Vec<Entry>,
    /// Of all samples together.
    pub data_bytes: u64,
    /// Of the index itself, up to the last whole entry.
    pub index_bytes: usize,
}

impl Index {
    /// Reads entries up to the last whole one whose sample the data (`limit` bytes of it) reaches.
    pub fn decode(bytes: &[u8], limit: u64) -> Result<Index> {
        let line =
            bytes.iter().position(|&b| b == b'\n').ok_or_else(|| Error::internal("an index without a codec line"))? + 1;
        let first = std::str::from_utf8(&bytes[..line]).internal("read a codec line")?;
        let in_place = first.strip_prefix(Form::IN_PLACE);
        let form = if in_place.is_some() { Form::InPlace } else { Form::Packed };
        let codec = Codec::from_line(in_place.unwrap_or(first))?;
        let entries = Vec::with_capacity((bytes.len() - line) / 3);
        let mut index = Index { codec, form, entries, data_bytes: 0, index_bytes: line };
        let (mut rest, mut delta, mut shift) = (&bytes[line..], 0_i64, 0_i64);
        while let (Some(head), Some(size)) = (take_varint(&mut rest), take_varint(&mut rest)) {
            delta += unzigzag(head >> 1);
            let (Ok(delta), Ok(size)) = (u32::try_from(delta), u32::try_from(size)) else { break };
            if index.data_bytes + u64::from(size) > limit {
                break;
            }
            let mut entry = Entry { delta, size, key: head & 1 == 1, ..Entry::default() };
            if form == Form::InPlace {
                let (Some(skip), Some(change)) = (take_varint(&mut rest), take_varint(&mut rest)) else { break };
                shift += unzigzag(change);
                let Ok(shift) = i32::try_from(shift) else { break };
                (entry.skip, entry.shift) = (skip, shift);
            }
            index.entries.push(entry);
            index.data_bytes += u64::from(size);
            index.index_bytes = bytes.len() - rest.len();
        }
        Ok(index)
    }

    /// Where the last sample ends in its object.
    pub fn end(&self) -> u64 {
        self.entries.iter().map(|e| e.skip + u64::from(e.size)).sum()
    }

    /// From the first sample to the last one, in ticks.
    pub fn ticks(&self) -> i64 {
        self.entries.iter().map(|e| i64::from(e.delta)).sum()
    }
}

fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let (mut n, mut shift) = (0, 0);
    while let Some((&b, rest)) = input.split_first() {
        *input = rest;
        n |= u64::from(b & 0x7f).checked_shl(shift)?;
        if b < 0x80 {
            return Some(n);
        }
        shift += 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(entries: &[Entry]) -> Vec<u8> {
        let mut out = Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] }.to_line().into_bytes();
        let mut encoder = Encoder::default();
        entries.iter().for_each(|e| encoder.push(*e, &mut out));
        out
    }

    fn entries() -> Vec<Entry> {
        let delta = [0, 3000, 3000, 360_000, 3000, 1];
        delta
            .iter()
            .enumerate()
            .map(|(i, d)| Entry { delta: *d, size: 10 + i as u32 * 1000, key: i % 4 == 0, ..Entry::default() })
            .collect()
    }

    #[test]
    fn entries_read_back() {
        let index = Index::decode(&encoded(&entries()), u64::MAX).unwrap();
        assert_eq!(index.entries, entries());
        assert_eq!(index.ticks(), 369_001);
    }

    #[test]
    fn samples_in_place_read_back_with_their_gaps_and_shifts() {
        let codec = Codec::H264 { sps: vec![0x67, 1], pps: vec![0x68] };
        let mut out = Form::InPlace.line(&codec).into_bytes();
        let mut encoder = Encoder::new(Form::InPlace);
        let entry = |n: u32| Entry {
            skip: 7_000_000_000 / u64::from(n + 1),
            shift: 6000 - 3000 * n as i32,
            ..entries()[n as usize]
        };
        let written: Vec<Entry> = (0..6).map(entry).collect();
        written.iter().for_each(|e| encoder.push(*e, &mut out));
        let index = Index::decode(&out, u64::MAX).unwrap();
        assert_eq!((index.form, &index.codec, index.index_bytes), (Form::InPlace, &codec, out.len()));
        assert_eq!(index.entries, written);
        assert_eq!(Index::decode(&out[..out.len() - 1], u64::MAX).unwrap().entries, written[..5]);
    }

    #[test]
    fn a_torn_index_and_short_data_end_at_the_last_whole_sample() {
        let bytes = encoded(&entries());
        for cut in bytes.len() - 8..bytes.len() {
            let index = Index::decode(&bytes[..cut], u64::MAX).unwrap();
            assert!(index.entries.len() < entries().len());
            assert_eq!(index.entries, entries()[..index.entries.len()]);
            assert_eq!(encoded(&index.entries), bytes[..index.index_bytes]);
        }
        assert_eq!(Index::decode(&bytes, 10 + 1010 + 5).unwrap().entries, entries()[..2]);
    }

    #[test]
    fn steady_samples_cost_little() {
        let steady = |i: u32| Entry { delta: 3000, size: 2000 + i % 7, key: i.is_multiple_of(60), ..Entry::default() };
        let all: Vec<Entry> = (0..1000).map(steady).collect();
        assert!(encoded(&all).len() < 3100);
    }
}
