//! When what a browser records was captured. Its recorders count from their own first picture or first sound and do not say when that was;
//! but the page notes, by its one clock, when each chunk was handed over, and what lies last in a chunk was captured just before.
//! The least of these distances over many chunks is the beginning of the recording. Pure: the page's clock in, the page's clock out.

use vitascope_media::encoder::Container;
use vitascope_media::webm::BlockTimes;
use vitascope_model::{Result, Span, WallTime};

/// After so long the beginning is known well enough: the page asks for a chunk each 50 ms until then.
const SETTLES_WITHIN: Span = Span::millis(500);
/// The beginning is looked at again so often: sound cards and clocks drift.
const LOOK_EACH: Span = Span::seconds(10);
/// So far off it may be: chunks fall between pictures, and the least distance is not always met.
const LOOSE: Span = Span::millis(30);
/// And so much it is moved at once: 500 ppm, so that time does not bend.
const MOVE_AT_ONCE: i64 = 5_000;

/// One recording, from a recorder's header to its end.
#[derive(Debug)]
pub(super) struct TakeClock {
    /// Where the container tells how far it has come.
    times: Option<BlockTimes>,
    is_sound: bool,
    /// When the recorder was started: no later than its first picture, and all that is known of some containers.
    begun: WallTime,
    heard: WallTime,
    origin: Option<WallTime>,
    /// Since the last look.
    least: Option<WallTime>,
    looked: WallTime,
}

impl TakeClock {
    pub(super) fn new(container: Container, is_sound: bool, begun: WallTime) -> Self {
        let times = (container == Container::Webm).then(BlockTimes::default);
        TakeClock { times, is_sound, begun, heard: begun, origin: None, least: None, looked: begun }
    }

    /// A chunk that was handed over at `at`. What is not the container that was promised is an error.
    pub(super) fn chunk(&mut self, at: WallTime, media: &[u8]) -> Result<()> {
        let was_settled = self.is_settled();
        self.heard = self.heard.max(at);
        let Some(block) = self.times.as_mut().map_or(Ok(None), |t| t.push(media))? else { return Ok(()) };
        // Sound is captured when it ends.
        let end = if self.is_sound { block.time + block.step } else { block.time };
        let begin = at - end;
        let least = *self.least.insert(self.least.map_or(begin, |l| l.min(begin)));
        match self.origin {
            Some(origin) if was_settled => self.look_again(origin, least, at),
            _ => (self.origin, self.looked) = (Some(least), at),
        }
        Ok(())
    }

    fn look_again(&mut self, origin: WallTime, least: WallTime, at: WallTime) {
        if at - self.looked < LOOK_EACH {
            return;
        }
        let off = least - origin;
        if off.0.abs() > LOOSE.0 {
            self.origin = Some(origin + Span(off.0.clamp(-MOVE_AT_ONCE, MOVE_AT_ONCE)));
        }
        (self.least, self.looked) = (None, at);
    }

    /// Whether the beginning is known well enough to place samples.
    pub(super) fn is_settled(&self) -> bool {
        self.heard - self.begun >= SETTLES_WITHIN
    }

    /// Whether anything that can be shown or heard has come, as far as the container tells.
    pub(super) fn has_begun(&self) -> bool {
        self.times.is_none() || self.origin.is_some()
    }

    /// When that was captured which lies so far from the beginning.
    pub(super) fn captured(&self, since_begin: Span) -> WallTime {
        self.origin.unwrap_or(self.begun) + since_begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000_000);
    const HEAD: &[u8] =
        &[0x1a, 0x45, 0xdf, 0xa3, 0x80, 0x18, 0x53, 0x80, 0x67, 0xff, 0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x81, 0];

    /// A block of one byte of content at `millis`.
    fn block(millis: i16) -> Vec<u8> {
        let [high, low] = millis.to_be_bytes();
        vec![0xa3, 0x85, 0x81, high, low, 0x80, 7]
    }

    /// Chunks each 50 ms, a picture each 66 ms that takes 12 ms to encode; the first was captured 80 ms after the start.
    fn film(clock: &mut TakeClock, chunks: i64) {
        clock.chunk(NOW, HEAD).unwrap();
        let mut picture = 0;
        for at in (1..=chunks).map(|n| 50 * n) {
            while 80 + 66 * picture + 12 <= at {
                clock.chunk(NOW + Span::millis(at), &block((66 * picture) as i16)).unwrap();
                picture += 1;
            }
        }
    }

    #[test]
    fn the_beginning_is_found_from_when_chunks_were_handed_over() {
        let mut clock = TakeClock::new(Container::Webm, false, NOW);
        film(&mut clock, 9);
        assert!(!clock.is_settled());
        film(&mut clock, 10);
        assert!(clock.is_settled());
        let off = clock.captured(Span::ZERO) - (NOW + Span::millis(80));
        assert!((12..40).contains(&(off.0 / 1000)), "{off:?}: the encoder's delay and what a chunk falls short");
    }

    #[test]
    fn sound_counts_from_its_end_and_an_unknown_container_from_the_start() {
        let mut sound = TakeClock::new(Container::Webm, true, NOW);
        sound.chunk(NOW, HEAD).unwrap();
        for n in 0..10 {
            sound.chunk(NOW + Span::millis(60 * i64::from(n) + 70), &block(60 * n)).unwrap();
        }
        assert_eq!(sound.captured(Span::ZERO), NOW + Span::millis(10));
        let mut other = TakeClock::new(Container::Mp4, true, NOW);
        other.chunk(NOW + Span::seconds(1), b"moof").unwrap();
        assert!(other.is_settled());
        assert_eq!(other.captured(Span::millis(5)), NOW + Span::millis(5));
    }

    #[test]
    fn a_late_chunk_changes_nothing_and_drift_is_followed_slowly() {
        let mut clock = TakeClock::new(Container::Webm, false, NOW);
        clock.chunk(NOW, HEAD).unwrap();
        let mut at = |millis: i64, says: i16| {
            clock.chunk(NOW + Span::millis(millis), &block(says)).unwrap();
            (clock.captured(Span::ZERO) - NOW).0 / 1000
        };
        assert_eq!([at(100, 90), at(600, 590), at(5000, 3000)], [10, 10, 10]);
        // The recorder's clock goes slower: it says 10.5 s when 10.6 have gone by.
        assert_eq!([at(10_600, 10_500), at(21_000, 20_900)], [10, 15]);
    }
}
