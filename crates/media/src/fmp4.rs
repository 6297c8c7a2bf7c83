//! Fragmented MP4 (ISO 14496-12, -14, -15): one init segment (`avc3`, `mp4a`) and a `moof` per media segment.
//! Boxes are written by closures that fill in their own size; nothing here reads media.

use vitascope_model::{Error, Result, Span};

use crate::codec::Codec;

/// Ticks a second of a movie as a whole.
pub(crate) const MOVIE_RATE: u32 = 1000;

/// One sample as a `trun` names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FragmentSample {
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) key: bool,
    /// Ticks from its decoding to its showing.
    pub(crate) shift: i32,
}

/// One track's part of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    /// From 1.
    pub(crate) track: u32,
    pub(crate) decode_time: u64,
    pub(crate) samples: Vec<FragmentSample>,
}

/// The init segment of tracks in these codecs. A stream has no length; a file that is all there says it, or players take its first
/// fragment for the whole.
pub(crate) fn init(codecs: &[&Codec], length: Span) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(1500);
    bx(&mut out, b"ftyp", |o| o.extend(b"iso6\0\0\0\0iso6cmfcmp41"));
    let mut traks = Vec::new();
    for (codec, id) in codecs.iter().zip(1..) {
        trak(&mut traks, codec, id, length)?;
    }
    let duration = ticks(length, MOVIE_RATE);
    bx(&mut out, b"moov", |o| {
        full(o, b"mvhd", 0, 0, |o| {
            words(o, &[0, 0, MOVIE_RATE, duration, 0x10000, 0x0100_0000, 0, 0]);
            words(o, &MATRIX);
            words(o, &[0, 0, 0, 0, 0, 0, codecs.len() as u32 + 1]);
        });
        o.extend(&traks);
        bx(o, b"mvex", |o| {
            if duration > 0 {
                full(o, b"mehd", 0, 0, |o| words(o, &[duration]));
            }
            for id in 1..=codecs.len() as u32 {
                full(o, b"trex", 0, 0, |o| words(o, &[id, 1, 0, 0, 0]));
            }
        });
    });
    Ok(out)
}

/// `moof` and the header of the `mdat` that follows; the samples must come after it in the same order.
pub(crate) fn moof(sequence: u32, fragments: &[Fragment]) -> Vec<u8> {
    let total = |f: &Fragment| f.samples.iter().map(|s| s.size).sum::<u32>();
    let build = |mut offset: u32| {
        let mut out = Vec::with_capacity(256 + fragments.iter().map(|f| f.samples.len() * 12).sum::<usize>());
        bx(&mut out, b"moof", |o| {
            full(o, b"mfhd", 0, 0, |o| words(o, &[sequence]));
            for f in fragments {
                traf(o, f, offset);
                offset += total(f);
            }
        });
        out
    };
    // The data begins after the box itself, whose size does not depend on the offset it holds.
    let size = build(0).len() as u32;
    let mut out = build(size + 8);
    words(&mut out, &[8 + fragments.iter().map(total).sum::<u32>()]);
    out.extend(b"mdat");
    out
}

fn traf(o: &mut Vec<u8>, f: &Fragment, offset: u32) {
    const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
    /// Data offset, and duration, size and flags of each sample.
    const TRUN: u32 = 0x701;
    /// And when it is shown, where that is not when it is decoded.
    const SHIFTS: u32 = 0x800;
    let shifted = f.samples.iter().any(|s| s.shift != 0);
    bx(o, b"traf", |o| {
        full(o, b"tfhd", 0, DEFAULT_BASE_IS_MOOF, |o| words(o, &[f.track]));
        full(o, b"tfdt", 1, 0, |o| o.extend(f.decode_time.to_be_bytes()));
        let (version, flags) = if shifted { (1, TRUN | SHIFTS) } else { (0, TRUN) };
        full(o, b"trun", version, flags, |o| {
            words(o, &[f.samples.len() as u32, offset]);
            for s in &f.samples {
                words(o, &[s.duration, s.size, if s.key { 0x0200_0000 } else { 0x0101_0000 }]);
                if shifted {
                    words(o, &[s.shift.cast_unsigned()]);
                }
            }
        });
    });
}

/// When the samples of a track are shown, in ticks and in the order in which they are decoded: read back from a segment that `moof` began.
pub(crate) fn shown_times(segment: &[u8], track: u32) -> Option<Vec<i64>> {
    let mut times = Vec::new();
    let moof = boxes(segment).find(|(kind, _)| *kind == b"moof")?.1;
    for (_, traf) in boxes(moof).filter(|(kind, _)| *kind == b"traf") {
        let inside = |wanted: &[u8; 4]| boxes(traf).find(|(kind, _)| *kind == wanted).map(|(_, body)| body);
        if word(inside(b"tfhd")?, 4)? != track {
            continue;
        }
        let mut time = i64::from_be_bytes(*inside(b"tfdt")?.get(4..)?.first_chunk()?);
        let trun = inside(b"trun")?;
        let shifted = word(trun, 0)? & 0x800 != 0;
        let per_sample = if shifted { 16 } else { 12 };
        for sample in trun.get(12..)?.chunks_exact(per_sample) {
            times.push(time + if shifted { i64::from(word(sample, 12)?.cast_signed()) } else { 0 });
            time += i64::from(word(sample, 0)?);
        }
    }
    Some(times)
}

/// Boxes one after the other, as far as they are well formed: kind and body.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = word(bytes, 0)? as usize;
        let (this, rest) = bytes.split_at_checked(size)?;
        let (kind, body) = this.get(4..)?.split_first_chunk()?;
        bytes = rest;
        Some((kind, body))
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// What does not fit the field (over thirteen hours of 90 kHz) is unknown, which is what zero means.
fn ticks(length: Span, rate: u32) -> u32 {
    u32::try_from(length.to_ticks(rate)).unwrap_or(0)
}

fn trak(o: &mut Vec<u8>, codec: &Codec, id: u32, length: Span) -> Result<()> {
    let (width, height) = if codec.is_video() { codec.picture_size()? } else { (0, 0) };
    let entry = sample_entry(codec, b"avc3", width, height)?;
    bx(o, b"trak", |o| {
        full(o, b"tkhd", 0, 7, |o| {
            words(
                o,
                &[0, 0, id, 0, ticks(length, MOVIE_RATE), 0, 0, 0, if codec.is_video() { 0 } else { 0x0100_0000 }],
            );
            words(o, &MATRIX);
            words(o, &[width << 16, height << 16]);
        });
        bx(o, b"mdia", |o| {
            full(o, b"mdhd", 0, 0, |o| {
                words(o, &[0, 0, codec.timescale(), ticks(length, codec.timescale()), 0x55c4_0000])
            });
            handler(o, codec.is_video());
            bx(o, b"minf", |o| {
                media_information(o, codec.is_video(), |o| {
                    full(o, b"stsd", 0, 0, |o| {
                        words(o, &[1]);
                        o.extend(&entry);
                    });
                    for (kind, zeros) in [(b"stts", 1), (b"stsc", 1), (b"stsz", 2), (b"stco", 1)] {
                        full(o, kind, 0, 0, |o| words(o, &[0, 0][..zeros]));
                    }
                });
            });
        });
    });
    Ok(())
}

pub(crate) fn handler(o: &mut Vec<u8>, is_video: bool) {
    full(o, b"hdlr", 0, 0, |o| {
        o.extend([0; 4]);
        o.extend(if is_video { b"vide" } else { b"soun" });
        o.extend([0; 13]);
    });
}

/// `tables` are those of the samples.
pub(crate) fn media_information(o: &mut Vec<u8>, is_video: bool, tables: impl FnOnce(&mut Vec<u8>)) {
    if is_video {
        full(o, b"vmhd", 0, 1, |o| o.extend([0; 8]));
    } else {
        full(o, b"smhd", 0, 0, |o| o.extend([0; 4]));
    }
    bx(o, b"dinf", |o| {
        full(o, b"dref", 0, 0, |o| {
            words(o, &[1]);
            full(o, b"url ", 0, 1, |_| {});
        });
    });
    bx(o, b"stbl", tables);
}

/// `picture` is `avc1` where the samples need no parameter sets but these, else `avc3`.
pub(crate) fn sample_entry(codec: &Codec, picture: &[u8; 4], width: u32, height: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match codec {
        Codec::H264 { sps, pps } => {
            if sps.len() < 4 || pps.is_empty() {
                return Err(Error::invalid("a picture track without parameter sets cannot be played"));
            }
            bx(&mut out, picture, |o| {
                o.extend([0, 0, 0, 0, 0, 0, 0, 1]);
                words(o, &[0, 0, 0, 0, width << 16 | height, 0x0048_0000, 0x0048_0000, 0, 0x0001_0000]);
                o.extend([0; 30]);
                o.extend([0, 24, 0xff, 0xff]);
                bx(o, b"avcC", |o| decoder_configuration(o, sps, pps));
            });
        }
        Codec::Aac { rate, channels, config } => bx(&mut out, b"mp4a", |o| {
            o.extend([0, 0, 0, 0, 0, 0, 0, 1]);
            words(o, &[0, 0, u32::from(*channels) << 16 | 16, 0, rate << 16]);
            full(o, b"esds", 0, 0, |o| {
                let n = config.len() as u8;
                o.extend([3, 23 + n, 0, 0, 0, 4, 15 + n, 0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, n]);
                o.extend(config);
                o.extend([6, 1, 2]);
            });
        }),
    }
    Ok(out)
}

fn decoder_configuration(o: &mut Vec<u8>, sps: &[u8], pps: &[u8]) {
    o.extend([1, sps[1], sps[2], sps[3], 0xff]);
    for (count, set) in [(0xe1, sps), (1, pps)] {
        o.push(count);
        o.extend((set.len() as u16).to_be_bytes());
        o.extend(set);
    }
    if matches!(sps[1], 100 | 110 | 122 | 244) {
        o.extend([0xfd, 0xf8, 0xf8, 0]); // 4:2:0, 8 bit, no SPS extension
    }
}

pub(crate) const MATRIX: [u32; 9] = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000];

pub(crate) fn bx(out: &mut Vec<u8>, kind: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    words(out, &[0]);
    out.extend(kind);
    body(out);
    let size = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

pub(crate) fn full(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Vec<u8>)) {
    bx(out, kind, |o| {
        words(o, &[u32::from(version) << 24 | flags]);
        body(o);
    });
}

pub(crate) fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|w| w.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_says_where_each_sample_lies_and_which_are_key_frames() {
        let sample = |duration, size, key| FragmentSample { duration, size, key, shift: 0 };
        let samples = vec![sample(3000, 700, true), sample(1500, 90, false)];
        let first = Fragment { track: 1, decode_time: 5 << 32, samples };
        let second = Fragment { track: 2, decode_time: 9, samples: vec![sample(1024, 6, true)] };
        let out = moof(7, &[first, second]);
        let words: Vec<u32> = out.chunks_exact(4).map(|b| u32::from_be_bytes(b.try_into().unwrap())).collect();
        let inside = |kind: &[u8; 4]| -> Vec<&[u32]> {
            let found = words.iter().enumerate().filter(|(_, w)| w.to_be_bytes() == *kind);
            found.map(|(at, _)| &words[at + 1..at - 1 + words[at - 1] as usize / 4]).collect()
        };
        let data = out.len() as u32;
        // Flags, samples, where the data begins, then duration, size and flags of each.
        let pictures = [0x701, 2, data, 3000, 700, 0x0200_0000, 1500, 90, 0x0101_0000];
        let sound = [0x701, 1, data + 790, 1024, 6, 0x0200_0000];
        assert_eq!(inside(b"trun"), [&pictures[..], &sound]);
        assert_eq!(inside(b"tfdt"), [[0x0100_0000, 5, 0], [0x0100_0000, 0, 9]]);
        assert_eq!(words[0] + 8, data, "the header of mdat is the last of it");
        assert_eq!(words[words.len() - 2..], [8 + 796, u32::from_be_bytes(*b"mdat")]);
    }

    #[test]
    fn the_times_that_were_written_are_read_back() {
        let sample = |duration, shift| FragmentSample { duration, size: 1, key: false, shift };
        let fragment = |samples| Fragment { track: 1, decode_time: 9000, samples };
        let sound = Fragment { track: 2, decode_time: 5, samples: vec![sample(1024, 0)] };
        let plain = moof(1, &[fragment(vec![sample(3000, 0), sample(1500, 0), sample(1, 0)]), sound]);
        assert_eq!(shown_times(&plain, 1).unwrap(), [9000, 12_000, 13_500]);
        assert_eq!(shown_times(&plain, 2).unwrap(), [5]);
        let reordered = moof(1, &[fragment(vec![sample(3000, 0), sample(3000, 3000), sample(3000, -3000)])]);
        assert_eq!(shown_times(&reordered, 1).unwrap(), [9000, 15_000, 12_000]);
        assert_eq!(shown_times(&reordered[..40], 1), None);
    }
}
