//! One MP4 file whose index stands in front, so that it plays while it is still coming in: worked out from the segments of a plan by
//! arithmetic. Samples are copied as they are, in the order of the segments; no media is read here and no process started.
//! Two passes: every segment's layout is added, then the head is written, and after it the samples of the same segments.

use vitascope_model::{Error, Result, Span};

use crate::codec::Codec;
use crate::compile::SegmentLayout;
use crate::fmp4::{
    Fragment, FragmentSample, MATRIX, MOVIE_RATE, bx, full, handler, media_information, sample_entry, words,
};

/// A file that is being worked out.
#[derive(Debug)]
pub struct Faststart {
    tracks: Vec<Table>,
    /// Bytes of the samples so far.
    data: u64,
}

/// The samples of one track, as the file's index names them.
#[derive(Debug)]
struct Table {
    codec: Codec,
    /// Whether a segment has told the codec.
    is_learnt: bool,
    /// Whether all samples need the parameter sets of `codec` and no others.
    is_uniform: bool,
    /// Ticks from the beginning of the file to the first sample, and to the end of the last.
    start: u64,
    time: u64,
    sizes: Vec<u32>,
    durations: Runs<u32>,
    shifts: Runs<i32>,
    /// Key frames by their number, from 1.
    keys: Vec<u32>,
    /// Samples that lie back to back: where, from the first sample of the file, and how many.
    chunks: Vec<(u64, u32)>,
}

/// Equal values that follow each other count as one.
#[derive(Debug)]
struct Runs<T>(Vec<(u32, T)>);

impl<T: Copy + PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.0.push((1, value)),
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (count, value) = self.0.last_mut()?;
        let value = *value;
        *count -= 1;
        if *count == 0 {
            self.0.pop();
        }
        Some(value)
    }
}

impl Faststart {
    /// `codecs` as `Plan::codecs` has them: those of pictures are learnt from the segments.
    pub fn new(codecs: Vec<Codec>) -> Faststart {
        let table = |codec| Table {
            codec,
            is_learnt: false,
            is_uniform: true,
            start: 0,
            time: 0,
            sizes: Vec::new(),
            durations: Runs(Vec::new()),
            shifts: Runs(Vec::new()),
            keys: Vec::new(),
            chunks: Vec::new(),
        };
        Faststart { tracks: codecs.into_iter().map(table).collect(), data: 0 }
    }

    /// The next segment.
    pub fn add(&mut self, segment: &SegmentLayout) -> Result<()> {
        for (track, codec) in segment.codecs() {
            self.table(*track)?.learn(codec);
        }
        segment.fragments().iter().try_for_each(|fragment| self.add_fragment(fragment))
    }

    fn add_fragment(&mut self, fragment: &Fragment) -> Result<()> {
        let data = self.data;
        let table = self.table(fragment.track)?;
        if fragment.samples.is_empty() {
            return Ok(());
        }
        table.begin(fragment.decode_time);
        table.chunks.push((data, fragment.samples.len() as u32));
        fragment.samples.iter().for_each(|sample| table.push(sample));
        self.data += fragment.samples.iter().map(|s| u64::from(s.size)).sum::<u64>();
        Ok(())
    }

    fn table(&mut self, track: u32) -> Result<&mut Table> {
        let found = (track as usize).checked_sub(1).and_then(|n| self.tracks.get_mut(n));
        found.ok_or_else(|| Error::internal("a segment has a track that its plan has not"))
    }

    pub fn has_picture(&self) -> bool {
        self.tracks.iter().any(|t| t.codec.is_video())
    }

    /// Whether all pictures are coded alike, and so have one size.
    pub fn is_uniform(&self) -> bool {
        self.tracks.iter().all(|t| t.is_uniform)
    }

    /// How long it is.
    pub fn length(&self) -> Span {
        let spans = self.tracks.iter().map(|t| Span::of_ticks(t.time as i64, t.codec.timescale()));
        spans.max().unwrap_or_default()
    }

    /// Bytes of all samples: what has to follow the head.
    pub fn data_size(&self) -> u64 {
        self.data
    }

    /// All that stands before the first sample.
    pub fn head(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(64 + self.tracks.iter().map(|t| t.sizes.len() * 12).sum::<usize>());
        bx(&mut out, b"ftyp", |o| o.extend(b"isom\0\0\x02\0isomiso2avc1mp41"));
        let in_32_bits = self.data + 8 <= u64::from(u32::MAX);
        let data_header = if in_32_bits { 8 } else { 16 };
        // How large the index is does not depend on the offsets in it, but for how wide they are.
        let narrow = out.len() as u64 + self.index(0, false)?.len() as u64 + data_header;
        let is_wide = narrow + self.data > u64::from(u32::MAX);
        let size = if is_wide { self.index(0, true)?.len() } else { self.index(0, false)?.len() };
        out.extend(self.index(out.len() as u64 + size as u64 + data_header, is_wide)?);
        words(&mut out, &[if in_32_bits { self.data as u32 + 8 } else { 1 }]);
        out.extend(b"mdat");
        if !in_32_bits {
            out.extend((self.data + 16).to_be_bytes());
        }
        Ok(out)
    }

    /// `moov`, where the samples begin at `base`.
    fn index(&self, base: u64, is_wide: bool) -> Result<Vec<u8>> {
        let mut traks = Vec::new();
        for (table, id) in self.tracks.iter().zip(1..).filter(|(t, _)| !t.sizes.is_empty()) {
            table.trak(id, base, is_wide, &mut traks)?;
        }
        if traks.is_empty() {
            return Err(Error::not_found("a recording in this range"));
        }
        let mut out = Vec::new();
        bx(&mut out, b"moov", |o| {
            full(o, b"mvhd", 1, 0, |o| {
                words(o, &[0, 0, 0, 0, MOVIE_RATE]);
                o.extend((self.length().to_ticks(MOVIE_RATE) as u64).to_be_bytes());
                words(o, &[0x10000, 0x0100_0000, 0, 0]);
                words(o, &MATRIX);
                words(o, &[0, 0, 0, 0, 0, 0, self.tracks.len() as u32 + 1]);
            });
            o.extend(&traks);
        });
        Ok(out)
    }
}

impl Table {
    fn learn(&mut self, codec: &Codec) {
        if !self.is_learnt {
            (self.codec, self.is_learnt) = (codec.clone(), true);
        } else if self.codec != *codec {
            self.is_uniform = false;
        }
    }

    /// What comes next is decoded at `time`: until then the sample before it lasts.
    fn begin(&mut self, time: u64) {
        let Some(last) = self.durations.pop() else {
            (self.start, self.time) = (time, time);
            return;
        };
        let began = self.time - u64::from(last);
        let lasts = u32::try_from(time.saturating_sub(began).max(1)).unwrap_or(u32::MAX);
        self.durations.push(lasts);
        self.time = began + u64::from(lasts);
    }

    fn push(&mut self, sample: &FragmentSample) {
        self.sizes.push(sample.size);
        self.durations.push(sample.duration);
        self.shifts.push(sample.shift);
        if sample.key {
            self.keys.push(self.sizes.len() as u32);
        }
        self.time += u64::from(sample.duration);
    }

    fn trak(&self, id: u32, base: u64, is_wide: bool, out: &mut Vec<u8>) -> Result<()> {
        let (rate, is_video) = (self.codec.timescale(), self.codec.is_video());
        let (width, height) = if is_video { self.codec.picture_size()? } else { (0, 0) };
        let kind = if self.is_uniform { b"avc1" } else { b"avc3" };
        let entry = sample_entry(&self.codec, kind, width, height)?;
        let length = Span::of_ticks(self.time as i64, rate).to_ticks(MOVIE_RATE) as u64;
        bx(out, b"trak", |o| {
            full(o, b"tkhd", 1, 7, |o| {
                words(o, &[0, 0, 0, 0, id, 0]);
                o.extend(length.to_be_bytes());
                words(o, &[0, 0, 0, if is_video { 0 } else { 0x0100_0000 }]);
                words(o, &MATRIX);
                words(o, &[width << 16, height << 16]);
            });
            if self.start > 0 {
                let wait = Span::of_ticks(self.start as i64, rate).to_ticks(MOVIE_RATE) as u64;
                bx(o, b"edts", |o| full(o, b"elst", 1, 0, |o| edits(o, wait, length)));
            }
            bx(o, b"mdia", |o| {
                full(o, b"mdhd", 1, 0, |o| {
                    words(o, &[0, 0, 0, 0, rate]);
                    o.extend((self.time - self.start).to_be_bytes());
                    words(o, &[0x55c4_0000]);
                });
                handler(o, is_video);
                bx(o, b"minf", |o| media_information(o, is_video, |o| self.tables(o, &entry, base, is_wide)));
            });
        });
        Ok(())
    }

    fn tables(&self, o: &mut Vec<u8>, entry: &[u8], base: u64, is_wide: bool) {
        full(o, b"stsd", 0, 0, |o| {
            words(o, &[1]);
            o.extend(entry);
        });
        full(o, b"stts", 0, 0, |o| {
            words(o, &[self.durations.0.len() as u32]);
            self.durations.0.iter().for_each(|(count, lasts)| words(o, &[*count, *lasts]));
        });
        if self.shifts.0.iter().any(|(_, shift)| *shift != 0) {
            full(o, b"ctts", 1, 0, |o| {
                words(o, &[self.shifts.0.len() as u32]);
                self.shifts.0.iter().for_each(|(count, shift)| words(o, &[*count, shift.cast_unsigned()]));
            });
        }
        if self.keys.len() < self.sizes.len() {
            full(o, b"stss", 0, 0, |o| {
                words(o, &[self.keys.len() as u32]);
                words(o, &self.keys);
            });
        }
        full(o, b"stsc", 0, 0, |o| {
            let mut runs: Vec<[u32; 3]> = Vec::new();
            for ((_, count), n) in self.chunks.iter().zip(1..) {
                if runs.last().is_none_or(|[_, last, _]| last != count) {
                    runs.push([n, *count, 1]);
                }
            }
            words(o, &[runs.len() as u32]);
            runs.iter().for_each(|run| words(o, run));
        });
        full(o, b"stsz", 0, 0, |o| {
            words(o, &[0, self.sizes.len() as u32]);
            words(o, &self.sizes);
        });
        full(o, if is_wide { b"co64" } else { b"stco" }, 0, 0, |o| {
            words(o, &[self.chunks.len() as u32]);
            for (at, _) in &self.chunks {
                match is_wide {
                    true => o.extend((base + at).to_be_bytes()),
                    false => words(o, &[(base + at) as u32]),
                }
            }
        });
    }
}

/// Nothing for a while, then all of the track.
fn edits(o: &mut Vec<u8>, wait: u64, end: u64) {
    words(o, &[2]);
    for (lasts, from) in [(wait, -1_i64), (end.saturating_sub(wait), 0)] {
        o.extend(lasts.to_be_bytes());
        o.extend(from.to_be_bytes());
        words(o, &[0x10000]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aac() -> Codec {
        Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] }
    }

    fn fragment(track: u32, decode_time: u64, sizes: &[u32]) -> Fragment {
        let sample = |(n, size): (usize, &u32)| FragmentSample { duration: 1024, size: *size, key: n == 0, shift: 0 };
        Fragment { track, decode_time, samples: sizes.iter().enumerate().map(sample).collect() }
    }

    /// The words of a box, wherever it is.
    fn inside(head: &[u8], kind: &[u8; 4]) -> Vec<Vec<u32>> {
        let places = (4..head.len()).filter(|at| head[*at..].starts_with(kind));
        let size = |at: usize| u32::from_be_bytes(head[at - 4..at].try_into().unwrap()) as usize;
        let words = |body: &[u8]| body.chunks_exact(4).map(|w| u32::from_be_bytes(w.try_into().unwrap())).collect();
        places.map(|at| words(&head[at + 4..at - 4 + size(at)])).collect()
    }

    #[test]
    fn the_index_says_where_each_sample_lies() {
        let mut file = Faststart::new(vec![aac(), aac()]);
        for part in [fragment(1, 0, &[10, 20]), fragment(2, 0, &[7]), fragment(1, 2048, &[30]), fragment(1, 3172, &[5])]
        {
            file.add_fragment(&part).unwrap();
        }
        let head = file.head().unwrap();
        let base = head.len() as u32;
        assert_eq!(file.data_size(), 72);
        assert_eq!(inside(&head, b"stco"), [vec![0, 3, base, base + 37, base + 67], vec![0, 1, base + 30]]);
        assert_eq!(inside(&head, b"stsc")[0], [0, 2, 1, 2, 1, 2, 1, 1]);
        assert_eq!(inside(&head, b"stsz"), [vec![0, 0, 4, 10, 20, 30, 5], vec![0, 0, 1, 7]]);
        // The third lasts until the fourth begins.
        assert_eq!(inside(&head, b"stts")[0], [0, 3, 2, 1024, 1, 1124, 1, 1024]);
        assert_eq!(head[head.len() - 8..], [&80_u32.to_be_bytes()[..], b"mdat"].concat());
        assert_eq!(file.length(), Span::of_ticks(4196, 48_000));
    }

    #[test]
    fn a_file_of_more_than_four_gigabytes_has_wide_offsets() {
        let mut file = Faststart::new(vec![aac()]);
        for n in 0..3 {
            file.add_fragment(&fragment(1, n * 1024, &[2_000_000_000])).unwrap();
        }
        let head = file.head().unwrap();
        let wide = inside(&head, b"co64").remove(0);
        assert_eq!(wide[..4], [0, 3, 0, head.len() as u32]);
        assert_eq!((u64::from(wide[6]) << 32) + u64::from(wide[7]), head.len() as u64 + 4_000_000_000);
        assert_eq!(head[head.len() - 16..head.len() - 8], [&1_u32.to_be_bytes()[..], b"mdat"].concat());
        assert_eq!(head[head.len() - 8..], (6_000_000_016_u64).to_be_bytes());
    }

    #[test]
    fn a_track_that_begins_later_is_waited_for_and_nothing_is_no_file() {
        let mut file = Faststart::new(vec![aac()]);
        assert!(file.head().is_err());
        file.add_fragment(&fragment(1, 48_000, &[9])).unwrap();
        let head = file.head().unwrap();
        assert_eq!(
            inside(&head, b"elst"),
            [[0x0100_0000, 2, 0, 1000, u32::MAX, u32::MAX, 0x10000, 0, 21, 0, 0, 0x10000]]
        );
        assert!(file.add_fragment(&fragment(2, 0, &[9])).is_err(), "no such track");
    }
}
