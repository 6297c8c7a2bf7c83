//! A stand-in for the server's three capture calls, over HTTP by hand; media goes to an `RtspServer`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::rtsp_server::RtspServer;

#[derive(Clone)]
pub(crate) struct Server {
    pub api: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    status: String,
    channels: Vec<Value>,
    /// `METHOD path`, token, body.
    calls: Vec<(String, String, Value)>,
    refuse_start: Option<(u16, String)>,
    media: Vec<String>,
}

impl Server {
    pub(crate) fn start(rtsp: &RtspServer) -> Server {
        let base = rtsp.base.clone();
        Server::sending_media_to((0..8).map(|n| format!("{base}/{n}")).collect())
    }

    /// `media` are the addresses that the channels get, in their order.
    pub(crate) fn sending_media_to(media: Vec<String>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // With a slash at its end, as applications write it.
        let api = format!("http://{}/", listener.local_addr().unwrap());
        let state = State { status: "created".to_owned(), media, ..State::default() };
        let server = Server { api, state: Arc::new(Mutex::new(state)) };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                std::thread::spawn(move || server.converse(stream));
            }
        });
        server
    }

    fn converse(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, path) = (words.next()?, words.next()?);
            let (mut length, mut token) = (0, String::new());
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                let Some((name, value)) = header.trim().split_once(": ") else { break };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().ok()?,
                    "x-access-token" => token = value.to_owned(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (status, answer) = self.call(format!("{method} {path}"), token, body);
            let answer = answer.to_string();
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}", answer.len());
            reader.get_mut().write_all(format!("{head}\r\n\r\n{answer}").as_bytes()).ok()?;
        }
    }

    fn call(&self, call: String, token: String, body: Value) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        state.calls.push((call.clone(), token, body.clone()));
        if call == "POST /capture/session/start" {
            if let Some((status, message)) = state.refuse_start.clone() {
                return (status, json!({ "success": false, "message": message }));
            }
            let channels = body["channels"].as_array().unwrap().clone();
            let place = |(c, url): (Value, &String)| json!({ "channel_id": c["channel_id"], "rtsp_url": url });
            state.channels = channels.into_iter().zip(&state.media).map(place).collect();
            state.status = "starting".to_owned();
        } else if call.ends_with("/stop") {
            state.status = "stopping".to_owned();
        }
        (200, json!({ "success": true, "data": { "status": state.status, "channels": state.channels } }))
    }

    pub(crate) fn refuse_start(&self, status: u16, message: &str) {
        self.state.lock().unwrap().refuse_start = Some((status, message.to_owned()));
    }

    pub(crate) fn set_status(&self, status: &str) {
        self.state.lock().unwrap().status = status.to_owned();
    }

    pub(crate) fn calls(&self) -> Vec<(String, String, Value)> {
        self.state.lock().unwrap().calls.clone()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|(c, _, _)| c == call).count()
    }
}
