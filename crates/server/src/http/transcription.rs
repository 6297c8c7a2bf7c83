//! The live transcript of an rtstream over HTTP: start, stop, read, status.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::rtstream::{RtStream, Transcription};
use vitascope_model::transcript::TranscriptRecord;
use vitascope_model::{Error, Result, TimeRange, WallTime};

use super::extract::{Body, Owner, Query, compat_connection};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, transcript};

/// The name of the local engine on the wire; any name that a client sends means it.
const ENGINE: &str = "default";
/// Contract: records on a page at the most.
const MOST_RECORDS: i64 = 1000;

/// No list has more; and so page times size is a number.
const MOST_PAGES: i64 = 1_000_000_000;

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/rtstream/{rtstream}/transcription", switch)
        .get("/rtstream/{rtstream}/transcription", list_records)
        .get("/rtstream/{rtstream}/transcription/status", show_status)
}

#[derive(Deserialize)]
struct SwitchRequest {
    action: Option<String>,
    ws_connection_id: Option<String>,
    mode: Option<String>,
}

async fn switch(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<SwitchRequest>,
) -> Answer {
    let stream = app.store.get_rtstream(&scope, &id.parse()?).await?;
    match request.action.as_deref() {
        Some("start") => transcript::start(&app, &stream, compat_connection(request.ws_connection_id)).await?,
        // compat: `mode` may be `graceful` or `force` (npm); a final that was promised is stored either way, but only one waits for it.
        Some("stop") if request.mode.as_deref() == Some("force") => transcript::stop_soon(&app, &stream).await?,
        Some("stop") => transcript::stop(&app, &stream).await?,
        _ => return Err(Error::invalid("action must be start or stop").into()),
    }
    status_reply(app.store.get_rtstream(&scope, &stream.id).await?)
}

async fn show_status(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    status_reply(app.store.get_rtstream(&scope, &id.parse()?).await?)
}

fn status_reply(stream: RtStream) -> Answer {
    let (status, since, until) = match stream.transcription {
        Transcription::NotConfigured => ("not_configured", None, None),
        Transcription::Running { since } => ("running", Some(since), None),
        Transcription::Stopped { since, until } => ("stopped", Some(since), Some(until)),
    };
    Ok(Reply::ok(json!({
        "status": status,
        "engine": ENGINE,
        "language": "en",
        "start_time": since.map(WallTime::to_seconds),
        "end_time": until.map(WallTime::to_seconds),
        "created_at": since.map(|t| t.to_string()),
        "updated_at": until.or(since).map(|t| t.to_string()),
    })))
}

#[derive(Deserialize)]
struct RecordsQuery {
    page: Option<i64>,
    page_size: Option<i64>,
    start: Option<f64>,
    end: Option<f64>,
    since: Option<f64>,
}

impl RecordsQuery {
    fn range(&self) -> Result<TimeRange> {
        let moment = |value: Option<f64>| value.map(|v| WallTime::from_seconds(v).ok_or(())).transpose();
        let read = || Some((moment(self.start.or(self.since)).ok()?, moment(self.end).ok()?));
        let (start, end) = read().ok_or_else(|| Error::invalid("start, end and since are seconds since the epoch"))?;
        let range = TimeRange::new(start.unwrap_or(WallTime(0)), end.unwrap_or(WallTime(i64::MAX)));
        range.ok_or_else(|| Error::invalid("start must be before end"))
    }
}

/// compat: one list under three names, as the published document and two generations of apps read it.
async fn list_records(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Query(query): Query<RecordsQuery>,
) -> Answer {
    let stream = app.store.get_rtstream(&scope, &id.parse()?).await?;
    let (page, size) =
        (query.page.unwrap_or(1).clamp(1, MOST_PAGES), query.page_size.unwrap_or(100).clamp(1, MOST_RECORDS));
    let (found, count) = app.store.list_transcript(&stream.id, query.range()?, page, size).await?;
    let records: Vec<Value> = found.iter().map(record).collect();
    Ok(Reply::ok(json!({
        "transcription_records": records,
        "segments": records,
        "transcriptions": records,
        "page": page,
        "page_size": size,
        "total_count": count,
        "next_page": page * size < count,
    })))
}

fn record(r: &TranscriptRecord) -> Value {
    let words: Vec<Value> = r
        .words
        .iter()
        .map(|w| json!({ "word": w.text, "text": w.text, "start": w.start.to_seconds(), "end": w.end.to_seconds() }))
        .collect();
    json!({
        "start": r.start.to_seconds(),
        "end": r.end.to_seconds(),
        // compat: apps of the OpenClaw skill read this name.
        "timestamp": r.start.to_seconds(),
        "text": r.text,
        "confidence": r.confidence,
        "word_timestamps": words,
    })
}
