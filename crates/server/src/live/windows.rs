//! Utterances in, windows out: so many words, sentences or seconds of what was said. No word is left out and none is in two windows,
//! however late it was heard; where a window ends depends on the words alone, so that a restart goes on as if nothing had been.

use std::collections::VecDeque;

use vitascope_model::live_index::{Bookmark, LiveIndex, Segmentation, Segmenter};
use vitascope_model::transcript::{TranscriptRecord, Word};
use vitascope_model::{Span, WallTime};

/// A window of seconds waits so long for words that were said in it: a final comes when its utterance is over.
const LATE: Span = Span::seconds(5);
/// No utterance is as long; what begins earlier holds no word of a later moment.
const LONGEST_UTTERANCE: Span = Span::seconds(120);

/// Words that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) start: WallTime,
    pub(super) end: WallTime,
    pub(super) text: String,
    /// How far one has read with it.
    pub(super) done: Bookmark,
}

struct Heard {
    word: Word,
    ends_sentence: bool,
    done: Bookmark,
}

/// The words of one index that are in no window yet.
pub(super) struct Windows {
    segmentation: Segmentation,
    from: WallTime,
    done: Option<Bookmark>,
    words: VecDeque<Heard>,
    read_from: WallTime,
}

impl Windows {
    pub(super) fn of(index: &LiveIndex) -> Windows {
        let read_from = index.done.map_or(index.from - LONGEST_UTTERANCE, |done| done.utterance);
        Windows {
            segmentation: index.segmentation,
            from: index.from,
            done: index.done,
            words: VecDeque::new(),
            read_from,
        }
    }

    /// An index that was started again leaves out what was said meanwhile.
    pub(super) fn begin_at(&mut self, from: WallTime) {
        self.from = self.from.max(from);
    }

    /// Where the utterance begins, at the earliest, that is to be read next.
    pub(super) fn read_from(&self) -> WallTime {
        self.read_from
    }

    pub(super) fn push(&mut self, utterance: &TranscriptRecord) {
        let words = words_of(utterance);
        let last = words.len();
        for (n, word) in words.into_iter().enumerate() {
            let done = Bookmark { utterance: utterance.start, words: n + 1 };
            if word.start < self.from || self.done.is_some_and(|before| done <= before) {
                continue;
            }
            // A pause ends a sentence too: not everyone who writes down what was said writes full stops.
            let ends_sentence = n + 1 == last || ends_sentence(&word.text);
            self.words.push_back(Heard { word, ends_sentence, done });
        }
        self.read_from = utterance.start + Span(1);
    }

    /// The next window that is full.
    pub(super) fn full(&mut self, now: WallTime) -> Option<Window> {
        let size = usize::try_from(self.segmentation.size).unwrap_or(usize::MAX).max(1);
        let count = match self.segmentation.segmenter {
            Segmenter::Word => (self.words.len() >= size).then_some(size),
            Segmenter::Sentence => {
                let mut ends = self.words.iter().enumerate().filter(|(_, heard)| heard.ends_sentence);
                ends.nth(size - 1).map(|(n, _)| n + 1)
            }
            Segmenter::Time => {
                let end = self.ends_at()?;
                let next = self.words.iter().position(|heard| heard.word.start >= end);
                next.or_else(|| (now >= end + LATE).then_some(self.words.len()))
            }
        };
        self.take(count?)
    }

    /// What is left, when no more words will come.
    pub(super) fn rest(&mut self) -> Option<Window> {
        self.take(self.words.len())
    }

    /// When there may be a window though nobody says anything more.
    pub(super) fn deadline(&self) -> Option<WallTime> {
        let is_timed = self.segmentation.segmenter == Segmenter::Time;
        self.ends_at().filter(|_| is_timed).map(|end| end + LATE)
    }

    /// Of a window of seconds, which begins with its first word.
    fn ends_at(&self) -> Option<WallTime> {
        self.words.front().map(|first| first.word.start + Span::seconds(self.segmentation.size))
    }

    fn take(&mut self, count: usize) -> Option<Window> {
        let taken: Vec<Heard> = self.words.drain(..count).collect();
        let (first, last) = (taken.first()?, taken.last()?);
        self.done = Some(last.done);
        let end = taken.iter().map(|heard| heard.word.end).fold(first.word.start, WallTime::max);
        // Words that are said in one breath overlap; windows do not.
        let end = self.words.front().map_or(end, |next| end.min(next.word.start)).max(first.word.start + Span(1));
        let text = taken.iter().map(|heard| heard.word.text.as_str()).collect::<Vec<_>>().join(" ");
        Some(Window { start: first.word.start, end, text, done: last.done })
    }
}

/// An utterance whose words have no times of their own is as long in each of them.
fn words_of(utterance: &TranscriptRecord) -> Vec<Word> {
    if !utterance.words.is_empty() {
        return utterance.words.clone();
    }
    let word = |text: &str| Word { text: text.to_owned(), start: utterance.start, end: utterance.end };
    utterance.text.split_whitespace().map(word).collect()
}

fn ends_sentence(word: &str) -> bool {
    let bare = word.trim_end_matches(['"', '\'', '”', '’', ')', ']']);
    bare.ends_with(['.', '!', '?', '…'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: WallTime = WallTime(1_800_000_000_000_000);

    fn at(seconds: i64) -> WallTime {
        BEGIN + Span::seconds(seconds)
    }

    /// A word a second.
    fn utterance(second: i64, text: &str) -> TranscriptRecord {
        let words: Vec<Word> = text
            .split(' ')
            .zip(second..)
            .map(|(word, n)| Word { text: word.to_owned(), start: at(n), end: at(n) + Span::millis(900) })
            .collect();
        let end = words[words.len() - 1].end;
        let rtstream_id = "rts-1".parse().unwrap();
        TranscriptRecord { rtstream_id, start: at(second), end, text: text.to_owned(), words, confidence: 1.0 }
    }

    fn index(segmenter: Segmenter, size: i64) -> LiveIndex {
        LiveIndex {
            id: "0123456789abcdef".parse().unwrap(),
            rtstream_id: "rts-1".parse().unwrap(),
            name: None,
            prompt: None,
            model_name: None,
            segmentation: Segmentation { segmenter, size },
            state: vitascope_model::live_index::LiveIndexState::Running,
            ws_connection_id: None,
            from: BEGIN,
            done: None,
            created_at: BEGIN,
        }
    }

    fn all(windows: &mut Windows, now: WallTime) -> Vec<String> {
        std::iter::from_fn(|| windows.full(now)).map(|w| w.text).collect()
    }

    #[test]
    fn so_many_words_are_a_window_across_utterances() {
        let mut windows = Windows::of(&index(Segmenter::Word, 3));
        windows.push(&utterance(0, "a b c d"));
        windows.push(&utterance(10, "e f g"));
        let first = windows.full(BEGIN).unwrap();
        assert_eq!((first.text.as_str(), first.start, first.end), ("a b c", at(0), at(2) + Span::millis(900)));
        assert_eq!(all(&mut windows, BEGIN), ["d e f"]);
        let rest = windows.rest().unwrap();
        assert_eq!((rest.text.as_str(), rest.start), ("g", at(12)));
        assert!(windows.rest().is_none());
    }

    #[test]
    fn a_sentence_ends_with_a_full_stop_or_a_pause() {
        let mut windows = Windows::of(&index(Segmenter::Sentence, 2));
        windows.push(&utterance(0, "Is it? \"It was.\" And then"));
        assert_eq!(all(&mut windows, BEGIN), ["Is it? \"It was.\""]);
        windows.push(&utterance(10, "it 3.5 ended"));
        assert_eq!(all(&mut windows, BEGIN), ["And then it 3.5 ended"]);
    }

    #[test]
    fn a_window_of_seconds_begins_with_its_first_word_and_ends_by_the_clock_too() {
        let mut windows = Windows::of(&index(Segmenter::Time, 5));
        windows.push(&utterance(3, "a b c d e f g"));
        assert_eq!(all(&mut windows, at(10)), ["a b c d e"]);
        assert_eq!(windows.deadline(), Some(at(13) + LATE));
        assert!(windows.full(at(13)).is_none());
        // Said before the window's end, heard after it: it goes into the next, and no word is lost.
        let late = utterance(10, "h");
        assert_eq!(windows.full(at(13) + LATE).unwrap().text, "f g");
        windows.push(&late);
        assert_eq!(windows.rest().unwrap().text, "h");
    }

    #[test]
    fn after_a_restart_it_goes_on_with_the_word_after_the_last() {
        let said = [utterance(0, "a b c d"), utterance(10, "e f g h i")];
        for segmenter in [Segmenter::Word, Segmenter::Sentence, Segmenter::Time] {
            let whole = index(segmenter, 2);
            let read = |index: &LiveIndex| {
                let mut windows = Windows::of(index);
                said.iter()
                    .filter(|u| u.start >= windows.read_from())
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|u| windows.push(u));
                let mut found: Vec<Window> = std::iter::from_fn(|| windows.full(at(60))).collect();
                found.extend(windows.rest());
                found
            };
            let told = read(&whole);
            assert_eq!(told.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" "), "a b c d e f g h i");
            for (n, window) in told.iter().enumerate() {
                let resumed = LiveIndex { done: Some(window.done), ..whole.clone() };
                assert_eq!(read(&resumed), told[n + 1..], "{segmenter:?} after window {n}");
            }
        }
    }

    #[test]
    fn windows_do_not_overlap_though_words_do() {
        let mut windows = Windows::of(&index(Segmenter::Word, 2));
        let mut breath = utterance(0, "a b c d");
        breath.words[1].end = at(3);
        windows.push(&breath);
        let (first, second) = (windows.full(BEGIN).unwrap(), windows.full(BEGIN).unwrap());
        assert_eq!((first.end, second.start), (at(2), at(2)));
    }

    #[test]
    fn what_is_not_its_own_is_left_out() {
        let mut windows = Windows::of(&index(Segmenter::Word, 1));
        windows.push(&utterance(-2, "before it a b"));
        windows.begin_at(at(20));
        windows.push(&utterance(10, "meanwhile"));
        windows.push(&utterance(19, "no c"));
        assert_eq!(all(&mut windows, BEGIN), ["a", "b", "c"]);
        let untimed = TranscriptRecord { words: Vec::new(), ..utterance(30, "no times") };
        windows.push(&untimed);
        assert_eq!(all(&mut windows, BEGIN), ["no", "times"]);
    }
}
