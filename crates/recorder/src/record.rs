//! Recording by hand: makes a session (or takes one that was made), records until Ctrl+C or for so many seconds, shows how it goes,
//! and tells where the video is. What is shown is made in `progress`; recording itself is the session's.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use url::Url;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

use crate::api::{self, Announced, Api, Outcome};
use crate::channel::{self, Listed};
use crate::config::Config;
use crate::health::Reading;
use crate::progress::{Progress, size};
use crate::protocol::Event;
use crate::session::{Request, Session, Surroundings};

/// Ended by itself, though nobody had asked: what was recorded until then is kept.
const BROKE_OFF: u8 = 3;
/// As a shell has it for Ctrl+C.
const INTERRUPTED: u8 = 130;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Without a terminal a line each so many looks.
const LINE_EVERY: u64 = 10;
const EXPORT_WITHIN: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(300);
const USUAL_SERVER: &str = "http://127.0.0.1:8484";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server; VITASCOPE_SERVER or http://127.0.0.1:8484 if not given.
    #[arg(long)]
    server: Option<String>,
    /// An API key (sk-…), or a client token (st-…) together with --session. VITASCOPE_TOKEN keeps it out of the list of processes.
    #[arg(long)]
    token: Option<String>,
    /// Records into this session instead of a new one.
    #[arg(long)]
    session: Option<String>,
    /// A channel to record, as --list shows them; may be given several times. Without: the primary display, microphone and system sound.
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<String>,
    /// What the new session is called.
    #[arg(long, default_value = "desktop")]
    name: String,
    /// Stops by itself after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Shows what can be recorded, and ends.
    #[arg(long)]
    list: bool,
    /// One JSON object a line on stdout, for programs.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Config) -> Result<ExitCode> {
    let listed = listed(&config).await?;
    if arguments.list {
        list(&listed, arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    let result = record(&arguments, config, &listed).await;
    if let (Err(error), true) = (&result, arguments.json) {
        say(&json!({ "event": "error", "message": error.to_string(), "code": error.kind.code() }));
    }
    result
}

async fn listed(config: &Config) -> Result<Vec<Listed>> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || channel::list(&config)).await.internal("list the channels")
}

fn list(channels: &[Listed], as_json: bool) {
    for channel in channels {
        if as_json {
            say(&json!(channel));
        } else {
            write(&format!("{:<28} {:<6} {}", channel.channel_id, channel.kind, channel.name));
        }
    }
}

/// A line on stdout; who closed it does not want to know more.
fn write(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

fn say(object: &Value) {
    write(&object.to_string());
}

async fn record(arguments: &Arguments, config: Config, listed: &[Listed]) -> Result<ExitCode> {
    let channels = chosen(listed, &arguments.channels)?;
    let mut interrupts = signal(SignalKind::interrupt()).internal("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).internal("listen for SIGTERM")?;
    let api = session(arguments, &config).await?;
    let (events, happened) = mpsc::unbounded_channel();
    let around = Surroundings { config: Arc::new(config), events };
    let request = Request { channels, primary_video_channel_id: None };
    let mut show = Show { json: arguments.json, terminal: std::io::stderr().is_terminal(), looks: 0 };
    let session = tokio::select! {
        started = Session::start(around, api.clone(), request) => started?,
        _ = interrupts.recv() => return given_up(&api).await,
        _ = terminate.recv() => return given_up(&api).await,
    };
    show.started(&session);
    let broke_off = watch(&session, arguments.seconds, happened, &mut show, &mut interrupts, &mut terminate).await;
    let stopped = session.stop().await;
    show.stopped(&session);
    if !broke_off {
        stopped?;
    }
    let outcome = tokio::select! {
        outcome = exported(&api) => outcome?,
        _ = interrupts.recv() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    show.outcome(&session, &outcome)?;
    Ok(if broke_off { ExitCode::from(BROKE_OFF) } else { ExitCode::SUCCESS })
}

/// Ctrl+C before anything was recorded.
async fn given_up(api: &Api) -> Result<ExitCode> {
    api.stop().await?;
    Ok(ExitCode::from(INTERRUPTED))
}

/// The channels that were asked for by name, or the usual three.
fn chosen(listed: &[Listed], wanted: &[String]) -> Result<Vec<Announced>> {
    let usual = ["display:1", "mic:default", "system_audio:default"].map(str::to_owned);
    let all = if wanted.is_empty() { &usual[..] } else { wanted };
    let mut channels: Vec<Announced> = Vec::new();
    for id in all.iter().filter(|id| wanted.is_empty() || !id.is_empty()) {
        let found = listed.iter().find(|c| c.channel_id == *id);
        if found.is_none() && wanted.is_empty() {
            return Err(Error::unavailable(format!(
                "{id} is not there, so the usual channels cannot be recorded; --list shows what can, --channel chooses"
            )));
        }
        // A path is a camera that need not be listed.
        let named = found
            .map(|c| (c.kind, c.name.clone()))
            .or_else(|| id.starts_with("camera:/").then(|| ("video", id.clone())));
        let (kind, name) =
            named.ok_or_else(|| Error::not_found(format!("the channel {id} (--list shows what there is)")))?;
        if channels.iter().any(|c| c.channel_id == *id) {
            return Err(Error::invalid(format!("{id} is given twice")));
        }
        let is_primary = kind == "video" && channels.iter().all(|c| c.kind != "video");
        let (channel_id, channel_name) = (id.clone(), name);
        channels.push(Announced {
            channel_id,
            channel_name,
            kind,
            store: true,
            is_primary,
            record: None,
            transcript: None,
        });
    }
    Ok(channels)
}

/// The session to record into: a new one, or one that was named.
async fn session(arguments: &Arguments, config: &Config) -> Result<Api> {
    let server = arguments.server.as_deref().or(config.server.as_deref()).unwrap_or(USUAL_SERVER);
    let url = Url::parse(server).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    url.ok_or_else(|| Error::invalid(format!("--server {server} is no http:// address")))?;
    let token = arguments.token.as_deref().or(config.token.as_deref());
    let token = token.ok_or_else(|| Error::unauthenticated("an API key is needed: --token sk-… or VITASCOPE_TOKEN"))?;
    let client = api::client()?;
    match &arguments.session {
        Some(session) => Ok(Api::of(client, server, token, session)),
        None if token.starts_with("st-") => Err(Error::invalid(
            "a client token (st-…) cannot make a session: name one with --session, or use an API key (sk-…)",
        )),
        None => Api::create(client, server, token, &arguments.name).await,
    }
}

/// Until it shall stop (false) or has stopped by itself (true).
async fn watch(
    session: &Session,
    seconds: Option<u64>,
    mut happened: mpsc::UnboundedReceiver<Event>,
    show: &mut Show,
    interrupts: &mut Signal,
    terminate: &mut Signal,
) -> bool {
    let began = Instant::now();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut looked_at) = (Vec::new(), began);
    let mut enough = std::pin::pin!(async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    });
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let now: Vec<Reading> = session.channels.iter().map(|c| c.read()).collect();
                let since = looked_at.elapsed().as_secs_f64();
                show.progress(&Progress::new(began.elapsed().as_secs_f64(), since, &before, &now));
                (before, looked_at) = (now, Instant::now());
            }
            event = happened.recv() => match event {
                Some(Event::Stopped { .. }) | None => return true,
                Some(event) => show.event(&event),
            },
            () = &mut enough => return false,
            _ = interrupts.recv() => return false,
            _ = terminate.recv() => return false,
        }
    }
}

/// What became of the session, once that is settled.
async fn exported(api: &Api) -> Result<Outcome> {
    let since = Instant::now();
    loop {
        let outcome = api.outcome().await?;
        match outcome.status.as_str() {
            "exported" | "failed" => return Ok(outcome),
            _ if outcome.error.is_some() => return Ok(outcome),
            _ if since.elapsed() > EXPORT_WITHIN => {
                let message = format!("the session is {} after a minute; its video is not ready yet", outcome.status);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            _ => sleep(ASK_EVERY).await,
        }
    }
}

/// What is said, and to whom: people read stderr and get the video's address on stdout, programs read stdout.
struct Show {
    json: bool,
    terminal: bool,
    looks: u64,
}

impl Show {
    fn line(&self, text: &str) {
        // Over the progress line.
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        writeln!(std::io::stderr(), "{clear}{text}").ok();
    }

    fn started(&self, session: &Session) {
        let channels: Vec<&str> = session.channels.iter().map(|c| c.channel_id.as_str()).collect();
        if self.json {
            return say(&json!({ "event": "started", "session_id": session.id, "channels": channels }));
        }
        self.line(&format!("Recording {} as {}. Ctrl+C stops.", channels.join(", "), session.id));
    }

    fn progress(&mut self, progress: &Progress<'_>) {
        self.looks += 1;
        if self.json {
            return say(&progress.json());
        }
        if self.terminal {
            write!(std::io::stderr(), "\r\x1b[K{}", progress.line()).ok();
        } else if self.looks.is_multiple_of(LINE_EVERY) {
            self.line(&progress.line());
        }
    }

    fn event(&self, event: &Event) {
        let (channel, status, message) = match event {
            Event::Started { .. } | Event::Stopped { .. } => return,
            Event::Trouble { channel_id, error, .. } => (channel_id.as_deref(), "failed", error),
            Event::Health { channel_id, status, message, .. } => (Some(channel_id.as_str()), *status, message),
        };
        if self.json {
            return say(&json!({ "event": "health", "channel_id": channel, "status": status, "message": message }));
        }
        self.line(&format!("{}: {message}", channel.unwrap_or("session")));
    }

    fn stopped(&self, session: &Session) {
        let bytes = session.channels.iter().map(|c| c.read().bytes).sum();
        if self.json {
            return say(&json!({ "event": "stopped", "session_id": session.id, "bytes": bytes }));
        }
        self.line(&format!("Stopped: {} sent. Waiting for the video.", size(bytes)));
    }

    fn outcome(&self, session: &Session, outcome: &Outcome) -> Result<()> {
        let player = outcome.player_url.as_deref().filter(|_| outcome.status == "exported");
        let Some(player) = player else {
            let why =
                outcome.error.as_ref().and_then(|e| e["message"].as_str()).unwrap_or("the server gives no reason");
            return Err(Error::unavailable(format!("session {} has no video: {why}", session.id)));
        };
        if self.json {
            say(&json!({ "event": "exported", "session_id": session.id, "video_id": outcome.exported_video_id,
                         "player_url": player, "stream_url": outcome.stream_url }));
        } else {
            write(player);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(wanted: &[&str]) -> Result<Vec<String>> {
        let listed = [
            ("mic:default", "audio"),
            ("system_audio:default", "audio"),
            ("display:1", "video"),
            ("display:2", "video"),
        ];
        let listed = listed.map(|(id, kind)| Listed {
            channel_id: id.to_owned(),
            kind,
            name: format!("The {id}"),
            is_default: true,
        });
        let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
        let chosen = chosen(&listed, &wanted)?;
        Ok(chosen
            .into_iter()
            .map(|c| format!("{} {}{}", c.channel_id, c.kind, if c.is_primary { " *" } else { "" }))
            .collect())
    }

    #[test]
    fn the_usual_channels_or_those_that_were_named() {
        assert_eq!(channels(&[]).unwrap(), ["display:1 video *", "mic:default audio", "system_audio:default audio"]);
        assert_eq!(
            channels(&["display:2", "display:1", "camera:/dev/video7"]).unwrap(),
            ["display:2 video *", "display:1 video", "camera:/dev/video7 video"]
        );
        for wrong in [&["mic:nobody"][..], &["display:9"], &["display:1", "display:1"]] {
            assert!(channels(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_desktop_without_a_display_is_told_so() {
        let mic = Listed { channel_id: "mic:default".to_owned(), kind: "audio", name: String::new(), is_default: true };
        assert!(chosen(&[mic], &[]).unwrap_err().message.contains("--list"));
    }
}
