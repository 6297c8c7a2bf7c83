//! `POST {base}/audio/transcriptions`: an utterance as a WAV file, and what the provider heard, in `verbose_json` with times of words as far
//! as it has them. Servers differ: words may lie at the top, in segments or nowhere, and some models answer in plain `json` only.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use vitascope_model::Result;
use vitascope_model::error::Context;

use super::form::Form;
use super::{Provider, Refusal};

/// Whisper's own rule for what is no speech: both must hold.
const NO_SPEECH: f64 = 0.6;
const UNSURE: f64 = -1.0;

/// What a provider heard; times are seconds from the start of the sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    pub text: String,
    pub words: Vec<TranscriptWord>,
    /// Whether the words' times are the provider's, and not only spread over the text.
    pub is_timed: bool,
    /// Mean probability, if it was told.
    pub confidence: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TranscriptWord {
    pub text: String,
    pub start: f64,
    pub end: f64,
}

#[derive(Deserialize)]
struct Answer {
    text: Option<String>,
    words: Option<Vec<Word>>,
    segments: Option<Vec<Segment>>,
}

#[derive(Deserialize)]
struct Word {
    #[serde(alias = "text")]
    word: String,
    start: f64,
    end: f64,
    probability: Option<f64>,
}

#[derive(Deserialize)]
struct Segment {
    #[serde(default)]
    start: f64,
    #[serde(default)]
    end: f64,
    #[serde(default)]
    text: String,
    avg_logprob: Option<f64>,
    no_speech_prob: Option<f64>,
    words: Option<Vec<Word>>,
}

impl Segment {
    fn is_speech(&self) -> bool {
        self.no_speech_prob.is_none_or(|p| p <= NO_SPEECH) || self.avg_logprob.is_none_or(|p| p >= UNSURE)
    }
}

/// Whether a provider was found to know plain `json` only.
#[derive(Default)]
pub(crate) struct Habits {
    plain: AtomicBool,
}

impl Provider {
    /// What is said in `pcm` (one channel). All tries are over when this fails.
    pub(crate) async fn transcribe(&self, pcm: &[f32], rate: usize, habits: &Habits) -> Result<Transcript> {
        let wav = wav(pcm, rate);
        let plain = habits.plain.load(Ordering::Relaxed);
        let answer = match self.post_sound(&wav, plain).await {
            Err(refusal) if !plain && asks_for_plain(&refusal) => {
                habits.plain.store(true, Ordering::Relaxed);
                self.post_sound(&wav, true).await?
            }
            other => other?,
        };
        let answer: Answer = serde_json::from_value(answer).internal("read what the provider heard")?;
        Ok(answer.into_transcript(pcm.len() as f64 / rate as f64))
    }

    async fn post_sound(&self, wav: &[u8], plain: bool) -> Result<serde_json::Value, Refusal> {
        let form = Form::default().field("model", &self.config().model);
        let form = if plain {
            form.field("response_format", "json")
        } else {
            form.field("response_format", "verbose_json")
                .field("timestamp_granularities[]", "word")
                .field("timestamp_granularities[]", "segment")
        };
        let (kind, body) = form.file("file", "utterance.wav", "audio/wav", wav);
        self.post("audio/transcriptions", &kind, body).await
    }
}

/// Some models refuse `verbose_json` or times of words, and name what they refuse.
fn asks_for_plain(refusal: &Refusal) -> bool {
    let named = ["response_format", "verbose_json", "timestamp_granularities"];
    matches!(refusal.status, Some(400 | 422)) && named.iter().any(|name| refusal.reason.contains(name))
}

impl Answer {
    fn into_transcript(self, length: f64) -> Transcript {
        let segments = self.segments.unwrap_or_default();
        let (spoken, dropped): (Vec<Segment>, Vec<Segment>) = segments.into_iter().partition(Segment::is_speech);
        let text = match self.text {
            Some(text) if dropped.is_empty() => text.trim().to_owned(),
            _ => spoken.iter().map(|s| s.text.trim()).collect::<Vec<_>>().join(" "),
        };
        let of_segments = || spoken.iter().flat_map(|s| s.words.iter().flatten());
        let silent = |w: &&Word| !dropped.iter().any(|s| w.start >= s.start && w.end <= s.end);
        let mut timed: Vec<&Word> = self.words.iter().flatten().filter(silent).collect();
        if timed.is_empty() {
            timed = of_segments().collect();
        }
        let confidence = mean(timed.iter().filter_map(|w| Some((w.probability?, 1.0))))
            .or(mean(spoken.iter().filter_map(|s| Some((s.avg_logprob?, (s.end - s.start).max(0.1))))).map(f64::exp))
            .map(|p| p.clamp(0.0, 1.0));
        let is_timed = !timed.is_empty();
        let words = if is_timed {
            timed.into_iter().map(|w| spoken_word(&w.word, w.start, w.end)).filter(|w| !w.text.is_empty()).collect()
        } else if spoken.iter().any(|s| s.end > s.start) && !text.is_empty() {
            spoken.iter().flat_map(|s| spread(&s.text, s.start, s.end)).collect()
        } else {
            spread(&text, 0.0, length)
        };
        Transcript { text, words, is_timed, confidence }
    }
}

fn spoken_word(text: &str, start: f64, end: f64) -> TranscriptWord {
    TranscriptWord { text: text.trim().to_owned(), start, end: end.max(start) }
}

/// The words of `text`, each as long as its letters.
fn spread(text: &str, start: f64, end: f64) -> Vec<TranscriptWord> {
    let letters = |word: &str| word.chars().count() as f64 + 1.0;
    let all: f64 = text.split_whitespace().map(letters).sum();
    let mut at = start;
    let word = |word: &str| {
        let from = at;
        at += (end - start).max(0.0) * letters(word) / all;
        spoken_word(word, from, at)
    };
    text.split_whitespace().map(word).collect()
}

/// Of (value, weight).
fn mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weight) = values.fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
    (weight > 0.0).then(|| sum / weight)
}

/// 16 bit, one channel.
fn wav(pcm: &[f32], rate: usize) -> Vec<u8> {
    let (bytes, rate) = (2 * pcm.len() as u32, rate as u32);
    let mut out = Vec::with_capacity(44 + 2 * pcm.len());
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + bytes).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&(2 * rate).to_le_bytes());
    out.extend_from_slice(b"\x02\0\x10\0data");
    out.extend_from_slice(&bytes.to_le_bytes());
    for sample in pcm {
        out.extend_from_slice(&((sample.clamp(-1.0, 1.0) * 32767.0) as i16).to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: serde_json::Value) -> Transcript {
        serde_json::from_value::<Answer>(answer).unwrap().into_transcript(2.0)
    }

    #[test]
    fn words_are_found_wherever_a_server_puts_them() {
        let words = json!([{"word": " Ever", "start": 0.1, "end": 0.4}, {"word": "tried.", "start": 0.5, "end": 0.9}]);
        let top = read(
            json!({"text": " Ever tried.", "words": words, "segments": [{"start": 0, "end": 1, "text": "Ever tried.", "avg_logprob": -0.1}]}),
        );
        let inside = read(
            json!({"text": "Ever tried.", "words": null, "segments": [{"start": 0, "end": 1, "text": "Ever tried.", "words": words}]}),
        );
        assert_eq!((top.text.as_str(), &top.words, top.is_timed), ("Ever tried.", &inside.words, true));
        assert_eq!((top.words[0].text.as_str(), top.words[1].start), ("Ever", 0.5));
        assert!((top.confidence.unwrap() - (-0.1_f64).exp()).abs() < 1e-9 && inside.confidence.is_none());
    }

    #[test]
    fn words_without_times_are_spread() {
        let plain = read(json!({"text": "abc d"}));
        assert!(!plain.is_timed);
        let times: Vec<(f64, f64)> = plain.words.iter().map(|w| (w.start, w.end)).collect();
        assert_eq!(times, [(0.0, 2.0 * 4.0 / 6.0), (2.0 * 4.0 / 6.0, 2.0)]);
        assert_eq!(read(json!({"text": ""})).words, []);
    }

    #[test]
    fn what_the_provider_thinks_no_speech_is_not_said() {
        let silence =
            json!({"start": 1.0, "end": 2.0, "text": "Thank you.", "avg_logprob": -1.4, "no_speech_prob": 0.9});
        let speech = json!({"start": 0.0, "end": 1.0, "text": "Hello.", "avg_logprob": -0.2, "no_speech_prob": 0.1});
        let words = json!([{"word": "Hello", "start": 0.2, "end": 0.8}, {"word": "Thank", "start": 1.1, "end": 1.4}]);
        let heard = read(json!({"text": "Hello. Thank you.", "segments": [speech, silence], "words": words}));
        assert_eq!((heard.text.as_str(), heard.words.len()), ("Hello.", 1));
        assert_eq!(read(json!({"text": "Thank you.", "segments": [silence]})).text, "");
    }

    #[test]
    fn a_wav_says_what_it_is() {
        let wav = wav(&[0.0, 1.0, -1.0], 16_000);
        assert_eq!((wav.len(), &wav[..4], &wav[8..16]), (50, &b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(u32::from_le_bytes(wav[24..28].try_into().unwrap()), 16_000);
        assert_eq!(wav[44..], [0, 0, 0xff, 0x7f, 0x01, 0x80]);
    }
}
