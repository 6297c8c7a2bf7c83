//! How far a fragmented MP4 is that our own ffmpeg writes: the time of the last fragment of its first track, found while the bytes pass by.
//! Nothing but the small boxes that say so is kept, and samples are not looked at (`written.rs` does that).

use vitascope_model::{Error, Result};

use super::boxes::{Fields, boxes, header, need};

/// The largest description of a fragment that is believed; one of a frame has some hundred bytes.
const MOST: usize = 1 << 20;
/// Of a box: size and kind, and a longer size.
const HEADER: usize = 8;
const LONG_HEADER: usize = 16;

/// Follows the boxes of a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Of the box that is being read: a header or a `moof`.
    kept: Vec<u8>,
    /// Bytes of a box that is of no interest, still to come.
    skip: u64,
    ticks: i64,
}

impl Reached {
    pub(crate) fn ticks(&self) -> i64 {
        self.ticks
    }

    /// The next bytes of the file.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            (self.skip, bytes) = (self.skip - passed as u64, &bytes[passed..]);
            let wanted = self.wanted()?;
            let taken = wanted.min(bytes.len());
            self.kept.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.skip == 0 && self.wanted()? == 0 {
                self.end_box()?;
            }
        }
        Ok(())
    }

    /// How many bytes are missing until something can be said about the box.
    fn wanted(&self) -> Result<usize> {
        // The long form of a size is announced by a 1.
        let head = if self.kept.starts_with(&[0, 0, 0, 1]) { LONG_HEADER } else { HEADER };
        if self.kept.len() < head {
            return Ok(head - self.kept.len());
        }
        let Some((kind, head, size)) = header(&self.kept)? else { return Ok(0) };
        if &kind != b"moof" {
            return Ok(0);
        }
        let size =
            size.and_then(|size| usize::try_from(size).ok()).filter(|size| (head as usize..=MOST).contains(size));
        let size = size.ok_or_else(|| Error::internal("the encoder describes a huge fragment"))?;
        Ok(size.saturating_sub(self.kept.len()))
    }

    fn end_box(&mut self) -> Result<()> {
        let Some((kind, head, size)) = header(&self.kept)? else { return Ok(()) };
        if &kind == b"moof" {
            self.look(head as usize)?;
        } else {
            let size = size.ok_or_else(|| Error::internal("the encoder wrote a box without an end"))?;
            self.skip = size.saturating_sub(self.kept.len() as u64);
        }
        self.kept.clear();
        Ok(())
    }

    fn look(&mut self, head: usize) -> Result<()> {
        for found in boxes(&self.kept[head..]) {
            let found = found?;
            if found.kind != *b"traf" {
                continue;
            }
            let (_, _, mut fields) = Fields::flagged(need(found.body, b"tfhd")?, "tfhd")?;
            if fields.u32()? != 1 {
                continue;
            }
            let (version, mut fields) = Fields::versioned(need(found.body, b"tfdt")?, "tfdt")?;
            self.ticks = if version == 1 { fields.u64()? as i64 } else { i64::from(fields.u32()?) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bx(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat()
    }

    fn fragment(track: u32, ticks: u64) -> Vec<u8> {
        let tfhd = bx(b"tfhd", &[&[0; 4][..], &track.to_be_bytes()].concat());
        let tfdt = bx(b"tfdt", &[&[1, 0, 0, 0][..], &ticks.to_be_bytes()].concat());
        let moof = bx(b"moof", &[bx(b"mfhd", &[0; 8]), bx(b"traf", &[tfhd, tfdt].concat())].concat());
        // Samples may look like boxes.
        [moof, bx(b"mdat", &bx(b"moof", &[0xff; 40]))].concat()
    }

    #[test]
    fn the_last_fragment_of_the_first_track_counts_however_the_bytes_come() {
        let wide = [&1_u32.to_be_bytes()[..], b"free", &20_u64.to_be_bytes(), &[0; 4]].concat();
        let file = [bx(b"ftyp", &[0; 16]), wide, fragment(1, 3000), fragment(2, 99), fragment(1, 1 << 40)].concat();
        for step in [1, 2, 7, 8, 9, 64, file.len()] {
            let mut reached = Reached::default();
            for bytes in file.chunks(step) {
                reached.see(bytes).unwrap();
            }
            assert_eq!((reached.ticks(), reached.kept.len(), reached.skip), (1 << 40, 0, 0), "{step}");
        }
        let mut reached = Reached::default();
        reached.see(&file[..file.len() / 2 + 20]).unwrap();
        assert_eq!(reached.ticks(), 3000);
    }

    #[test]
    fn a_huge_description_is_not_kept() {
        assert!(Reached::default().see(b"\x7f\0\0\0moof").is_err());
    }
}
