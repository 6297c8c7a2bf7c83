//! Time inside the house: whole microseconds, and three types that do not add up by accident.
//! `WallTime` is a moment, `MediaTime` an offset in a track or asset, `Span` a length. Floats and text exist at the door only,
//! in the functions at the end of this file.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub const SECOND: i64 = 1_000_000;

macro_rules! micros {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl $name {
            /// Seconds as the wire has them.
            pub fn to_seconds(self) -> f64 {
                self.0 as f64 / SECOND as f64
            }

            /// None if it is not a number that fits.
            pub fn from_seconds(seconds: f64) -> Option<Self> {
                let micros = (seconds * SECOND as f64).round();
                (micros.is_finite() && micros.abs() < 9e17).then_some($name(micros as i64))
            }
        }
    )*};
}

micros!(
    /// Microseconds since the Unix epoch.
    WallTime,
    /// Microseconds from the start of a track or asset.
    MediaTime,
    /// A length in microseconds.
    Span
);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn seconds(n: i64) -> Span {
        Span(n * SECOND)
    }

    pub const fn millis(n: i64) -> Span {
        Span(n * 1000)
    }

    /// The span of `ticks` at `rate` ticks a second. Whole seconds first, here and back: no 64 bits overflow then, and a division of
    /// 128 bits, which costs as much as all the rest of a sample, is not needed.
    pub fn of_ticks(ticks: i64, rate: u32) -> Span {
        let rate = i64::from(rate.max(1));
        Span((ticks / rate).saturating_mul(SECOND).saturating_add(ticks % rate * SECOND / rate))
    }

    pub fn to_ticks(self, rate: u32) -> i64 {
        let rate = i64::from(rate);
        (self.0 / SECOND).saturating_mul(rate).saturating_add(self.0 % SECOND * rate / SECOND)
    }

    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.max(0) as u64)
    }
}

impl Add<Span> for WallTime {
    type Output = WallTime;
    fn add(self, span: Span) -> WallTime {
        WallTime(self.0 + span.0)
    }
}

impl AddAssign<Span> for WallTime {
    fn add_assign(&mut self, span: Span) {
        self.0 += span.0;
    }
}

impl Sub<Span> for WallTime {
    type Output = WallTime;
    fn sub(self, span: Span) -> WallTime {
        WallTime(self.0 - span.0)
    }
}

impl Sub for WallTime {
    type Output = Span;
    fn sub(self, other: WallTime) -> Span {
        Span(self.0 - other.0)
    }
}

impl Add<Span> for MediaTime {
    type Output = MediaTime;
    fn add(self, span: Span) -> MediaTime {
        MediaTime(self.0 + span.0)
    }
}

impl Sub for MediaTime {
    type Output = Span;
    fn sub(self, other: MediaTime) -> Span {
        Span(self.0 - other.0)
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0 + other.0)
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0 - other.0)
    }
}

/// `[start, end)` of wall time, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    start: WallTime,
    end: WallTime,
}

impl TimeRange {
    pub fn new(start: WallTime, end: WallTime) -> Option<TimeRange> {
        (start < end).then_some(TimeRange { start, end })
    }

    pub fn start(self) -> WallTime {
        self.start
    }

    pub fn end(self) -> WallTime {
        self.end
    }

    pub fn length(self) -> Span {
        self.end - self.start
    }

    /// Whether the two share any time; ranges that only touch do not.
    pub fn overlaps(self, other: TimeRange) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with `Z`, to the microsecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000);
        let text = at.ok().and_then(|at| at.format(&Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("1970-01-01T00:00:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_spans_are_as_exact_as_fractions() {
        for rate in [1, 7, 1000, 12_800, 44_100, 48_000, 90_000, u32::MAX] {
            for n in [0, 1, -1, 999_999, -1_000_001, 1_790_000_000_123_457, -1_790_000_000_123_457] {
                let (wide, per) = (i128::from(n), i128::from(rate));
                assert_eq!(i128::from(Span(n).to_ticks(rate)), wide * per / 1_000_000);
                assert_eq!(i128::from(Span::of_ticks(n / 1000, rate).0), wide / 1000 * 1_000_000 / per);
            }
        }
    }

    #[test]
    fn ranges_that_touch_share_no_time() {
        let range = |start, end| TimeRange::new(WallTime(start), WallTime(end)).unwrap();
        assert!(range(1, 5).overlaps(range(4, 9)) && range(1, 9).overlaps(range(3, 4)));
        assert!(!range(1, 5).overlaps(range(5, 9)) && !range(5, 9).overlaps(range(1, 5)));
    }

    #[test]
    fn wall_time_prints_as_rfc_3339_in_utc() {
        assert_eq!(WallTime(1_764_000_000_250_000).to_string(), "2025-11-24T16:00:00.25Z");
    }

    #[test]
    fn seconds_round_to_the_microsecond_and_nonsense_is_refused() {
        assert_eq!(Span::from_seconds(1.0000004), Some(Span(1_000_000)));
        assert_eq!(WallTime::from_seconds(f64::NAN), None);
        assert_eq!(WallTime::from_seconds(1e300), None);
    }

    #[test]
    fn ticks_and_spans_agree_at_common_rates() {
        for rate in [90_000, 48_000, 44_100] {
            assert_eq!(Span::of_ticks(i64::from(rate) * 7, rate), Span::seconds(7));
            assert_eq!(Span::seconds(3_600).to_ticks(rate), i64::from(rate) * 3_600);
        }
    }

    #[test]
    fn a_range_is_never_empty() {
        assert!(TimeRange::new(WallTime(5), WallTime(5)).is_none());
    }
}
