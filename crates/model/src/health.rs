//! How a live channel is doing: what a person wants to know before the recording is over. Judged from when samples came and how loud
//! they were; who measures, and who is told, is the server's business.

use crate::capture::{Category, MediaKind};
use crate::time::{Span, WallTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelState {
    /// Nothing came yet.
    Waiting,
    Ok,
    /// Sound comes, but there is nothing to be heard in it.
    Silent,
    /// There is a publisher, and it sends nothing.
    Stalled,
    /// The publisher is gone, and may come back.
    Gone,
    /// Nothing more is expected.
    Ended,
}

impl ChannelState {
    pub const ALL: [ChannelState; 6] = {
        use ChannelState::*;
        [Waiting, Ok, Silent, Stalled, Gone, Ended]
    };

    pub fn as_str(self) -> &'static str {
        match self {
            ChannelState::Waiting => "waiting",
            ChannelState::Ok => "ok",
            ChannelState::Silent => "silent",
            ChannelState::Stalled => "stalled",
            ChannelState::Gone => "gone",
            ChannelState::Ended => "ended",
        }
    }

    /// Whether somebody should look after it. Loudspeakers are silent most of the day; a microphone should not be.
    pub fn is_trouble(self, category: Option<Category>) -> bool {
        match self {
            ChannelState::Silent => category != Some(Category::SystemAudio),
            ChannelState::Stalled | ChannelState::Gone => true,
            ChannelState::Waiting | ChannelState::Ok | ChannelState::Ended => false,
        }
    }
}

/// A recorder sends a picture each 3.8 s even of a still screen; sound comes many times a second.
pub fn stalled_after(kind: MediaKind) -> Span {
    match kind {
        MediaKind::Video => Span::millis(4500),
        MediaKind::Audio => Span::seconds(2),
    }
}

/// So long nothing must have been heard for sound to count as silent.
pub const SILENT_AFTER: Span = Span::seconds(3);
/// What is not louder is no sound: below the noise of a quiet room in a cheap microphone, in dB below full scale.
pub const SILENCE_DB: f32 = -70.0;
/// The level of no sound at all: quieter than 16 bits can tell.
pub const FLOOR_DB: f32 = -100.0;

/// One channel at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelHealth {
    pub state: ChannelState,
    /// When its newest sample was captured, and how long ago that came in.
    pub last_sample: Option<WallTime>,
    pub since_last: Option<Span>,
    pub samples: u64,
    pub bytes: u64,
    /// Damaged on the way. Known only while it is live, as what follows.
    pub dropped: Option<u64>,
    /// Of the last half second of sound.
    pub level_db: Option<f32>,
    /// From its first sample to its newest.
    pub recorded: Span,
}

impl ChannelHealth {
    /// What an hour of it takes on the disk, judged by what there is; none if that is too little to judge by.
    pub fn bytes_per_hour(&self) -> Option<u64> {
        let hours = self.recorded.to_seconds() / 3600.0;
        (self.recorded >= Span::seconds(1)).then(|| (self.bytes as f64 / hours) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_what_a_person_should_look_after() {
        let troubles: Vec<_> = ChannelState::ALL
            .into_iter()
            .filter(|s| s.is_trouble(Some(Category::Mic)))
            .map(ChannelState::as_str)
            .collect();
        assert_eq!(troubles, ["silent", "stalled", "gone"]);
        assert!(!ChannelState::Silent.is_trouble(Some(Category::SystemAudio)));
    }

    #[test]
    fn an_hour_is_judged_by_what_there_is() {
        let health = |recorded, bytes| ChannelHealth {
            state: ChannelState::Ok,
            last_sample: None,
            since_last: None,
            samples: 0,
            bytes,
            dropped: None,
            level_db: None,
            recorded,
        };
        assert_eq!(health(Span::seconds(36), 1000).bytes_per_hour(), Some(100_000));
        assert_eq!(health(Span::millis(10), 1000).bytes_per_hour(), None);
    }
}
