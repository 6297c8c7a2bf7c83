//! Moonshine's tokens as text: byte strings, where `▁` begins a word.

/// What a token that begins a word starts with.
const SPACE: &str = "\u{2581}";

pub(super) struct Vocabulary(Vec<Vec<u8>>);

impl Vocabulary {
    /// `tokenizer.bin`: byte strings, each after its length in one byte, or in two if the first is 128 or more.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Vocabulary> {
        let mut tokens = Vec::new();
        while let Some((&first, mut rest)) = bytes.split_first() {
            let mut length = usize::from(first);
            if length >= 128 {
                let (&second, tail) = rest.split_first()?;
                length = length - 128 + usize::from(second) * 128;
                rest = tail;
            }
            let (token, tail) = rest.split_at_checked(length)?;
            tokens.push(token.to_vec());
            bytes = tail;
        }
        Some(Vocabulary(tokens))
    }

    fn token(&self, token: u32) -> &[u8] {
        self.0.get(token as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn begins_word(&self, token: u32) -> bool {
        self.token(token).starts_with(SPACE.as_bytes())
    }

    pub(super) fn text(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| self.token(*t)).copied().collect();
        String::from_utf8_lossy(&bytes).replace(SPACE, " ").trim().to_owned()
    }

    /// The tokens of each word.
    pub(super) fn words<'a>(&self, tokens: &'a [u32]) -> Vec<&'a [u32]> {
        tokens.chunk_by(|_, t| !self.begins_word(*t)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_and_joined_to_words() {
        let mut bytes = Vec::new();
        for token in ["\u{2581}it", "'s", "\u{2581}fine"] {
            bytes.push(token.len() as u8);
            bytes.extend(token.as_bytes());
        }
        bytes.extend([128 + 2, 1]);
        bytes.extend([b'x'; 130]);
        let vocabulary = Vocabulary::read(&bytes).unwrap();
        assert_eq!(vocabulary.text(&[0, 1, 2]), "it's fine");
        assert_eq!(vocabulary.words(&[0, 1, 2]), [&[0, 1][..], &[2]]);
        assert_eq!(vocabulary.text(&[3]).len(), 130);
        assert!(Vocabulary::read(&[5, 1]).is_none());
        assert_eq!(vocabulary.text(&[999]), "");
    }
}
