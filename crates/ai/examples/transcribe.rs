//! Transcribes a WAV file and, beside a reference text, scores it: `transcribe MODELS FILE.wav [REFERENCE.txt]`.
//! Prints one line of JSON. The conformance tests listen with it to what the server exports.
#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use std::path::Path;

use vitascope_ai::speech::score::word_errors;
use vitascope_ai::speech::{LiveConfig, LiveTranscriber, RATE};
use vitascope_model::Result;

mod wav;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, file, reference @ ..] = &arguments[..] else {
        panic!("usage: transcribe MODELS FILE.wav [REFERENCE.txt]")
    };
    let pcm = wav::read(Path::new(file));
    let config = LiveConfig { interims: false, ..LiveConfig::default() };
    let finals = LiveTranscriber::load(Path::new(models), config, 2)?.transcribe(&pcm)?;
    let text = finals.iter().map(|u| u.text.as_str()).collect::<Vec<_>>().join(" ");
    let words: Vec<_> = finals
        .iter()
        .flat_map(|u| &u.words)
        .map(|w| serde_json::json!([w.text, w.start.to_seconds(), w.end.to_seconds()]))
        .collect();
    let mut report = serde_json::json!({ "text": text, "words": words, "seconds": pcm.len() as f64 / RATE as f64 });
    if let Some(reference) = reference.first() {
        let reference = std::fs::read_to_string(reference).expect("the reference can be read");
        let (errors, said) = word_errors(&reference, &text);
        report["errors"] = errors.into();
        report["reference_words"] = said.into();
        report["wer"] = (errors as f64 / said.max(1) as f64).into();
    }
    println!("{report}");
    Ok(())
}
