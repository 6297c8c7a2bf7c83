//! Media from a page that records: one WebSocket a channel. First a message says which, with the client token; no URL holds it. Then for
//! each stretch of recording `begin`, binary chunks (eight bytes of the page's time in µs, then what its recorder wrote) and `end`; `bye` last.
//! What goes wrong is told by a close code, 4000 and the HTTP status that it would have been, and one sentence.

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::{Buf, Bytes};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use vitascope_media::encoder::{BrowserPlan, Container, Wanted};
use vitascope_model::capture::MediaKind;
use vitascope_model::id::CaptureSessionId;
use vitascope_model::{Error, ErrorKind, Result, WallTime};

use super::error::status;
use super::router::Routes;
use crate::app::App;
use crate::app::account::identify;
use crate::live::browser::Browser;

/// The largest message: seconds of the largest picture.
const MOST: usize = 16 << 20;
/// Who does not say who he is within so long is gone.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
const SEND_WITHIN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(250);
/// A browser answers pings by itself, also while its page is paused; one that answers none is gone.
const PING_EACH: Duration = Duration::from_secs(4);
const SILENCE: Duration = Duration::from_secs(12);
/// The session was ended, by its application or by its time: nothing went wrong, and nothing more is wanted.
const SESSION_OVER: u16 = 4410;
/// A close frame has room for 123 bytes of reason.
const LONGEST_REASON: usize = 120;
/// Microseconds since the epoch that a page's clock may show: up to the year 2255.
const LATEST: i64 = 9_000_000_000_000_000;

pub(super) fn routes() -> Routes {
    Routes::new().open("/capture/media", connect)
}

async fn connect(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    let tracker = app.tracker.clone();
    // Shutdown waits for it: what came is sealed.
    let talk = move |socket| tracker.track_future(converse(app, socket));
    upgrade.max_message_size(MOST).max_frame_size(MOST).on_upgrade(talk)
}

/// What a page says in text.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Hello {
        token: String,
        session: String,
        channel: String,
    },
    /// A recorder starts, at `at` by the page's clock.
    Begin {
        container: String,
        at: i64,
        width: Option<u32>,
        height: Option<u32>,
    },
    /// It has stopped.
    End,
    /// And there will be no other.
    Bye,
}

/// How a conversation ends.
struct Goodbye(u16, String);

impl From<Error> for Goodbye {
    fn from(error: Error) -> Goodbye {
        let code = 4000 + status(error.kind).as_u16();
        match error.kind {
            ErrorKind::Internal => {
                tracing::error!(%error, "a recording in a browser failed");
                Goodbye(code, "something went wrong inside the server; its log says what".to_owned())
            }
            _ => {
                tracing::info!(%error, "a recording in a browser was refused");
                Goodbye(code, error.message)
            }
        }
    }
}

async fn converse(app: App, mut socket: WebSocket) {
    let Goodbye(code, mut reason) = match admit(&app, &mut socket).await {
        Ok(mut browser) => {
            let ended = record(&app, &mut socket, &mut browser).await;
            let goodbye = ended.unwrap_or_else(Goodbye::from);
            // However it ended, what came is kept.
            browser.end(goodbye.0 == close_code::NORMAL).await;
            goodbye
        }
        Err(error) => Goodbye::from(error),
    };
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    send(&mut socket, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.ok();
    // Until the other side has closed, too: else its last words could swallow ours.
    timeout(SEND_WITHIN, async { while let Some(Ok(_)) = socket.recv().await {} }).await.ok();
}

async fn admit(app: &App, socket: &mut WebSocket) -> Result<Browser> {
    let first = timeout(HELLO_WITHIN, socket.recv()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else { return Err(Error::unauthenticated("no token came")) };
    let Said::Hello { token, session, channel } = said(&text)? else {
        return Err(Error::unauthenticated("the token comes first"));
    };
    let caller = identify(app, &token).await?;
    let id: CaptureSessionId = session.parse()?;
    let found = app.store.get_session(&caller.scope, &id).await?;
    if let Some(hash) = caller.token()
        && !app.store.session_started_by(&id, hash).await?
    {
        return Err(Error::denied("a client token may record only in a session that it started"));
    }
    let channel = found.channels.iter().find(|c| c.channel_id == channel);
    let channel = channel.ok_or_else(|| Error::not_found("the channel"))?;
    let browser = Browser::open(app, &channel.publish_path).await?;
    say(socket, json!({ "type": "ready" })).await?;
    Ok(browser)
}

async fn record(app: &App, socket: &mut WebSocket, browser: &mut Browser) -> Result<Goodbye> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let cancelled = browser.cancelled();
    let (mut heard, mut pinged) = (Instant::now(), Instant::now());
    let (mut received, mut told) = (0_u64, 0);
    loop {
        let is_full = browser.is_full();
        tokio::select! {
            message = socket.recv(), if !is_full => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Binary(mut data))) => {
                        let at = page_time(data.try_get_i64().unwrap_or(-1))?;
                        received += data.len() as u64;
                        browser.chunk(at, data)?;
                    }
                    Some(Ok(Message::Text(text))) => {
                        if order(browser, socket, said(&text)?).await? {
                            return Ok(Goodbye(close_code::NORMAL, String::new()));
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(Goodbye(close_code::AWAY, String::new())),
                }
            }
            step = browser.next() => browser.handle(step).await?,
            _ = ticks.tick() => {
                browser.tick()?;
                if received > told {
                    told = received;
                    say(socket, json!({ "type": "received", "bytes": received })).await?;
                }
                if pinged.elapsed() > PING_EACH {
                    pinged = Instant::now();
                    send(socket, Message::Ping(Bytes::new())).await?;
                }
                // A full encoder is no silence of the page's.
                if heard.elapsed() > SILENCE && !is_full {
                    return Ok(Goodbye(close_code::AWAY, "the page fell silent".to_owned()));
                }
            }
            () = cancelled.cancelled() => return Ok(Goodbye(SESSION_OVER, "the capture session has ended".to_owned())),
            () = app.shutdown.cancelled() => return Ok(Goodbye(close_code::AWAY, "the server is going down".to_owned())),
        }
    }
}

/// Does what the page says; tells whether that was all.
async fn order(browser: &mut Browser, socket: &mut WebSocket, said: Said) -> Result<bool> {
    match said {
        Said::Hello { .. } => Err(Error::invalid("hello was said before")),
        Said::Begin { container, at, width, height } => {
            let container = match container.as_str() {
                "webm" => Container::Webm,
                "mp4" => Container::Mp4,
                _ => return Err(Error::invalid("container must be webm or mp4")),
            };
            let wanted = match browser.kind() {
                MediaKind::Audio => Wanted::Sound,
                MediaKind::Video => Wanted::Picture { width: width.unwrap_or(0), height: height.unwrap_or(0) },
            };
            browser.begin(&BrowserPlan { container, wanted }, page_time(at)?).await?;
            Ok(false)
        }
        Said::End => {
            browser.end_take().await;
            say(socket, json!({ "type": "ended" })).await?;
            Ok(false)
        }
        Said::Bye => Ok(true),
    }
}

fn said(text: &str) -> Result<Said> {
    serde_json::from_str(text).map_err(|e| Error::invalid(format!("a message that cannot be read: {e}")))
}

fn page_time(micros: i64) -> Result<WallTime> {
    let known = (0..LATEST).contains(&micros).then_some(WallTime(micros));
    known.ok_or_else(|| Error::invalid("a time of the page that makes no sense"))
}

async fn say(socket: &mut WebSocket, words: serde_json::Value) -> Result<()> {
    send(socket, Message::text(words.to_string())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<()> {
    let sent = timeout(SEND_WITHIN, socket.send(message)).await;
    if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Error::unavailable("the page is gone")) }
}
