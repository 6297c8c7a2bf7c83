//! Files that were cut, bent, or made to harm: each is refused or read within bounds of time, and none ends the reader.

use std::time::{Duration, Instant};

use vitascope_media::compile::{Answers, PlanOptions, plan};
use vitascope_media::mp4::{Movie, read};
use vitascope_model::error::ErrorKind;
use vitascope_model::{Result, TimeRange, WallTime};

use crate::mp4::{made, view};

/// Reads bytes as a file, with all that follows from it, and tells how it went.
fn try_read(bytes: &[u8]) -> Result<Option<Movie>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let began = Instant::now();
    let movie = read(file.path());
    if let Ok(Some(movie)) = &movie
        && let Some(range) = TimeRange::new(WallTime(0), WallTime(0) + movie.length)
    {
        for track in movie.tracks.iter().filter(|t| t.codec.is_some()) {
            let view = view(track, file.path());
            let ends = view.chunks.iter().map(|c| c.end);
            assert!(view.chunks.windows(2).all(|pair| pair[0].end <= pair[1].start), "{:?}", ends.collect::<Vec<_>>());
            if let Ok(plan) = plan(Some(&view), None, range, &PlanOptions::asset()) {
                (0..plan.segments()).for_each(|n| assert!(plan.segment_layout(n, &Answers::default()).is_ok()));
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    movie
}

fn bytes_of(options: &str) -> Vec<u8> {
    std::fs::read(made("30", options).path).unwrap()
}

/// Numbers that look as if nobody had chosen them.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn files_that_end_too_soon_are_refused() {
    let mut noise = Noise(1);
    for options in ["-bf 0 -g 30", "-bf 2 -g 60 -movflags +faststart", "-bf 0 -g 30 -movflags frag_keyframe+delay_moov"]
    {
        let bytes = bytes_of(options);
        for _ in 0..200 {
            let length = 40 + noise.below(bytes.len() - 41);
            let error = try_read(&bytes[..length]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{length} of {}: {error}", bytes.len());
        }
    }
}

#[test]
fn no_byte_of_the_description_can_harm() {
    let bytes = bytes_of("-bf 2 -g 15 -t 1.2 -movflags +faststart");
    let moov = bytes.windows(4).position(|w| w == b"moov").unwrap();
    let mdat = bytes.windows(4).position(|w| w == b"mdat").unwrap();
    let (mut refused, mut read) = (0, 0);
    for at in moov - 4..mdat {
        for flip in [0xff, 0x80, 1] {
            let mut bent = bytes.clone();
            bent[at] ^= flip;
            match try_read(&bent) {
                Ok(_) => read += 1,
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::InvalidArgument, "{at}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 300 && read > 300, "{refused} refused, {read} read");
}

#[test]
fn noise_in_the_description_can_not_harm() {
    let bytes = bytes_of("-bf 2 -g 15 -t 1.2 -movflags +faststart");
    let moov = bytes.windows(4).position(|w| w == b"moov").unwrap();
    let mdat = bytes.windows(4).position(|w| w == b"mdat").unwrap();
    let mut noise = Noise(2);
    for _ in 0..3000 {
        let mut bent = bytes.clone();
        for _ in 0..=noise.below(12) {
            // Whole words, too: it is the counts and sizes that matter.
            let at = moov - 4 + noise.below(mdat - moov);
            let word = [0, 1, u32::MAX, 0x7fff_ffff, 0x8000_0000, 0x0100_0000][noise.below(6)];
            bent[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        if let Err(error) = try_read(&bent) {
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
        }
    }
}

#[test]
fn noise_in_fragments_can_not_harm() {
    let bytes = bytes_of("-bf 0 -g 15 -t 4 -movflags frag_keyframe+empty_moov+default_base_moof");
    let moofs: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"moof")).collect();
    assert!(moofs.len() > 4);
    let mut noise = Noise(3);
    for _ in 0..3000 {
        let mut bent = bytes.clone();
        for _ in 0..=noise.below(6) {
            let at = moofs[noise.below(moofs.len())] - 4 + noise.below(300);
            let word = [0, 1, u32::MAX, 0x7fff_ffff, 0x8000_0000, 0x0100_0000][noise.below(6)];
            bent[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        if let Err(error) = try_read(&bent) {
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
        }
    }
}

#[test]
fn what_is_no_mp4_is_told_from_what_is_broken() {
    assert!(try_read(b"").unwrap().is_none());
    assert!(try_read(b"\x1a\x45\xdf\xa3 this is no such file at all").unwrap().is_none());
    assert!(try_read(b"ID3\x04\0\0\0\0\0\0").unwrap().is_none());
    assert!(try_read(b"\0\0\0\x10ftypisom\0\0\0\0").is_err());
    assert!(try_read(b"\0\0\0\x10ftypheic\0\0\0\0\0\0\0\x08meta").unwrap().is_none());
    let endless = [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], &b"\0\0\0\x08free".repeat(1 << 20)].concat();
    assert!(try_read(&endless).is_err());
    let nested = b"\0\0\xff\xf8moov".iter().copied().cycle().take(0xfff8).collect::<Vec<u8>>();
    assert!(try_read(&[&b"\0\0\0\x10ftypisom\0\0\0\0"[..], &nested].concat()).is_err());
}
