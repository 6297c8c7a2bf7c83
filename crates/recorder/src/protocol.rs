//! The lines that the SDKs' capture client and we send each other over stdin and stdout: framing, requests, answers, events.
//! What the commands do is in `commands`; nothing else may write to stdout.

use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::{Error, Result};

const PREFIX: &str = "videodb_recorder|";
/// compat: the Python client reads with asyncio's default limit of 64 KiB and stops reading for good at a longer line
/// (`videodb/capture.py`, `_read_stdout_loop`).
const LONGEST: usize = 60_000;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub command: String,
    /// Given back as it came.
    pub command_id: Value,
    #[serde(default)]
    pub params: Value,
}

/// None for a line that is not for us.
pub(crate) fn parse(line: &str) -> Option<Request> {
    serde_json::from_str(line.trim().strip_prefix(PREFIX)?).ok()
}

/// The line that answers `id`.
pub(crate) fn answer(id: &Value, result: &Result<Value>) -> String {
    let line = match result {
        Ok(result) => response(id, "success", result),
        // A bare string: Python shows it as the text of its RuntimeError.
        Err(error) => response(id, "error", &json!(shortened(&error.to_string()))),
    };
    if line.len() > LONGEST {
        return response(id, "error", &json!("the answer is too long"));
    }
    line
}

fn response(id: &Value, status: &str, result: &Value) -> String {
    framed(&json!({ "type": "response", "commandId": id, "status": status, "result": result }))
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started {
        session_id: String,
    },
    Stopped {
        session_id: String,
    },
    Trouble {
        session_id: String,
        channel_id: Option<String>,
        error: String,
        code: &'static str,
    },
    /// A channel that goes on is worse or better than before. The SDKs for Python hand it to who reads `events()`; npm's leaves it.
    Health {
        session_id: String,
        channel_id: String,
        status: &'static str,
        message: String,
    },
}

impl Event {
    pub(crate) fn trouble(session_id: &str, channel_id: Option<&str>, error: &Error) -> Event {
        Event::Trouble {
            session_id: session_id.to_owned(),
            channel_id: channel_id.map(str::to_owned),
            error: shortened(&error.to_string()),
            code: error.kind.code(),
        }
    }

    pub(crate) fn line(&self) -> String {
        let (event, payload) = match self {
            Event::Started { session_id } => ("recording:started", json!({ "sessionId": session_id })),
            Event::Stopped { session_id } => ("recording:stopped", json!({ "sessionId": session_id })),
            Event::Trouble { session_id, channel_id, error, code } => (
                "recording:error",
                json!({ "sessionId": session_id, "channelId": channel_id, "error": error, "code": code }),
            ),
            Event::Health { session_id, channel_id, status, message } => (
                "recording:health",
                json!({ "sessionId": session_id, "channelId": channel_id, "status": status, "message": shortened(message) }),
            ),
        };
        framed(&json!({ "type": "event", "event": event, "payload": payload }))
    }
}

fn framed(message: &Value) -> String {
    format!("{PREFIX}{message}\n")
}

fn shortened(text: &str) -> String {
    text.chars().take(2_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_noise_is_not() {
        let request = parse("videodb_recorder|{\"command\":\"ping\",\"commandId\":\"7\",\"params\":{}}\n").unwrap();
        assert_eq!((request.command.as_str(), &request.command_id), ("ping", &json!("7")));
        for noise in ["", "hello", "{\"command\":\"ping\"}", "videodb_recorder|{", "videodb_recorder|[1]"] {
            assert_eq!(parse(noise), None, "{noise}");
        }
    }

    #[test]
    fn answers_and_events_are_lines_that_the_clients_read() {
        let line = answer(&json!("7"), &Err(Error::conflict("no")));
        assert_eq!(
            line,
            "videodb_recorder|{\"commandId\":\"7\",\"result\":\"no\",\"status\":\"error\",\"type\":\"response\"}\n"
        );
        let line = Event::Stopped { session_id: "cap-1".to_owned() }.line();
        assert_eq!(
            line,
            "videodb_recorder|{\"event\":\"recording:stopped\",\"payload\":{\"sessionId\":\"cap-1\"},\"type\":\"event\"}\n"
        );
    }

    #[test]
    fn no_line_is_too_long_for_a_client() {
        let line = answer(&json!(1), &Ok(json!("x".repeat(70_000))));
        assert!(line.len() < 200 && line.contains("too long"));
        assert!(answer(&json!(1), &Err(Error::internal("ö".repeat(70_000)))).len() < LONGEST);
    }
}
