//! Live indexes of an rtstream over HTTP (the SDKs' `index_audio` and `index_spoken_words`): made, read, stopped, started, and their records.
//! On the wire they are scene indexes, whatever they are of; those of pictures are not built yet.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::id::LiveIndexId;
use vitascope_model::live_index::{IndexRecord, LiveIndex, Segmentation, Segmenter};
use vitascope_model::rtstream::RtStream;
use vitascope_model::{Error, ErrorKind, Result, TimeRange, WallTime};

use super::extract::{Body, Owner, Query, compat_connection};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::live_index::{self, NewLiveIndex};
use crate::events::frames;
use vitascope_model::account::Scope;

/// The wire's word for an index of what is said.
const AUDIO: &str = "transcript";
/// Contract: the window of an index that does not say.
const DEFAULT: Segmentation = Segmentation { segmenter: Segmenter::Sentence, size: 3 };
/// Words, sentences or seconds of a window at the most.
const LARGEST_WINDOW: i64 = 3600;
const LONGEST_PROMPT: usize = 20_000;
const LONGEST_NAME: usize = 200;
/// Contract: records on a page at the most.
const MOST_RECORDS: i64 = 1000;
const NO_MODEL: &str =
    "no language model is configured (VITASCOPE_COMPLETE_URL): records hold the words themselves and follow no prompt";

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/rtstream/{rtstream}/index/scene", list_indexes)
        .post("/rtstream/{rtstream}/index/scene", create)
        .get("/rtstream/{rtstream}/index/{index}", show)
        .get("/rtstream/{rtstream}/index/scene/{index}", list_records)
        .patch("/rtstream/{rtstream}/index/scene/{index}", set_prompt)
        .patch("/rtstream/{rtstream}/index/scene/{index}/status", switch)
}

#[derive(Deserialize)]
struct CreateRequest {
    extraction_type: Option<String>,
    extraction_config: Option<ExtractionConfig>,
    prompt: Option<String>,
    name: Option<String>,
    model_name: Option<String>,
    ws_connection_id: Option<String>,
    auto_start_transcript: Option<bool>,
}

#[derive(Deserialize)]
struct ExtractionConfig {
    segmenter: Option<String>,
    segmentation_value: Option<Value>,
}

async fn create(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<CreateRequest>,
) -> Answer {
    let stream = app.store.get_rtstream(&scope, &id.parse()?).await?;
    if request.extraction_type.as_deref() != Some(AUDIO) {
        let what = request.extraction_type.as_deref().unwrap_or("time");
        let message = format!(
            "live indexes of pictures (extraction_type {what:?}) are not built yet; \"{AUDIO}\" indexes what is said"
        );
        return Err(Error::new(ErrorKind::Unimplemented, message).into());
    }
    let new = NewLiveIndex {
        segmentation: compat_segmentation(request.extraction_config)?,
        name: text("name", request.name, LONGEST_NAME)?,
        prompt: text("prompt", request.prompt, LONGEST_PROMPT)?,
        model_name: text("model_name", request.model_name, LONGEST_NAME)?,
        connection: compat_connection(request.ws_connection_id),
        starts_transcript: request.auto_start_transcript.unwrap_or(true),
    };
    let Some(index) = live_index::create(&app, &stream, new).await? else {
        // compat: both SDKs make `None` of empty data, and apps read that as "start the transcript first".
        return Ok(Reply::ok(Value::Null));
    };
    let mut made = view(&index);
    made["extraction_config"]["segmentation_value"] = json!(index.segmentation.size);
    if app.completer.is_none() {
        made["warning"] = json!(NO_MODEL);
    }
    Ok(Reply::ok(made))
}

/// compat: a config or a part of it may be missing or null; lists answer numbers as text, which clients send back.
fn compat_segmentation(config: Option<ExtractionConfig>) -> Result<Segmentation> {
    let Some(ExtractionConfig { segmenter, segmentation_value }) = config else { return Ok(DEFAULT) };
    let segmenter = segmenter.filter(|s| !s.is_empty()).map_or(Ok(DEFAULT.segmenter), |text| {
        Segmenter::parse(&text)
            .ok_or_else(|| Error::invalid(format!("segmenter {text:?} is neither word, sentence nor time")))
    })?;
    let size = match segmentation_value {
        None | Some(Value::Null) => match segmenter {
            Segmenter::Sentence => Some(DEFAULT.size as f64),
            // The SDK's own default, and as many seconds.
            Segmenter::Word | Segmenter::Time => Some(10.0),
        },
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_f64(),
    };
    let size = size.filter(|n| n.fract() == 0.0 && (1.0..=LARGEST_WINDOW as f64).contains(n)).map(|n| n as i64);
    let size =
        size.ok_or_else(|| Error::invalid(format!("segmentation_value is a whole number from 1 to {LARGEST_WINDOW}")))?;
    Ok(Segmentation { segmenter, size })
}

/// An unset text comes as null or as "".
fn text(name: &str, value: Option<String>, longest: usize) -> Result<Option<String>> {
    let value = value.filter(|v| !v.trim().is_empty());
    if value.as_ref().is_some_and(|v| v.len() > longest) {
        return Err(Error::invalid(format!("{name} is longer than {longest} bytes")));
    }
    Ok(value)
}

async fn found(app: &App, scope: &Scope, rtstream: &str, index: &str) -> Result<(RtStream, LiveIndex)> {
    let stream = app.store.get_rtstream(scope, &rtstream.parse()?).await?;
    let index = app.store.get_live_index(scope, &stream.id, &index.parse::<LiveIndexId>()?).await?;
    Ok((stream, index))
}

async fn list_indexes(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.list_live_indexes(&scope, &id.parse()?).await?;
    Ok(Reply::ok(json!({ "scene_indexes": found.iter().map(view).collect::<Vec<_>>() })))
}

async fn show(State(app): State<App>, Owner(scope): Owner, Path((rtstream, index)): Path<(String, String)>) -> Answer {
    Ok(Reply::ok(view(&found(&app, &scope, &rtstream, &index).await?.1)))
}

/// Contract: numbers of the config are text here, as the live service answers them; only the answer to its making has a number.
fn view(index: &LiveIndex) -> Value {
    json!({
        "rtstream_index_id": index.id.as_str(),
        "rtstream_id": index.rtstream_id.as_str(),
        "extraction_type": AUDIO,
        "extraction_config": {
            "segmenter": index.segmentation.segmenter.as_str(),
            "segmentation_value": index.segmentation.size.to_string(),
        },
        "prompt": index.prompt,
        "name": index.name,
        "model_name": index.model_name,
        "status": index.state.as_str(),
        "ws_connection_id": index.ws_connection_id.as_ref().map(|id| id.as_str()),
        "sandbox_id": null,
        "created_at": index.created_at.to_string(),
    })
}

#[derive(Deserialize)]
struct RecordsQuery {
    page: Option<i64>,
    page_size: Option<i64>,
    start: Option<f64>,
    end: Option<f64>,
}

impl RecordsQuery {
    fn range(&self) -> Result<TimeRange> {
        let moment = |name: &str, value: Option<f64>, unset: WallTime| match value {
            Some(v) => {
                WallTime::from_seconds(v).ok_or_else(|| Error::invalid(format!("{name} is in seconds since the epoch")))
            }
            None => Ok(unset),
        };
        let (start, end) = (moment("start", self.start, WallTime(0))?, moment("end", self.end, WallTime(i64::MAX))?);
        TimeRange::new(start, end).ok_or_else(|| Error::invalid("start must be before end"))
    }
}

async fn list_records(
    State(app): State<App>,
    Owner(scope): Owner,
    Path((rtstream, index)): Path<(String, String)>,
    Query(query): Query<RecordsQuery>,
) -> Answer {
    let (_, index) = found(&app, &scope, &rtstream, &index).await?;
    let (page, size) = (query.page.unwrap_or(1).max(1), query.page_size.unwrap_or(100).clamp(1, MOST_RECORDS));
    let (records, count) = app.store.list_index_records(&index.id, query.range()?, page, size).await?;
    Ok(Reply::ok(json!({
        "scene_index_records": records.iter().map(record).collect::<Vec<_>>(),
        "page": page,
        "page_size": size,
        "total_count": count,
        "next_page": page.saturating_mul(size) < count,
    })))
}

/// compat: notebooks read `description`, newer apps `text`.
fn record(r: &IndexRecord) -> Value {
    json!({
        "start": r.start.to_seconds(),
        "end": r.end.to_seconds(),
        "text": r.text,
        "description": r.text,
        "metadata": frames::index_metadata(r),
    })
}

#[derive(Deserialize)]
struct PromptRequest {
    prompt: Option<String>,
}

async fn set_prompt(
    State(app): State<App>,
    Owner(scope): Owner,
    Path((rtstream, index)): Path<(String, String)>,
    Body(request): Body<PromptRequest>,
) -> Answer {
    let (_, index) = found(&app, &scope, &rtstream, &index).await?;
    let prompt = text("prompt", request.prompt, LONGEST_PROMPT)?.ok_or_else(|| Error::invalid("prompt is required"))?;
    live_index::set_prompt(&app, &index, prompt.clone()).await?;
    let mut shown = view(&LiveIndex { prompt: Some(prompt), ..index });
    // compat: Node looks for success inside the data.
    shown["success"] = json!(true);
    Ok(Reply::ok(shown))
}

#[derive(Deserialize)]
struct SwitchRequest {
    action: Option<String>,
}

async fn switch(
    State(app): State<App>,
    Owner(scope): Owner,
    Path((rtstream, index)): Path<(String, String)>,
    Body(request): Body<SwitchRequest>,
) -> Answer {
    let (stream, index) = found(&app, &scope, &rtstream, &index).await?;
    match request.action.as_deref() {
        Some("start") => live_index::start(&app, &stream, &index).await?,
        Some("stop") => live_index::stop(&app, &index).await?,
        _ => return Err(Error::invalid("action must be start or stop").into()),
    }
    Ok(Reply::ok(view(&app.store.get_live_index(&scope, &stream.id, &index.id).await?)))
}
