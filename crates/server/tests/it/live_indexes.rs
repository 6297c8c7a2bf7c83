//! Live indexes over HTTP (calls 20 to 25), on words that the test writes into the transcript: what is refused, what becomes a record,
//! what sockets are told, and what a language model makes of it or fails to. Speech itself is the conformance tests' business.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vitascope_ai::provider::ProviderConfig;
use vitascope_model::event::Event;
use vitascope_model::id::{EventId, RtStreamId};
use vitascope_model::transcript::{TranscriptRecord, Word};
use vitascope_model::{Span, WallTime};
use vitascope_server::app::transcript::record_final;
use vitascope_store::rtstream::start_transcription;

use crate::harness::{Answer, KEY, TestServer};
use crate::socket::Socket;

/// A session with a microphone and a screen, and a connection.
struct Desk {
    server: TestServer,
    session: String,
    mic: String,
    screen: String,
    socket: Socket,
    connection: String,
}

impl Desk {
    async fn new(server: TestServer) -> Desk {
        let session = server.create_session(&json!({})).await;
        let channels = json!([{ "channel_id": "mic:default" }, { "channel_id": "display:1", "type": "video" }]);
        server.post("/capture/session/start", &json!({ "session_id": session, "channels": channels })).await.data();
        let shown = server.get(&format!("/collection/default/capture/session/{session}")).await.data();
        let stream = |n: usize| shown["rtstreams"][n]["id"].as_str().unwrap().to_owned();
        let (socket, hello) = Socket::open(&server, "").await;
        let connection = hello["connection_id"].as_str().unwrap().to_owned();
        Desk { mic: stream(0), screen: stream(1), server, session, socket, connection }
    }

    /// As if speech were being written down: the models are not what is tested here.
    async fn transcribe(&self) {
        let (id, now) = (self.mic.parse::<RtStreamId>().unwrap(), self.server.app.now());
        let write = self
            .server
            .app
            .store
            .write(move |tx| Box::pin(async move { start_transcription(tx, &id, None, now).await }));
        write.await.unwrap();
    }

    async fn create(&self, fields: &Value) -> Answer {
        let mut body = json!({ "extraction_type": "transcript", "ws_connection_id": self.connection, "auto_start_transcript": false });
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.server.post(&format!("/rtstream/{}/index/scene", self.mic), &body).await
    }

    /// A final of one word a second that begins now.
    async fn say(&self, text: &str) -> WallTime {
        let app = &self.server.app;
        let start = app.now();
        let word = |(n, text): (i64, &str)| Word {
            text: text.to_owned(),
            start: start + Span::seconds(n),
            end: start + Span::seconds(n + 1),
        };
        let words: Vec<Word> = (0..).zip(text.split(' ')).map(word).collect();
        let rtstream_id: RtStreamId = self.mic.parse().unwrap();
        let stream = app.store.find_rtstream(&rtstream_id).await.unwrap().unwrap();
        let end = start + Span::seconds(words.len() as i64);
        let record = TranscriptRecord { rtstream_id, start, end, text: text.to_owned(), words, confidence: 1.0 };
        let event = Event {
            id: EventId::mint(start, rand(start)),
            owner: stream.owner,
            collection_id: Some(stream.collection_id),
            session_id: None,
            name: "transcript.final".into(),
            at: start,
            frame: None,
            webhook: None,
        };
        record_final(app, record, event).await.unwrap();
        self.server.clock.advance(Span::seconds(60));
        start
    }

    async fn next(&mut self) -> Value {
        let frame = self.socket.frame().await;
        assert_eq!((&frame["channel"], &frame["rtstream_id"]), (&json!("audio_index"), &json!(self.mic)), "{frame}");
        assert!(frame.get("id").is_none(), "Node filters by `id`");
        frame
    }

    async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.next().await["data"]["text"].as_str().unwrap().to_owned());
        }
        texts
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.server.send("PATCH", path, Some(KEY), Some(&body.to_string())).await
    }

    fn path(&self, index: &Value) -> String {
        format!("/rtstream/{}/index/scene/{}", self.mic, index["rtstream_index_id"].as_str().unwrap())
    }
}

fn rand(at: WallTime) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&at.0.to_le_bytes());
    bytes
}

fn words(size: i64) -> Value {
    json!({ "extraction_config": { "segmenter": "word", "segmentation_value": size } })
}

#[tokio::test]
async fn call_20_refuses_what_it_cannot_do_and_says_why() {
    let desk = Desk::new(TestServer::start().await).await;
    // Trap 13: all the names that SDKs have for pictures, and none.
    for kind in [json!("time"), json!("time_based"), json!("shot"), json!("shot_based"), json!(null)] {
        let (status, message) = desk.create(&json!({ "extraction_type": kind })).await.refusal();
        assert_eq!(status, 501, "{kind}");
        assert!(message.contains("not built yet") && message.contains("\"transcript\""), "{message}");
    }
    let audio = json!({ "extraction_type": "transcript" });
    let (status, message) = desk.server.post(&format!("/rtstream/{}/index/scene", desk.screen), &audio).await.refusal();
    assert_eq!(status, 400);
    assert!(message.contains("has no sound"), "{message}");
    for (config, wanted) in [
        (json!({ "segmenter": "line" }), "neither word, sentence nor time"),
        (json!({ "segmenter": "word", "segmentation_value": 0 }), "whole number from 1"),
        (json!({ "segmenter": "word", "segmentation_value": 2.5 }), "whole number from 1"),
        (json!({ "segmenter": "time", "segmentation_value": "soon" }), "whole number from 1"),
    ] {
        let (status, message) = desk.create(&json!({ "extraction_config": config })).await.refusal();
        assert_eq!(status, 400);
        assert!(message.contains(wanted), "{message}");
    }
    // Here no speech model is installed, and starting a transcript says so.
    let (status, message) = desk.create(&json!({ "auto_start_transcript": true })).await.refusal();
    assert!(status >= 400 && message.contains("./run setup"), "{status} {message}");
    // Apps read empty data as "start the transcript first".
    assert_eq!(desk.create(&json!({})).await.data(), Value::Null);
    desk.server.post(&format!("/capture/session/{}/stop", desk.session), &json!({})).await.data();
    desk.server.app.sessions.settled(&desk.session.parse().unwrap()).await;
    assert_eq!(desk.create(&json!({ "auto_start_transcript": true })).await.refusal().0, 409);
}

#[tokio::test]
async fn calls_21_and_22_show_what_call_20_made() {
    let desk = Desk::new(TestServer::start().await).await;
    desk.transcribe().await;
    let plain = desk.create(&json!({ "extraction_config": null, "prompt": null, "model_name": "pro" })).await.data();
    assert_eq!(plain["extraction_config"], json!({ "segmenter": "sentence", "segmentation_value": 3 }));
    let id = plain["rtstream_index_id"].as_str().unwrap();
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!((&plain["extraction_type"], &plain["status"]), (&json!("transcript"), &json!("running")));
    assert!(plain["warning"].as_str().unwrap().contains("VITASCOPE_COMPLETE_URL"));
    let fields = json!({ "name": "notes", "prompt": "Sum up", "extraction_config": { "segmenter": "time", "segmentation_value": "20" } });
    let named = desk.create(&fields).await.data();

    let listed = desk.server.get(&format!("/rtstream/{}/index/scene", desk.mic)).await.data();
    let listed = listed["scene_indexes"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        listed[1]["extraction_config"],
        json!({ "segmenter": "time", "segmentation_value": "20" }),
        "numbers as text"
    );
    assert_eq!((&listed[1]["name"], &listed[1]["prompt"]), (&json!("notes"), &json!("Sum up")));
    assert_eq!(listed[1]["ws_connection_id"], desk.connection);
    let id = named["rtstream_index_id"].as_str().unwrap();
    assert_eq!(desk.server.get(&format!("/rtstream/{}/index/{id}", desk.mic)).await.data(), listed[1]);

    for path in [
        format!("/rtstream/{}/index/{id}", desk.screen),
        format!("/rtstream/{}/index/scene/{id}", desk.screen),
        format!("/rtstream/{}/index/0000000000000000", desk.mic),
    ] {
        assert_eq!(desk.server.get(&path).await.refusal().0, 404, "{path}");
    }
    // Call 24: Node looks for success, or the prompt, inside the data.
    let changed = desk.patch(&desk.path(&named), &json!({ "prompt": "Only names" })).await.data();
    assert_eq!((&changed["success"], &changed["prompt"]), (&json!(true), &json!("Only names")));
    assert_eq!(desk.patch(&desk.path(&named), &json!({})).await.refusal().0, 400);
    assert_eq!(
        desk.patch(&format!("{}/status", desk.path(&named)), &json!({ "action": "pause" })).await.refusal().0,
        400
    );
}

#[tokio::test]
async fn words_become_records_in_order_and_frames() {
    let mut desk = Desk::new(TestServer::start().await).await;
    desk.transcribe().await;
    let index = desk.create(&words(3)).await.data();
    let begun = desk.say("a b c d").await;
    let frame = desk.next().await;
    assert_eq!(frame["index_id"], index["rtstream_index_id"]);
    assert_eq!(frame["rtstream_name"], "mic:default");
    assert_eq!(frame["data"]["text"], "a b c");
    assert_eq!(
        (&frame["data"]["start"], &frame["data"]["end"]),
        (&json!(begun.to_seconds()), &json!((begun + Span::seconds(3)).to_seconds()))
    );
    assert_eq!(frame["data"]["metadata"], json!({ "model": "transcript", "prompt_followed": false }));
    let later = desk.say("e f g h i").await;
    assert_eq!(desk.texts(2).await, ["d e f", "g h i"]);

    // Call 23.
    let records = async |query: &str| desk.server.get(&format!("{}?{query}", desk.path(&index))).await.data();
    let all = records("page=1&page_size=2").await;
    let first = &all["scene_index_records"][0];
    assert_eq!((&first["text"], &first["description"]), (&json!("a b c"), &json!("a b c")));
    assert_eq!((&first["start"], &first["metadata"]), (&frame["data"]["start"], &frame["data"]["metadata"]));
    assert_eq!((&all["next_page"], &all["total_count"]), (&json!(true), &json!(3)));
    let last = records("page=2&page_size=2").await;
    assert_eq!((last["scene_index_records"].as_array().unwrap().len(), &last["next_page"]), (1, &json!(false)));
    let range = records(&format!(
        "start={}&end={}",
        (later + Span::seconds(3)).to_seconds(),
        (later + Span::seconds(9)).to_seconds()
    ))
    .await;
    assert_eq!(range["scene_index_records"].as_array().unwrap().len(), 1);

    // Call 25: what was said until the stop is the last window, and what is said meanwhile is nobody's.
    desk.say("j k").await;
    let status = format!("{}/status", desk.path(&index));
    assert_eq!(desk.patch(&status, &json!({ "action": "stop" })).await.data()["status"], "stopped");
    assert_eq!(desk.texts(1).await, ["j k"]);
    desk.say("meanwhile").await;
    assert_eq!(desk.patch(&status, &json!({ "action": "start" })).await.data()["status"], "running");
    desk.say("l m n").await;
    assert_eq!(desk.texts(1).await, ["l m n"]);
}

/// Realtime §3: "indexes flushed (last partial window must be emitted)".
#[tokio::test]
async fn the_last_window_comes_before_its_session_has_stopped() {
    let mut desk = Desk::new(TestServer::start().await).await;
    desk.transcribe().await;
    let index = desk.create(&words(100)).await.data();
    desk.say("hardly begun").await;
    desk.server.post(&format!("/capture/session/{}/stop", desk.session), &json!({})).await.data();
    assert_eq!(desk.texts(1).await, ["hardly begun"]);
    desk.server.app.sessions.settled(&desk.session.parse().unwrap()).await;
    let shown = desk.server.get(&format!("/rtstream/{}/index/scene", desk.mic)).await.data();
    assert_eq!(shown["scene_indexes"][0]["status"], "stopped");
    let status = format!("{}/status", desk.path(&index));
    assert_eq!(desk.patch(&status, &json!({ "action": "start" })).await.refusal().0, 409);
    // With the rtstream goes what was made of it.
    let id = desk.mic.clone();
    desk.server.send("DELETE", &format!("/rtstream/{id}"), Some(KEY), None).await.data();
    let index = index["rtstream_index_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(desk.server.app.store.find_live_index(&index).await.unwrap(), None);
}

/// A language model that answers each request with what the test says of its number, and keeps what it was asked.
#[derive(Clone)]
struct Model {
    asked: Arc<Mutex<Vec<Value>>>,
    answer: fn(usize) -> StatusCode,
}

async fn answer(State(model): State<Model>, Json(request): Json<Value>) -> Response {
    let count = {
        let mut asked = model.asked.lock().unwrap();
        asked.push(request);
        asked.len()
    };
    let message = json!({ "role": "assistant", "content": format!("Summary {count}.") });
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 2 });
    ((model.answer)(count - 1), Json(json!({ "choices": [{ "message": message }], "usage": usage }))).into_response()
}

async fn transcribed(provider: ProviderConfig) -> Desk {
    let desk = Desk::new(TestServer::start_with(|c| c.complete = Some(provider)).await).await;
    desk.transcribe().await;
    desk
}

async fn with_model(reply: fn(usize) -> StatusCode) -> (Desk, Model) {
    let model = Model { asked: Arc::default(), answer: reply };
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", door.local_addr().unwrap());
    let routes =
        axum::Router::new().route("/v1/chat/completions", axum::routing::post(answer)).with_state(model.clone());
    tokio::spawn(async move { axum::serve(door, routes).await });
    let desk = transcribed(ProviderConfig::new(&url, None, "small").unwrap()).await;
    (desk, model)
}

#[tokio::test]
async fn a_language_model_does_what_the_prompt_says() {
    let (mut desk, model) = with_model(|_| StatusCode::OK).await;
    let index = desk.create(&json!({ "prompt": "Name the mood", "model_name": "GPT4o", "extraction_config": { "segmenter": "sentence", "segmentation_value": 1 } })).await.data();
    assert_eq!(index.get("warning"), None);
    desk.say("It was good. It was").await;
    assert_eq!(desk.texts(2).await, ["Summary 1.", "Summary 2."]);
    desk.patch(&desk.path(&index), &json!({ "prompt": "Count the words" })).await.data();
    desk.say("bad.").await;
    let frame = desk.next().await;
    assert_eq!(frame["data"]["metadata"], json!({ "model": "small", "prompt_followed": true }));
    let asked = model.asked.lock().unwrap().clone();
    let told: Vec<&str> = asked.iter().map(|a| a["messages"][1]["content"].as_str().unwrap()).collect();
    assert!(told[0].starts_with("Name the mood") && told[0].ends_with("It was good."), "{told:?}");
    assert!(told[1].ends_with("It was") && told[2].starts_with("Count the words"), "{told:?}");
    assert_eq!(asked[0]["model"], "small", "which model runs is the server's choice");
    let metrics = desk.server.send("GET", "/metrics", None, None).await.body;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("vitascope_completions_total{outcome=\"completed\"} 3"), "{metrics}");
    assert!(metrics.contains("vitascope_completion_tokens_total{kind=\"completion\"} 6"));
}

#[tokio::test]
async fn where_the_model_fails_the_words_stay_and_the_record_says_so() {
    let (mut desk, model) = with_model(|n| if n == 0 { StatusCode::BAD_REQUEST } else { StatusCode::OK }).await;
    desk.create(&words(2)).await.data();
    desk.say("a b c d").await;
    let (failed, made) = (desk.next().await, desk.next().await);
    assert_eq!(failed["data"]["text"], "a b");
    let metadata = &failed["data"]["metadata"];
    assert_eq!((&metadata["model"], &metadata["prompt_followed"]), (&json!("transcript"), &json!(false)));
    assert!(metadata["error"].as_str().unwrap().contains("400"), "{metadata}");
    assert_eq!((&made["data"]["text"], &made["data"]["metadata"]["model"]), (&json!("Summary 2."), &json!("small")));
    assert_eq!(model.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn windows_do_not_pile_up_behind_a_model_that_hangs() {
    // It takes connections and says nothing.
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", door.local_addr().unwrap());
    let mut provider = ProviderConfig::new(&url, None, "small").unwrap();
    provider.timeout = Duration::from_millis(600);
    let mut desk = transcribed(provider).await;
    desk.create(&words(2)).await.data();
    desk.say("a b c d").await;
    let why = async |desk: &mut Desk| {
        let data = desk.next().await["data"].clone();
        (data["text"].clone(), data["metadata"]["error"].as_str().unwrap().to_owned())
    };
    let (first, reason) = why(&mut desk).await;
    assert!(first == "a b" && reason.contains("gave no answer"), "{first} {reason}");
    let (second, reason) = why(&mut desk).await;
    assert!(second == "c d" && reason.contains("a moment ago"), "{second} {reason}");
}
