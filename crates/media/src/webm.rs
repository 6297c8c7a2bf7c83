//! How far a WebM stream has come, read in passing from the bytes of a browser's recorder: the times of its blocks, nothing of their content.
//! It tells when something was captured: what a chunk holds last was captured just before the browser handed the chunk over.
//! Pure, and hard on what is not WebM: a stream that was torn or made up is an error, not a guess.

use vitascope_model::{Error, Result, Span};

/// No element that a recorder writes is larger; a picture of the largest screen is far below.
const MOST: u64 = 64 << 20;
/// An id has at most 4 bytes and a size at most 8; a block then has its track (at most 8) and its time (2).
const LONGEST_HEAD: usize = 4 + 8 + 8 + 2;

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIME_SCALE: u32 = 0x002a_d7b1;
const CLUSTER: u32 = 0x1f43_b675;
const TIME: u32 = 0xe7;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const SIMPLE_BLOCK: u32 = 0xa3;

/// Reads the times of the blocks of a stream of one track.
#[derive(Debug)]
pub struct BlockTimes {
    /// The beginning of an element, as long as it is not whole.
    head: Vec<u8>,
    /// Bytes of an element's content that are still to come and of no interest.
    skip: u64,
    /// Nanoseconds of a unit of time.
    scale: i64,
    cluster: i64,
    began: bool,
    is_in_segment: bool,
    last: Option<Span>,
    step: Span,
}

impl Default for BlockTimes {
    fn default() -> Self {
        let (head, skip, scale) = (Vec::new(), 0, 1_000_000);
        BlockTimes { head, skip, scale, cluster: 0, began: false, is_in_segment: false, last: None, step: Span::ZERO }
    }
}

/// A block that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// From the beginning of the recording.
    pub time: Span,
    /// From the block before it, which sound lasts, too.
    pub step: Span,
}

impl BlockTimes {
    /// Takes the next bytes; tells the last block that began in them, if any did.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<Block>> {
        let mut found = None;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            bytes = &bytes[skipped as usize..];
            while self.skip == 0
                && let Some((byte, rest)) = bytes.split_first()
            {
                self.head.push(*byte);
                bytes = rest;
                if self.element()? {
                    found = self.last;
                }
            }
        }
        Ok(found.map(|time| Block { time, step: self.step }))
    }

    /// Looks at the element that begins with `head`, if there is enough of it; tells whether it was a block.
    fn element(&mut self) -> Result<bool> {
        // Chromium's recorder, when it is stopped before it had anything to record, leaves zeros where the segment would begin.
        if self.began && !self.is_in_segment && self.head == [0] {
            self.head.clear();
            return Ok(false);
        }
        let Some((id, size, past)) = header(&self.head)? else { return Ok(false) };
        if !self.began && id != EBML {
            return Err(Error::invalid("this is not WebM"));
        }
        self.began = true;
        self.is_in_segment |= id == SEGMENT;
        let Some(size) = size else {
            // Only these two are written before their length is known.
            if !matches!(id, SEGMENT | CLUSTER) {
                return Err(broken());
            }
            self.head.clear();
            return Ok(false);
        };
        match id {
            SEGMENT | CLUSTER | INFO | BLOCK_GROUP => self.head.clear(),
            TIME | TIME_SCALE if size <= 8 => {
                let Some(value) = self.head.get(past..past + size as usize) else { return Ok(false) };
                let value = i64::try_from(value.iter().fold(0_u64, |sum, b| sum << 8 | u64::from(*b)));
                let value = value.map_err(|_| broken())?;
                *(if id == TIME { &mut self.cluster } else { &mut self.scale }) = value;
                self.head.clear();
            }
            BLOCK | SIMPLE_BLOCK => {
                let Some(length) = self.head.get(past).map(|b| b.leading_zeros() as usize + 1) else {
                    return Ok(false);
                };
                let at = past + length;
                let Some(relative) = self.head.get(at..at + 2) else {
                    return if self.head.len() < LONGEST_HEAD { Ok(false) } else { Err(broken()) };
                };
                let units = self.cluster.checked_add(i16::from_be_bytes([relative[0], relative[1]]).into());
                let nanos = units.and_then(|u| u.checked_mul(self.scale)).ok_or_else(broken)?;
                self.block(Span(nanos / 1000));
                self.skip_rest(size, past)?;
                return Ok(true);
            }
            _ => self.skip_rest(size, past)?,
        }
        Ok(false)
    }

    fn block(&mut self, time: Span) {
        if let Some(last) = self.last.filter(|last| *last < time) {
            self.step = time - last;
        }
        self.last = Some(time);
    }

    fn skip_rest(&mut self, size: u64, past: usize) -> Result<()> {
        if size > MOST {
            return Err(broken());
        }
        let had = (self.head.len() - past) as u64;
        self.skip = size.checked_sub(had).ok_or_else(broken)?;
        self.head.clear();
        Ok(())
    }
}

/// Id, size (None where it is not known yet) and length of an element's header, if it is whole.
fn header(head: &[u8]) -> Result<Option<(u32, Option<u64>, usize)>> {
    let Some(first) = head.first() else { return Ok(None) };
    let id_length = first.leading_zeros() as usize + 1;
    if id_length > 4 {
        return Err(broken());
    }
    let Some(size_first) = head.get(id_length) else { return Ok(None) };
    let size_length = size_first.leading_zeros() as usize + 1;
    if size_length > 8 {
        return Err(broken());
    }
    let past = id_length + size_length;
    let Some(size) = head.get(id_length..past) else { return Ok(None) };
    let id = head[..id_length].iter().fold(0, |id, b| id << 8 | u32::from(*b));
    let unknown = (1_u64 << (7 * size_length)) - 1;
    let size = size.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)) & unknown;
    Ok(Some((id, (size != unknown).then_some(size), past)))
}

fn broken() -> Error {
    Error::invalid("this is not WebM as a browser's recorder writes it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream as Chromium writes it: header, a cluster without an end, blocks.
    fn stream() -> Vec<u8> {
        let mut stream = vec![0x1a, 0x45, 0xdf, 0xa3, 0x84, 0x42, 0x86, 0x81, 1];
        stream.extend([0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        stream.extend([0x15, 0x49, 0xa9, 0x66, 0x87, 0x2a, 0xd7, 0xb1, 0x83, 0x0f, 0x42, 0x40]); // a millisecond
        stream.extend([0x16, 0x54, 0xae, 0x6b, 0x83, 1, 2, 3]); // tracks: not looked at
        stream.extend([0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        stream.extend([0xe7, 0x82, 0x03, 0xe8]); // from 1000 ms on
        stream.extend(block(0));
        stream.extend(block(60));
        // A group of one block, its length of two bytes.
        stream.extend([0xa0, 0x40, 0x08, 0xa1, 0x86, 0x81, 0, 120, 0, 9, 9]);
        stream
    }

    fn block(millis: u8) -> Vec<u8> {
        let mut block = vec![0xa3, 0x40, 0x68, 0x81, 0, millis, 0x80];
        block.resize(7 + 100, 0xa3);
        block
    }

    #[test]
    fn times_are_read_however_the_bytes_are_cut() {
        for step in [1, 7, 4096] {
            let mut times = BlockTimes::default();
            let found: Vec<Block> = stream().chunks(step).filter_map(|piece| times.push(piece).unwrap()).collect();
            let last = Block { time: Span::millis(1120), step: Span::millis(60) };
            assert_eq!(found.last(), Some(&last), "cut at every {step}");
            assert_eq!(found.len(), if step < 100 { 3 } else { 1 });
        }
    }

    #[test]
    fn what_is_not_webm_or_was_torn_is_an_error_and_never_a_panic() {
        assert!(BlockTimes::default().push(b"GIF89a, say").is_err());
        let mut torn = BlockTimes::default();
        torn.push(&stream()).unwrap();
        assert!(torn.push(&[0; 16]).is_err(), "no element begins so");
        let mut empty = BlockTimes::default();
        assert_eq!(empty.push(&stream()[..9]).unwrap(), None);
        assert_eq!(empty.push(&[0; 73]).unwrap(), None, "a recorder that was stopped at once");
        let mut huge = BlockTimes::default();
        huge.push(&stream()).unwrap();
        assert!(huge.push(&[0xec, 0x1f, 0xff, 0xff, 0xf0]).is_err(), "an element of 268 MB");
        let (mut state, mut refused) = (7_u32, 0);
        for _ in 0..2000 {
            let mut times = BlockTimes::default();
            let mut bytes = stream();
            for _ in 0..6 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] = state as u8;
            }
            refused += i32::from(times.push(&bytes).is_err());
        }
        assert!(refused > 100, "{refused}");
    }
}
