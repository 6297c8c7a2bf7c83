//! Rtstreams over HTTP: read them, and play any range of what they recorded.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vitascope_model::rtstream::{RtStream, RtStreamState};
use vitascope_model::stream::Piece;
use vitascope_model::{Error, TimeRange, WallTime};

use super::extract::{Owner, Query};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, stream};

/// Contract: frames a second that visual indexes look at; the SDKs' default.
pub(super) const SAMPLE_RATE: i64 = 30;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/rtstream", list_rtstreams)
        .get("/rtstream/{rtstream}", show_rtstream)
        .get("/rtstream/{rtstream}/stream", stream_range)
}

#[derive(Serialize)]
struct RtStreamView {
    id: String,
    rtstream_id: String,
    name: String,
    collection_id: String,
    session_id: Option<String>,
    channel_id: Option<&'static str>,
    status: &'static str,
    sample_rate: i64,
    media_types: [&'static str; 1],
    store: bool,
    created_at: String,
}

fn view(r: RtStream) -> RtStreamView {
    RtStreamView {
        id: r.id.to_string(),
        rtstream_id: r.id.to_string(),
        name: r.name,
        collection_id: r.collection_id.to_string(),
        session_id: r.session_id.map(|id| id.to_string()),
        channel_id: r.category.map(|c| c.as_str()),
        status: r.state.as_str(),
        sample_rate: SAMPLE_RATE,
        media_types: [r.kind.as_str()],
        store: r.store,
        created_at: r.created_at.to_string(),
    }
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<i64>,
    offset: Option<i64>,
    status: Option<String>,
    name: Option<String>,
}

async fn list_rtstreams(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let state = query.status.filter(|s| !s.is_empty()).map(|text| {
        RtStreamState::parse(&text)
            .ok_or_else(|| Error::invalid(format!("status {text:?} is neither connected nor stopped")))
    });
    let (limit, offset) = (query.limit.unwrap_or(10).clamp(1, 1000), query.offset.unwrap_or(0).max(0));
    let (found, count) =
        app.store.list_rtstreams(&scope, state.transpose()?, query.name.as_deref(), limit, offset).await?;
    let page = |offset: i64| app.config.url(&format!("/rtstream?limit={limit}&offset={offset}"));
    let next = (offset + limit < count).then(|| page(offset + limit));
    let previous = (offset > 0).then(|| page((offset - limit).max(0)));
    let views: Vec<RtStreamView> = found.into_iter().map(view).collect();
    Ok(Reply::ok(json!({ "results": views, "count": count, "next": next, "previous": previous })))
}

async fn show_rtstream(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    Ok(Reply::ok(view(app.store.get_rtstream(&scope, &id.parse()?).await?)))
}

/// Seconds since the epoch, whole or not.
#[derive(Deserialize)]
struct RangeQuery {
    start: Option<f64>,
    end: Option<f64>,
    player_title: Option<String>,
}

async fn stream_range(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Query(query): Query<RangeQuery>,
) -> Answer {
    let found = app.store.get_rtstream(&scope, &id.parse()?).await?;
    let moment = |name: &str, value: Option<f64>| {
        let at = value.and_then(WallTime::from_seconds).filter(|t| t.0 >= 0);
        at.ok_or_else(|| Error::invalid(format!("{name} is required, in seconds since the epoch")))
    };
    let range = TimeRange::new(moment("start", query.start)?, moment("end", query.end)?);
    let range = range.ok_or_else(|| Error::invalid("start must be before end"))?;
    let piece = Piece::RtStream { id: found.id, range };
    let made = stream::publish(&app, scope.user(), piece, query.player_title.or(Some(found.name))).await?;
    Ok(Reply::ok(json!({
        "stream_url": app.config.url(&stream::playlist_path(&made)),
        "player_url": app.config.url(&stream::player_path(&made.id)),
    })))
}
