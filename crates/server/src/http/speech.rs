//! Speech to text for any OpenAI client: a file in, its words out, in the forms of that protocol. Nothing of the file is kept.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vitascope_model::account::Scope;
use vitascope_model::error::Context;
use vitascope_model::transcript::Utterance;
use vitascope_model::{Error, MediaTime, Result};

use super::asset_transcript::compat_language;
use super::extract::Owner;
use super::language::refused;
use super::router::Routes;
use super::upload::{parts_of, pour};
use crate::app::App;
use crate::app::speech::file::{Heard, hear};
use crate::app::speech::form;
use crate::app::upload::Inflow;

/// Of a field that is no file.
const LONGEST_FIELD: usize = 4096;

pub(super) fn routes() -> Routes {
    Routes::new().post("/v1/audio/transcriptions", transcribe)
}

async fn transcribe(State(app): State<App>, Owner(scope): Owner, request: Request) -> Response {
    answer(&app, &scope, request).await.unwrap_or_else(|error| refused(&error))
}

/// The forms of an answer.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Text,
    Verbose,
    Srt,
    Vtt,
}

impl Format {
    fn parse(name: &str) -> Result<Format> {
        match name {
            "" | "json" => Ok(Format::Json),
            "text" => Ok(Format::Text),
            "verbose_json" => Ok(Format::Verbose),
            "srt" => Ok(Format::Srt),
            "vtt" => Ok(Format::Vtt),
            other => {
                Err(Error::invalid(format!("response_format {other:?} is not json, text, verbose_json, srt or vtt")))
            }
        }
    }
}

/// Fields come in any order; those that are not known are passed over.
async fn answer(app: &App, scope: &Scope, request: Request) -> Result<Response> {
    let (mut format, mut language, mut file) = (Format::Json, None, None);
    let mut parts = parts_of(request)?;
    while let Some(mut part) = parts.next_field().await.invalid("the multipart body cannot be read or broke off")? {
        if part.file_name().is_some() && part.name() == Some("file") {
            let inflow = pour(Inflow::begin(app, None).await?, part).await?;
            file = Some(inflow.finish(None).await?.0);
            continue;
        }
        let name = part.name().unwrap_or_default().to_owned();
        let mut value = Vec::new();
        while let Some(chunk) = part.chunk().await.invalid("the multipart body broke off")? {
            value.extend_from_slice(&chunk);
            if value.len() > LONGEST_FIELD {
                return Err(Error::invalid(format!("the field {name} is too long")));
            }
        }
        let value = String::from_utf8_lossy(&value).trim().to_owned();
        match name.as_str() {
            "response_format" => format = Format::parse(&value)?,
            "language" => language = compat_language(Some(&value))?,
            _ => {}
        }
    }
    if let Some(language) = language {
        app.transcriber.check_language(&language)?;
    }
    let file = file.ok_or_else(|| Error::invalid("file is required: the recording, as a part with a file name"))?;
    if file.bytes() == 0 {
        return Err(Error::invalid("the file is empty"));
    }
    let heard = hear(app, scope.user(), file.path()).await?;
    Ok(shown(&heard, format))
}

fn shown(heard: &Heard, format: Format) -> Response {
    let Heard { said, length } = heard;
    let text = form::text(form::words(said));
    match format {
        Format::Json => Json(json!({ "text": text })).into_response(),
        Format::Text => plain("text/plain; charset=utf-8", format!("{text}\n")),
        Format::Verbose => {
            let words: Vec<Value> = form::words(said)
                .map(|w| json!({ "word": w.text, "start": w.start.to_seconds(), "end": w.end.to_seconds() }))
                .collect();
            let segment = |(n, e): (usize, form::Entry)| json!({ "id": n, "start": e.start.to_seconds(), "end": e.end.to_seconds(), "text": e.text });
            let segments: Vec<Value> = form::sentences(said).into_iter().enumerate().map(segment).collect();
            let duration = length.to_seconds();
            let body = json!({ "task": "transcribe", "language": "english", "duration": duration, "text": text, "segments": segments, "words": words });
            Json(body).into_response()
        }
        Format::Srt => plain("application/x-subrip; charset=utf-8", subtitles(said, ',', true)),
        Format::Vtt => plain("text/vtt; charset=utf-8", format!("WEBVTT\n\n{}", subtitles(said, '.', false))),
    }
}

fn plain(kind: &'static str, body: String) -> Response {
    ([(CONTENT_TYPE, kind)], body).into_response()
}

/// A sentence a cue.
fn subtitles(said: &[Utterance], point: char, is_numbered: bool) -> String {
    let cue = |(n, e): (usize, form::Entry)| {
        let number = if is_numbered { format!("{}\n", n + 1) } else { String::new() };
        let text = e.text.unwrap_or_default().replace("-->", "->");
        format!("{number}{} --> {}\n{text}\n\n", clock(e.start, point), clock(e.end, point))
    };
    form::sentences(said).into_iter().enumerate().map(cue).collect()
}

fn clock(at: MediaTime, point: char) -> String {
    let ms = at.0.max(0) / 1000;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use vitascope_model::transcript::SpokenWord;

    use super::*;

    #[test]
    fn sentences_become_subtitles() {
        let word = |text: &str, start: i64, end: i64| SpokenWord {
            text: text.to_owned(),
            start: MediaTime(start),
            end: MediaTime(end),
        };
        let words = vec![word("One.", 500_000, 900_000), word("Two.", 3_661_000_000, 3_661_250_000)];
        let said = [Utterance { start: MediaTime(0), end: MediaTime(1), words, confidence: 1.0 }];
        assert_eq!(
            subtitles(&said, ',', true),
            "1\n00:00:00,500 --> 00:00:00,900\nOne.\n\n2\n01:01:01,000 --> 01:01:01,250\nTwo.\n\n"
        );
    }
}
