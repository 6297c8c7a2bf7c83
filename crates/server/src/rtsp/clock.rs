//! From RTP time to wall time. Media time is counted in RTP ticks and never touched; a wall time is taken for each sample.
//! A sender report ties a track's RTP clock to the publisher's own clock, which all its connections share: that gives lip sync.
//! How that clock lies on the server's is `live::publisher`'s.

use vitascope_model::{Span, WallTime};

use crate::live::publisher::PublisherClock;

/// Seconds from the epoch of NTP (1900) to that of Unix.
const NTP_EPOCH: i64 = 2_208_988_800;
/// The RTP clock of one track.
#[derive(Debug)]
pub(super) struct TrackClock {
    rate: u32,
    last: Option<(u32, i64)>,
    /// A moment of the publisher's clock and the ticks at it: from a sender report, or from the first arrival until one comes.
    anchor: Option<(WallTime, i64)>,
}

impl TrackClock {
    pub(super) fn new(rate: u32) -> Self {
        TrackClock { rate, last: None, anchor: None }
    }

    /// Extends a 32-bit RTP time stamp to ticks that do not wrap.
    pub(super) fn ticks(&mut self, stamp: u32) -> i64 {
        let ticks = match self.last {
            None => i64::from(stamp),
            Some((last, ticks)) => ticks + i64::from(stamp.wrapping_sub(last) as i32),
        };
        self.last = Some((stamp, ticks));
        ticks
    }

    /// A sender report: its NTP time is that of its RTP time stamp.
    pub(super) fn report(&mut self, ntp: u64, stamp: u32) {
        let micros = ((u128::from(ntp) * 1_000_000) >> 32) as i64 - NTP_EPOCH * 1_000_000;
        let before = self.last;
        let ticks = self.ticks(stamp);
        self.last = before.or(self.last);
        self.anchor = Some((WallTime(micros), ticks));
    }

    /// The wall time of `ticks`, of which the last byte arrived at `arrival`.
    pub(super) fn wall(&mut self, publisher: &mut PublisherClock, ticks: i64, arrival: WallTime) -> WallTime {
        let (at, anchor) = *self.anchor.get_or_insert((arrival, ticks));
        publisher.map(at + Span::of_ticks(ticks - anchor, self.rate), arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000_000);

    fn ntp(at: WallTime) -> u64 {
        let micros = (at.0 + NTP_EPOCH * 1_000_000) as u128;
        ((micros << 32) / 1_000_000) as u64
    }

    #[test]
    fn ticks_do_not_wrap_and_may_step_back() {
        let mut clock = TrackClock::new(90_000);
        let first = clock.ticks(u32::MAX - 10);
        assert_eq!(clock.ticks(89) - first, 100);
        assert_eq!(clock.ticks(79) - first, 90);
    }

    #[test]
    fn two_connections_of_one_publisher_agree_however_late_each_is() {
        let mut publisher = PublisherClock::default();
        let (mut sound, mut picture) = (TrackClock::new(48_000), TrackClock::new(90_000));
        sound.report(ntp(NOW), 1000);
        picture.report(ntp(NOW), 5);
        let heard = sound.wall(&mut publisher, i64::from(1000 + 48_000), NOW + Span::millis(1050));
        let seen = picture.wall(&mut publisher, i64::from(5 + 90_000), NOW + Span::millis(1300));
        assert!((heard - seen).0.abs() <= 1, "{heard} {seen}");
        assert!((heard - (NOW + Span::seconds(1))).0.abs() <= 1);
    }

    #[test]
    fn a_publisher_with_a_wrong_clock_is_put_on_ours() {
        let mut publisher = PublisherClock::default();
        let mut clock = TrackClock::new(48_000);
        clock.report(ntp(NOW - Span::seconds(86_400)), 0);
        let wall = clock.wall(&mut publisher, 48_000, NOW);
        assert_eq!(wall, NOW);
    }

    #[test]
    fn without_reports_the_first_arrival_counts() {
        let mut publisher = PublisherClock::default();
        let mut clock = TrackClock::new(90_000);
        assert_eq!(clock.wall(&mut publisher, 7, NOW), NOW);
        assert_eq!(clock.wall(&mut publisher, 90_007, NOW + Span::millis(1200)), NOW + Span::seconds(1));
    }
}
