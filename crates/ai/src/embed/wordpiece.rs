//! BERT's uncased WordPiece: text in, the ids of a vocabulary out, as the reference tokeniser of the model gives them, with one
//! difference: a text cannot say special tokens, so `[SEP]` in it is a word in brackets. Nothing here knows the model.

use std::collections::HashMap;

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

/// A longer word is unknown as a whole.
const LONGEST_WORD: usize = 100;

pub(super) struct WordPiece {
    /// Pieces that begin a word, and (without their `##`) those that go on with one.
    begin: HashMap<String, i32>,
    inside: HashMap<String, i32>,
    unknown: i32,
    first: i32,
    last: i32,
}

impl WordPiece {
    /// From a `vocab.txt`: a piece a line, its id is the line's number. None if special tokens are missing.
    pub(super) fn read(vocabulary: &str) -> Option<WordPiece> {
        let (mut begin, mut inside) = (HashMap::new(), HashMap::new());
        for (id, line) in (0..).zip(vocabulary.lines()) {
            match line.strip_prefix("##").filter(|piece| !piece.is_empty()) {
                Some(piece) => inside.insert(piece.to_owned(), id),
                None => begin.insert(line.to_owned(), id),
            };
        }
        let special = |name: &str| begin.get(name).copied();
        let (unknown, first, last) = (special("[UNK]")?, special("[CLS]")?, special("[SEP]")?);
        Some(WordPiece { begin, inside, unknown, first, last })
    }

    /// At most `most` ids, those of the frame around the text included; what does not fit is left out at the end.
    pub(super) fn encode(&self, text: &str, most: usize) -> Vec<i32> {
        let mut ids = vec![self.first];
        let mut word = String::new();
        // A text may be far longer than what is kept of it: the pieces end the walk, not the text.
        for c in normalised(text).chain([' ']) {
            if c == ' ' || is_alone(c) {
                self.push_word(&word, &mut ids);
                word.clear();
                if c != ' ' {
                    self.push_word(c.encode_utf8(&mut [0; 4]), &mut ids);
                }
            } else {
                word.push(c);
            }
            if ids.len() >= most {
                break;
            }
        }
        ids.truncate(most.saturating_sub(1));
        ids.push(self.last);
        ids
    }

    /// The longest piece, then the longest that goes on, and so forth; a word that does not come out even is unknown.
    fn push_word(&self, word: &str, ids: &mut Vec<i32>) {
        if word.is_empty() {
            return;
        }
        let before = ids.len();
        let (mut rest, mut pieces) = (word, &self.begin);
        while word.chars().count() <= LONGEST_WORD && !rest.is_empty() {
            let ends = rest.char_indices().rev().map(|(i, c)| i + c.len_utf8());
            let Some((end, id)) = ends.filter_map(|end| Some((end, *pieces.get(&rest[..end])?))).next() else { break };
            ids.push(id);
            (rest, pieces) = (&rest[end..], &self.inside);
        }
        if !rest.is_empty() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }
}

/// Lower case, without accents, without what cannot be seen; every kind of space is ' '.
fn normalised(text: &str) -> impl Iterator<Item = char> {
    let seen = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' => Some(' '),
        '\0' | '\u{fffd}' => None,
        c if c.is_whitespace() => Some(' '),
        c if is_invisible(c) => None,
        c => Some(c),
    });
    DecomposingNormalizerBorrowed::new_nfd()
        .normalize_iter(seen)
        .filter(|c| category(*c) != GeneralCategory::NonspacingMark)
        .flat_map(char::to_lowercase)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn is_invisible(c: char) -> bool {
    matches!(category(c), GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse)
}

/// Whether a character is a word by itself: punctuation, and the ideographs, which have no spaces between their words.
fn is_alone(c: char) -> bool {
    c.is_ascii_punctuation()
        || is_ideograph(c)
        || (!c.is_ascii() && GeneralCategoryGroup::Punctuation.contains(category(c)))
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2b73f}' | '\u{2b740}'..='\u{2b81f}' | '\u{2b920}'..='\u{2ceaf}' | '\u{2f800}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> WordPiece {
        WordPiece::read("[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##believ\n##able\ncafe\n.\n日\n##s\na\n##a\n##\n[\n]\nsep")
            .unwrap()
    }

    #[track_caller]
    fn assert_ids(text: &str, ids: &[i32]) {
        let found = small().encode(text, 256);
        assert_eq!(found[1..found.len() - 1], *ids, "{text:?}");
        assert_eq!((found[0], found[found.len() - 1]), (2, 3));
    }

    #[test]
    fn words_come_apart_into_the_longest_pieces() {
        assert_ids("unbelievable", &[4, 5, 6]);
        assert_ids("Un\tBELIEVABLE", &[4, 1]);
        assert_ids("Cafés.", &[7, 10, 8]);
        assert_ids("日日", &[9, 9]);
        assert_ids("[SEP]", &[14, 16, 15]);
        assert_ids("", &[]);
        assert_ids(" \u{200b}\u{a0} ", &[]);
    }

    #[test]
    fn a_word_that_is_too_long_is_unknown_and_a_text_is_cut() {
        assert_eq!(small().encode(&"a".repeat(100), 256).len(), 102);
        assert_ids(&"a".repeat(101), &[1]);
        let cut = small().encode(&"a. ".repeat(10_000), 8);
        assert_eq!(cut, [2, 11, 8, 11, 8, 11, 8, 3]);
    }

    #[test]
    fn a_vocabulary_without_special_tokens_is_none() {
        assert!(WordPiece::read("a\nb").is_none());
    }
}
