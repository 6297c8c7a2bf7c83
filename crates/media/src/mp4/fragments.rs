//! The samples of a film in fragments (`moof`), as recorders write it that must not lose all at a power cut: unrolled to the same form
//! as those of a table. Fragments are read one by one, and what they claim is held against the file as tables are.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use vitascope_model::Result;
use vitascope_model::error::Context;

use super::boxes::{Fields, boxes, broken, find, header, need};
use super::layout::Layout;
use super::tables::Sample;

/// The description of one fragment: half a million samples.
const MOST_MOOF: u64 = 8 << 20;

/// What the fragments hold of one track.
#[derive(Debug, Default)]
pub(super) struct Fragmented {
    pub(super) samples: Vec<Sample>,
    /// When the last one ends, in the track's ticks.
    pub(super) end: i64,
    defaults: Defaults,
    /// Bytes of all samples.
    total: u64,
}

/// What holds of a sample that says nothing else.
#[derive(Clone, Copy, Debug, Default)]
struct Defaults {
    description: u32,
    duration: u32,
    size: u32,
    flags: u32,
}

/// All fragments, by the ids of their tracks. `room` is how many samples may be unrolled.
pub(super) fn read(file: &File, layout: &Layout, room: &mut usize) -> Result<HashMap<u32, Fragmented>> {
    let mut tracks = HashMap::new();
    for found in boxes(need(&layout.moov, b"mvex")?) {
        let found = found?;
        if found.kind == *b"trex" {
            let (_, mut fields) = Fields::versioned(found.body, "trex")?;
            let id = fields.u32()?;
            let defaults = Defaults {
                description: fields.u32()?,
                duration: fields.u32()?,
                size: fields.u32()?,
                flags: fields.u32()?,
            };
            tracks.insert(id, Fragmented { defaults, ..Fragmented::default() });
        }
    }
    let mut moof = Vec::new();
    for (at, length) in &layout.moofs {
        if *length > MOST_MOOF {
            return Err(broken(format!("a fragment whose description has {length} bytes; {MOST_MOOF} are read")));
        }
        moof.resize(*length as usize, 0);
        file.read_exact_at(&mut moof, *at).internal("read a fragment")?;
        let head = header(&moof)?.map_or(8, |(_, head, _)| head as usize);
        let mut end = *at;
        for found in boxes(&moof[head..]) {
            let found = found?;
            if found.kind == *b"traf" {
                traf(found.body, *at, &mut end, &mut tracks, layout.size, room)?;
            }
        }
    }
    Ok(tracks)
}

/// One track's part of a fragment; `end` is where the data of the part before ended.
fn traf(
    traf: &[u8],
    moof: u64,
    end: &mut u64,
    tracks: &mut HashMap<u32, Fragmented>,
    file: u64,
    room: &mut usize,
) -> Result<()> {
    const BASE: u32 = 0x01;
    const DESCRIPTION: u32 = 0x02;
    const DURATION: u32 = 0x08;
    const SIZE: u32 = 0x10;
    const FLAGS: u32 = 0x20;
    const FROM_MOOF: u32 = 0x2_0000;
    let (_, flags, mut fields) = Fields::flagged(need(traf, b"tfhd")?, "tfhd")?;
    let Some(track) = tracks.get_mut(&fields.u32()?) else { return Ok(()) };
    let base = match flags {
        _ if flags & BASE > 0 => fields.u64()?,
        _ if flags & FROM_MOOF > 0 => moof,
        _ => *end,
    };
    let mut defaults = track.defaults;
    for (flag, field) in [
        (DESCRIPTION, &mut defaults.description),
        (DURATION, &mut defaults.duration),
        (SIZE, &mut defaults.size),
        (FLAGS, &mut defaults.flags),
    ] {
        *field = if flags & flag > 0 { fields.u32()? } else { *field };
    }
    if defaults.description > 1 {
        return Err(broken("a fragment of another description"));
    }
    if let Some(tfdt) = find(traf, b"tfdt")? {
        let (version, mut fields) = Fields::versioned(tfdt, "tfdt")?;
        // So far from any clock that sums stay sums.
        let time = i64::try_from(fields.long(version)?).ok().filter(|time| *time < 1 << 60);
        track.end = time.ok_or_else(|| broken("a fragment at the end of time"))?;
    }
    *end = base;
    for found in boxes(traf) {
        let found = found?;
        if found.kind == *b"trun" {
            *end = run(found.body, base, *end, &defaults, track, file, room)?;
        }
    }
    Ok(())
}

/// Samples in a row; returns where they end.
fn run(
    trun: &[u8],
    base: u64,
    mut offset: u64,
    defaults: &Defaults,
    track: &mut Fragmented,
    file: u64,
    room: &mut usize,
) -> Result<u64> {
    const OFFSET: u32 = 0x01;
    const FIRST_FLAGS: u32 = 0x04;
    const NOT_SYNC: u32 = 0x1_0000;
    let (_, flags, mut fields) = Fields::flagged(trun, "trun")?;
    let count = fields.u32()?;
    if flags & OFFSET > 0 {
        let shift = i64::from(fields.u32()?.cast_signed());
        offset = base.checked_add_signed(shift).ok_or_else(|| broken("a fragment that lies nowhere"))?;
    }
    let mut first_flags = if flags & FIRST_FLAGS > 0 { Some(fields.u32()?) } else { None };
    *room = room.checked_sub(count as usize).ok_or_else(|| broken("more samples than are kept in memory"))?;
    for _ in 0..count {
        let mut field = |flag: u32, usual: u32| if flags & flag > 0 { fields.u32() } else { Ok(usual) };
        let (duration, size) = (field(0x100, defaults.duration)?, field(0x200, defaults.size)?);
        let own_flags = field(0x400, first_flags.take().unwrap_or(defaults.flags))?;
        let shift = field(0x800, 0)?.cast_signed();
        let end = offset.checked_add(u64::from(size)).filter(|end| *end <= file);
        track.total += u64::from(size);
        let end = end.filter(|_| track.total <= file).ok_or_else(|| broken("it ends before its last sample"))?;
        let key = own_flags & NOT_SYNC == 0;
        track.samples.push(Sample { offset, time: track.end, size, shift, key });
        track.end += i64::from(duration);
        offset = end;
    }
    Ok(offset)
}
