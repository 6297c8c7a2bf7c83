//! Webhooks and job envelopes, seen from outside: order, at least once, and no waiting for slow receivers.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use vitascope_model::Span;

use crate::harness::TestServer;

/// Receives webhooks; answers the first `failures` of them with 500.
struct Receiver {
    url: String,
    heard: Arc<Mutex<Vec<Value>>>,
    bell: Arc<Notify>,
}

impl Receiver {
    async fn start(failures: usize) -> Receiver {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", door.local_addr().unwrap());
        let (heard, bell) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (list, ring) = (heard.clone(), bell.clone());
        tokio::spawn(async move {
            let mut left = failures;
            while let Ok((mut stream, _)) = door.accept().await {
                let body = read_body(&mut stream).await;
                let status = if left > 0 { "500 Not now" } else { "200 OK" };
                left = left.saturating_sub(1);
                list.lock().unwrap().push(body);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                ring.notify_one();
            }
        });
        Receiver { url, heard, bell }
    }

    async fn wait_for(&self, count: usize) -> Vec<Value> {
        let waiting = async {
            while self.heard.lock().unwrap().len() < count {
                self.bell.notified().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("webhooks arrive");
        self.heard.lock().unwrap().clone()
    }
}

async fn read_body(stream: &mut tokio::net::TcpStream) -> Value {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.unwrap();
        read.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&read);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(value) = serde_json::from_str(body)
        {
            return value;
        }
        assert!(n > 0, "the request broke off: {text}");
    }
}

#[tokio::test]
async fn webhooks_come_in_order_and_are_tried_again_with_the_same_timestamp() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(1).await;
    let id = server.create_session(&json!({ "callback_url": receiver.url, "end_user_id": "u1" })).await;
    receiver.wait_for(1).await;
    server.post(&format!("/capture/session/{id}/stop"), &json!({})).await.data();
    // The second try of the first event is a second away, and the next event waits for it.
    server.clock.advance(Span::seconds(2));
    server.app.webhook_bell.notify_one();
    let heard = receiver.wait_for(3).await;
    let names: Vec<&Value> = heard.iter().map(|h| &h["event"]).collect();
    assert_eq!(names, ["capture_session.created", "capture_session.created", "capture_session.stopped"]);
    assert_eq!(heard[0], heard[1], "a repeated delivery is the same to the letter");
    assert_eq!(heard[2]["capture_session_id"], json!(id));
    assert_eq!(
        (&heard[2]["version"], &heard[2]["end_user_id"], &heard[2]["data"]),
        (&json!("2"), &json!("u1"), &json!({}))
    );
}

#[tokio::test]
async fn an_unknown_job_is_not_found() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/async-response/job-unknown").await.refusal().0, 404);
}

#[tokio::test]
async fn a_slow_answer_is_held_until_its_job_ends_and_has_both_forms() {
    let server = TestServer::start().await;
    let (session, owner) =
        (server.create_session(&json!({})).await, server.app.store.find_first_user().await.unwrap().unwrap());
    let id = vitascope_model::id::JobId::mint(server.app.now(), [7; 10]);
    let job = vitascope_store::job::NewJob {
        id: id.clone(),
        owner,
        collection_id: None,
        kind: "export_session",
        payload: session,
        dedupe_key: None,
    };
    let now = server.app.now();
    let enqueued =
        server.app.store.write(move |tx| Box::pin(async move { vitascope_store::job::enqueue(tx, &job, now).await }));
    enqueued.await.unwrap();
    server.app.job_bell.notify_one();
    let answer = server.get(&format!("/async-response/{id}")).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("done")), "{}", answer.body);
    // The session recorded nothing, which the reply says; Python reads `response`, Node the top.
    assert_eq!(answer.body["data"]["export_status"], "failed");
    assert_eq!(answer.body["response"]["data"], answer.body["data"]);
}
