//! Usage: how much an account had done for it, by month, and what is stored for it now. Amounts only ever grow; what is stored may shrink.
//! Where things are counted is the server's business.

use crate::{Span, WallTime};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Calls with a key or token.
    Requests,
    /// Of files and live media that came in.
    BytesIn,
    /// Of media and files that were sent.
    BytesOut,
    /// Microseconds of media that came in.
    Ingested,
    /// Microseconds of sound or picture that a model looked at.
    Analysed,
}

impl Meter {
    pub const ALL: [Meter; 5] = [Meter::Requests, Meter::BytesIn, Meter::BytesOut, Meter::Ingested, Meter::Analysed];
}

/// An amount of each meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts([u64; Meter::ALL.len()]);

impl Amounts {
    pub fn of(&self, meter: Meter) -> u64 {
        self.0[meter as usize]
    }

    pub fn add(&mut self, meter: Meter, amount: u64) {
        let sum = &mut self.0[meter as usize];
        *sum = sum.saturating_add(amount);
    }

    pub fn merge(&mut self, other: &Amounts) {
        Meter::ALL.iter().for_each(|m| self.add(*m, other.of(*m)));
    }

    /// Of a meter of microseconds.
    pub fn span(&self, meter: Meter) -> Span {
        Span(i64::try_from(self.of(meter)).unwrap_or(i64::MAX))
    }
}

/// A month of the calendar, in UTC: `2026-11`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(String);

impl Month {
    pub fn of(moment: WallTime) -> Month {
        Month(moment.to_string().chars().take("2026-11".len()).collect())
    }

    /// As it was written down once.
    pub fn named(text: String) -> Month {
        Month(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is stored for an account now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Tracks, images, originals and files that wait at upload URLs.
    pub bytes: i64,
    pub videos: Span,
    pub audios: Span,
    /// What rtstreams have recorded, without the gaps.
    pub rtstreams: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_add_up_and_never_wrap() {
        let mut sum = Amounts::default();
        sum.add(Meter::BytesIn, u64::MAX - 1);
        let mut other = Amounts::default();
        other.add(Meter::BytesIn, 5);
        other.add(Meter::Analysed, 1_500_000);
        sum.merge(&other);
        assert_eq!((sum.of(Meter::BytesIn), sum.of(Meter::Requests)), (u64::MAX, 0));
        assert_eq!(sum.span(Meter::Analysed), Span::millis(1500));
        assert_eq!(sum.span(Meter::BytesIn), Span(i64::MAX));
    }

    #[test]
    fn a_month_is_that_of_utc() {
        assert_eq!(Month::of(WallTime(1_764_547_199_999_999)).as_str(), "2025-11");
        assert_eq!(Month::of(WallTime(1_764_547_200_000_000)).as_str(), "2025-12");
    }
}
