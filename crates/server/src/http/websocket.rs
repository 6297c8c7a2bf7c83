//! WebSockets: a ticket over HTTP, and the connection that it opens. The URL carries its own authority, since the SDKs send no header.
//! A client that comes back names its last event or its old connection, in the URL or when it asks for one, and reads on where it was.

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt;
use serde::Deserialize;
use serde_json::json;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use vitascope_model::account::Scope;
use vitascope_model::{Error, Result};
use vitascope_store::outbox::Heard;

use super::door::WireEnd;
use super::error::ApiError;
use super::extract::{Anyone, Query, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::account::admit;
use crate::app::connection::{Place, Resume, find_place, open};
use crate::events::{self, Connection, Next, frames};

/// The Node SDK never pings, and proxies cut what is silent for a minute.
const PING_EACH: Duration = Duration::from_secs(20);
/// A client that takes no frame for so long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(20);
/// Bytes kept for what a client says; the library's own choice is 128 KiB for each connection.
const READ_BUFFER: usize = 4096;
/// Missed events read at a time.
const PAGE: i64 = 256;

pub(super) fn routes() -> Routes {
    Routes::new().get("/collection/{collection}/websocket", create_ticket).open("/ws", connect)
}

/// Where a client was, as it says.
#[derive(Deserialize)]
struct ResumeQuery {
    connection_id: Option<String>,
    last_event_id: Option<String>,
}

impl ResumeQuery {
    fn read(&self) -> Result<Resume> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        Ok(Resume {
            connection: given(&self.connection_id).map(|id| id.parse()).transpose()?,
            last_event: given(&self.last_event_id).map(|id| id.parse()).transpose()?,
        })
    }

    /// The same as part of a URL; what was read holds nothing that needs escaping.
    fn write(resume: &Resume) -> String {
        let connection = resume.connection.as_ref().map(|id| format!("&connection_id={id}"));
        let event = resume.last_event.as_ref().map(|id| format!("&last_event_id={id}"));
        connection.unwrap_or_default() + &event.unwrap_or_default()
    }
}

async fn create_ticket(
    State(app): State<App>,
    Anyone(caller): Anyone,
    Path(collection): Path<String>,
    Query(query): Query<ResumeQuery>,
) -> Answer {
    // A client token sees no collections, so for it the name in the path is not looked up.
    if caller.token().is_none() {
        collection_of(&app, &caller.scope, &collection).await?;
    }
    let resume = query.read()?;
    // What is wrong with it is said now, not when the socket opens.
    find_place(&app, &caller, &resume).await?;
    let ticket = app.sockets.ticket(&app, &caller.pass);
    let base = app.config.public_url.replacen("http", "ws", 1);
    let url = format!("{base}/ws?ticket={ticket}{}", ResumeQuery::write(&resume));
    Ok(Reply::ok(json!({ "websocket_url": url })))
}

#[derive(Deserialize)]
struct ConnectQuery {
    ticket: Option<String>,
}

async fn connect(
    State(app): State<App>,
    Query(query): Query<ConnectQuery>,
    Query(resume): Query<ResumeQuery>,
    ConnectInfo(wire): ConnectInfo<WireEnd>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let pass = app.sockets.redeem(query.ticket.as_deref().unwrap_or_default(), app.now());
    let pass = pass.ok_or_else(|| Error::unauthenticated("the ticket of this WebSocket is not valid any more"))?;
    let caller = admit(&app, pass).await?;
    let place = find_place(&app, &caller, &resume.read()?).await?;
    let (id, heard) = open(&app, &caller, &place).await?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(async move |socket| {
            let connection = app.sockets.join(id.clone(), &heard, &caller, Arc::new(wire));
            serve(&app, socket, connection, Opening { place, heard, scope: caller.scope }).await;
            app.sockets.leave(&id);
        })
        .into_response())
}

/// What a connection begins with.
struct Opening {
    place: Place,
    heard: Heard,
    scope: Scope,
}

/// First what was missed, then what happens, until one side is gone.
async fn serve(app: &App, mut socket: WebSocket, connection: Connection, opening: Opening) {
    match greet(app, &mut socket, &connection, &opening).await {
        Ok(true) => converse(app, &mut socket, &connection).await,
        Ok(false) => {}
        Err(error) => {
            tracing::error!(connection.id = %connection.id, %error, "what a client missed could not be read");
            send(&mut socket, close(close_code::ERROR, "what was missed could not be read")).await;
        }
    }
}

/// Who it is, and what it missed. Whether the client took it all.
async fn greet(app: &App, socket: &mut WebSocket, connection: &Connection, opening: &Opening) -> Result<bool> {
    let Opening { place, heard, scope } = opening;
    let mut taken = send(socket, Message::text(frames::hello(&connection.id, &heard.line))).await;
    if let Some(lost) = &place.lost {
        taken = taken && send(socket, Message::text(frames::lost(&connection.id, lost.since, lost.until))).await;
    }
    let Some(mut after) = place.after else { return Ok(taken) };
    while taken && !app.shutdown.is_cancelled() {
        let missed = app.store.list_missed(heard, after, connection.told, PAGE).await?;
        let Some(last) = missed.last() else { break };
        after = last.seq;
        for event in missed {
            // A key may be revoked while a day is read out; `converse` says so.
            if connection.ended.is_said() {
                return Ok(taken);
            }
            let at = events::Place { owner: &heard.owner, collection: event.collection.as_ref() };
            taken = taken && (!at.is_in(scope) || send(socket, Message::text(event.frame)).await);
        }
    }
    Ok(taken)
}

/// Sends what could not go straight to the socket. What a client says is read, so that its pings are answered, and ignored.
async fn converse(app: &App, socket: &mut WebSocket, connection: &Connection) {
    let mut pings = interval_at(Instant::now() + PING_EACH, PING_EACH);
    // Asked once and not for each frame: that would be a lock which all connections share.
    let (mut ended, mut shutdown) = (pin!(connection.ended.wait()), pin!(app.shutdown.cancelled()));
    loop {
        let message = tokio::select! {
            biased;
            why = &mut ended => Some(close(close_code::POLICY, why)),
            () = &mut shutdown => Some(close(close_code::AWAY, "shutting down")),
            _ = pings.tick() => Some(Message::Ping(Vec::new().into())),
            heard = socket.recv() => match heard {
                // Read on: the closing handshake ends with what the library answers, and then there is nothing more to read.
                Some(Ok(said)) => {
                    if matches!(said, Message::Close(_)) {
                        connection.queue.shut();
                    }
                    continue;
                }
                Some(Err(_)) | None => break,
            },
            next = connection.queue.next() => match next {
                Next::Send(frame) => Some(Message::Text(frame)),
                Next::Flush => None,
                // What was queued is sent, so that the client knows where to read on; 1013 asks it to.
                Next::TooSlow => Some(close(close_code::AGAIN, "too slow: come back with last_event_id")),
            },
        };
        let is_last = matches!(message, Some(Message::Close(_)));
        if is_last {
            connection.queue.shut();
        }
        let sent = tokio::select! {
            biased;
            sent = send(socket, message) => sent,
            // Whoever is not allowed to listen any more need not be waited for.
            _ = &mut ended, if !is_last => false,
        };
        if is_last || !sent {
            break;
        }
    }
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// Whether the client took it, and all that was begun before; nothing is sent for `None`.
async fn send(socket: &mut WebSocket, message: impl Into<Option<Message>>) -> bool {
    let sending = async {
        match message.into() {
            Some(message) => socket.send(message).await,
            None => socket.flush().await,
        }
    };
    matches!(tokio::time::timeout(SEND_WITHIN, sending).await, Ok(Ok(())))
}
