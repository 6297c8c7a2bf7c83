//! The least that answers `GET /collection/{c}/capture/session/{s}` truly: axum, SQLite called in place, three prepared statements
//! (the key, the session, its channels) and JSON. No scopes, no request ids, no tracing, no metrics, no limits.
//! bare_get ADDRESS DATABASE SESSIONS: makes the database, prints nothing, serves until it is killed.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const CHANNELS: [(&str, &str, &str); 3] =
    [("display:1", "video", "screen"), ("mic:default", "audio", "mic"), ("system_audio:default", "audio", "system_audio")];

thread_local!(static READER: RefCell<Option<Connection>> = const { RefCell::new(None) });

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, sessions] = &words[..] else { panic!("bare_get ADDRESS DATABASE SESSIONS") };
    make(file, sessions.parse().expect("a number of sessions"));
    let app = Router::new()
        .route("/health", get(async || "ok"))
        .route("/collection/{collection}/capture/session/{session}", get(session))
        .with_state(Arc::new(PathBuf::from(file)));
    let door = tokio::net::TcpListener::bind(address).await.expect("a free address");
    axum::serve(door, app).await.expect("serving");
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
}

fn make(file: &str, sessions: usize) {
    let mut db = Connection::open(file).expect("a database");
    db.execute_batch(
        "pragma journal_mode = wal;
         create table api_key (key_hash text primary key, user_id text not null);
         create table session (id text primary key, user_id text, collection_id text, end_user_id text, status text, callback_url text,
                               metadata text, created_at text);
         create table channel (session_id text, position integer, channel_id text, name text, kind text, category text, rtstream_id text,
                               primary key (session_id, position));",
    )
    .expect("tables");
    let tx = db.transaction().expect("a transaction");
    let hash = digest("sk-bench-0123456789abcdef");
    tx.execute("insert into api_key values (?1, 'u-1')", [hash]).expect("a key");
    for n in 0..sessions {
        let values = (format!("cap-{n}"), "u-1", "c-0199c0de-0000-7000-8000-000000000001", "user-1", "active", "https://example.com/hook");
        tx.execute("insert into session values (?1, ?2, ?3, ?4, ?5, ?6, '{\"app\":\"bench\"}', '2026-01-01T00:00:00.000000Z')", values)
            .expect("a session");
        for (position, (id, kind, category)) in (0i64..).zip(CHANNELS) {
            let rtstream = format!("rts-0199c0de-0000-7000-8000-{n:06}{position:06}");
            tx.execute("insert into channel values (?1, ?2, ?3, ?3, ?4, ?5, ?6)", (format!("cap-{n}"), position, id, kind, category, rtstream))
                .expect("a channel");
        }
    }
    tx.commit().expect("a commit");
}

async fn session(
    State(file): State<Arc<PathBuf>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let key = headers.get("x-access-token").and_then(|v| v.to_str().ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    READER.with_borrow_mut(|reader| read(reader.get_or_insert_with(|| Connection::open(&*file).expect("the database")), key, &id))
}

fn read(db: &Connection, key: &str, id: &str) -> Result<Json<Value>, StatusCode> {
    let broken = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let mut find = db.prepare_cached("select user_id from api_key where key_hash = ?1").map_err(broken)?;
    let user: Option<String> = find.query_row([digest(key)], |row| row.get(0)).optional().map_err(broken)?;
    let user = user.ok_or(StatusCode::UNAUTHORIZED)?;
    let mut find = db.prepare_cached("select * from session where id = ?1 and user_id = ?2").map_err(broken)?;
    let row = find.query_row([id, &user], |row| {
        let text = |n| row.get::<_, String>(n);
        Ok([text(0)?, text(2)?, text(3)?, text(4)?, text(5)?, text(6)?, text(7)?])
    });
    let Some([id, collection, end_user, status, callback, metadata, created]) = row.optional().map_err(broken)? else {
        return Err(StatusCode::NOT_FOUND);
    };
    let mut find = db.prepare_cached("select * from channel where session_id = ?1 order by position").map_err(broken)?;
    let rows = find.query_map([&id], |row| {
        let text = |n| row.get::<_, String>(n);
        Ok((text(2)?, text(3)?, text(4)?, text(5)?, text(6)?))
    });
    let (mut channels, mut streams) = (Vec::new(), Vec::new());
    for row in rows.map_err(broken)? {
        let (channel, name, kind, category, stream) = row.map_err(broken)?;
        channels.push(json!({ "channel_id": channel, "name": name, "type": kind, "store": true, "is_primary": false }));
        streams.push(json!({
            "rtstream_id": stream, "id": stream, "channel_id": category, "name": name, "media_types": [kind], "status": "connected",
            "collection_id": collection, "created_at": created, "sample_rate": 30,
        }));
    }
    let metadata: Value = serde_json::from_str(&metadata).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({ "success": true, "data": {
        "session_id": id, "id": id, "collection_id": collection, "end_user_id": end_user, "client_id": null, "status": status,
        "callback_url": callback, "ws_connection_id": null, "metadata": metadata, "created_at": created, "channels": channels,
        "primary_video_channel_id": "display:1", "rtstreams": streams, "export_status": null, "exported_video_id": null,
        "exported_videos": {}, "stream_url": null, "player_url": null, "error": null,
    }})))
}
