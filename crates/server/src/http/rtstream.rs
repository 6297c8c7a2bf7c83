//! Rtstreams over HTTP: list, read, rename, stop and start them, play any range of what they recorded, delete them.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vitascope_model::rtstream::{RtStream, RtStreamState};
use vitascope_model::stream::Piece;
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};
use vitascope_store::rtstream::{RtStreamField, RtStreamFilter, RtStreamOrder};

use super::extract::{Body, Owner, Query, check_name};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::rtstream::{Wishes, start, stop, update};
use crate::app::stream::Words;
use crate::app::{App, deletion, playback, stream};
use crate::live::health;

/// A client's clock may be so far ahead of ours.
const CLOCKS_DIFFER: Span = Span::seconds(60);

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/rtstream", list_rtstreams)
        .get("/rtstream/{rtstream}", show_rtstream)
        .patch("/rtstream/{rtstream}", update_rtstream)
        .delete("/rtstream/{rtstream}", delete_rtstream)
        .patch("/rtstream/{rtstream}/status", switch_rtstream)
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
    keep: bool,
    /// On the disk; the open end of a recording is not counted.
    bytes: i64,
    bytes_per_hour: Option<u64>,
    kept_from: Option<String>,
    created_at: String,
    stream_url: String,
    player_url: String,
}

/// Its `stream_url` is the live edge.
async fn view(app: &App, r: RtStream) -> Result<RtStreamView> {
    let (live, holding) = (stream::live_of(app, &r), app.store.find_holding(&r.id).await?.unwrap_or_default());
    Ok(RtStreamView {
        id: r.id.to_string(),
        rtstream_id: r.id.to_string(),
        name: r.name,
        collection_id: r.collection_id.to_string(),
        session_id: r.session_id.map(|id| id.to_string()),
        channel_id: r.category.map(|c| c.as_str()),
        status: r.state.as_str(),
        sample_rate: r.sample_rate,
        media_types: [r.kind.as_str()],
        store: r.store,
        keep: r.keep,
        bytes: holding.bytes,
        bytes_per_hour: health::bytes_per_hour(app, &r.id, &holding),
        kept_from: holding.kept_from_us.map(|us| WallTime(us).to_string()),
        created_at: r.created_at.to_string(),
        stream_url: app.config.url(&stream::playlist_path(&live)),
        player_url: app.config.url(&stream::player_path(&live.id)),
    })
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<i64>,
    offset: Option<i64>,
    status: Option<String>,
    name: Option<String>,
    ordering: Option<String>,
}

/// Of the whole account: no SDK sends a collection.
async fn list_rtstreams(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let state = given(&query.status).map(|text| {
        RtStreamState::parse(&text)
            .ok_or_else(|| Error::invalid(format!("status {text:?} is neither connected nor stopped")))
    });
    let order = given(&query.ordering).as_deref().map_or(Ok(NEWEST_FIRST), order)?;
    let filter = RtStreamFilter { state: state.transpose()?, name: given(&query.name), order };
    let (limit, offset) = (query.limit.unwrap_or(10).clamp(1, 1000), query.offset.unwrap_or(0).max(0));
    let (found, count) = app.store.list_rtstreams(&scope, &filter, limit, offset).await?;
    let page = |offset: i64| app.config.url(&format!("/rtstream?{}", query.page(limit, offset)));
    let next = (offset.saturating_add(limit) < count).then(|| page(offset + limit));
    let previous = (offset > 0).then(|| page((offset - limit).max(0)));
    let mut views = Vec::with_capacity(found.len());
    for rtstream in found {
        views.push(view(&app, rtstream).await?);
    }
    Ok(Reply::ok(json!({ "results": views, "count": count, "next": next, "previous": previous })))
}

const NEWEST_FIRST: RtStreamOrder = RtStreamOrder { by: RtStreamField::Created, descending: true };

/// A field, with a minus before it for the other way round.
fn order(text: &str) -> Result<RtStreamOrder> {
    let (field, descending) = text.strip_prefix('-').map_or((text, false), |field| (field, true));
    let by = match field {
        "created_at" | "id" => RtStreamField::Created,
        "name" => RtStreamField::Name,
        "status" => RtStreamField::State,
        _ => {
            let known = "ordering must be created_at, name or status, with - before it for descending";
            return Err(Error::invalid(format!("{known}; {text:?} is none of them")));
        }
    };
    Ok(RtStreamOrder { by, descending })
}

impl ListQuery {
    /// The same list from another place.
    fn page(&self, limit: i64, offset: i64) -> String {
        let mut out = url::form_urlencoded::Serializer::new(format!("limit={limit}&offset={offset}"));
        for (key, value) in [("status", &self.status), ("name", &self.name), ("ordering", &self.ordering)] {
            if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
                out.append_pair(key, value);
            }
        }
        out.finish()
    }
}

async fn show_rtstream(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.get_rtstream(&scope, &id.parse()?).await?;
    Ok(Reply::ok(view(&app, found).await?))
}

#[derive(Deserialize)]
struct UpdateRequest {
    name: Option<String>,
    sample_rate: Option<i64>,
    keep: Option<bool>,
}

async fn update_rtstream(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<UpdateRequest>,
) -> Answer {
    let found = app.store.get_rtstream(&scope, &id.parse()?).await?;
    check_name(request.name.as_ref())?;
    if request.sample_rate.is_some_and(|rate| !(1..=240).contains(&rate)) {
        return Err(Error::invalid("sample_rate must be between 1 and 240 frames a second").into());
    }
    let UpdateRequest { name, sample_rate, keep } = request;
    update(&app, &found, Wishes { name, sample_rate, keep }).await?;
    let changed = app.store.get_rtstream(&scope, &found.id).await?;
    Ok(Reply::ok(view(&app, changed).await?))
}

#[derive(Deserialize)]
struct SwitchRequest {
    action: Option<String>,
}

async fn switch_rtstream(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<SwitchRequest>,
) -> Answer {
    let found = app.store.get_rtstream(&scope, &id.parse()?).await?;
    match request.action.as_deref() {
        Some("start") => start(&app, &found).await?,
        Some("stop") => stop(&app, &found).await?,
        _ => return Err(Error::invalid("action must be start or stop").into()),
    }
    let changed = app.store.get_rtstream(&scope, &found.id).await?;
    Ok(Reply::ok(view(&app, changed).await?))
}

/// No SDK has this call; users ask for it.
async fn delete_rtstream(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let stream = app.store.get_rtstream(&scope, &id.parse()?).await?;
    deletion::delete_rtstream(&app, &stream).await?;
    Ok(Reply::message("the rtstream and what it recorded are deleted"))
}

/// Seconds since the epoch, whole or not.
#[derive(Deserialize)]
struct RangeQuery {
    start: Option<f64>,
    end: Option<f64>,
    player_title: Option<String>,
    player_description: Option<String>,
    player_slug_prefix: Option<String>,
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
    check_recorded(&app, &found, range).await?;
    let given = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
    let words =
        Words { title: given(query.player_title).or(Some(found.name)), description: given(query.player_description) };
    let made = stream::publish(&app, scope.user(), Piece::RtStream { id: found.id, range }, words).await?;
    let player = stream::player_path_with_slug(&made.id, query.player_slug_prefix.as_deref().unwrap_or_default());
    Ok(Reply::ok(json!({
        "stream_url": app.config.url(&stream::playlist_path(&made)),
        "player_url": app.config.url(&player),
    })))
}

/// A range that can never show anything is refused here, with what there is; one that reaches into the future of a live recording
/// grows until it is reached.
async fn check_recorded(app: &App, found: &RtStream, range: TimeRange) -> Result<()> {
    let (id, now) = (&found.id, app.now());
    if range.start() > now + CLOCKS_DIFFER {
        return Err(Error::invalid(format!("start lies in the future: here it is {now}")));
    }
    let recorded = playback::recorded(app, found).await?;
    let Some((from, to)) = recorded else {
        return match found.state {
            RtStreamState::Connected if range.end() > found.created_at => Ok(()),
            _ => Err(Error::invalid(format!("rtstream {id} has recorded nothing"))),
        };
    };
    let to = if found.state == RtStreamState::Connected { WallTime(i64::MAX) } else { to };
    if range.end() <= from || range.start() >= to {
        let until = if to.0 == i64::MAX { "now".to_owned() } else { to.to_string() };
        return Err(Error::invalid(format!("rtstream {id} recorded nothing in this range: it has {from} to {until}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orderings_are_read_and_others_named() {
        assert_eq!(order("-name").map(|o| (o.by, o.descending)).unwrap(), (RtStreamField::Name, true));
        assert_eq!(order("created_at").map(|o| (o.by, o.descending)).unwrap(), (RtStreamField::Created, false));
        assert!(order("colour").unwrap_err().message.contains("\"colour\""));
    }
}
