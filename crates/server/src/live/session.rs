//! The supervisor of a capture session: one task that hears of media coming and going, keeps the deadlines, and moves the session on.
//! It decides when; what a change of state means is `app::capture`'s, and what draining means is `live::ingest`'s.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use vitascope_model::capture::{CaptureSession, Failure, SessionState};
use vitascope_model::id::{CaptureSessionId, RtStreamId};
use vitascope_model::{Result, Span, WallTime};

use crate::app::App;
use crate::app::capture::advance;

/// A session whose recorder sends nothing for so long has failed.
const FIRST_MEDIA_WITHIN: Span = Span::seconds(30);
/// After the first channel has media, the others get so long before the session counts as active.
const OTHERS_WITHIN: Span = Span::seconds(1);
/// A recorder that vanished may come back within so long; then the session ends as if it had been stopped.
const RETURN_WITHIN: Span = Span::seconds(15);
/// A supervisor that could not do its work, say with a full disk, tries again after so long.
const TRY_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(2);
const MOST_FAILED_DRAINS: u32 = 5;

/// What a supervisor is told.
#[derive(Debug)]
enum Notice {
    MediaBegan(RtStreamId),
    MediaEnded(RtStreamId),
    Stop,
    /// The clock was turned: look at the deadline again.
    Look,
    /// There is no room to record, or the disk fails.
    Storage(Failure),
}

/// The supervisors at work.
#[derive(Default)]
pub struct Sessions {
    supervisors: Mutex<HashMap<CaptureSessionId, mpsc::UnboundedSender<Notice>>>,
    /// Rung when one of them has ended.
    ended: Notify,
}

impl Sessions {
    /// Looks after a session from now until it is settled.
    pub fn supervise(&self, app: &App, session: CaptureSession) {
        let (sender, notices) = mpsc::unbounded_channel();
        self.supervisors.lock().unwrap_or_else(PoisonError::into_inner).insert(session.id.clone(), sender);
        if session.state == SessionState::Starting {
            app.transcriber.warm(app);
        }
        let (app, id) = (app.clone(), session.id.clone());
        app.clone().spawn(async move {
            let mut supervisor = Supervisor::new(&app, &session, notices);
            while let Err(error) = supervisor.run().await {
                tracing::error!(session.id = %id, %error, "the supervisor of a capture session failed, and tries again");
                tokio::select! {
                    () = tokio::time::sleep(TRY_AGAIN_AFTER) => {}
                    () = app.shutdown.cancelled() => break,
                }
            }
            app.sessions.supervisors.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            app.sessions.ended.notify_waiters();
        });
    }

    /// The first sample of a channel is in its journal.
    pub fn media_began(&self, id: &CaptureSessionId, rtstream: &RtStreamId) {
        self.tell(id, Notice::MediaBegan(rtstream.clone()));
    }

    /// A publisher is gone. Orderly or not, it may come back: a recorder that means to stop says so by a call.
    pub fn media_ended(&self, id: &CaptureSessionId, rtstream: &RtStreamId, orderly: bool) {
        tracing::info!(session.id = %id, rtstream.id = %rtstream, orderly, "a publisher is gone");
        self.tell(id, Notice::MediaEnded(rtstream.clone()));
    }

    pub fn stop(&self, id: &CaptureSessionId) {
        self.tell(id, Notice::Stop);
    }

    /// Has every supervisor look at the clock now. Who turns a clock by hand must say so; real clocks need nobody.
    pub fn look(&self) {
        for supervisor in self.supervisors.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // One that is gone has nothing to look at.
            supervisor.send(Notice::Look).ok();
        }
    }

    /// Returns when nobody looks after the session any more: it records nothing, and all is sealed.
    pub async fn settled(&self, id: &CaptureSessionId) {
        loop {
            let ended = self.ended.notified();
            if !self.supervisors.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id) {
                return;
            }
            ended.await;
        }
    }

    /// What it records can be written no more: it ends as if it had been stopped, and says why.
    pub fn storage_failed(&self, id: &CaptureSessionId, why: Failure) {
        self.tell(id, Notice::Storage(why));
    }

    pub fn stop_all(&self, why: &Failure) {
        let supervisors = self.supervisors.lock().unwrap_or_else(PoisonError::into_inner);
        for supervisor in supervisors.values() {
            // One that has just ended has nothing left to stop.
            supervisor.send(Notice::Storage(why.clone())).ok();
        }
    }

    fn tell(&self, id: &CaptureSessionId, notice: Notice) {
        let supervisors = self.supervisors.lock().unwrap_or_else(PoisonError::into_inner);
        // A supervisor that is gone has nothing left to decide.
        if supervisors.get(id).is_none_or(|s| s.send(notice).is_err()) {
            tracing::debug!(session.id = %id, "a notice for a session that is over");
        }
    }
}

/// Takes up the sessions that an earlier process left unsettled: their recorders may come back, as after any lost connection.
pub async fn resume(app: &App) -> Result<()> {
    for session in app.store.list_unsettled_sessions().await? {
        tracing::info!(session.id = %session.id, state = session.state.as_str(), "capture session taken up again");
        app.sessions.supervise(app, session);
    }
    Ok(())
}

struct Supervisor<'a> {
    app: &'a App,
    id: CaptureSessionId,
    state: SessionState,
    channels: usize,
    notices: mpsc::UnboundedReceiver<Notice>,
    /// Channels that ever had media, and those that have it now.
    seen: HashSet<RtStreamId>,
    live: HashSet<RtStreamId>,
    /// When to act if nothing else happens.
    deadline: Option<WallTime>,
    /// How often its end could not be stored.
    failed_drains: u32,
}

impl<'a> Supervisor<'a> {
    fn new(app: &'a App, session: &CaptureSession, notices: mpsc::UnboundedReceiver<Notice>) -> Self {
        let patience = if session.state == SessionState::Starting { FIRST_MEDIA_WITHIN } else { RETURN_WITHIN };
        Supervisor {
            app,
            id: session.id.clone(),
            state: session.state,
            channels: session.channels.len(),
            notices,
            seen: HashSet::new(),
            live: HashSet::new(),
            deadline: Some(app.now() + patience),
            failed_drains: 0,
        }
    }

    /// Until the session is over. After an error it may be called again.
    async fn run(&mut self) -> Result<()> {
        self.look_up().await?;
        while self.state.takes_media() {
            let notice = tokio::select! {
                notice = self.notices.recv() => notice,
                () = until(self.app, self.deadline) => None,
                // A server that goes down leaves the session as it is: the next one takes it up.
                () = self.app.shutdown.cancelled() => return Ok(()),
            };
            match notice {
                Some(Notice::MediaBegan(rtstream)) => self.began(rtstream).await?,
                Some(Notice::MediaEnded(rtstream)) => self.ended(&rtstream),
                Some(Notice::Look) => {}
                Some(Notice::Stop) => self.go(SessionState::Stopping, None).await?,
                Some(Notice::Storage(why)) => self.go(SessionState::Stopping, Some(why)).await?,
                None => self.late().await?,
            }
        }
        if self.state == SessionState::Stopping {
            self.drain().await?;
            self.go(SessionState::Stopped, None).await?;
        }
        // A session found `stopped` after a restart has its export job in the queue already.
        self.app.job_bells.ring();
        Ok(())
    }

    /// What cannot be sealed is tried again for a while; if it stays so, the next start of the server finds it in the journals.
    async fn drain(&mut self) -> Result<()> {
        let drained = self.app.ingest.drain_session(self.app, &self.id).await;
        self.failed_drains += u32::from(drained.is_err());
        if self.failed_drains < MOST_FAILED_DRAINS { drained } else { Ok(()) }
    }

    async fn look_up(&mut self) -> Result<()> {
        let now = self.app.store.find_session(&self.id).await?;
        self.state = now.map_or(SessionState::Failed, |s| s.state);
        Ok(())
    }

    async fn began(&mut self, rtstream: RtStreamId) -> Result<()> {
        self.live.insert(rtstream.clone());
        self.seen.insert(rtstream);
        if self.state == SessionState::Active {
            self.deadline = None;
            return Ok(());
        }
        if self.seen.len() >= self.channels {
            return self.go(SessionState::Active, None).await;
        }
        if self.seen.len() == 1 {
            self.deadline = Some(self.app.now() + OTHERS_WITHIN);
        }
        Ok(())
    }

    fn ended(&mut self, rtstream: &RtStreamId) {
        self.live.remove(rtstream);
        // Before the session is active, the deadline for that stands.
        if self.live.is_empty() && self.state == SessionState::Active {
            self.deadline = Some(self.app.now() + RETURN_WITHIN);
        }
    }

    /// The deadline passed.
    async fn late(&mut self) -> Result<()> {
        match self.state {
            SessionState::Starting if self.seen.is_empty() => {
                self.fail("no_media", "no media came from the recorder in time").await
            }
            SessionState::Starting => self.go(SessionState::Active, None).await,
            _ => self.go(SessionState::Stopping, None).await,
        }
    }

    /// With a reason, if it is not as its owner wished.
    async fn go(&mut self, to: SessionState, why: Option<Failure>) -> Result<()> {
        advance(self.app, &self.id, to, why).await?;
        // Where it did not move, somebody else moved it: read where it is.
        self.look_up().await?;
        self.deadline = self.live.is_empty().then(|| self.app.now() + RETURN_WITHIN);
        Ok(())
    }

    async fn fail(&mut self, code: &str, message: &str) -> Result<()> {
        let failure = Failure { code: code.to_owned(), message: message.to_owned() };
        advance(self.app, &self.id, SessionState::Failed, Some(failure)).await?;
        self.state = SessionState::Failed;
        self.app.ingest.drain_session(self.app, &self.id).await
    }
}

async fn until(app: &App, deadline: Option<WallTime>) {
    let Some(at) = deadline else { return std::future::pending().await };
    loop {
        let left = (at - app.now()).to_duration();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}
