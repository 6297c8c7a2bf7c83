//! Capture sessions over HTTP, as far as they go without media: shapes, refusals, tokens, states.

use serde_json::{Value, json};
use vitascope_model::Span;

use crate::harness::{KEY, TestServer};

fn channels() -> Value {
    json!([
        { "channel_id": "mic:default", "type": "audio", "store": true },
        { "channel_id": "display:1", "type": "video", "store": true, "is_primary": true },
    ])
}

#[tokio::test]
async fn create_answers_session_id_without_id_and_get_answers_every_key() {
    let server = TestServer::start().await;
    let made = server
        .post("/collection/default/capture/session", &json!({ "end_user_id": "u", "metadata": null }))
        .await
        .data();
    assert!(made.get("id").is_none() && made.get("rtstreams").is_none(), "{made}");
    let id = made["session_id"].as_str().unwrap();
    let shown = server.get(&format!("/collection/c-whatever/capture/session/{id}")).await.data();
    let keys: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "session_id",
        "id",
        "collection_id",
        "end_user_id",
        "client_id",
        "status",
        "callback_url",
        "ws_connection_id",
        "metadata",
        "created_at",
        "channels",
        "primary_video_channel_id",
        "rtstreams",
        "export_status",
        "exported_video_id",
        "exported_videos",
        "stream_url",
        "player_url",
    ] {
        assert!(keys.contains(&key), "{key} is missing in {shown}");
    }
    assert_eq!((&shown["channels"], &shown["rtstreams"], &shown["metadata"]), (&json!([]), &json!([]), &json!({})));
    assert_eq!(shown["id"], shown["session_id"]);
}

#[tokio::test]
async fn unknown_and_foreign_sessions_are_not_found() {
    let server = TestServer::start().await;
    for path in [
        "/collection/default/capture/session/cap-unknown",
        "/collection/default/capture/session/nonsense",
        "/capture/session/cap-1",
    ] {
        assert_eq!(server.get(path).await.refusal().0, 404, "{path}");
    }
}

#[tokio::test]
async fn slashes_do_not_matter_and_bearer_is_a_key_too() {
    let server = TestServer::start().await;
    for path in ["/collection/", "//collection", "/collection//default/", "/collection"] {
        server.get(path).await.data();
    }
    assert_eq!(server.send("GET", "/collection", None, None).await.refusal().0, 401);
    assert_eq!(server.send("GET", "/collection", Some("sk-wrong"), None).await.refusal().0, 401);
}

#[tokio::test]
async fn bad_bodies_say_what_is_wrong() {
    let server = TestServer::start().await;
    let create = "/collection/default/capture/session";
    for (body, wanted) in [
        ("{", "the body is not what this call takes"),
        ("{}", "end_user_id is required"),
        (r#"{"end_user_id":"u","metadata":[1]}"#, "metadata must be an object"),
        (r#"{"end_user_id":"u","callback_url":"ftp://x"}"#, "callback_url must be http or https"),
        (r#"{"end_user_id":"u","callback_url":"http://169.254.169.254/"}"#, "private address"),
    ] {
        let (status, message) = server.send("POST", create, Some(KEY), Some(body)).await.refusal();
        assert!(status == 400 && message.contains(wanted), "{body}: {status} {message}");
    }
    let id = server.create_session(&json!({ "callback_url": "" })).await;
    for (channels, wanted) in [
        (json!(null), "at least one channel"),
        (json!([{ "channel_id": "x", "type": "smell" }]), "neither audio nor video"),
        (json!([{ "type": "audio" }]), "needs a channel_id"),
        (json!([{ "channel_id": "a" }, { "channel_id": "a" }]), "named twice"),
    ] {
        let (status, message) =
            server.post("/capture/session/start", &json!({ "session_id": id, "channels": channels })).await.refusal();
        assert!(status == 400 && message.contains(wanted), "{status} {message}");
    }
}

#[tokio::test]
async fn a_started_session_has_its_rtstreams_at_once_by_category() {
    let server = TestServer::start().await;
    let id = server.create_session(&json!({})).await;
    let started =
        server.post("/capture/session/start", &json!({ "session_id": id, "channels": channels() })).await.data();
    assert_eq!(started["status"], "starting");
    let shown = server.get(&format!("/collection/default/capture/session/{id}")).await.data();
    let streams: Vec<(&Value, &Value, &Value)> = shown["rtstreams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["channel_id"], &r["name"], &r["media_types"]))
        .collect();
    assert_eq!(
        streams,
        [
            (&json!("mic"), &json!("mic:default"), &json!(["audio"])),
            (&json!("screen"), &json!("display:1"), &json!(["video"])),
        ]
    );
    assert_eq!(shown["primary_video_channel_id"], "display:1");
    let publish = server.get(&format!("/capture/session/{id}")).await.data();
    let urls: Vec<&str> =
        publish["channels"].as_array().unwrap().iter().map(|c| c["rtsp_url"].as_str().unwrap()).collect();
    assert!(urls.iter().all(|u| u.starts_with("rtsp://")) && urls[0] != urls[1], "{urls:?}");
    let (status, _) =
        server.post("/capture/session/start", &json!({ "session_id": id, "channels": channels() })).await.refusal();
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_client_token_starts_and_stops_and_does_nothing_else() {
    let server = TestServer::start().await;
    let id = server.create_session(&json!({})).await;
    let minted = server.post("/capture/session/token", &json!({ "expires_in": 60, "user_id": null })).await.data();
    assert_eq!(minted["expires_in"], 60);
    let token = minted["token"].as_str().unwrap();
    let over_reach = [
        ("GET", "/collection"),
        ("POST", "/capture/session/token"),
        ("GET", "/collection/default/capture/session"),
        ("POST", "/collection/default/capture/session"),
        ("GET", "/rtstream"),
        ("GET", "/video"),
        ("GET", "/user"),
    ];
    for (method, path) in over_reach {
        assert_eq!(server.send(method, path, Some(token), Some("{}")).await.refusal().0, 403, "{method} {path}");
    }
    let seed = format!("/collection/default/capture/session/{id}");
    assert_eq!(server.send("GET", &seed, Some(token), None).await.refusal().0, 403, "not started by this token");
    let start = json!({ "session_id": id, "channels": channels() }).to_string();
    server.send("POST", "/capture/session/start", Some(token), Some(&start)).await.data();
    server.send("GET", &format!("/capture/session/{id}"), Some(token), None).await.data();
    server.send("GET", &seed, Some(token), None).await.data();
    server.send("GET", "/collection/default/websocket", Some(token), None).await.data();
    server.clock.advance(Span::seconds(61));
    let (status, message) = server.send("GET", &seed, Some(token), None).await.refusal();
    assert!(status == 401 && message.contains("expired"), "{status} {message}");
}

#[tokio::test]
async fn stopping_is_never_an_error_and_a_session_that_never_began_is_stopped() {
    let server = TestServer::start().await;
    let id = server.create_session(&json!({})).await;
    for _ in 0..2 {
        let stopped = server.post(&format!("/capture/session/{id}/stop"), &json!({})).await.data();
        assert_eq!(stopped["status"], "stopped");
    }
    let (status, _) =
        server.post("/capture/session/start", &json!({ "session_id": id, "channels": channels() })).await.refusal();
    assert_eq!(status, 409);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let server = TestServer::start().await;
    let mut made = Vec::new();
    for user in ["a", "b", "a"] {
        made.push(server.create_session(&json!({ "end_user_id": user })).await);
        server.clock.advance(Span::millis(2));
    }
    server.post(&format!("/capture/session/{}/stop", made[0]), &json!({})).await.data();
    let list = async |query: &str| {
        let data = server.get(&format!("/collection/default/capture/session{query}")).await.data();
        let ids: Vec<String> =
            data["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        (ids, data["next_page"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").await, (vec![made[2].clone(), made[1].clone(), made[0].clone()], None));
    assert_eq!(list("?status=stopped").await.0, [made[0].clone()]);
    assert_eq!(list("?end_user_id=b").await.0, [made[1].clone()]);
    let (first, cursor) = list("?limit=2").await;
    assert_eq!(first.len(), 2);
    assert_eq!(list(&format!("?limit=2&cursor={}", cursor.unwrap())).await, (vec![made[0].clone()], None));
    let (status, _) = server.get("/collection/default/capture/session?status=asleep").await.refusal();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let server = TestServer::start().await;
    for (method, path) in [("POST", "/timeline/"), ("POST", "/timeline_v2"), ("POST", "/editor")] {
        let (status, message) = server.send(method, path, Some(KEY), None).await.refusal();
        assert!(status == 501 && message.contains("coverage.md"), "{method} {path}: {status} {message}");
    }
    assert_eq!(server.get("/nothing/here").await.refusal().0, 404);
    assert_eq!(server.send("DELETE", "/health", Some(KEY), None).await.refusal().0, 405);
}

#[tokio::test]
async fn keys_and_tokens_are_stored_as_hashes_only() {
    let server = TestServer::start().await;
    let minted = server.post("/capture/session/token", &json!({})).await.data();
    let secrets = [KEY.as_bytes(), minted["token"].as_str().unwrap().as_bytes()];
    let mut read = 0;
    for entry in std::fs::read_dir(&server.app.config.data_dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            read += bytes.len();
            for secret in secrets {
                assert!(!bytes.windows(secret.len()).any(|w| w == secret), "a secret lies in {}", path.display());
            }
        }
    }
    assert!(read > 10_000, "the database was read");
}
