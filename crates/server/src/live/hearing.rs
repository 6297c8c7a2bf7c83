//! Feed to speech: the sound of an rtstream decoded and put in line on a thread of its own, and where in time each sample lies.
//! What is made of the words is `transcribe.rs`'s business.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vitascope_ai::speech::{LiveChannel, Utterance};
use vitascope_media::codec::{Codec, Sample};
use vitascope_media::pcm::{AacDecoder, SpeechResampler};
use vitascope_model::transcript::Word;
use vitascope_model::usage::Meter;
use vitascope_model::{MediaTime, Result, Span, WallTime};

use super::feed::{Ear, Feed, Heard};
use super::transcribe::TranscriptFrame;
use crate::app::usage::Tally;

/// The rate that speech models hear.
pub(crate) const RATE: u32 = 16_000;
/// Samples may be so far off the line that those before them draw; further off, time is set anew.
const TOLERANCE: Span = Span::millis(60);
/// A gap is heard as silence, but no longer than it takes to end an utterance.
const MOST_SILENCE: Span = Span::seconds(2);
/// Places in time that are remembered; an utterance spans a few of them at the most.
const MOST_ANCHORS: usize = 64;
/// Seconds behind the sound that are worth a line in the log.
const LATE: f64 = 5.0;

/// Up to which wall time an analyser has heard, in microseconds.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicI64>);

impl Progress {
    /// What lies between the newest sample of the feed and the last one heard.
    pub(super) fn behind(&self, feed: &Feed) -> Span {
        let heard = WallTime(self.0.load(Ordering::Relaxed));
        feed.newest()
            .filter(|_| heard != WallTime::default())
            .map_or(Span::ZERO, |newest| Span((newest - heard).0.max(0)))
    }
}

/// Feed to speech, on a thread of its own.
pub(super) struct Analyser {
    channel: LiveChannel,
    line: Arc<TimeLine>,
    sound: Option<(AacDecoder, SpeechResampler)>,
    /// Samples given to the channel.
    position: u64,
    /// What is older was written down before.
    from: WallTime,
    progress: Progress,
    feed: Arc<Feed>,
    tally: Tally,
    is_late: bool,
}

impl Analyser {
    pub(super) fn new(
        channel: LiveChannel,
        line: Arc<TimeLine>,
        from: WallTime,
        progress: Progress,
        feed: Arc<Feed>,
        tally: Tally,
    ) -> Analyser {
        Analyser { channel, line, sound: None, position: 0, from, progress, feed, tally, is_late: false }
    }

    pub(super) fn run(mut self, mut heard: Ear) -> Result<()> {
        let mut pcm = Vec::with_capacity(1024);
        while let Some(said) = heard.blocking_recv() {
            match said {
                Heard::Codec(_, codec) => {
                    if let Codec::Aac { rate, channels, .. } = codec {
                        self.sound = Some((AacDecoder::new(&codec)?, SpeechResampler::new(rate, channels)));
                    }
                }
                Heard::Sample(_, sample) => self.hear(&sample, &mut pcm)?,
            }
        }
        self.channel.finish()
    }

    fn hear(&mut self, sample: &Sample, pcm: &mut Vec<f32>) -> Result<()> {
        let Some((decoder, resampler)) = &mut self.sound else { return Ok(()) };
        self.progress.0.store(sample.wall.0, Ordering::Relaxed);
        if sample.wall < self.from {
            return Ok(());
        }
        pcm.clear();
        if let Some(silence) = self.line.place(self.position, sample.wall) {
            pcm.resize(silence.to_ticks(RATE) as usize, 0.0);
            self.line.anchor(self.position + pcm.len() as u64, sample.wall);
        }
        resampler.push(decoder.decode(&sample.data), pcm);
        self.position += pcm.len() as u64;
        self.tally.add(Meter::Analysed, Span::of_ticks(pcm.len() as i64, RATE).0 as u64);
        self.channel.push(pcm)?;
        self.say_if_late();
        Ok(())
    }

    /// One line in the log when hearing falls behind, and one when it has caught up.
    fn say_if_late(&mut self) {
        let behind = self.progress.behind(&self.feed).to_seconds();
        if !self.is_late && behind > LATE {
            tracing::warn!(behind, "a live transcript falls behind its sound");
        } else if self.is_late && behind < LATE / 5.0 {
            tracing::info!(behind, "a live transcript has caught up");
        }
        self.is_late = if self.is_late { behind >= LATE / 5.0 } else { behind > LATE };
    }
}

/// From positions in what was heard to wall time: a line that is set anew where the sound has a gap.
#[derive(Default)]
pub(crate) struct TimeLine(Mutex<Vec<(u64, WallTime)>>);

impl TimeLine {
    pub(crate) fn anchor(&self, position: u64, wall: WallTime) {
        let mut anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if anchors.len() == MOST_ANCHORS {
            anchors.remove(0);
        }
        anchors.push((position, wall));
    }

    pub(crate) fn wall(&self, at: MediaTime) -> WallTime {
        let position = Span(at.0).to_ticks(RATE) as u64;
        let anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = anchors.iter().rev().find(|(from, _)| *from <= position).or(anchors.first());
        let (from, wall) = found.copied().unwrap_or_default();
        wall + Span::of_ticks(position as i64 - from as i64, RATE)
    }

    /// Where sound of `wall` does not follow at `position`: how much silence is to be heard before time is set anew.
    pub(crate) fn place(&self, position: u64, wall: WallTime) -> Option<Span> {
        let anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((from, at)) = anchors.last().copied() else { return Some(Span::ZERO) };
        let expected = at + Span::of_ticks(position as i64 - from as i64, RATE);
        let off = wall - expected;
        (off.0.abs() > TOLERANCE.0).then(|| off.clamp(Span::ZERO, MOST_SILENCE))
    }

    pub(super) fn frame(&self, utterance: Utterance) -> TranscriptFrame {
        let word = |w: vitascope_ai::speech::SpokenWord| Word {
            text: w.text,
            start: self.wall(w.start),
            end: self.wall(w.end),
        };
        TranscriptFrame {
            is_final: utterance.is_final,
            start: self.wall(utterance.start),
            end: self.wall(utterance.end),
            words: utterance.words.into_iter().map(word).collect(),
            text: utterance.text,
            confidence: utterance.confidence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_wall_times_across_a_gap() {
        let line = TimeLine::default();
        let at = |seconds| WallTime(1_800_000_000_000_000) + Span::seconds(seconds);
        assert_eq!(line.place(0, at(0)), Some(Span::ZERO), "the first sound sets the line");
        line.anchor(0, at(0));
        assert_eq!(line.place(16_000, at(1) + Span::millis(50)), None, "on the line");
        assert_eq!(line.place(16_000, at(10)), Some(MOST_SILENCE));
        line.anchor(48_000, at(10));
        assert_eq!(line.wall(MediaTime(500_000)), at(0) + Span::millis(500));
        assert_eq!(line.wall(MediaTime(4_000_000)), at(11));
    }
}
