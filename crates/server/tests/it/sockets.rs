//! Events on WebSockets: kept for a day, read on from the last one heard, bound to whatever took the old connection's place,
//! and never held up by a slow client.

use serde_json::{Value, json};
use vitascope_model::capture::MediaKind;
use vitascope_model::event::{Audience, Event, Frame};
use vitascope_model::id::{EventId, RtStreamId};
use vitascope_model::transcript::TranscriptRecord;
use vitascope_model::{Span, WallTime};
use vitascope_server::app::transcript::record_final;

use crate::harness::TestServer;
use crate::socket::{Said, Socket, url};

fn names(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|f| f["event"].as_str().unwrap()).collect()
}

async fn take(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(socket.frame().await);
    }
    frames
}

async fn stop(server: &TestServer, session: &str) {
    server.post(&format!("/capture/session/{session}/stop"), &json!({})).await.data();
}

/// Realtime §5.4: "running pipelines keep the old id, so events are lost".
#[tokio::test]
async fn a_client_that_comes_back_hears_what_it_missed_and_what_its_old_connection_was_bound_to() {
    let server = TestServer::start().await;
    let (mut first, hello) = Socket::open(&server, "").await;
    let old = hello["connection_id"].as_str().unwrap();
    let sessions = [
        server.create_session(&json!({ "ws_connection_id": old })).await,
        server.create_session(&json!({ "ws_connection_id": old })).await,
    ];
    let heard = take(&mut first, 2).await;
    assert_eq!(names(&heard), ["capture_session.created", "capture_session.created"]);
    assert!(heard.iter().all(|f| f.get("id").is_none()), "Node filters by `id`");
    drop(first);
    stop(&server, &sessions[0]).await;

    let last = heard[1]["event_id"].as_str().unwrap();
    let (mut second, hello) = Socket::open(&server, &format!("?last_event_id={last}")).await;
    assert_eq!((hello["resumed"].as_str(), hello["connection_id"] == old), (Some(old), false));
    let missed = second.frame().await;
    assert_eq!(
        (&missed["event"], &missed["capture_session_id"]),
        (&json!("capture_session.stopped"), &json!(sessions[0]))
    );
    // What is bound to the old id goes on, and so does what binds to the new one.
    stop(&server, &sessions[1]).await;
    server.create_session(&json!({ "ws_connection_id": hello["connection_id"] })).await;
    let live = take(&mut second, 2).await;
    assert_eq!(names(&live), ["capture_session.stopped", "capture_session.created"]);

    // From the start, for one that names its connection only; whoever came in between is of the same line.
    let (mut third, hello) =
        Socket::open(&server, &format!("?connection_id={}", hello["connection_id"].as_str().unwrap())).await;
    assert_eq!(hello["resumed"].as_str(), Some(old));
    let all = take(&mut third, 5).await;
    let told: Vec<&Value> = heard.iter().chain([&missed]).chain(&live).collect();
    assert_eq!(all.iter().collect::<Vec<_>>(), told, "again, in order, to the letter");
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_while_events_happen_and_a_client_comes_and_goes() {
    let server = TestServer::start().await;
    let (mut socket, hello) = Socket::open(&server, "").await;
    let connection = hello["connection_id"].as_str().unwrap().to_owned();
    let busy = async {
        let mut made = Vec::new();
        for _ in 0..120 {
            made.push(server.create_session(&json!({ "ws_connection_id": connection })).await);
        }
        made
    };
    let listening = async {
        let mut heard = Vec::new();
        while heard.len() < 120 {
            let frame = socket.frame().await;
            heard.push(frame["capture_session_id"].as_str().unwrap().to_owned());
            if heard.len() % 7 == 0 {
                let resume = format!("?last_event_id={}", frame["event_id"].as_str().unwrap());
                socket = Socket::open(&server, &resume).await.0;
            }
        }
        heard
    };
    let (made, heard) = tokio::join!(busy, listening);
    assert_eq!(heard, made);
}

#[tokio::test]
async fn finals_are_stored_and_kept_with_one_commit() {
    let server = TestServer::start().await;
    let (mut socket, hello) = Socket::open(&server, "").await;
    let connection = hello["connection_id"].as_str().unwrap().parse().unwrap();
    let session = server.create_session(&json!({})).await;
    let start = json!({ "session_id": session, "channels": [{ "channel_id": "mic", "type": "audio" }] });
    server.post("/capture/session/start", &start).await.data();
    let shown = server.get(&format!("/collection/default/capture/session/{session}")).await.data();
    let id: RtStreamId = shown["rtstreams"][0]["id"].as_str().unwrap().parse().unwrap();
    let stream = server.app.store.find_rtstream(&id).await.unwrap().unwrap();
    assert_eq!(stream.kind, MediaKind::Audio);
    let now = server.app.now();
    let record = TranscriptRecord {
        rtstream_id: id.clone(),
        start: now - Span::seconds(2),
        end: now,
        text: "It was the best of times".into(),
        words: Vec::new(),
        confidence: 0.9,
    };
    let event = Event {
        id: EventId::mint(now, [1; 10]),
        owner: stream.owner,
        collection_id: Some(stream.collection_id),
        session_id: None,
        name: "transcript.final".into(),
        at: now,
        frame: Some(Frame {
            text: json!({ "said": record.text }).to_string(),
            to: Audience::Connections(vec![connection]),
        }),
        webhook: None,
    };
    let seq = record_final(&server.app, record, event).await.unwrap();
    server.app.sockets.wait_told(&server.app, seq).await;
    assert_eq!(socket.frame().await["said"], "It was the best of times");
    let stored = server.get(&format!("/rtstream/{id}/transcription")).await.data();
    assert_eq!(stored["transcription_records"][0]["text"], "It was the best of times");
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_what_is_lost() {
    let server = TestServer::start().await;
    let (mut socket, hello) = Socket::open(&server, "").await;
    let connection = hello["connection_id"].as_str().unwrap();
    let session = server.create_session(&json!({ "ws_connection_id": connection })).await;
    let first = socket.frame().await;
    // Ids sort by the millisecond.
    server.clock.advance(Span::millis(1));
    stop(&server, &session).await;
    let second = socket.frame().await;
    drop(socket);
    server.clock.advance(Span::seconds(86_500));
    vitascope_server::app::upkeep::forget_events(&server.app).await.unwrap();
    server.create_session(&json!({ "ws_connection_id": connection })).await;

    let resume =
        |event: &Value| format!("?connection_id={connection}&last_event_id={}", event["event_id"].as_str().unwrap());
    let (mut late, _) = Socket::open(&server, &resume(&first)).await;
    let lost = late.frame().await;
    assert_eq!((&lost["channel"], &lost["status"]), (&json!("connection"), &json!("events_lost")));
    let time = |text: &Value| text.as_str().unwrap().get(..19).unwrap().to_owned();
    assert_eq!(
        (time(&lost["data"]["from"]), time(&lost["data"]["until"])),
        (time(&first["timestamp"]), time(&second["timestamp"]))
    );
    assert_eq!(late.frame().await["event"], "capture_session.created");
    // Who had heard the last of what is forgotten has lost nothing.
    let (mut in_time, _) = Socket::open(&server, &resume(&second)).await;
    assert_eq!(in_time.frame().await["event"], "capture_session.created");
    // Without its connection, all that can be said is since when.
    let (mut stranger, hello) =
        Socket::open(&server, &format!("?last_event_id={}", first["event_id"].as_str().unwrap())).await;
    assert_eq!(hello["resumed"], Value::Null);
    assert_eq!(stranger.frame().await["status"], "events_lost");
}

#[tokio::test]
async fn nobody_takes_the_place_of_a_stranger() {
    let server = TestServer::start().await;
    let (mut socket, hello) = Socket::open(&server, "").await;
    let connection = hello["connection_id"].as_str().unwrap();
    server.create_session(&json!({ "ws_connection_id": connection })).await;
    let event = socket.frame().await["event_id"].as_str().unwrap().to_owned();
    let token = server.post("/capture/session/token", &json!({})).await.data()["token"].as_str().unwrap().to_owned();
    let ask = async |query: &str| {
        server.send("GET", &format!("/collection/default/websocket?{query}"), Some(&token), None).await
    };
    assert_eq!(ask(&format!("connection_id={connection}")).await.refusal().0, 404);
    // An event that only others were told places a client nowhere.
    let opened = ask(&format!("last_event_id={event}")).await.data();
    let mut other = Socket::connect(opened["websocket_url"].as_str().unwrap()).await.unwrap();
    assert_eq!(other.frame().await["resumed"], Value::Null);
    // Its own connection is its own.
    let own = ask("").await.data();
    let own = Socket::connect(own["websocket_url"].as_str().unwrap()).await.unwrap().frame().await;
    ask(&format!("connection_id={}", own["connection_id"].as_str().unwrap())).await.data();

    for (query, status) in [("connection_id=ws-unknown", 404), ("last_event_id=nonsense", 404)] {
        assert_eq!(server.get(&format!("/collection/default/websocket?{query}")).await.refusal().0, status, "{query}");
        let opened = url(&server, "").await;
        assert_eq!(Socket::connect(&format!("{opened}&{query}")).await.err().as_deref(), Some("404"), "{query}");
    }
    assert_eq!(
        Socket::connect(&url(&server, "").await.replace("ticket=", "ticket=x")).await.err().as_deref(),
        Some("401")
    );
}

#[tokio::test]
async fn a_slow_client_is_sent_away_and_reads_on_while_others_wait_for_nothing() {
    let server = TestServer::start().await;
    let (mut slow, hello) = Socket::open(&server, "").await;
    let connection = hello["connection_id"].as_str().unwrap();
    let owner = server.app.store.find_first_user().await.unwrap().unwrap();
    let (mut quick, _) = Socket::open(&server, &format!("?connection_id={connection}")).await;
    // Larger than what the kernel buffers, so that a client that does not read is soon behind.
    let padding = "x".repeat(16_000);
    let mut sent = 0;
    while server.app.sockets.count() == 2 {
        let events: Vec<Event> =
            (0..64).map(|n| numbered(&owner, connection, sent + n, &padding, server.app.now())).collect();
        sent += events.len();
        server
            .app
            .store
            .write(move |tx| {
                Box::pin(async move {
                    for event in &events {
                        vitascope_store::outbox::insert(tx, event).await?;
                    }
                    Ok(())
                })
            })
            .await
            .unwrap();
        server.app.outbox_bell.notify_one();
        for n in sent - 64..sent {
            assert_eq!(quick.frame().await["n"], n, "nobody waits for the slow one");
        }
        assert!(sent < 10_000, "the queue is bounded");
    }
    let mut last = Value::Null;
    let mut count = 0;
    let (code, reason) = loop {
        match slow.next().await {
            Said::Frame(frame) => {
                assert_eq!(frame["n"], count);
                count += 1;
                last = frame["event_id"].clone();
            }
            Said::Closed(code, reason) => break (code, reason),
        }
    };
    assert_eq!((code, reason.as_str()), (1013, "too slow: come back with last_event_id"));
    let (mut back, _) =
        Socket::open(&server, &format!("?connection_id={connection}&last_event_id={}", last.as_str().unwrap())).await;
    for n in count..sent {
        assert_eq!(back.frame().await["n"], n);
    }
}

fn numbered(owner: &vitascope_model::id::UserId, connection: &str, n: usize, padding: &str, at: WallTime) -> Event {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(n as u64).to_be_bytes());
    let id = EventId::mint(at, random);
    let text = json!({ "n": n, "event_id": id.as_str(), "padding": padding }).to_string();
    let to = Audience::Connections(vec![connection.parse().unwrap()]);
    Event {
        id,
        owner: owner.clone(),
        collection_id: None,
        session_id: None,
        name: "test.numbered".into(),
        at,
        frame: Some(Frame { text, to }),
        webhook: None,
    }
}
