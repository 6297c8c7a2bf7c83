//! Search over HTTP, as existing code asks for it: in a video or a collection, by meaning or word for word; the answer is videos with
//! moments that play at once.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::account::Scope;
use vitascope_model::media_index::{Hit, Within};
use vitascope_model::stream::Stream;
use vitascope_model::{Error, ErrorKind, Result};

use super::extract::{Body, Owner, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::search::{Found, MOST, Question, by_meaning, by_words};
use crate::app::{App, stream};
use crate::views;

/// Where a client says nothing, or null.
const SCORE: f64 = 0.2;
const HITS: usize = 5;
/// Contract: derived from published answers.
const DYNAMIC_PERCENT: f64 = 20.0;
const LONGEST_QUERY: usize = 10_000;

pub(super) fn routes() -> Routes {
    Routes::new().post("/video/{video}/search", search_video).post("/collection/{collection}/search", search_collection)
}

/// compat: what is not known here is ignored: the SDKs hand on whatever they are given.
#[derive(Deserialize)]
struct SearchRequest {
    query: Option<String>,
    search_type: Option<String>,
    index_type: Option<String>,
    score_threshold: Option<f64>,
    result_threshold: Option<f64>,
    dynamic_score_percentage: Option<f64>,
    sort_docs_on: Option<String>,
    stitch: Option<bool>,
}

async fn search_video(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<SearchRequest>,
) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    answer(&app, &scope, Within::Video(video.id), &request).await
}

async fn search_collection(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<SearchRequest>,
) -> Answer {
    let collection = collection_of(&app, &scope, &id).await?;
    answer(&app, &scope, Within::Collection(collection.id), &request).await
}

async fn answer(app: &App, scope: &Scope, within: Within, request: &SearchRequest) -> Answer {
    let question = question(within, request)?;
    let search_type = request.search_type.as_deref().unwrap_or("semantic");
    // compat: npm's keyword search without an index type sends the search type in its place.
    let index_type = request.index_type.as_deref().unwrap_or("spoken_word");
    if index_type == "scene" || search_type == "scene" {
        return Err(Error::new(ErrorKind::Unimplemented, "search in scenes is not built yet").into());
    }
    let found = match search_type {
        "semantic" | "" | "custom" => by_meaning(app, scope, &question).await?,
        "keyword" => by_words(app, scope, &question).await?,
        "llm" => return Err(Error::new(ErrorKind::Unimplemented, "search by a language model is not built yet").into()),
        other => return Err(Error::invalid(format!("search_type {other:?} is not semantic or keyword")).into()),
    };
    if found.iter().all(|video| video.hits.is_empty()) {
        // compat: clients look for these words in the message, so it is no HTTP error.
        return Ok(Reply::raw(json!({ "success": false, "message": "No results found" })));
    }
    let by_start = request.sort_docs_on.as_deref() == Some("start");
    Ok(Reply::ok(json!({ "results": found.into_iter().map(|f| shown(app, f, by_start)).collect::<Vec<Value>>() })))
}

fn question(within: Within, request: &SearchRequest) -> Result<Question> {
    let text = request.query.as_deref().map(str::trim).filter(|q| !q.is_empty());
    let text = text.ok_or_else(|| Error::invalid("query is required: what to look for"))?;
    if text.chars().count() > LONGEST_QUERY {
        return Err(Error::invalid(format!("query must have at most {LONGEST_QUERY} characters")));
    }
    let is_keyword = request.search_type.as_deref() == Some("keyword");
    let limit = match request.result_threshold {
        Some(n) if n >= 1.0 && n.is_finite() => (n as usize).min(MOST),
        Some(_) => return Err(Error::invalid("result_threshold is how many hits there may be: at least 1")),
        None => {
            if is_keyword {
                MOST
            } else {
                HITS
            }
        }
    };
    let percent = request.dynamic_score_percentage.unwrap_or(DYNAMIC_PERCENT);
    if !(0.0..=100.0).contains(&percent) {
        return Err(Error::invalid("dynamic_score_percentage is between 0 and 100"));
    }
    Ok(Question {
        text: text.to_owned(),
        within,
        limit,
        least: request.score_threshold.unwrap_or(SCORE),
        dynamic_percent: percent,
        is_stitched: request.stitch.unwrap_or(true),
    })
}

fn shown(app: &App, found: Found, by_start: bool) -> Value {
    let Found { video, mut hits } = found;
    let max_score = hits.iter().map(|(hit, _)| hit.score).fold(0.0, f64::max);
    if by_start {
        hits.sort_by_key(|(hit, _)| hit.start);
    }
    let plays = video.dropped_at.is_none();
    let docs: Vec<Value> = hits.iter().map(|(hit, stream)| doc(app, hit, plays.then_some(stream))).collect();
    let mut shown = json!({
        "video_id": video.id.as_str(),
        "collection_id": video.collection_id.as_str(),
        "title": video.name,
        "length": video.length.to_seconds(),
        "platform": "vitascope",
        "max_score": max_score,
        "docs": docs,
    });
    if plays {
        shown["stream_url"] = json!(app.config.url(&stream::asset_playlist_path(&video.stream_id)));
    }
    shown["thumbnail"] = json!(views::thumbnail_url(app, &video));
    shown
}

/// compat: the stream has two names, by the generation of the SDK.
fn doc(app: &App, hit: &Hit, plays: Option<&Stream>) -> Value {
    let url = plays.map(|stream| app.config.url(&stream::playlist_path(stream)));
    json!({
        "start": hit.start.to_seconds(),
        "end": hit.end.to_seconds(),
        "text": hit.text,
        "score": hit.score,
        "stream_link": url,
        "stream_url": url,
        "player_url": plays.map(|stream| app.config.url(&stream::player_path(&stream.id))),
    })
}
