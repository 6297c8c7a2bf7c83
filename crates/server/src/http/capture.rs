//! Capture sessions over HTTP: the application makes and reads them, the recorder starts and stops them.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::capture::{CaptureSession, MediaKind, SessionState};
use vitascope_model::id::CaptureSessionId;
use vitascope_model::{Error, Result, Span};
use vitascope_store::capture::SessionFilter;

use super::capture_view::{channel, health_view, view, view_with_health};
use super::extract::{Anyone, Body, Owner, Query, Whole, collection_of, compat_callback, compat_connection};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::account::{self, Caller, mint_token};
use crate::app::capture::{NewChannel, NewSession, Start, create, start, stop};
use crate::app::{App, deletion, retention};
use crate::live::health;

/// The Python SDK asks for no page and expects all; so many are all that any screen shows.
const MOST_SESSIONS: i64 = 1000;
/// Contract: a token without `expires_in` lasts a day.
const TOKEN_LIFE: i64 = 86_400;
/// Any positive number will do; past this one (3000 years) a date is no date any more.
const LONGEST_TOKEN: i64 = 100_000_000_000;

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/collection/{collection}/capture/session", create_session)
        .get("/collection/{collection}/capture/session", list_sessions)
        .get("/collection/{collection}/capture/session/{session}", show_session)
        .patch("/collection/{collection}/capture/session/{session}", update_session)
        .delete("/collection/{collection}/capture/session/{session}", delete_session)
        .post("/capture/session/token", create_token)
        .delete("/capture/session/token/{token}", revoke_token)
        .post("/capture/session/start", start_session)
        .get("/capture/session/{session}", show_channels)
        .post("/capture/session/{session}/stop", stop_session)
}

#[derive(Deserialize)]
struct CreateRequest {
    end_user_id: Option<String>,
    callback_url: Option<String>,
    ws_connection_id: Option<String>,
    metadata: Option<Value>,
}

/// compat: `session_id` without `id`, and no rtstreams: the Python SDK passes the rest on as keyword arguments.
async fn create_session(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(collection): Path<String>,
    Body(request): Body<CreateRequest>,
) -> Answer {
    let end_user_id = request.end_user_id.filter(|id| !id.is_empty());
    let metadata = match request.metadata {
        None => "{}".to_owned(),
        Some(map @ Value::Object(_)) => map.to_string(),
        Some(_) => return Err(Error::invalid("metadata must be an object").into()),
    };
    let new = NewSession {
        collection_id: collection_of(&app, &scope, &collection).await?.id,
        end_user_id: end_user_id.ok_or_else(|| Error::invalid("end_user_id is required"))?,
        callback_url: compat_callback(&app, request.callback_url)?,
        ws_connection_id: compat_connection(request.ws_connection_id),
        metadata,
    };
    let session = create(&app, scope.user(), new).await?;
    let mut reply =
        serde_json::to_value(view(&app, session).await?).map_err(|e| Error::internal("write a session").because(e))?;
    if let Some(fields) = reply.as_object_mut() {
        fields.remove("id");
        fields.remove("rtstreams");
    }
    Ok(Reply::ok(reply))
}

#[derive(Deserialize)]
struct ListQuery {
    status: Option<String>,
    end_user_id: Option<String>,
    limit: Option<f64>,
    cursor: Option<String>,
}

async fn list_sessions(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(collection): Path<String>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let collection = collection_of(&app, &scope, &collection).await?;
    let state = query.status.filter(|s| !s.is_empty()).map(|text| {
        SessionState::parse(&text).ok_or_else(|| Error::invalid(format!("status {text:?} is none of a session's")))
    });
    let after = query.cursor.filter(|c| !c.is_empty()).map(|c| c.parse()).transpose();
    let filter = SessionFilter {
        state: state.transpose()?,
        end_user_id: query.end_user_id.filter(|id| !id.is_empty()),
        after: after.map_err(|_| Error::invalid("cursor is none that this server gave"))?,
    };
    let limit = match query.limit {
        None => MOST_SESSIONS,
        Some(n) if n >= 1.0 && n.fract() == 0.0 => (n as i64).min(MOST_SESSIONS),
        Some(n) => return Err(Error::invalid(format!("limit {n} is not a number of sessions")).into()),
    };
    let mut found = app.store.list_sessions(&scope, &collection.id, &filter, limit + 1).await?;
    let more = found.len() as i64 > limit;
    found.truncate(limit as usize);
    let next_page = found.last().filter(|_| more).map(|s| s.id.to_string());
    let mut sessions = Vec::with_capacity(found.len());
    for session in found {
        sessions.push(view(&app, session).await?);
    }
    Ok(Reply::ok(json!({ "sessions": sessions, "next_page": next_page })))
}

/// The collection in the path is not looked at: apps poll sessions of a named collection under `default`.
async fn show_session(State(app): State<App>, Anyone(caller): Anyone, Path((_, id)): Path<(String, String)>) -> Answer {
    let id: CaptureSessionId = id.parse()?;
    let session = app.store.get_session(&caller.scope, &id).await?;
    if !may_read(&app, &caller, &id).await? {
        return Err(Error::denied("a client token may read only sessions that it started").into());
    }
    Ok(Reply::ok(view_with_health(&app, session).await?))
}

/// An API key reads every session of its scope; a client token those that it started.
async fn may_read(app: &App, caller: &Caller, id: &CaptureSessionId) -> Result<bool> {
    match caller.token() {
        None => Ok(true),
        Some(hash) => app.store.session_started_by(id, hash).await,
    }
}

#[derive(Deserialize)]
struct UpdateRequest {
    keep: Option<bool>,
}

/// Ours: whether retention leaves alone what it recorded. As for reading, the collection in the path is not looked at.
async fn update_session(
    State(app): State<App>,
    Owner(scope): Owner,
    Path((_, id)): Path<(String, String)>,
    Body(request): Body<UpdateRequest>,
) -> Answer {
    let session = app.store.get_session(&scope, &id.parse()?).await?;
    if let Some(keep) = request.keep {
        retention::keep_session(&app, &session, keep).await?;
    }
    let changed = app.store.get_session(&scope, &session.id).await?;
    Ok(Reply::ok(view(&app, changed).await?))
}

/// No SDK has this call; users ask for it. As for reading, the collection in the path is not looked at.
async fn delete_session(State(app): State<App>, Owner(scope): Owner, Path((_, id)): Path<(String, String)>) -> Answer {
    let session = app.store.get_session(&scope, &id.parse()?).await?;
    deletion::delete_session(&app, &session).await?;
    Ok(Reply::message("the capture session and what it recorded are deleted"))
}

#[derive(Deserialize)]
struct TokenRequest {
    expires_in: Option<Whole>,
    user_id: Option<String>,
}

async fn create_token(
    State(app): State<App>,
    Anyone(caller): Anyone,
    _: Owner,
    Body(request): Body<TokenRequest>,
) -> Answer {
    let seconds = request.expires_in.map_or(TOKEN_LIFE, |Whole(n)| n);
    if !(1..=LONGEST_TOKEN).contains(&seconds) {
        return Err(Error::invalid("expires_in must be a positive number of seconds").into());
    }
    let end_user = request.user_id.filter(|id| !id.is_empty());
    let made = mint_token(&app, &caller, end_user, Span::seconds(seconds)).await?;
    let expires_at = made.expires_at.0 / vitascope_model::time::SECOND;
    Ok(Reply::ok(json!({ "token": made.token, "expires_in": seconds, "expires_at": expires_at })))
}

#[derive(Deserialize)]
struct StartRequest {
    session_id: Option<String>,
    channels: Option<Vec<ChannelRequest>>,
    primary_video_channel_id: Option<String>,
    ws_connection_id: Option<String>,
    callback_url: Option<String>,
}

#[derive(Deserialize)]
struct ChannelRequest {
    channel_id: Option<String>,
    name: Option<String>,
    channel_name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    store: Option<bool>,
    is_primary: Option<bool>,
}

async fn start_session(State(app): State<App>, Anyone(caller): Anyone, Body(request): Body<StartRequest>) -> Answer {
    let id: CaptureSessionId = request.session_id.ok_or_else(|| Error::invalid("session_id is required"))?.parse()?;
    let primary = request.primary_video_channel_id;
    let channels = request.channels.unwrap_or_default().into_iter().map(|c| new_channel(c, primary.as_deref()));
    let wishes = Start {
        channels: channels.collect::<Result<_>>()?,
        ws_connection_id: compat_connection(request.ws_connection_id),
        callback_url: compat_callback(&app, request.callback_url)?,
    };
    let session = start(&app, &caller, &id, wishes).await?;
    Ok(Reply::ok(json!({ "session_id": session.id.as_str(), "status": session.state.as_str() })))
}

/// compat: a channel without `type` is audio, and one without `store` is stored; the Python SDK sends both. Its name has two names.
fn new_channel(request: ChannelRequest, primary: Option<&str>) -> Result<NewChannel> {
    let channel_id = request.channel_id.ok_or_else(|| Error::invalid("each channel needs a channel_id"))?;
    let kind = request.kind.as_deref().unwrap_or("audio");
    Ok(NewChannel {
        kind: MediaKind::parse(kind)
            .ok_or_else(|| Error::invalid(format!("channel {channel_id}: type {kind:?} is neither audio nor video")))?,
        is_primary: request.is_primary.unwrap_or(false) || primary == Some(channel_id.as_str()),
        store: request.store.unwrap_or(true),
        name: request.name.or(request.channel_name),
        channel_id,
    })
}

/// Ends a token before its time: ours, since the SDKs only ever let one expire.
async fn revoke_token(State(app): State<App>, Owner(scope): Owner, Path(token): Path<String>) -> Answer {
    account::revoke_token(&app, scope.user(), &token).await?;
    Ok(Reply::message("the client token is revoked"))
}

/// What the recorder needs: where to publish each channel. That is a secret of the token that started the session, and of the owner.
async fn show_channels(State(app): State<App>, Anyone(caller): Anyone, Path(id): Path<String>) -> Answer {
    let session = app.store.get_session(&caller.scope, &id.parse()?).await?;
    if !session.channels.is_empty() && !may_read(&app, &caller, &session.id).await? {
        return Err(Error::denied("another client token started this session: only that one may publish it").into());
    }
    Ok(Reply::ok(publish_view(&app, &session).await?))
}

async fn publish_view(app: &App, session: &CaptureSession) -> Result<Value> {
    let mut channels = Vec::with_capacity(session.channels.len());
    for (c, health) in session.channels.iter().zip(health::of_session(app, session).await?) {
        let mut view = serde_json::to_value(channel(c)).map_err(|e| Error::internal("write a channel").because(e))?;
        view["rtsp_url"] = json!(format!("{}/{}", app.config.rtsp_public_url, c.publish_path));
        view["rtstream_id"] = json!(c.rtstream_id.as_str());
        view["health"] = health_view(&health);
        channels.push(view);
    }
    Ok(json!({ "session_id": session.id.as_str(), "status": session.state.as_str(), "channels": channels }))
}

async fn stop_session(State(app): State<App>, Anyone(caller): Anyone, Path(id): Path<String>) -> Answer {
    let session = stop(&app, &caller, &id.parse()?).await?;
    Ok(Reply::ok(json!({ "session_id": session.id.as_str(), "status": session.state.as_str() })))
}
