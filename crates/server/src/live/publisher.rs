//! The clock of a publisher on the server's: one offset for all its connections, so that what was captured together stays together.
//! The server's clock is the authority; the offset follows the publisher's drift slowly, so that time does not bend.

use vitascope_model::{Span, WallTime};

const MAX_SLEW_PPM: i64 = 500;
/// A sample may arrive so much later than it was captured and the two clocks still count as the same:
/// a publisher on this machine, or one that keeps its clock right.
const USUAL_DELAY: Span = Span::seconds(1);

/// What all connections of one publisher share.
#[derive(Debug, Default)]
pub struct PublisherClock {
    /// The server's wall clock minus the publisher's.
    offset: Option<Span>,
    /// Least (arrival − mapped time) since the last correction, and when that was.
    least_delay: Option<Span>,
    corrected_at: WallTime,
}

impl PublisherClock {
    /// The server's wall time for the publisher's `theirs`, of which the data arrived at `arrival`.
    pub fn map(&mut self, theirs: WallTime, arrival: WallTime) -> WallTime {
        let offset = *self.offset.get_or_insert_with(|| {
            // Drift is counted from here on.
            self.corrected_at = arrival;
            let delay = arrival - theirs;
            let offset = if delay >= Span::ZERO && delay < USUAL_DELAY { Span::ZERO } else { delay };
            tracing::info!(delay_ms = delay.0 / 1000, offset_ms = offset.0 / 1000, "a publisher's clock is known");
            offset
        });
        let mapped = theirs + offset;
        let delay = arrival - mapped;
        self.least_delay = Some(self.least_delay.map_or(delay, |least| least.min(delay)));
        mapped
    }

    /// Follows the publisher's clock where it drifts: nothing arrives before it was captured, nor always late.
    /// Called now and then; slewed, so that time does not bend.
    pub fn correct(&mut self, now: WallTime) {
        if let (Some(offset), Some(least)) = (self.offset.as_mut(), self.least_delay.take()) {
            let wrong = if least < Span::ZERO { least } else { (least - USUAL_DELAY).max(Span::ZERO) };
            let most = (now - self.corrected_at).0.max(0) / 1_000_000 * MAX_SLEW_PPM;
            *offset = *offset + Span(wrong.0.clamp(-most, most));
        }
        self.corrected_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000_000);

    #[test]
    fn drift_is_followed_slowly() {
        let mut publisher = PublisherClock { offset: Some(Span::ZERO), corrected_at: NOW, ..PublisherClock::default() };
        // Captured a tenth of a second after it arrived: their clock runs ahead.
        publisher.map(NOW + Span::millis(10_100), NOW + Span::seconds(10));
        publisher.correct(NOW + Span::seconds(10));
        assert_eq!(publisher.offset, Some(Span(-5000)), "500 ppm of 10 s");
    }

    #[test]
    fn the_first_correction_is_no_leap() {
        let mut publisher = PublisherClock::default();
        publisher.map(NOW, NOW);
        // Pushed faster than time goes: ten seconds of media in one.
        publisher.map(NOW + Span::seconds(10), NOW + Span::seconds(1));
        publisher.correct(NOW + Span::seconds(1));
        assert_eq!(publisher.offset, Some(Span(-500)), "500 ppm of 1 s");
    }

    #[test]
    fn a_clock_that_agrees_is_believed_and_one_that_does_not_is_put_on_ours() {
        let mut near = PublisherClock::default();
        assert_eq!(near.map(NOW, NOW + Span::millis(300)), NOW);
        for theirs in [NOW - Span::seconds(86_400), NOW + Span::seconds(60)] {
            assert_eq!(PublisherClock::default().map(theirs, NOW), NOW);
        }
    }
}
