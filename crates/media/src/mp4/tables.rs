//! The sample tables of a track, unrolled: where each sample lies, how long it is, when it is decoded and shown, whether it is a key
//! frame. Tables come from strangers: no count is believed before the bytes that back it were seen, and no sample lies outside the file.

use vitascope_model::Result;

use super::boxes::{Fields, Rows, broken, find, need};

/// A sample as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// From the beginning of the file.
    pub(super) offset: u64,
    /// When it is decoded, in the track's own ticks.
    pub(super) time: i64,
    pub(super) size: u32,
    /// Ticks until it is shown.
    pub(super) shift: i32,
    pub(super) key: bool,
}

/// What a file may have of samples before it is too much to hold in memory: half a day of 60 frames a second, with sound.
pub(super) const MOST_SAMPLES: usize = 4 << 20;

/// The tables of one track, still in the file's form.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    /// Samples, and ticks of each.
    times: Rows<'a, 2>,
    /// Samples, and ticks until each is shown.
    shifts: Rows<'a, 2>,
    /// Numbers of the key frames, from 1; None: all are.
    keys: Option<Rows<'a, 1>>,
    /// First chunk of the file, samples in each, sample description.
    chunks: Rows<'a, 3>,
    sizes: Sizes<'a>,
    offsets: Offsets<'a>,
}

#[derive(Debug)]
enum Sizes<'a> {
    Same {
        size: u32,
        count: u32,
    },
    Words(Rows<'a, 1>),
    /// `stz2`: so many bits each.
    Bits {
        bits: u8,
        count: u32,
        bytes: &'a [u8],
    },
}

#[derive(Debug)]
enum Offsets<'a> {
    Short(Rows<'a, 1>),
    Long(Rows<'a, 2>),
}

impl<'a> Tables<'a> {
    /// From an `stbl`.
    pub(super) fn parse(stbl: &'a [u8]) -> Result<Tables<'a>> {
        let keys = find(stbl, b"stss")?.map(|b| rows(b, "stss")).transpose()?;
        let shifts = find(stbl, b"ctts")?.map(|b| rows(b, "ctts")).transpose()?.unwrap_or_default();
        let offsets = match find(stbl, b"stco")? {
            Some(short) => Offsets::Short(rows(short, "stco")?),
            None => Offsets::Long(rows(need(stbl, b"co64")?, "co64")?),
        };
        let times = rows(need(stbl, b"stts")?, "stts")?;
        let chunks = rows(need(stbl, b"stsc")?, "stsc")?;
        Ok(Tables { times, shifts, keys, chunks, sizes: Sizes::parse(stbl)?, offsets })
    }

    pub(super) fn count(&self) -> usize {
        match self.sizes {
            Sizes::Same { count, .. } | Sizes::Bits { count, .. } => count as usize,
            Sizes::Words(rows) => rows.len(),
        }
    }

    /// How long all samples last together.
    pub(super) fn ticks(&self) -> u64 {
        self.times.iter().map(|[count, ticks]| u64::from(count) * u64::from(ticks)).fold(0, u64::saturating_add)
    }

    /// Ticks until the first sample is shown.
    pub(super) fn first_shift(&self) -> i32 {
        self.shifts.iter().next().map_or(0, |[_, shift]| shift.cast_signed())
    }

    /// Whether every sample is described by the first description.
    pub(super) fn has_one_description(&self) -> bool {
        self.chunks.iter().all(|[_, _, description]| description == 1)
    }

    /// All samples. `file` is the length of the file that they must lie in.
    pub(super) fn samples(&self, file: u64) -> Result<Vec<Sample>> {
        // A size for all is the one count that no bytes back.
        if let Sizes::Same { size, count } = self.sizes
            && u64::from(size) * u64::from(count) > file
        {
            return Err(broken("more samples than the file has room for"));
        }
        let mut samples = Vec::with_capacity(self.count());
        self.place(file, &mut samples)?;
        self.time(&mut samples)?;
        if let Some(keys) = self.keys {
            samples.iter_mut().for_each(|s| s.key = false);
            let mut last = 0;
            for [number] in keys.iter() {
                if number <= last {
                    return Err(broken("key frames that are not in order"));
                }
                last = number;
                let sample = samples.get_mut(number as usize - 1);
                sample.ok_or_else(|| broken("a key frame beyond the last sample"))?.key = true;
            }
        }
        Ok(samples)
    }

    /// Offsets and sizes.
    fn place(&self, file: u64, samples: &mut Vec<Sample>) -> Result<()> {
        let (mut sizes, count) = (self.sizes.iter(), self.count());
        let mut runs = self.chunks.iter().peekable();
        let (mut each, mut total) = (0, 0_u64);
        for (number, offset) in (1..).zip(self.offsets.iter()) {
            while let Some([_, samples, _]) = runs.next_if(|[first, _, _]| *first <= number) {
                each = samples;
            }
            let mut offset = offset;
            for size in sizes.by_ref().take(each as usize) {
                let end = offset.checked_add(u64::from(size)).filter(|end| *end <= file);
                total += u64::from(size);
                let end = end.filter(|_| total <= file).ok_or_else(|| broken("it ends before its last sample"))?;
                samples.push(Sample { offset, size, time: 0, shift: 0, key: true });
                offset = end;
            }
        }
        if samples.len() != count {
            return Err(broken("samples that lie nowhere"));
        }
        Ok(())
    }

    /// When they are decoded and shown.
    fn time(&self, samples: &mut [Sample]) -> Result<()> {
        let mut steps = self.times.iter().flat_map(|[count, ticks]| std::iter::repeat_n(ticks, count as usize));
        let mut time = 0;
        for sample in samples.iter_mut() {
            sample.time = time;
            let step = steps.next().ok_or_else(|| broken("samples without a time"))?;
            time = i64::from(step).checked_add(time).ok_or_else(|| broken("it lasts for ever"))?;
        }
        let shifts = self.shifts.iter().flat_map(|[count, shift]| std::iter::repeat_n(shift, count as usize));
        for (sample, shift) in samples.iter_mut().zip(shifts) {
            // Version 0 has no sign by the book, and one by those who write it.
            sample.shift = shift.cast_signed();
        }
        Ok(())
    }
}

fn rows<'a, const N: usize>(bytes: &'a [u8], of: &'static str) -> Result<Rows<'a, N>> {
    let (_, mut fields) = Fields::versioned(bytes, of)?;
    let count = fields.u32()?;
    fields.rows(count)
}

impl<'a> Sizes<'a> {
    fn parse(stbl: &'a [u8]) -> Result<Sizes<'a>> {
        if let Some(stsz) = find(stbl, b"stsz")? {
            let (_, mut fields) = Fields::versioned(stsz, "stsz")?;
            let (size, count) = (fields.u32()?, fields.u32()?);
            // Nothing at all needs no table either, but is not taken for sizes of 0.
            return Ok(if size > 0 { Sizes::Same { size, count } } else { Sizes::Words(fields.rows(count)?) });
        }
        let (_, mut fields) = Fields::versioned(need(stbl, b"stz2")?, "stz2")?;
        let (bits, count) = (fields.u32()? as u8, fields.u32()?);
        if !matches!(bits, 4 | 8 | 16) {
            return Err(broken("sample sizes of an odd width"));
        }
        let bytes = fields.take((u64::from(count) * u64::from(bits)).div_ceil(8) as usize)?;
        Ok(Sizes::Bits { bits, count, bytes })
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match *self {
            Sizes::Same { size, count } => Box::new(std::iter::repeat_n(size, count as usize)),
            Sizes::Words(rows) => Box::new(rows.iter().map(|[size]| size)),
            Sizes::Bits { bits: 16, bytes, .. } => {
                Box::new(bytes.chunks_exact(2).map(|b| u32::from(b[0]) << 8 | u32::from(b[1])))
            }
            Sizes::Bits { bits: 8, bytes, .. } => Box::new(bytes.iter().map(|b| u32::from(*b))),
            Sizes::Bits { count, bytes, .. } => {
                let nibbles = bytes.iter().flat_map(|b| [u32::from(b >> 4), u32::from(b & 15)]);
                Box::new(nibbles.take(count as usize))
            }
        }
    }
}

impl Offsets<'_> {
    fn iter(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match *self {
            Offsets::Short(rows) => Box::new(rows.iter().map(|[offset]| u64::from(offset))),
            Offsets::Long(rows) => Box::new(rows.iter().map(|[high, low]| u64::from(high) << 32 | u64::from(low))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bx(kind: &Kind, words: &[u32]) -> Vec<u8> {
        let body: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
    }

    use super::super::boxes::Kind;

    /// Five samples in three chunks of the file, the last two shown the other way round.
    fn tables() -> Vec<(&'static Kind, Vec<u32>)> {
        vec![
            (b"stts", vec![0, 2, 4, 10, 1, 7]),
            (b"ctts", vec![0, 3, 3, 10, 1, 20, 1, 3]),
            (b"stss", vec![0, 2, 1, 4]),
            (b"stsc", vec![0, 2, 1, 2, 1, 3, 1, 1]),
            (b"stsz", vec![0, 0, 5, 100, 10, 20, 200, 30]),
            (b"stco", vec![0, 3, 1000, 1400, 1300]),
        ]
    }

    fn stbl(tables: &[(&Kind, Vec<u32>)]) -> Vec<u8> {
        tables.iter().flat_map(|(kind, words)| bx(kind, words)).collect()
    }

    fn unrolled(tables: &[(&Kind, Vec<u32>)], file: u64) -> Result<Vec<Sample>> {
        Tables::parse(&stbl(tables))?.samples(file)
    }

    fn expected() -> Vec<Sample> {
        let sample = |offset, time, size, shift, key| Sample { offset, time, size, shift, key };
        vec![
            sample(1000, 0, 100, 10, true),
            sample(1100, 10, 10, 10, false),
            sample(1400, 20, 20, 10, false),
            sample(1420, 30, 200, 20, true),
            sample(1300, 40, 30, 3, false),
        ]
    }

    #[test]
    fn tables_unroll_to_samples() {
        assert_eq!(unrolled(&tables(), 1620).unwrap(), expected());
        let bytes = stbl(&tables());
        let parsed = Tables::parse(&bytes).unwrap();
        assert_eq!((parsed.ticks(), parsed.first_shift(), parsed.has_one_description()), (47, 10, true));
    }

    #[test]
    fn small_sizes_and_far_offsets_read_alike() {
        let mut other = tables();
        other[4] = (b"stz2", vec![0, 16, 5, 100 << 16 | 10, 20 << 16 | 200, 30 << 16]);
        other[5] = (b"co64", vec![0, 3, 0, 1000, 0, 1400, 0, 1300]);
        assert_eq!(unrolled(&other, 1620).unwrap(), expected());
        other[4] = (b"stz2", vec![0, 8, 5, 0x640a_14c8, 30 << 24]);
        assert_eq!(unrolled(&other, 1620).unwrap(), expected());
        other[4] = (b"stz2", vec![0, 4, 5, 0x123a_f000]);
        let sizes: Vec<u32> = unrolled(&other, 1620).unwrap().iter().map(|s| s.size).collect();
        assert_eq!(sizes, [1, 2, 3, 10, 15]);
    }

    #[test]
    fn tables_that_lie_are_refused() {
        assert!(unrolled(&tables(), 1619).is_err(), "a sample that ends behind the file");
        let cases: [(usize, Vec<u32>); 9] = [
            (0, vec![0, 1, 4, 10]),
            (0, vec![0, 9, 4, 10]),
            (2, vec![0, 2, 4, 1]),
            (2, vec![0, 1, 6]),
            (2, vec![0, 1, 0]),
            (3, vec![0, 1, 1, 1, 1]),
            (4, vec![0, 7, u32::MAX]),
            (4, vec![0, 0, u32::MAX, 1]),
            (5, vec![0, 2, 1000, 1400]),
        ];
        for (table, words) in cases {
            let mut lying = tables();
            lying[table].1 = words;
            assert!(unrolled(&lying, 1620).is_err(), "{lying:?}");
        }
    }

    #[test]
    fn samples_that_share_bytes_are_no_way_to_grow() {
        let mut shared = tables();
        shared[5].1 = vec![0, 3, 1000, 1000, 1000];
        assert!(unrolled(&shared, 1620).is_ok());
        shared[4].1 = vec![0, 0, 5, 600, 600, 600, 600, 600];
        shared[3].1 = vec![0, 1, 1, 1, 1];
        shared[5].1 = vec![0, 5, 1000, 1000, 1000, 1000, 1000];
        assert!(unrolled(&shared, 1620).is_err());
    }
}
