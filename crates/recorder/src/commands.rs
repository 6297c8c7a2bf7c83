//! The commands of the SDKs' capture client: runs them side by side, and sees to it that each is answered,
//! that stdout holds nothing but answers and events, and that no recording outlives the application.

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use vitascope_model::capture::Category;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use crate::api::{Announced, Api};
use crate::channel;
use crate::protocol::{self, Request};
use crate::session::{self, Session, Surroundings};

/// The recorder as the commands see it.
pub(crate) struct Recorder {
    pub around: Surroundings,
    pub client: Client,
    /// Lines for stdout.
    pub lines: mpsc::UnboundedSender<String>,
    pub greeting: SyncMutex<Greeting>,
    /// Held while a recording starts or stops, so that these come one after another.
    pub session: Mutex<Option<Session>>,
}

/// What `init` said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Greeting {
    api_url: Option<String>,
    session_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartRecording {
    session_id: String,
    upload_token: Option<String>,
    channels: Vec<Wanted>,
    #[serde(rename = "primary_video_channel_id", alias = "primaryVideoChannelId")]
    primary_video_channel_id: Option<String>,
}

/// The union of what the Python and Node clients send for a channel.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(alias = "channelId")]
    channel_id: String,
    #[serde(rename = "type", default)]
    kind: String,
    name: Option<String>,
    store: Option<bool>,
    #[serde(default, alias = "isPrimary")]
    is_primary: bool,
    record: Option<bool>,
    transcript: Option<bool>,
}

impl From<Wanted> for Announced {
    fn from(wanted: Wanted) -> Announced {
        let screen = ["display", "screen", "camera"].iter().any(|p| wanted.channel_id.starts_with(p));
        Announced {
            channel_name: wanted.name.filter(|n| !n.is_empty()).unwrap_or_else(|| wanted.channel_id.clone()),
            channel_id: wanted.channel_id,
            kind: if wanted.kind == "video" || wanted.kind.is_empty() && screen { "video" } else { "audio" },
            store: wanted.store.unwrap_or(true),
            is_primary: wanted.is_primary,
            record: wanted.record,
            transcript: wanted.transcript,
        }
    }
}

impl Recorder {
    /// Runs the commands in the lines of `input` until it ends or `shutdown` is asked for.
    pub(crate) async fn serve(self: &Arc<Self>, mut input: mpsc::Receiver<Vec<u8>>) {
        while let Some(line) = input.recv().await {
            let Some(request) = protocol::parse(&String::from_utf8_lossy(&line)) else {
                tracing::warn!(bytes = line.len(), "a line that is no command");
                continue;
            };
            if request.command == "shutdown" {
                // The client hangs without this answer: so it comes before everything that may take time.
                self.answer(&request, &Ok(json!({ "shutdown": true })));
                return;
            }
            let recorder = self.clone();
            tokio::spawn(async move {
                let work = recorder.clone();
                let (command, params) = (request.command.clone(), request.params.clone());
                // A task of its own, so that a panic is answered as well.
                let result = tokio::spawn(async move { work.run(&command, params).await }).await;
                recorder.answer(&request, &result.unwrap_or_else(|_| Err(Error::internal("the recorder has a bug"))));
            });
        }
    }

    fn answer(&self, request: &Request, result: &Result<Value>) {
        if let Err(error) = result {
            tracing::warn!(command = request.command, "{error}");
        }
        // Nobody reads any more when the process ends.
        self.lines.send(protocol::answer(&request.command_id, result)).ok();
    }

    async fn run(&self, command: &str, params: Value) -> Result<Value> {
        match command {
            "init" => {
                let greeting = read(if params.is_null() { json!({}) } else { params })?;
                *self.greeting.lock().unwrap_or_else(PoisonError::into_inner) = greeting;
                Ok(json!({ "version": env!("CARGO_PKG_VERSION") }))
            }
            "ping" => Ok(json!({ "pong": true })),
            // On X11 and PulseAudio nobody asks the user.
            "requestPermission" => {
                Ok(json!({ "requested": true, "status": "granted", "permission_status": "granted" }))
            }
            "getChannels" => {
                let config = self.around.config.clone();
                let channels = tokio::task::spawn_blocking(move || channel::list(&config)).await;
                Ok(json!({ "channels": channels.internal("list the channels")? }))
            }
            "startRecording" => self.start(read(params)?).await,
            "stopRecording" => self.stop(params["sessionId"].as_str()).await,
            "pauseTracks" => self.pause(&params, true).await,
            "resumeTracks" => self.pause(&params, false).await,
            other => Err(Error::invalid(format!("unknown command {other}"))),
        }
    }

    async fn start(&self, wanted: StartRecording) -> Result<Value> {
        let mut slot = self.session.lock().await;
        if let Some(running) = slot.as_ref().filter(|s| !s.is_over()) {
            return Err(Error::conflict(format!("session {} is being recorded; stop it first", running.id)));
        }
        if wanted.channels.is_empty() {
            return Err(Error::invalid("no channels to record"));
        }
        let greeting = self.greeting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let base =
            greeting.api_url.ok_or_else(|| Error::invalid("the recorder was not told a server: init comes first"))?;
        let token = wanted.upload_token.or(greeting.session_token);
        let token = token.ok_or_else(|| Error::invalid("startRecording needs an uploadToken"))?;
        let api = Api::of(self.client.clone(), &base, &token, &wanted.session_id);
        let request = session::Request {
            channels: wanted.channels.into_iter().map(Announced::from).collect(),
            primary_video_channel_id: wanted.primary_video_channel_id,
        };
        *slot = Some(Session::start(self.around.clone(), api, request).await?);
        Ok(json!({ "sessionId": wanted.session_id, "status": "recording" }))
    }

    /// `current`, nothing, or its id.
    async fn stop(&self, id: Option<&str>) -> Result<Value> {
        let slot = self.session.lock().await;
        let session = slot.as_ref().filter(|s| id.is_none_or(|id| id == "current" || id == s.id));
        let session = session.ok_or_else(|| Error::not_found("a recording to stop"))?;
        session.stop().await?;
        Ok(json!({ "sessionId": session.id, "status": "stopped" }))
    }

    async fn pause(&self, params: &Value, paused: bool) -> Result<Value> {
        let slot = self.session.lock().await;
        let session = slot.as_ref().filter(|s| !s.is_over()).ok_or_else(|| Error::not_found("a recording"))?;
        let tracks = params["tracks"].as_array().map(Vec::as_slice).unwrap_or_default();
        for track in tracks.iter().filter_map(Value::as_str) {
            let category = match track {
                "mic" => Category::Mic,
                "system_audio" => Category::SystemAudio,
                "screen" => Category::Screen,
                "camera" => Category::Camera,
                other => return Err(Error::invalid(format!("unknown track {other}"))),
            };
            if !session.pause(category, paused) {
                return Err(Error::not_found(format!("a channel of the kind {track}")));
            }
        }
        Ok(json!({ "tracks": tracks, "paused": paused }))
    }

    /// The process ends: so does its recording.
    pub(crate) async fn end(&self) {
        if let Some(session) = self.session.lock().await.take()
            && let Err(error) = session.stop().await
        {
            tracing::warn!("stop: {error}");
        }
    }
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T> {
    serde_json::from_value(params).invalid("params")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(wanted: Value) -> Value {
        serde_json::to_value(Announced::from(read::<Wanted>(wanted).unwrap())).unwrap()
    }

    #[test]
    fn channels_of_all_clients_are_announced_alike() {
        assert_eq!(
            announced(
                json!({ "channel_id": "mic:default", "type": "audio", "name": "M", "store": false, "is_primary": false })
            ),
            json!({ "channel_id": "mic:default", "channel_name": "M", "type": "audio", "store": false, "is_primary": false })
        );
        assert_eq!(
            announced(json!({ "channelId": "screen", "record": true, "transcript": false, "isPrimary": true })),
            json!({ "channel_id": "screen", "channel_name": "screen", "type": "video", "store": true, "is_primary": true,
                    "record": true, "transcript": false })
        );
    }
}
