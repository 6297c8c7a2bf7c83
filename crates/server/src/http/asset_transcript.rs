//! The transcript of a video or an audio over HTTP: made when it is first asked for, and answered as words, sentences or windows.
//! The live transcript of an rtstream is `transcription.rs`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::account::Scope;
use vitascope_model::id::JobId;
use vitascope_model::job::JobState;
use vitascope_model::stream::AssetId;
use vitascope_model::transcript::Utterance;
use vitascope_model::{Error, MediaTime, Result, Span};

use super::async_response::{held, until_ended};
use super::extract::{Body, Owner, Query, compat_callback};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::speech::form::{self, Entry, Segmenter};
use crate::app::speech::{self, Audible, Wanted};

/// Nobody is told from another: there is no speaker model.
const SPEAKER: &str = "A";

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/video/{video}/transcription", show)
        .get("/audio/{audio}/transcription", show)
        .post("/video/{video}/transcription", make)
        .post("/audio/{audio}/transcription", make)
}

/// compat: `end` is absent, or -1 where nothing is to be left out; `force` is text.
#[derive(Deserialize)]
struct ShowQuery {
    start: Option<f64>,
    end: Option<f64>,
    segmenter: Option<String>,
    length: Option<f64>,
    force: Option<String>,
    /// Of a poll: the job that is waited for.
    job: Option<String>,
}

/// What of a transcript is to be shown, and how.
struct View {
    segmenter: Segmenter,
    start: MediaTime,
    end: MediaTime,
}

impl ShowQuery {
    fn view(&self) -> Result<View> {
        let seconds = |value: f64| MediaTime::from_seconds(value).filter(|at| at.0 >= 0);
        let moment =
            |value: f64| seconds(value).ok_or_else(|| Error::invalid("start and end are seconds from the beginning"));
        let start = self.start.map_or(Ok(MediaTime(0)), moment)?;
        let end = self.end.filter(|end| *end != -1.0).map_or(Ok(MediaTime(i64::MAX)), moment)?;
        if start > end {
            return Err(Error::invalid("start must not be after end"));
        }
        let segmenter = match self.segmenter.as_deref().unwrap_or("word") {
            "" | "word" => Segmenter::Word,
            "sentence" => Segmenter::Sentence,
            "time" => {
                let length = seconds(self.length.unwrap_or(1.0)).filter(|l| l.0 >= 1000);
                let length =
                    length.ok_or_else(|| Error::invalid("length is how many seconds a segment has: at least 0.001"))?;
                Segmenter::Time(length - MediaTime(0))
            }
            other => return Err(Error::invalid(format!("segmenter {other:?} is not word, sentence or time"))),
        };
        Ok(View { segmenter, start, end })
    }

    /// The same question again, about the same job.
    fn poll_path(&self, of: &AssetId, job: &JobId) -> String {
        let kind = if of.as_video().is_some() { "video" } else { "audio" };
        let mut path = format!("/{kind}/{of}/transcription?job={job}");
        let numbers = [("start", self.start), ("end", self.end), ("length", self.length)];
        numbers.into_iter().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
            path.push_str(&format!("&{name}={value}"));
        });
        // A name of ours: it was read.
        self.segmenter.iter().for_each(|name| path.push_str(&format!("&segmenter={name}")));
        path
    }
}

async fn audible(app: &App, scope: &Scope, id: &str) -> Result<Audible> {
    let asset: AssetId = id.parse()?;
    match &asset {
        AssetId::Video(id) => app.store.get_video(scope, id).await.map(|_| ())?,
        AssetId::Audio(id) => app.store.get_audio(scope, id).await.map(|_| ())?,
    }
    speech::find(app, &asset).await
}

async fn show(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Answer {
    let view = query.view()?;
    let of = audible(&app, &scope, &id).await?;
    let again = query.force.as_deref() == Some("true");
    let job = match &query.job {
        Some(job) => Some(job.parse()?),
        None => speech::order(&app, &of, Wanted { again, ..Wanted::default() }).await?,
    };
    if let Some(job) = job {
        let job = until_ended(&app, &scope, &job).await?;
        match job.state {
            JobState::Done => {}
            JobState::Failed => return Ok(Reply::raw(crate::views::job(&app, &job)?)),
            // compat: the SDKs poll `output_url` and take what it answers in the end: the same question, then.
            JobState::Queued | JobState::Running => {
                let mut envelope = crate::views::job(&app, &job)?;
                envelope["data"]["output_url"] = json!(app.config.url(&query.poll_path(&of.asset_id, &job.id)));
                return Ok(Reply::raw(envelope));
            }
        }
    }
    let said = speech::said(&app, &of.asset_id).await?;
    let said = said.ok_or_else(|| Error::conflict("this transcript is being made anew: ask again"))?;
    Ok(Reply::ok(shown(&said, &view, of.length)))
}

/// compat: the list has two names for what is said in an entry; silence is "-", and has no speaker.
fn shown(said: &[Utterance], view: &View, length: Span) -> Value {
    let is_in = |start: MediaTime, end: MediaTime| end > view.start && start < view.end;
    let entries = form::entries(said, view.segmenter, length).into_iter().filter(|e| is_in(e.start, e.end));
    let list: Vec<Value> = entries.map(|e| shown_entry(&e)).collect();
    let words = form::words(said).filter(|w| is_in(w.start, w.end));
    json!({ "word_timestamps": list, "text": form::text(words) })
}

fn shown_entry(entry: &Entry) -> Value {
    let text = entry.text.as_deref().unwrap_or("-");
    let mut shown =
        json!({ "start": entry.start.to_seconds(), "end": entry.end.to_seconds(), "text": text, "word": text });
    if entry.text.is_some() {
        shown["speaker"] = json!(SPEAKER);
    }
    shown
}

#[derive(Deserialize)]
struct MakeRequest {
    force: Option<bool>,
    language_code: Option<String>,
    callback_url: Option<String>,
}

async fn make(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<MakeRequest>,
) -> Answer {
    let of = audible(&app, &scope, &id).await?;
    let callback_url = compat_callback(&app, request.callback_url)?;
    let is_told = callback_url.is_some();
    let language = compat_language(request.language_code.as_deref())?;
    let wanted = Wanted { language, again: request.force == Some(true), callback_url };
    let job = speech::order(&app, &of, wanted).await?;
    let view = View { segmenter: Segmenter::Word, start: MediaTime(0), end: MediaTime(i64::MAX) };
    match job {
        Some(job) if is_told => Ok(Reply::raw(json!({
            "success": true,
            "message": "the transcript is being made; callback_url will be told",
            "data": { "id": job.as_str(), "output_url": app.config.url(&format!("/async-response/{job}")) },
        }))),
        Some(job) => {
            let reply = held(&app, &scope, &job).await?;
            if reply["status"] != "done" {
                return Ok(Reply::raw(reply));
            }
            let said = speech::said(&app, &of.asset_id).await?.unwrap_or_default();
            Ok(Reply::ok(shown(&said, &view, of.length)))
        }
        None => {
            let said = speech::said(&app, &of.asset_id).await?.unwrap_or_default();
            Ok(Reply::ok(shown(&said, &view, of.length)))
        }
    }
}

/// compat: codes with a region (`en_us`, `en-GB`) mean the language; nothing, and "auto", mean what we take for it: English.
pub(super) fn compat_language(code: Option<&str>) -> Result<Option<String>> {
    let Some(code) = code.map(str::trim).filter(|c| !c.is_empty() && *c != "auto") else { return Ok(None) };
    let language = code.split(['_', '-']).next().unwrap_or_default().to_lowercase();
    let is_code = (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
    is_code
        .then_some(Some(language))
        .ok_or_else(|| Error::invalid(format!("language_code {code:?} is no ISO 639-1 code")))
}
