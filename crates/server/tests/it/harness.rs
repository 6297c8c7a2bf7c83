//! A server of the test's own: its folder, its ports, its clock; and a small HTTP client that knows the envelope.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use tokio::net::TcpListener;
use vitascope_model::{Clock, Span, WallTime};
use vitascope_server::app::{App, account};
use vitascope_server::config::Config;
use vitascope_server::{http, serve};

pub(crate) const KEY: &str = "sk-test-key";

/// Stands still until the test turns it.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn advance(&self, by: Span) {
        self.0.fetch_add(by.0, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    /// Moves on by a microsecond with each look, as real clocks do: rows keep an order.
    fn now(&self) -> WallTime {
        WallTime(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

pub(crate) struct TestServer {
    pub(crate) app: App,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) rtsp: SocketAddr,
    base: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The data of a successful answer.
    #[track_caller]
    pub(crate) fn data(self) -> Value {
        assert_eq!((self.status, &self.body["success"]), (200, &Value::Bool(true)), "{}", self.body);
        self.body["data"].clone()
    }

    /// Status and message of a refusal in the envelope.
    #[track_caller]
    pub(crate) fn refusal(self) -> (u16, String) {
        assert_eq!(self.body["success"], Value::Bool(false), "{}", self.body);
        (self.status, self.body["message"].as_str().expect("a refusal has a message").to_owned())
    }
}

impl TestServer {
    pub(crate) async fn start() -> TestServer {
        TestServer::start_with(|_| ()).await
    }

    /// With some settings of its own.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> TestServer {
        let folder = tempfile::tempdir().expect("a folder");
        let http_door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let rtsp_door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (listen, rtsp) = (http_door.local_addr().expect("bound"), rtsp_door.local_addr().expect("bound"));
        let clock = Arc::new(HandClock(AtomicI64::new(1_800_000_000_000_000)));
        let mut config = Config {
            listen,
            rtsp_listen: rtsp,
            data_dir: folder.path().to_owned(),
            models_dir: PathBuf::from("/nonexistent"),
            public_url: format!("http://{listen}"),
            rtsp_public_url: format!("rtsp://{rtsp}"),
            api_key: Some(KEY.to_owned()),
            allow_private_urls: false,
            min_free: 0,
            max_upload: 1 << 30,
            yt_dlp: false,
            objects: Default::default(),
            retention: Default::default(),
            speech_workers: 1,
            transcribe: None,
            complete: None,
            embed: None,
            embed_threads: 1,
            log: String::new(),
            log_json: false,
        };
        change(&mut config);
        let app = App::open(config, clock.clone()).await.expect("an empty data folder opens");
        account::bootstrap(&app).await.expect("bootstrap");
        serve::start(&app, rtsp_door).await.expect("start");
        tokio::spawn(http::serve(app.clone(), http_door));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        TestServer { app, clock, rtsp, base: format!("http://{listen}"), client, _folder: folder }
    }

    /// `path` is sent as it is, with whatever slashes it has.
    pub(crate) async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("x-access-token", token);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Some(KEY), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(KEY), Some(&body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(KEY), Some(&body.to_string())).await
    }

    /// A session of the default collection.
    pub(crate) async fn create_session(&self, fields: &Value) -> String {
        let mut body = serde_json::json!({ "end_user_id": "someone" });
        for (key, value) in fields.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let made = self.post("/collection/default/capture/session", &body).await.data();
        made["session_id"].as_str().expect("an id").to_owned()
    }
}
