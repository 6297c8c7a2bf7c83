//! The forms of a transcript: its words one by one, as sentences, or in windows of a fixed length. Pure: words in, entries out.

use vitascope_model::transcript::{SpokenWord, Utterance};
use vitascope_model::{MediaTime, Span};

/// Silence that is worth an entry of its own between words.
const SILENCE: Span = Span::millis(100);
/// A sentence ends with a pause of this length, whatever its punctuation says.
const PAUSE: Span = Span::seconds(2);
/// And after so many words: nobody finds anything in a longer one.
const MOST_WORDS: usize = 60;
/// Written with a full stop that ends no sentence.
const SHORT: [&str; 14] =
    ["mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "etc.", "e.g.", "i.e.", "jr.", "sr.", "no.", "u.s."];

/// How a transcript is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmenter {
    Word,
    Sentence,
    /// Windows of so long.
    Time(Span),
}

/// A piece of a transcript; without text, nobody speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub start: MediaTime,
    pub end: MediaTime,
    pub text: Option<String>,
}

/// The words of all utterances, in order.
pub fn words(said: &[Utterance]) -> impl Iterator<Item = &SpokenWord> {
    said.iter().flat_map(|utterance| &utterance.words)
}

/// All that is said, in one line.
pub fn text<'w>(words: impl Iterator<Item = &'w SpokenWord>) -> String {
    words.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// A transcript of something `length` long, as entries. Where each word stands for itself, silence does so too.
pub fn entries(said: &[Utterance], segmenter: Segmenter, length: Span) -> Vec<Entry> {
    match segmenter {
        Segmenter::Word => with_silence(words(said).map(|word| entry(&[word])), MediaTime(0) + length),
        Segmenter::Sentence => sentences(said),
        Segmenter::Time(window) => windows(said, window.max(Span::millis(1)), length),
    }
}

fn entry(words: &[&SpokenWord]) -> Entry {
    let (start, end) = (words.first().map_or(MediaTime(0), |w| w.start), words.last().map_or(MediaTime(0), |w| w.end));
    Entry { start, end, text: Some(text(words.iter().copied())) }
}

fn with_silence(spoken: impl Iterator<Item = Entry>, end: MediaTime) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = MediaTime(0);
    let silence =
        |from: MediaTime, to: MediaTime| (to - from >= SILENCE).then_some(Entry { start: from, end: to, text: None });
    for word in spoken {
        entries.extend(silence(at, word.start));
        at = at.max(word.end);
        entries.push(word);
    }
    entries.extend(silence(at, end));
    entries
}

/// Sentences, by their punctuation and by pauses.
pub fn sentences(said: &[Utterance]) -> Vec<Entry> {
    let (mut entries, mut open): (Vec<Entry>, Vec<&SpokenWord>) = (Vec::new(), Vec::new());
    for word in words(said) {
        if open.last().is_some_and(|last| word.start - last.end >= PAUSE) {
            entries.push(entry(&open));
            open.clear();
        }
        open.push(word);
        if ends_sentence(&word.text) || open.len() >= MOST_WORDS {
            entries.push(entry(&open));
            open.clear();
        }
    }
    if !open.is_empty() {
        entries.push(entry(&open));
    }
    entries
}

fn ends_sentence(word: &str) -> bool {
    let bare = word.trim_end_matches(['"', '\'', ')', ']', '”', '’']);
    bare.ends_with(['.', '?', '!', '…', '。', '？', '！']) && !SHORT.contains(&bare.to_lowercase().as_str())
}

/// Windows one after the other; a word belongs to the one in which it begins. Where nobody speaks there is no window.
fn windows(said: &[Utterance], window: Span, length: Span) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for word in words(said) {
        let n = word.start.0 / window.0;
        let start = MediaTime(n * window.0);
        match entries.last_mut() {
            Some(Entry { start: last, text: Some(text), .. }) if *last == start => {
                text.push(' ');
                text.push_str(&word.text);
            }
            _ => {
                let end = MediaTime(((n + 1) * window.0).min(length.0.max(word.end.0)));
                entries.push(Entry { start, end, text: Some(word.text.clone()) });
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words at seconds.
    fn said(words: &[(&str, f64, f64)]) -> Vec<Utterance> {
        let at = |seconds| MediaTime::from_seconds(seconds).unwrap();
        let word = |(text, start, end): &(&str, f64, f64)| SpokenWord {
            text: (*text).to_owned(),
            start: at(*start),
            end: at(*end),
        };
        let words: Vec<_> = words.iter().map(word).collect();
        vec![Utterance { start: words[0].start, end: words[words.len() - 1].end, words, confidence: 0.9 }]
    }

    fn shown(entries: &[Entry]) -> Vec<String> {
        let one =
            |e: &Entry| format!("{}-{} {}", e.start.to_seconds(), e.end.to_seconds(), e.text.as_deref().unwrap_or("-"));
        entries.iter().map(one).collect()
    }

    #[test]
    fn words_stand_with_the_silence_between_them() {
        let said = said(&[("It", 0.5, 0.7), ("was.", 0.75, 1.0), ("Then", 2.0, 2.5)]);
        let shown = shown(&entries(&said, Segmenter::Word, Span::seconds(3)));
        assert_eq!(shown, ["0-0.5 -", "0.5-0.7 It", "0.75-1 was.", "1-2 -", "2-2.5 Then", "2.5-3 -"]);
    }

    #[test]
    fn sentences_end_where_they_end_or_where_nobody_goes_on() {
        let said =
            said(&[("Dr.", 0.0, 0.2), ("Who?", 0.3, 0.6), ("He", 0.7, 0.8), ("left", 0.8, 1.0), ("again.”", 4.0, 4.5)]);
        assert_eq!(shown(&sentences(&said)), ["0-0.6 Dr. Who?", "0.7-1 He left", "4-4.5 again.”"]);
    }

    #[test]
    fn a_word_belongs_to_the_window_in_which_it_begins() {
        let said = said(&[("a", 0.0, 0.2), ("b", 0.9, 1.2), ("c", 3.1, 3.4)]);
        let shown = shown(&entries(&said, Segmenter::Time(Span::seconds(1)), Span::millis(3500)));
        assert_eq!(shown, ["0-1 a b", "3-3.5 c"]);
    }
}
