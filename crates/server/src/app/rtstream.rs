//! Rtstreams as their owner handles them: stopped for a while, started again, renamed. What a channel of a capture session records
//! is decided here as long as the session lives; its end is the session's.

use vitascope_model::rtstream::{RtStream, RtStreamState};
use vitascope_model::{Error, Result};
use vitascope_store::{capture, rtstream, stream};

use super::App;

/// What of an rtstream a client may choose; `None` leaves it as it is.
#[derive(Debug, Default)]
pub struct Wishes {
    pub name: Option<String>,
    pub sample_rate: Option<i64>,
    pub keep: Option<bool>,
}

pub async fn update(app: &App, found: &RtStream, wishes: Wishes) -> Result<()> {
    let renamed = RtStream { name: wishes.name.clone().unwrap_or_else(|| found.name.clone()), ..found.clone() };
    let (live, now) = (super::stream::live_of(app, &renamed), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                rtstream::update(tx, &renamed.id, wishes.name.as_deref(), wishes.sample_rate, wishes.keep).await?;
                // The player's page bears the name.
                stream::insert(tx, &live, now).await
            })
        })
        .await
}

/// Ends what is recorded: the publisher is sent away and not let in again before `start`. When this returns, all is sealed.
/// Stopping again is no error.
pub async fn stop(app: &App, found: &RtStream) -> Result<()> {
    let id = found.id.clone();
    // Before the publisher is sent away: from here on none is let in.
    app.store
        .write(move |tx| Box::pin(async move { rtstream::set_state(tx, &id, RtStreamState::Stopped).await }))
        .await?;
    app.ingest.drain_rtstream(app, &found.id).await;
    let (id, now) = (found.id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { rtstream::stop_transcription(tx, &id, now).await })).await
}

/// Lets the rtstream be published again, as long as its session lives. Starting again is no error.
pub async fn start(app: &App, found: &RtStream) -> Result<()> {
    let (id, session) = (found.id.clone(), found.session_id.clone());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                if let Some(session) = session {
                    let is_live = capture::load(tx, &session).await?.is_some_and(|s| s.state.takes_media());
                    if !is_live {
                        let over = format!("rtstream {id} cannot start again: its capture session {session} is over");
                        return Err(Error::conflict(over));
                    }
                }
                rtstream::set_state(tx, &id, RtStreamState::Connected).await
            })
        })
        .await
}
