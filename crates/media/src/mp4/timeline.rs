//! When the samples of a track are shown: edit lists applied, and the track's ticks turned into the codec's, from running sums so that
//! nothing drifts. What an edit list asks for that samples as they lie cannot give is an obstacle, not an error.

use vitascope_model::error::Result;

use super::boxes::{Fields, broken};
use super::tables::Sample;
use crate::codec::{AAC_FRAME, Codec};

/// Seconds. Longer is not believed: it would be promised in rows by the million.
pub(super) const LONGEST: u64 = 7 * 24 * 3600;
/// A track may count from another century, as what was live does.
const FARTHEST: u64 = 1 << 32;

/// What an edit list comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Ticks of the movie before the track begins.
    pub(super) lead: u64,
    /// The track's tick that is shown first.
    pub(super) from: i64,
    /// How many of the movie's ticks of it are shown; 0: all.
    pub(super) length: u64,
}

/// From an `elst`; the obstacle is what more it asks for.
pub(super) fn edit(elst: &[u8]) -> Result<(Edit, Option<&'static str>)> {
    let (version, mut fields) = Fields::versioned(elst, "elst")?;
    let (mut edit, mut is_found, mut obstacle) = (Edit::default(), false, None);
    for _ in 0..fields.u32()? {
        let length = fields.long(version)?;
        let from = if version == 1 { fields.u64()?.cast_signed() } else { fields.u32()?.cast_signed().into() };
        let rate = fields.u32()?;
        match (is_found, from) {
            (false, ..0) => edit.lead = edit.lead.saturating_add(length),
            (false, _) => {
                (edit.from, edit.length, is_found) = (from, length, true);
                obstacle = (rate != 0x10000).then_some("a speed that is not 1");
            }
            (true, _) => obstacle = Some("several edits"),
        }
    }
    Ok((edit, obstacle))
}

/// The track's ticks as the codec's, counted from the film's first moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// The track's tick that is `lead`.
    from: i64,
    lead: i64,
    track_rate: u32,
    rate: u32,
}

impl Clock {
    pub(super) fn ticks(&self, track_ticks: i64) -> i64 {
        self.lead + scale(track_ticks - self.from, self.rate, self.track_rate)
    }
}

/// `n` ticks at `from` a second as ticks at `to`, to the nearest.
fn scale(n: i64, to: u32, from: u32) -> i64 {
    let (to, from) = (i64::from(to), i64::from(from));
    n.div_euclid(from) * to + (n.rem_euclid(from) * to + from / 2) / from
}

/// The samples that are shown, and when.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) samples: Vec<Sample>,
    clock: Clock,
    /// The first one's shift: decoding is told as late as that, so that what is decoded first is shown at once.
    shift: i64,
    /// The track's tick at which the last one ends.
    end: i64,
    is_picture: bool,
}

/// What the container says of a track's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) movie_rate: u32,
    pub(super) track_rate: u32,
    pub(super) edit: Edit,
    /// The track's ticks at which the first sample is shown and the last one ends, if nothing is edited.
    pub(super) first: i64,
    pub(super) end: i64,
}

impl Times {
    /// Microseconds before anything of the track is shown.
    pub(super) fn start(&self) -> i64 {
        let late = (self.first - self.edit.from).max(0);
        scale(self.edit.lead as i64, 1_000_000, self.movie_rate) + scale(late, 1_000_000, self.track_rate)
    }

    /// Microseconds until its end.
    pub(super) fn end(&self) -> i64 {
        let lead = scale(self.edit.lead as i64, 1_000_000, self.movie_rate);
        lead + scale(self.last_tick() - self.edit.from, 1_000_000, self.track_rate).max(0)
    }

    /// The track's tick at which the showing ends.
    fn last_tick(&self) -> i64 {
        let cut = self.edit.from + scale(self.edit.length as i64, self.track_rate, self.movie_rate);
        // Lengths in the movie's ticks are rounded, this way or that.
        let is_rounded = self.end - cut <= i64::from(self.track_rate / self.movie_rate) + 1;
        if self.edit.length == 0 || is_rounded { self.end } else { cut }
    }

    /// Nothing here is longer than can be, or than can be counted.
    pub(super) fn check(&self) -> Result<()> {
        if self.movie_rate == 0 || self.track_rate == 0 {
            return Err(broken("a clock that does not tick"));
        }
        let is_over = |ticks: u64, rate: u32, seconds: u64| ticks > seconds * u64::from(rate);
        let is_long = is_over(self.edit.lead, self.movie_rate, LONGEST)
            || is_over(self.edit.length, self.movie_rate, LONGEST)
            || is_over(self.end.abs_diff(self.first), self.track_rate, LONGEST);
        let is_far = |ticks: i64| is_over(ticks.unsigned_abs(), self.track_rate, FARTHEST);
        if is_long || is_far(self.first) || is_far(self.edit.from) {
            return Err(broken("it claims to last longer than a week"));
        }
        Ok(())
    }
}

impl Shown {
    /// `zero` is the microsecond of the movie at which the film's first moment is. The obstacle is why samples cannot be shown so.
    pub(super) fn new(
        mut samples: Vec<Sample>,
        times: &Times,
        codec: &Codec,
        zero: i64,
    ) -> std::result::Result<Shown, &'static str> {
        let is_picture = codec.is_video();
        let first = if is_picture { first_picture(&samples, times)? } else { first_frame(&samples, times, codec) };
        let cut = times.last_tick();
        let last = samples.iter().rposition(|s| shown(s) < cut).map_or(0, |n| n + 1);
        if first >= last {
            return Err("nothing is shown");
        }
        if samples[..last].iter().any(|s| shown(s) >= cut) && last < samples.len() {
            return Err("an edit that ends between pictures that need each other");
        }
        samples.truncate(last);
        samples.drain(..first);
        let begin = samples[0];
        if samples.iter().any(|s| shown(s) < shown(&begin)) {
            return Err("pictures that are shown before the first key frame");
        }
        let mut clock = Clock { from: times.edit.from, lead: 0, track_rate: times.track_rate, rate: codec.timescale() };
        clock.lead = if times.start() == zero && is_picture {
            -clock.ticks(shown(&begin))
        } else {
            let lead = scale(times.edit.lead as i64, 1_000_000, times.movie_rate);
            scale(lead - zero, clock.rate, 1_000_000)
        };
        Ok(Shown { samples, clock, shift: begin.shift.into(), end: cut, is_picture })
    }

    /// When a sample is decoded, in the codec's ticks. Of what begins a little before the film the rest is heard.
    pub(super) fn decoded(&self, sample: &Sample) -> i64 {
        self.clock.ticks(sample.time + self.shift).max(0)
    }

    /// Ticks until it is shown.
    pub(super) fn shift(&self, sample: &Sample) -> i64 {
        if self.is_picture { self.clock.ticks(shown(sample)).max(0) - self.decoded(sample) } else { 0 }
    }

    /// The tick at which the last sample ends.
    pub(super) fn end(&self) -> i64 {
        let last = self.samples.last().map_or(0, |s| self.decoded(s));
        if self.is_picture { self.clock.ticks(self.end).max(last + 1) } else { last + i64::from(AAC_FRAME) }
    }
}

fn shown(sample: &Sample) -> i64 {
    sample.time + i64::from(sample.shift)
}

/// The key frame that the edit begins with.
fn first_picture(samples: &[Sample], times: &Times) -> std::result::Result<usize, &'static str> {
    let from = times.edit.from;
    let Some(first) = samples.first() else { return Err("nothing is shown") };
    // Up to a millisecond is rounding.
    let near = i64::from(times.track_rate / 1000);
    if shown(first) >= from - near {
        return Ok(0);
    }
    let found = samples.iter().position(|s| s.key && (shown(s) - from).abs() <= near);
    found.ok_or("an edit that begins between key frames")
}

/// The first frame of sound of which at least half is heard.
fn first_frame(samples: &[Sample], times: &Times, codec: &Codec) -> usize {
    let half = scale(i64::from(AAC_FRAME) / 2, times.track_rate, codec.timescale());
    samples.partition_point(|s| s.time < times.edit.from - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        movie_rate: 1000,
        track_rate: 30_000,
        edit: Edit { lead: 0, from: 0, length: 0 },
        first: 0,
        end: 10_010,
    };

    fn picture() -> Codec {
        Codec::H264 { sps: vec![], pps: vec![] }
    }

    /// Ten pictures at 29.97 a second, each a key frame.
    fn pictures(shifts: &[i32]) -> Vec<Sample> {
        let sample = |n: i64, shift: i32| Sample { offset: n as u64, time: n * 1001, size: 1, shift, key: true };
        (0..10).map(|n| sample(n, shifts.get(n as usize).copied().unwrap_or_default())).collect()
    }

    fn elst(edits: &[[u32; 3]]) -> (Edit, Option<&'static str>) {
        let words = [0, edits.len() as u32].into_iter().chain(edits.iter().flatten().copied());
        edit(&words.flat_map(u32::to_be_bytes).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn edits_are_a_wait_and_a_piece() {
        let whole = elst(&[[500, u32::MAX, 0x10000], [2000, 1024, 0x10000]]);
        assert_eq!(whole, (Edit { lead: 500, from: 1024, length: 2000 }, None));
        assert!(elst(&[[500, 0, 0x10000], [500, 900, 0x10000]]).1.is_some());
        assert!(elst(&[[500, 0, 0x8000]]).1.is_some());
    }

    #[test]
    fn rational_rates_do_not_drift() {
        let shown = Shown::new(pictures(&[]), &TIMES, &picture(), 0).unwrap();
        let decoded: Vec<i64> = shown.samples.iter().map(|s| shown.decoded(s)).collect();
        assert_eq!(decoded, (0..10).map(|n| n * 3003).collect::<Vec<_>>());
        assert_eq!(shown.end(), 30_030);
        assert_eq!(scale(1_000_000_007, 90_000, 1_000_000_000), 90_000);
        assert_eq!((scale(-1, 3, 2), scale(-3, 90_000, 30_000)), (-1, -9));
    }

    #[test]
    fn a_wait_and_a_shift_of_all_pictures_move_the_track() {
        let times = Times { edit: Edit { lead: 500, from: 2002, length: 0 }, first: 2002, end: 12_012, ..TIMES };
        let shifts = [2002, 4004, 1001, 0, 2002, 4004, 1001, 0, 2002, 2002];
        let shown = Shown::new(pictures(&shifts), &times, &picture(), 0).unwrap();
        let at: Vec<(i64, i64)> = shown.samples.iter().map(|s| (shown.decoded(s), shown.shift(s))).take(4).collect();
        assert_eq!(at, [(45_000, 0), (48_003, 6006), (51_006, -3003), (54_009, -6006)]);
        let first = Shown::new(pictures(&shifts), &times, &picture(), times.start()).unwrap();
        assert_eq!(first.decoded(&first.samples[0]), 0);
    }

    #[test]
    fn an_edit_takes_whole_pictures_or_is_an_obstacle() {
        let of = |from, length| Times { edit: Edit { lead: 0, from, length }, ..TIMES };
        let count = |from, length| {
            Shown::new(pictures(&[]), &of(from, length), &picture(), 0).map(|s| (s.samples.len(), s.end()))
        };
        assert_eq!(count(0, 334), Ok((10, 30_030)), "rounded up");
        assert_eq!(count(0, 333), Ok((10, 30_030)), "rounded down");
        assert_eq!(count(0, 100), Ok((3, 9000)));
        assert_eq!(count(2002, 0), Ok((8, 24_024)));
        assert!(count(2502, 0).is_err());
        assert!(count(20_000, 0).is_err());
    }

    #[test]
    fn priming_is_left_out_by_whole_frames() {
        let codec = Codec::Aac { rate: 48_000, channels: 2, config: vec![] };
        let frame = |n: i64| Sample { offset: 0, time: n * 1024, size: 1, shift: 0, key: true };
        let edit = Edit { from: 2112, ..Edit::default() };
        let times = Times { track_rate: 48_000, edit, end: 10 * 1024, ..TIMES };
        let shown = Shown::new((0..10).map(frame).collect(), &times, &codec, 0).unwrap();
        let decoded: Vec<i64> = shown.samples.iter().map(|s| shown.decoded(s)).collect();
        // Frames 0 and 1 are priming, and 64 samples of frame 2.
        assert_eq!(decoded[..3], [0, 960, 1984]);
        assert_eq!((decoded.len(), shown.end()), (8, 960 + 7 * 1024));
    }

    #[test]
    fn what_lasts_for_ever_is_refused() {
        assert!(TIMES.check().is_ok());
        assert!(Times { end: i64::MAX, ..TIMES }.check().is_err());
        assert!(Times { track_rate: 0, ..TIMES }.check().is_err());
        assert!(Times { edit: Edit { from: i64::MIN, ..Edit::default() }, ..TIMES }.check().is_err());
    }
}
