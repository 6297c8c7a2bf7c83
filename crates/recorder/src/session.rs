//! One recording: from the announcement to the server, over the start of sources, encoders and publications, to the stop.
//! A session runs as a task of its own; who holds a `Session` can pause kinds of it and stop it. Commands are in `commands`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use vitascope_model::capture::{Category, MediaKind, SessionState};
use vitascope_model::{Clock, Error, Result, Span, WallTime};

use crate::api::{Announced, Api, Start};
use crate::clock::{Pulse, STALLED, SystemClock};
use crate::config::Config;
use crate::health::Health;
use crate::protocol::Event;
use crate::track::{Ready, Track};

const URLS_WITHIN: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(200);
const LIVE_WITHIN: Duration = Duration::from_secs(15);
/// For encoders and publications to send what they hold.
const FLUSH_WITHIN: Duration = Duration::from_millis(2_500);
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// If the server ends a session so soon after a standstill of ours, that is why.
const BLAMED_FOR: Span = Span::seconds(60);

/// What shall be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub channels: Vec<Announced>,
    pub primary_video_channel_id: Option<String>,
}

/// What every session needs of the process.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub config: Arc<Config>,
    pub events: mpsc::UnboundedSender<Event>,
}

/// A recording that runs.
#[derive(Debug)]
pub(crate) struct Session {
    pub id: String,
    /// In the order of the request.
    pub channels: Vec<Arc<Health>>,
    switches: Vec<(Category, Arc<AtomicBool>)>,
    stop: mpsc::Sender<oneshot::Sender<Result<()>>>,
}

impl Session {
    /// Answers when media flows on every channel.
    pub(crate) async fn start(around: Surroundings, api: Api, request: Request) -> Result<Session> {
        // The time of day is asked for anew by each session: a process may live for weeks.
        let clock = Arc::new(SystemClock::start());
        let channels = channels(&around, &api, &request);
        // Devices and encoders take their time to start, and so does the server.
        let (ready, urls) = tokio::join!(open_all(&around, &clock, &channels), places(&api, &request));
        let (ready, urls) = match (ready, urls) {
            (Ok(ready), Ok(urls)) => (ready, urls),
            (Err(error), Ok(_)) => return Err(given_up(&api, error).await),
            (_, Err(error)) => return Err(error),
        };
        let mut switches = Vec::new();
        let mut tracks = JoinSet::new();
        let mut live = Vec::new();
        let (stop_tracks, _) = tokio::sync::broadcast::channel(1);
        for (ready, url) in ready.into_iter().zip(urls) {
            switches.push((ready.category(), ready.paused.clone()));
            let track = match Track::publish(ready, &url, clock.clone()) {
                Ok(track) => track,
                Err(error) => return Err(given_up(&api, error).await),
            };
            live.push(track.live());
            tracks.spawn(track.run(stop_tracks.subscribe()));
        }
        let (stop, stopping) = mpsc::channel(1);
        let session = Session { id: api.session_id.clone(), channels, switches, stop };
        let running = Running { id: session.id.clone(), api, around, clock, tracks, stop_tracks, stood_still: None };
        running.begin(live, stopping).await?;
        Ok(session)
    }

    /// Pauses or resumes a kind of channel; false if there is none of that kind.
    pub(crate) fn pause(&self, category: Category, paused: bool) -> bool {
        let mut found = false;
        for (_, switch) in self.switches.iter().filter(|(c, _)| *c == category) {
            switch.store(paused, Ordering::Relaxed);
            found = true;
        }
        found
    }

    /// Stops and tells the server; a session that has stopped by itself meanwhile is stopped.
    pub(crate) async fn stop(&self) -> Result<()> {
        let (tell, done) = oneshot::channel();
        if self.stop.send(tell).await.is_err() {
            return Ok(());
        }
        done.await.unwrap_or(Ok(()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_closed()
    }
}

/// The server has been told of a session that now does not come about.
async fn given_up(api: &Api, error: Error) -> Error {
    if let Err(stop) = api.stop().await {
        tracing::warn!("stop after a failed start: {stop}");
    }
    error
}

fn channels(around: &Surroundings, api: &Api, request: &Request) -> Vec<Arc<Health>> {
    let health = |channel: &Announced| {
        let kind = if channel.kind == "video" { MediaKind::Video } else { MediaKind::Audio };
        Arc::new(Health::new(&api.session_id, &channel.channel_id, kind, around.events.clone()))
    };
    request.channels.iter().map(health).collect()
}

async fn open_all(around: &Surroundings, clock: &Arc<SystemClock>, channels: &[Arc<Health>]) -> Result<Vec<Ready>> {
    let opening = channels.iter().map(|c| tokio::spawn(Ready::open(around.config.clone(), clock.clone(), c.clone())));
    let opening: Vec<_> = opening.collect();
    let mut ready = Vec::new();
    for task in opening {
        ready.push(task.await.unwrap_or_else(|_| Err(Error::internal("a source could not be opened")))?);
    }
    Ok(ready)
}

/// Announces the session and waits until each channel has an address to publish to, in the order of the request.
async fn places(api: &Api, request: &Request) -> Result<Vec<String>> {
    let primary = request.primary_video_channel_id.as_deref();
    let body = Start { session_id: &api.session_id, channels: &request.channels, primary_video_channel_id: primary };
    api.start(&body).await?;
    let since = Instant::now();
    loop {
        let seen = api.look().await?;
        let url = |id: &str| seen.channels.iter().find(|c| c.channel_id == id).and_then(|c| c.rtsp_url.clone());
        let urls: Option<Vec<String>> = request.channels.iter().map(|c| url(&c.channel_id)).collect();
        if let Some(urls) = urls {
            return Ok(urls);
        }
        if is_over(&seen.status) {
            return Err(Error::conflict(format!("the session is {} already", seen.status)));
        }
        if since.elapsed() > URLS_WITHIN {
            return Err(Error::unavailable("the server gives no addresses to publish to"));
        }
        sleep(ASK_EVERY).await;
    }
}

fn is_over(status: &str) -> bool {
    SessionState::parse(status).is_some_and(|s| s != SessionState::Created && !s.takes_media())
}

/// The task's side of a session.
struct Running {
    id: String,
    api: Api,
    around: Surroundings,
    clock: Arc<SystemClock>,
    tracks: JoinSet<(String, Result<()>)>,
    /// Dropping it stops all tracks.
    stop_tracks: tokio::sync::broadcast::Sender<()>,
    /// The last time that this program was suspended: until when, and for how long.
    stood_still: Option<(WallTime, Span)>,
}

type Stopping = mpsc::Receiver<oneshot::Sender<Result<()>>>;

impl Running {
    async fn begin(mut self, live: Vec<impl Future<Output = bool>>, stopping: Stopping) -> Result<()> {
        let all_live = async {
            for live in live {
                if !live.await {
                    // Its task ends with the reason, which is waited for beside this.
                    std::future::pending::<()>().await;
                }
            }
        };
        let failed = tokio::select! {
            ended = self.tracks.join_next() => Some(ended.and_then(Result::ok).and_then(|(_, end)| end.err())),
            began = timeout(LIVE_WITHIN, all_live) => began.is_err().then_some(None),
        };
        if let Some(error) = failed {
            self.tracks.shutdown().await;
            let error = error.unwrap_or_else(|| Error::unavailable("publishing did not begin"));
            return Err(given_up(&self.api, error).await);
        }
        self.tell(Event::Started { session_id: self.id.clone() });
        tokio::spawn(self.run(stopping));
        Ok(())
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more when the process ends.
        self.around.events.send(event).ok();
    }

    async fn run(mut self, mut stopping: Stopping) {
        let mut pulse = Pulse::start(self.clock.now());
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    let now = self.clock.now();
                    let length = pulse.beat(now);
                    if length > STALLED {
                        self.stood_still = Some((now, length));
                    }
                }
                // A session that nobody holds any more is stopped as well.
                asked = stopping.recv() => {
                    let stopped = self.finish().await;
                    self.tell(Event::Stopped { session_id: self.id.clone() });
                    if let Some(asked) = asked {
                        asked.send(stopped).ok();
                    }
                    return;
                }
                ended = self.tracks.join_next() => {
                    let stays = match ended {
                        Some(ended) => self.lost_track(ended.ok()).await && !self.tracks.is_empty(),
                        None => false,
                    };
                    if !stays {
                        stopping.close();
                        // The server knows already where it was the one that ended it.
                        if let Err(error) = self.finish().await {
                            tracing::info!("stop: {error}");
                        }
                        self.tell(Event::Stopped { session_id: self.id.clone() });
                        return;
                    }
                }
            }
        }
    }

    /// A channel has ended by itself: says so, unless the server has ended the whole session. False if that is over.
    async fn lost_track(&mut self, ended: Option<(String, Result<()>)>) -> bool {
        let (channel, end) =
            ended.unwrap_or_else(|| (String::new(), Err(Error::internal("a channel's task panicked"))));
        let seen = self.api.look().await;
        if seen.is_ok_and(|seen| is_over(&seen.status)) {
            self.explain_end();
            return false;
        }
        let error = end.err().unwrap_or_else(|| Error::unavailable("the source ended"));
        tracing::error!(channel, "{error}");
        self.tell(Event::trouble(&self.id, Some(&channel), &error));
        true
    }

    /// The server has ended the session. Somebody may have asked it to; but if it heard nothing from us, that is told as what it is.
    fn explain_end(&self) {
        let Some((until, length)) = self.stood_still else { return };
        if self.clock.now() - until > BLAMED_FOR {
            return;
        }
        let seconds = length.to_seconds();
        let error = format!("the server has ended the session: this program was suspended for {seconds:.0} s");
        tracing::error!("{error}");
        self.tell(Event::trouble(&self.id, None, &Error::unavailable(error)));
    }

    /// Ends sources, lets what they gave flow out, and tells the server.
    async fn finish(&mut self) -> Result<()> {
        let (nothing, _) = tokio::sync::broadcast::channel(1);
        drop(std::mem::replace(&mut self.stop_tracks, nothing));
        let all_ended = async {
            while let Some(ended) = self.tracks.join_next().await {
                if let Ok((channel, Err(error))) = ended {
                    tracing::error!(channel, "{error}");
                    self.around.events.send(Event::trouble(&self.id, Some(&channel), &error)).ok();
                }
            }
        };
        if timeout(FLUSH_WITHIN, all_ended).await.is_err() {
            tracing::error!("some channels did not end in time");
            self.tracks.abort_all();
        }
        self.api.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_that_takes_no_more_media_is_over() {
        let over: Vec<_> = SessionState::ALL.into_iter().map(SessionState::as_str).filter(|s| is_over(s)).collect();
        assert_eq!(over, ["stopping", "stopped", "exported", "failed"]);
        assert!(!is_over("something new"));
    }
}
