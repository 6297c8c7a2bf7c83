//! The sample index of a chunk: a text line (the codec), then two varints a sample. An entry holds the distance to the sample before it,
//! not its own duration, so that a sample can be indexed when it arrives, even if the next one is seconds away.
//! Distances change seldom, so what is written is the change of the distance: 2 to 4 bytes a sample.

use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use crate::codec::Codec;

/// One sample of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Ticks since the sample before it; 0 for the first.
    pub delta: u32,
    /// Bytes.
    pub size: u32,
    pub key: bool,
}

/// Writes entries one after the other.
#[derive(Debug, Default)]
pub struct Encoder {
    last_delta: u32,
}

impl Encoder {
    pub fn push(&mut self, entry: Entry, out: &mut Vec<u8>) {
        let change = i64::from(entry.delta) - i64::from(self.last_delta);
        self.last_delta = entry.delta;
        put_varint(out, zigzag(change) << 1 | u64::from(entry.key));
        put_varint(out, u64::from(entry.size));
    }
}

/// A decoded index, with the bytes of samples and of index that it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    pub codec: Codec,
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
        let codec = Codec::from_line(std::str::from_utf8(&bytes[..line]).internal("read a codec line")?)?;
        let mut index =
            Index { codec, entries: Vec::with_capacity((bytes.len() - line) / 3), data_bytes: 0, index_bytes: line };
        let (mut rest, mut delta) = (&bytes[line..], 0_i64);
        while let (Some(head), Some(size)) = (take_varint(&mut rest), take_varint(&mut rest)) {
            delta += unzigzag(head >> 1);
            let (Ok(delta), Ok(size)) = (u32::try_from(delta), u32::try_from(size)) else { break };
            if index.data_bytes + u64::from(size) > limit {
                break;
            }
            index.entries.push(Entry { delta, size, key: head & 1 == 1 });
            index.data_bytes += u64::from(size);
            index.index_bytes = bytes.len() - rest.len();
        }
        Ok(index)
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
            .map(|(i, d)| Entry { delta: *d, size: 10 + i as u32 * 1000, key: i % 4 == 0 })
            .collect()
    }

    #[test]
    fn entries_read_back() {
        let index = Index::decode(&encoded(&entries()), u64::MAX).unwrap();
        assert_eq!(index.entries, entries());
        assert_eq!(index.ticks(), 369_001);
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
        let steady = |i: u32| Entry { delta: 3000, size: 2000 + i % 7, key: i.is_multiple_of(60) };
        let all: Vec<Entry> = (0..1000).map(steady).collect();
        assert!(encoded(&all).len() < 3100);
    }
}
