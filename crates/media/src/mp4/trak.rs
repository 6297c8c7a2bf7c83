//! One `trak` of a file, taken apart: what it is, how it is turned, what it is coded in, its clock, and its tables as they lie.
//! Pictures and sound only; other tracks are passed over.

use vitascope_model::Result;
use vitascope_model::capture::MediaKind;

use super::boxes::{Fields, boxes, broken, find, need};
use super::entry::{self, Entry};
use super::fragments::Fragmented;
use super::tables::{Sample, Tables};
use super::timeline::{Edit, Times, edit};

#[derive(Debug)]
pub(super) struct Trak<'a> {
    /// As fragments name it.
    pub(super) id: u32,
    pub(super) kind: MediaKind,
    pub(super) is_enabled: bool,
    /// Degrees, clockwise.
    pub(super) rotation: u16,
    pub(super) entry: Entry,
    pub(super) times: Times,
    /// None where nobody here could read the samples anyway.
    pub(super) tables: Option<Tables<'a>>,
    /// What follows the tables, where the film is in fragments.
    pub(super) fragments: Vec<Sample>,
}

/// The movie's own clock and matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) rate: u32,
    turn: Turn,
}

/// How pictures are turned: by quarters, or in a way that has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    By(u16),
    Otherwise,
}

impl Header {
    /// From an `mvhd`.
    pub(super) fn parse(mvhd: &[u8]) -> Result<Header> {
        let (version, mut fields) = Fields::versioned(mvhd, "mvhd")?;
        fields.skip(if version == 1 { 16 } else { 8 })?;
        let rate = fields.u32()?;
        fields.long(version)?;
        fields.skip(16)?;
        Ok(Header { rate, turn: turn(&mut fields)? })
    }
}

impl<'a> Trak<'a> {
    /// None: neither pictures nor sound.
    pub(super) fn parse(trak: &'a [u8], movie: Header) -> Result<Option<Trak<'a>>> {
        let mdia = need(trak, b"mdia")?;
        let Some(kind) = kind(need(mdia, b"hdlr")?)? else { return Ok(None) };
        let (id, is_enabled, own_turn) = track_header(need(trak, b"tkhd")?)?;
        let minf = need(mdia, b"minf")?;
        let stbl = need(minf, b"stbl")?;
        let mut entry = entry::parse(need(stbl, b"stsd")?)?;
        let elst = find(trak, b"edts")?.map(|edts| find(edts, b"elst")).transpose()?.flatten();
        let (edit, edit_obstacle) = elst.map(edit).transpose()?.unwrap_or((Edit::default(), None));
        let (track_rate, length) = media_header(need(mdia, b"mdhd")?)?;
        let tables = match (&entry.codec, Tables::parse(stbl)) {
            (Some(_), tables) => Some(tables?),
            (None, tables) => tables.ok(),
        };
        let (first, ticks) = match &tables {
            Some(tables) if tables.count() > 0 => (tables.first_shift().into(), tables.ticks()),
            _ => (0, length),
        };
        let end = i64::try_from(ticks).ok().and_then(|ticks| ticks.checked_add(first));
        let end = end.ok_or_else(|| broken("it lasts for ever"))?;
        let times = Times { movie_rate: movie.rate, track_rate, edit, first, end };
        times.check()?;
        let turn_obstacle = (kind == MediaKind::Video && (own_turn, movie.turn) != (Turn::By(0), Turn::By(0)))
            .then_some("pictures that are to be turned");
        let lies_elsewhere = tables.as_ref().is_some_and(|t| !t.has_one_description()) || !is_self_contained(minf)?;
        let place_obstacle = lies_elsewhere.then_some("samples of another description, or in another file");
        entry.obstacle = entry.obstacle.or(edit_obstacle).or(turn_obstacle).or(place_obstacle);
        let rotation = if let Turn::By(degrees) = own_turn { degrees } else { 0 };
        Ok(Some(Trak { id, kind, is_enabled, rotation, entry, times, tables, fragments: Vec::new() }))
    }

    /// Adds what fragments hold of it.
    pub(super) fn add(&mut self, mut fragmented: Fragmented) -> Result<()> {
        let (Some(first), Some(last)) = (fragmented.samples.first(), fragmented.samples.last()) else { return Ok(()) };
        let shift = i64::from(first.shift);
        if self.tables.as_ref().is_none_or(|t| t.count() == 0) {
            self.times.first = first.time + shift;
        }
        self.times.end = fragmented.end.max(last.time) + shift;
        if self.kind == MediaKind::Audio {
            // Every frame of sound can be begun with, whatever its flags say.
            fragmented.samples.iter_mut().for_each(|s| s.key = true);
        }
        self.fragments = fragmented.samples;
        self.times.check()
    }
}

fn kind(hdlr: &[u8]) -> Result<Option<MediaKind>> {
    let mut fields = Fields::new(hdlr, "hdlr");
    fields.skip(8)?;
    Ok(match fields.take(4)? {
        b"vide" => Some(MediaKind::Video),
        b"soun" => Some(MediaKind::Audio),
        _ => None,
    })
}

/// Its id, whether it is enabled, and how it is turned.
fn track_header(tkhd: &[u8]) -> Result<(u32, bool, Turn)> {
    let (version, flags, mut fields) = Fields::flagged(tkhd, "tkhd")?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    let id = fields.u32()?;
    fields.skip(4)?;
    fields.long(version)?;
    fields.skip(16)?;
    Ok((id, flags & 1 > 0, turn(&mut fields)?))
}

/// Ticks a second, and how many; all ones stand for a length that is not known.
fn media_header(mdhd: &[u8]) -> Result<(u32, u64)> {
    let (version, mut fields) = Fields::versioned(mdhd, "mdhd")?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    let rate = fields.u32()?;
    let length = fields.long(version)?;
    let unknown = if version == 1 { u64::MAX } else { u64::from(u32::MAX) };
    Ok((rate, if length == unknown { 0 } else { length }))
}

fn turn(fields: &mut Fields<'_>) -> Result<Turn> {
    const ONE: i32 = 0x10000;
    let mut matrix = [0; 9];
    for cell in &mut matrix {
        *cell = fields.u32()?.cast_signed();
    }
    let [a, b, _, c, d, ..] = matrix;
    Ok(match [a, b, c, d].map(|cell| if cell % ONE == 0 { cell / ONE } else { 9 }) {
        [1, 0, 0, 1] => Turn::By(0),
        [0, 1, -1, 0] => Turn::By(90),
        [-1, 0, 0, -1] => Turn::By(180),
        [0, -1, 1, 0] => Turn::By(270),
        _ => Turn::Otherwise,
    })
}

/// Whether all that the track refers to is the file itself.
fn is_self_contained(minf: &[u8]) -> Result<bool> {
    let dref = find(minf, b"dinf")?.map(|dinf| find(dinf, b"dref")).transpose()?.flatten();
    let Some(dref) = dref else { return Ok(true) };
    let (_, mut fields) = Fields::versioned(dref, "dref")?;
    fields.skip(4)?;
    for reference in boxes(fields.rest()) {
        let (_, flags, _) = Fields::flagged(reference?.body, "dref")?;
        if flags & 1 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
