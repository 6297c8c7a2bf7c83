//! WebSockets: a ticket over HTTP, and the connection that it opens. The URL carries its own authority, since the SDKs send no header.

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use vitascope_model::Error;

use super::error::ApiError;
use super::extract::{Anyone, Query, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::account::admit;
use crate::events::Connection;

/// The Node SDK never pings, and proxies cut what is silent for a minute.
const PING_EACH: Duration = Duration::from_secs(20);
/// A client that takes no frame for so long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Routes {
    Routes::new().get("/collection/{collection}/websocket", create_ticket).open("/ws", connect)
}

async fn create_ticket(State(app): State<App>, Anyone(caller): Anyone, Path(collection): Path<String>) -> Answer {
    // A client token sees no collections, so for it the name in the path is not looked up.
    if caller.token().is_none() {
        collection_of(&app, &caller.scope, &collection).await?;
    }
    let ticket = app.sockets.ticket(&app, &caller.pass);
    let base = app.config.public_url.replacen("http", "ws", 1);
    Ok(Reply::ok(json!({ "websocket_url": format!("{base}/ws?ticket={ticket}") })))
}

#[derive(Deserialize)]
struct ConnectQuery {
    ticket: Option<String>,
}

async fn connect(
    State(app): State<App>,
    Query(query): Query<ConnectQuery>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let pass = app.sockets.redeem(query.ticket.as_deref().unwrap_or_default(), app.now());
    let pass = pass.ok_or_else(|| Error::unauthenticated("the ticket of this WebSocket is not valid any more"))?;
    let connection = app.sockets.connect(&app, admit(&app, pass).await?);
    Ok(upgrade.on_upgrade(|socket| converse(app, socket, connection)).into_response())
}

/// Sends what is queued until one side is gone. What a client says is read, so that its pings are answered, and ignored.
async fn converse(app: App, mut socket: WebSocket, mut connection: Connection) {
    let mut pings = interval_at(Instant::now() + PING_EACH, PING_EACH);
    loop {
        let message = tokio::select! {
            biased;
            why = connection.ended.wait() => Message::Close(Some(CloseFrame { code: close_code::POLICY, reason: why.into() })),
            () = app.shutdown.cancelled() => Message::Close(Some(CloseFrame { code: close_code::AWAY, reason: "shutting down".into() })),
            _ = pings.tick() => Message::Ping(Vec::new().into()),
            heard = socket.recv() => match heard {
                // Read on: the closing handshake ends with what the library answers, and then there is nothing more to read.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
            Some(frame) = connection.frames.recv() => Message::text(frame),
        };
        let is_last = matches!(message, Message::Close(_));
        let sent = tokio::select! {
            sent = tokio::time::timeout(SEND_WITHIN, socket.send(message)) => matches!(sent, Ok(Ok(()))),
            // Whoever is not allowed to listen any more need not be waited for.
            _ = connection.ended.wait(), if !is_last => false,
        };
        if is_last || !sent {
            break;
        }
    }
    app.sockets.disconnect(&connection.id);
}
