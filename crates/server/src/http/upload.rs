//! Uploads over HTTP: URLs of ours that take a file without a key, since they are unguessable themselves.
//! Files are streamed to the disk and are never in memory as a whole; what they are called decides nothing.

use axum::body::Body as HttpBody;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use multer::{Field, Multipart};
use serde::Deserialize;
use serde_json::json;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use vitascope_model::error::Context;
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Result};

use super::error::ApiError;
use super::extract::{Owner, Query, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::upload::{self, Inflow};

/// Read at once when a file is given back.
const BLOCK: usize = 256 << 10;
/// A file's name for people: longer ones are cut.
const LONGEST_NAME: usize = 200;

pub(super) fn routes() -> Routes {
    Routes::new().get("/collection/{collection}/upload_url", make_url).open("/uploads/{secret}", give).open_on(
        "POST",
        "/uploads/{secret}",
        post(take),
    )
}

#[derive(Deserialize)]
struct UrlQuery {
    name: Option<String>,
}

async fn make_url(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(collection): Path<String>,
    Query(query): Query<UrlQuery>,
) -> Answer {
    let collection = collection_of(&app, &scope, &collection).await?;
    let name = query.name.as_deref().and_then(clean_name);
    let made = upload::make_slot(&app, &scope, &collection, name, None).await?;
    let url = app.config.url(&format!("/uploads/{}", made.secret));
    Ok(Reply::ok(json!({ "upload_url": url, "expires_at": made.slot.expires_at.to_string() })))
}

/// A file as multipart: the first part that has a file name, whatever that and its type are.
async fn take(State(app): State<App>, Path(secret): Path<String>, request: Request) -> Answer {
    let slot = upload::open_slot(&app, &secret).await?;
    if slot.arriving.is_some() {
        return Err(
            Error::conflict("a tus upload comes in here: go on with PATCH /tus/…, or end it with DELETE").into()
        );
    }
    let expected = length_of(request.headers());
    let mut parts = parts_of(request)?;
    while let Some(part) = parts.next_field().await.invalid("the multipart body cannot be read or broke off")? {
        let Some(name) = part.file_name().map(str::to_owned) else { continue };
        let inflow = Inflow::begin(&app, None).await?;
        if let Some(expected) = expected {
            // The body is hardly larger than its file: parts have a line or two each.
            upload::check_room(&app, expected)?;
        }
        let inflow = pour(inflow, part).await?;
        let (inflow, received) = inflow.finish(clean_name(&name)).await?;
        let (sha256, bytes) = (received.sha256.clone(), received.bytes);
        upload::fill_slot(&app, &slot, inflow, received).await?;
        app.metrics.uploaded(bytes);
        app.usage.add(&slot.owner, Meter::BytesIn, bytes);
        return Ok(Reply::ok(json!({ "sha256": sha256, "size": bytes.to_string() })));
    }
    Err(Error::invalid("the body has no file: send multipart/form-data with one part that has a filename").into())
}

pub(super) fn parts_of(request: Request) -> Result<Multipart<'static>> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let boundary = multer::parse_boundary(kind)
        .map_err(|_| Error::invalid("send the file as multipart/form-data, as forms and curl -F do"))?;
    Ok(Multipart::new(request.into_body().into_data_stream(), boundary))
}

pub(super) async fn pour(mut inflow: Inflow, mut part: Field<'static>) -> Result<Inflow> {
    while let Some(chunk) = part.chunk().await.invalid("the upload broke off")? {
        inflow.write(&chunk).await?;
    }
    Ok(inflow)
}

fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a file is called, as people read it: without folders and control characters. Nothing where nothing is left.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let kept: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let kept = kept.trim();
    (!kept.is_empty() && kept != "." && kept != "..").then(|| kept.to_owned())
}

/// The file of a slot, to who knows its URL. It is a stranger's file: never shown by a browser as a page of ours.
async fn give(State(app): State<App>, Path(secret): Path<String>) -> Result<Response, ApiError> {
    let slot = upload::open_slot(&app, &secret).await?;
    let received = slot.received.ok_or_else(|| Error::not_found("a file at this upload URL"))?;
    app.usage.add(&slot.owner, Meter::BytesOut, received.bytes);
    let file = File::open(upload::folder(&app).join(&received.file)).await.internal("open an upload")?;
    let blocks = futures_util::stream::unfold(file, |mut file| async move {
        let mut block = vec![0; BLOCK];
        match file.read(&mut block).await {
            Ok(0) => None,
            Ok(count) => {
                block.truncate(count);
                Some((Ok(block), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, received.bytes.to_string()),
        (CONTENT_DISPOSITION, "attachment".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, HttpBody::from_stream(blocks)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_for_people_and_never_paths() {
        for (sent, wanted) in [
            ("beep.wav", Some("beep.wav")),
            ("a b ü 漢字.mp4", Some("a b ü 漢字.mp4")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\films\\one", Some("one")),
            ("a\r\nb\0", Some("ab")),
            ("..", None),
            ("films/", None),
            ("  ", None),
        ] {
            assert_eq!(clean_name(sent).as_deref(), wanted, "{sent:?}");
        }
        assert_eq!(clean_name(&"x".repeat(1000)).unwrap().len(), LONGEST_NAME);
    }
}
