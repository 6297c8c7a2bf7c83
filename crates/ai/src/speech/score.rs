//! Word error rate: how far what was heard is from what was said.

/// Words without case and punctuation; hyphens and dashes part words, apostrophes do not.
pub fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| c.is_whitespace() || matches!(c, '-' | '–' | '—'))
        .map(|word| word.chars().filter(|c| c.is_alphanumeric()).collect::<String>())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The fewest substitutions, insertions and deletions between two texts, and the number of words in the reference.
pub fn word_errors(reference: &str, hypothesis: &str) -> (usize, usize) {
    let (said, heard) = (words(reference), words(hypothesis));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let substituted = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    (row[heard.len()], said.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_without_case_and_punctuation() {
        assert_eq!(word_errors("It was—the best, of times.", "it was the Best of times"), (0, 6));
        assert_eq!(word_errors("a b c d", "a x c"), (2, 4));
        assert_eq!(word_errors("a b", ""), (2, 2));
        assert_eq!(word_errors("", "a"), (1, 0));
        assert_eq!(word_errors("it's", "its"), (0, 1));
    }
}
