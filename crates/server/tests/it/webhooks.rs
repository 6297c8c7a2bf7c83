//! Webhooks, seen from outside: order, at least once by the schedule, signatures, no waiting for others' receivers, one more try;
//! and the sessions that time alone brings to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vitascope_model::Span;

use crate::harness::TestServer;
use crate::receiver::Receiver;

/// Svix's schedule.
const WAITS: [i64; 7] = [5, 300, 1800, 7200, 18_000, 36_000, 36_000];

impl TestServer {
    fn turn(&self, seconds: i64) {
        self.clock.advance(Span::seconds(seconds));
        self.app.webhook_bell.notify_one();
    }

    /// The delivery of a session's event once it was tried so often (the outcome is stored a moment after the receiver heard).
    async fn delivery(&self, session: &str, event: &str, attempts: i64) -> Value {
        for _ in 0..1500 {
            let all = self.get(&format!("/collection/default/capture/session/{session}/deliveries")).await.data();
            let mut all = all["deliveries"].as_array().unwrap().iter();
            let found = all.find(|d| d["event"] == event && d["attempts"] == attempts);
            if let Some(found) = found {
                return found.clone();
            }
            // The store tells nobody that it is done; half a minute is more than a busy disk takes.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{event} was not tried {attempts} times");
    }
}

fn seconds_between(a: &Value, b: &Value) -> i64 {
    let read = |v: &Value| {
        let text = v.as_str().unwrap();
        let (day, time) = (text[8..10].parse::<i64>().unwrap(), &text[11..]);
        let part = |from: usize| time[from..from + 2].parse::<i64>().unwrap();
        day * 86_400 + part(0) * 3600 + part(3) * 60 + part(6)
    };
    // A microsecond may fall on the other side of a second.
    (read(b) - read(a) + 1) / 5 * 5
}

#[tokio::test]
async fn a_webhook_is_tried_by_the_schedule_the_same_to_the_letter_and_the_next_event_waits_for_it() {
    let server = TestServer::start().await;
    let status = Arc::new(AtomicU16::new(503));
    let answer = status.clone();
    let receiver = Receiver::start(move |_| Some(answer.load(Ordering::SeqCst))).await;
    let id = server.create_session(&json!({ "callback_url": receiver.url, "end_user_id": "u1" })).await;
    server.post(&format!("/capture/session/{id}/stop"), &json!({})).await.data();
    for (tried, wait) in WAITS.into_iter().enumerate() {
        receiver.wait_for(tried + 1, |_| true).await;
        let shown = server.delivery(&id, "capture_session.created", tried as i64 + 1).await;
        assert_eq!((&shown["status"], &shown["response_code"]), (&json!("pending"), &json!(503)));
        assert_eq!(seconds_between(&shown["last_attempt_at"], &shown["next_attempt_at"]), wait);
        assert!(shown["last_error"].as_str().unwrap().contains("503"), "{shown}");
        server.turn(wait + 1);
    }
    let heard = receiver.wait_for(9, |_| true).await;
    let given_up = server.delivery(&id, "capture_session.created", 8).await;
    assert_eq!((&given_up["status"], &given_up["next_attempt_at"]), (&json!("failed"), &Value::Null));
    assert!(
        heard[..8].iter().all(|h| h.text == heard[0].text && h.headers["webhook-id"] == heard[0].headers["webhook-id"])
    );
    assert_eq!(heard[0].headers["webhook-id"], heard[0].body["event_id"].as_str().unwrap());
    assert_ne!(heard[0].headers["webhook-timestamp"], heard[7].headers["webhook-timestamp"], "that is the attempt's");
    assert_eq!((heard[7].event(), heard[8].event()), ("capture_session.created", "capture_session.stopped"));
    let body = &heard[8].body;
    assert_eq!((&body["version"], &body["end_user_id"], &body["data"]), (&json!("2"), &json!("u1"), &json!({})));
    assert!(body.get("channel").is_none());

    // The receiver is mended. What was given up is delivered when somebody asks for it, what is pending sooner than planned.
    status.store(204, Ordering::SeqCst);
    for event in ["capture_session.created", "capture_session.stopped"] {
        let shown = server.delivery(&id, event, if event.ends_with("created") { 8 } else { 1 }).await;
        let path = format!(
            "/collection/default/capture/session/{id}/deliveries/{}/redeliver",
            shown["event_id"].as_str().unwrap()
        );
        assert_eq!(server.post(&path, &json!({})).await.data()["status"], "pending");
    }
    let again = receiver.wait_for(11, |_| true).await;
    assert!(
        again[9..].iter().any(|h| h.text == heard[0].text && h.headers["webhook-id"] == heard[0].headers["webhook-id"])
    );
    let (created, stopped) = (
        server.delivery(&id, "capture_session.created", 1).await,
        server.delivery(&id, "capture_session.stopped", 2).await,
    );
    for shown in [created, stopped] {
        assert_eq!((&shown["status"], &shown["response_code"]), (&json!("delivered"), &json!(204)));
        assert_eq!((&shown["last_error"], &shown["next_attempt_at"]), (&Value::Null, &Value::Null));
    }
    for path in ["cap-unknown/deliveries", &format!("{id}/deliveries/evt-unknown/redeliver")] {
        let method = if path.ends_with("redeliver") { "POST" } else { "GET" };
        let path = format!("/collection/default/capture/session/{path}");
        assert_eq!(server.send(method, &path, Some(crate::harness::KEY), None).await.refusal().0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_but_itself() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|hook| if hook.path == "/hangs" { None } else { Some(200) }).await;
    let stuck = server.create_session(&json!({ "callback_url": format!("{}/hangs", receiver.url) })).await;
    server.post(&format!("/capture/session/{stuck}/stop"), &json!({})).await.data();
    receiver.wait_for(1, |h| h.path == "/hangs").await;
    let well = server.create_session(&json!({ "callback_url": format!("{}/well", receiver.url) })).await;
    server.post(&format!("/capture/session/{well}/stop"), &json!({})).await.data();
    let heard = receiver.wait_for(2, |h| h.path == "/well").await;
    assert_eq!((heard[0].event(), heard[1].event()), ("capture_session.created", "capture_session.stopped"));
    assert_eq!(server.delivery(&well, "capture_session.stopped", 1).await["status"], "delivered");
    assert_eq!(receiver.wait_for(1, |h| h.path == "/hangs").await.len(), 1, "the second waits for the first");
}

#[tokio::test]
async fn webhooks_are_signed_and_after_a_rotation_with_both_secrets_for_a_day() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_| Some(200)).await;
    let before = server.get("/webhook/secret").await.data();
    assert_eq!(before, server.get("/webhook/secret").await.data(), "it stays until it is changed");
    assert!(
        before["secret"].as_str().unwrap().starts_with("whsec_") && before["previous_secret_valid_until"].is_null()
    );
    let fields = json!({ "callback_url": receiver.url });
    let signatures = async |count: usize| {
        server.create_session(&fields).await;
        let heard = receiver.wait_for(count, |_| true).await;
        heard[count - 1].headers["webhook-signature"].split(' ').filter(|s| s.starts_with("v1,")).count()
    };
    assert_eq!(signatures(1).await, 1);
    let after = server.post("/webhook/secret/rotate", &json!({})).await.data();
    assert!(after["secret"] != before["secret"] && after["previous_secret_valid_until"].is_string());
    assert_eq!(signatures(2).await, 2);
    server.turn(86_401);
    assert_eq!(signatures(3).await, 1);
    for (method, path) in [("GET", "/webhook/secret"), ("POST", "/webhook/secret/rotate")] {
        assert_eq!(server.send(method, path, None, None).await.refusal().0, 401);
    }
}

/// Realtime §3: a session idle in `created` for a day fails with a reason.
#[tokio::test]
async fn a_session_that_nobody_starts_expires_after_a_day() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_| Some(200)).await;
    let id = server.create_session(&json!({ "callback_url": receiver.url })).await;
    server.clock.advance(Span::seconds(86_390));
    let young = server.create_session(&json!({})).await;
    server.clock.advance(Span::seconds(20));
    server.app.upkeep_bell.notify_one();
    let failed = receiver.wait_for(1, |h| h.event() == "capture_session.failed").await;
    assert_eq!(
        (&failed[0].body["capture_session_id"], &failed[0].body["data"]["error"]["code"]),
        (&json!(id), &json!("expired"))
    );
    let status = async |id: &str| {
        server.get(&format!("/collection/default/capture/session/{id}")).await.data()["status"].clone()
    };
    assert_eq!((status(&id).await, status(&young).await), (json!("failed"), json!("created")));
}

/// Realtime §3: a session without media for 30 s fails with a reason.
#[tokio::test]
async fn a_session_whose_recorder_sends_nothing_fails_after_half_a_minute() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_| Some(200)).await;
    let id = server.create_session(&json!({ "callback_url": receiver.url })).await;
    let start = json!({ "session_id": id, "channels": [{ "channel_id": "mic", "type": "audio" }] });
    server.post("/capture/session/start", &start).await.data();
    server.clock.advance(Span::seconds(29));
    server.app.sessions.look();
    let shown = server.get(&format!("/collection/default/capture/session/{id}")).await.data();
    assert_eq!(shown["status"], "starting");
    server.clock.advance(Span::seconds(2));
    server.app.sessions.look();
    let failed = receiver.wait_for(1, |h| h.event() == "capture_session.failed").await;
    let error = &failed[0].body["data"]["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("no_media"), &json!("no media came from the recorder in time"))
    );
    let order = receiver.wait_for(3, |_| true).await;
    assert_eq!(
        order.iter().map(|h| h.event()).collect::<Vec<_>>(),
        ["capture_session.created", "capture_session.starting", "capture_session.failed",]
    );
}
