//! Indexes of a video over HTTP, as existing code asks for them: the spoken words, made once and searched by `search.rs`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::media_index::{MediaIndexKind, MediaRecord};
use vitascope_model::stream::AssetId;
use vitascope_model::{Error, ErrorKind, Result};

use super::asset_transcript::compat_language;
use super::async_response::held;
use super::extract::{Body, Owner, Query, compat_callback};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::speech::{self, Wanted};
use crate::app::{App, spoken_index};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/video/{video}/index", show)
        .post("/video/{video}/index", make)
        .post("/video/{video}/index/delete", delete)
}

/// What a client calls an index.
enum Named {
    SpokenWord,
    Scene,
    All,
}

impl Named {
    fn parse(name: Option<&str>, default: Named) -> Result<Named> {
        match name.unwrap_or_default() {
            "" => Ok(default),
            "spoken_word" => Ok(Named::SpokenWord),
            "scene" => Ok(Named::Scene),
            "all" => Ok(Named::All),
            other => Err(Error::invalid(format!("index_type {other:?} is not spoken_word or scene"))),
        }
    }
}

#[derive(Deserialize)]
struct MakeRequest {
    index_type: Option<String>,
    language_code: Option<String>,
    segmentation_type: Option<String>,
    force: Option<bool>,
    callback_url: Option<String>,
}

async fn make(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<MakeRequest>,
) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    if !matches!(Named::parse(request.index_type.as_deref(), Named::SpokenWord)?, Named::SpokenWord) {
        return Err(not_built("an index of scenes").into());
    }
    match request.segmentation_type.as_deref().unwrap_or("sentence") {
        "" | "sentence" => {}
        "llm" => return Err(not_built("segmentation by a language model (use sentence)").into()),
        other => return Err(Error::invalid(format!("segmentation_type {other:?} is not sentence or llm")).into()),
    }
    let callback_url = compat_callback(&app, request.callback_url)?;
    let is_told = callback_url.is_some();
    let language = compat_language(request.language_code.as_deref())?;
    let of = speech::find(&app, &AssetId::Video(video.id)).await?;
    let wanted = Wanted { language, again: request.force == Some(true), callback_url };
    match spoken_index::order(&app, &of, wanted).await? {
        // compat: clients look for these words in the message, so it is no HTTP error.
        None => Ok(Reply::raw(json!({ "success": false, "message": "Spoken word index for video already exists" }))),
        Some(job) if is_told => Ok(Reply::raw(json!({
            "success": true,
            "message": "the index is being made; callback_url will be told",
            "data": { "id": job.as_str(), "output_url": app.config.url(&format!("/async-response/{job}")) },
        }))),
        Some(job) => Ok(Reply::raw(held(&app, &scope, &job).await?)),
    }
}

fn not_built(what: &str) -> Error {
    Error::new(ErrorKind::Unimplemented, format!("{what} is not built yet"))
}

#[derive(Deserialize)]
struct ShowQuery {
    index_type: Option<String>,
}

/// compat: `data` itself is the list; null where there is no such index.
async fn show(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Answer {
    let video = AssetId::Video(app.store.get_video(&scope, &id.parse()?).await?.id);
    if !matches!(Named::parse(query.index_type.as_deref(), Named::SpokenWord)?, Named::SpokenWord) {
        return Ok(Reply::ok(Value::Null));
    }
    let found = app.store.find_media_index(&video, MediaIndexKind::SpokenWord).await?;
    let Some(index) = found.filter(|index| index.is_complete) else { return Ok(Reply::ok(Value::Null)) };
    let shown = |r: &MediaRecord| json!({ "start": r.start.to_seconds(), "end": r.end.to_seconds(), "text": r.text });
    Ok(Reply::ok(app.store.list_records(&index.id).await?.iter().map(shown).collect::<Vec<Value>>()))
}

#[derive(Deserialize)]
struct DeleteRequest {
    index_type: Option<String>,
}

/// The transcript stays: it is what was said, not how it is found.
async fn delete(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<DeleteRequest>,
) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    let wanted = Named::parse(request.index_type.as_deref(), Named::All)?;
    if matches!(wanted, Named::SpokenWord | Named::All) {
        spoken_index::delete(&app, &AssetId::Video(video.id)).await?;
    }
    Ok(Reply::message("the index is deleted"))
}
