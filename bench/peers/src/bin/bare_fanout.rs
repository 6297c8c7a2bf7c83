//! The least that tells many WebSocket clients the same: axum and a broadcast channel of shared text. No tickets, no accounts, no scopes,
//! no log of events, no queue per client that is watched, no pings.
//! bare_fanout ADDRESS: `GET /ws` listens, `POST /tell` tells its body to all; serves until it is killed.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::broadcast::{Sender, channel};

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).expect("bare_fanout ADDRESS");
    let app = Router::new()
        .route("/health", get(async || "ok"))
        .route("/ws", get(listen))
        .route("/tell", post(tell))
        .with_state(channel::<Utf8Bytes>(1024).0);
    let door = tokio::net::TcpListener::bind(address).await.expect("a free address");
    axum::serve(door, app).await.expect("serving");
}

async fn tell(State(told): State<Sender<Utf8Bytes>>, text: String) -> &'static str {
    told.send(text.into()).ok();
    "ok"
}

async fn listen(State(told): State<Sender<Utf8Bytes>>, upgrade: WebSocketUpgrade) -> Response {
    let mut frames = told.subscribe();
    upgrade.on_upgrade(async move |mut socket| {
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Ok(frame) => if socket.send(Message::Text(frame)).await.is_err() { return },
                    Err(_) => return,
                },
                heard = socket.recv() => if !matches!(heard, Some(Ok(_))) { return },
            }
        }
    })
}
