//! Drives the recorder over stdio as the SDKs' capture client does.
#![expect(clippy::disallowed_methods, reason = "a test starts the program that it tests")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::Desk;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_vitascope-capture");
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Driver {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<Value>,
    /// Messages that were read while another one was looked for.
    kept: Vec<Value>,
    commands: u32,
}

/// The answer's result, or the text of its error.
pub(crate) type Answer = Result<Value, String>;

impl Driver {
    pub(crate) fn on(desk: &Desk) -> Driver {
        Driver::start(desk.command(BINARY))
    }

    /// Where there is neither a screen nor sound.
    pub(crate) fn nowhere() -> Command {
        let mut command = Command::new(BINARY);
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command.env("PULSE_SERVER", "unix:/nonexistent/native");
        command
    }

    pub(crate) fn start(mut command: Command) -> Driver {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.unwrap();
                // Trap 16: Python stops reading for good at 64 KiB, and an event named `error` is lost in Node.
                assert!(line.len() < 65_536 && !line.contains(r#""event":"error""#), "{line}");
                // Nothing else is ever on stdout.
                let message = line.strip_prefix("videodb_recorder|").expect("an unframed line on stdout");
                if send.send(serde_json::from_str(message).unwrap()).is_err() {
                    return;
                }
            }
        });
        Driver { stdin: child.stdin.take(), child, lines, kept: Vec::new(), commands: 0 }
    }

    pub(crate) fn raw(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Sends a command; its answer is taken with `answer`.
    pub(crate) fn send(&mut self, command: &str, params: Value) -> String {
        self.commands += 1;
        let id = self.commands.to_string();
        let request = json!({ "command": command, "commandId": id, "params": params });
        self.raw(&format!("videodb_recorder|{request}\n"));
        id
    }

    fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        loop {
            let message = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {what} came"));
            if wanted(&message) {
                return message;
            }
            self.kept.push(message);
        }
    }

    pub(crate) fn answer(&mut self, id: &str) -> Answer {
        let message = self.find("answer", |m| m["type"] == "response" && m["commandId"] == id);
        match message["status"].as_str() {
            Some("success") => Ok(message["result"].clone()),
            _ => Err(message["result"].as_str().unwrap().to_owned()),
        }
    }

    pub(crate) fn ask(&mut self, command: &str, params: Value) -> Answer {
        let id = self.send(command, params);
        self.answer(&id)
    }

    /// The payload of the next event of that name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.find(name, |m| m["type"] == "event" && m["event"] == name)["payload"].clone()
    }

    /// Whether an event of that name has come that nobody has looked at.
    pub(crate) fn told(&mut self, name: &str) -> bool {
        self.kept.extend(self.lines.try_iter());
        self.kept.iter().any(|m| m["type"] == "event" && m["event"] == name)
    }

    /// `init`, then `startRecording` of these channels.
    pub(crate) fn record(&mut self, api: &str, session: &str, channels: &[&str]) -> Answer {
        self.ask("init", json!({ "apiUrl": api })).unwrap();
        let channel = |id: &&str| {
            let kind = if id.starts_with("display") || id.starts_with("camera") { "video" } else { "audio" };
            json!({ "channel_id": id, "type": kind, "name": format!("the {id}"), "store": true, "is_primary": false })
        };
        let channels: Vec<Value> = channels.iter().map(channel).collect();
        self.ask("startRecording", json!({ "sessionId": session, "uploadToken": "st-test", "channels": channels }))
    }

    /// As `kill -s` knows it.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for the exit and gives its code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        crate::desk::wait_for("the recorder's exit", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
