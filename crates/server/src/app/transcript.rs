//! Transcripts: whether an rtstream's speech is written down, and the records of what was said.

use vitascope_model::capture::MediaKind;
use vitascope_model::event::Event;
use vitascope_model::id::ConnectionId;
use vitascope_model::rtstream::{RtStream, RtStreamState};
use vitascope_model::transcript::TranscriptRecord;
use vitascope_model::{Error, Result};
use vitascope_store::{outbox, rtstream, transcript};

use super::App;
use crate::live::transcribe;

/// From now on what is said is written down, and told to `connection`. Asking again only changes whom it is told to.
pub async fn start(app: &App, stream: &RtStream, connection: Option<ConnectionId>) -> Result<()> {
    if stream.kind != MediaKind::Audio {
        return Err(Error::invalid(format!("rtstream {} has no sound to transcribe", stream.id)));
    }
    if stream.state == RtStreamState::Stopped {
        return Err(Error::conflict(format!("rtstream {} has stopped", stream.id)));
    }
    // Before anything is promised: a missing model is said now, not in a log.
    transcribe::start(app, stream, connection.clone()).await?;
    let (id, now) = (stream.id.clone(), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                rtstream::start_transcription(tx, &id, connection.as_ref().map(ConnectionId::as_str), now).await
            })
        })
        .await
}

pub async fn stop(app: &App, stream: &RtStream) -> Result<()> {
    transcribe::stop(app, &stream.id).await?;
    let (id, now) = (stream.id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { rtstream::stop_transcription(tx, &id, now).await })).await
}

/// A final utterance, and the event of it: stored together, before any socket hears of it. Its place in the outbox.
pub async fn record_final(app: &App, record: TranscriptRecord, event: Event) -> Result<i64> {
    let seq = app
        .store
        .write(move |tx| {
            Box::pin(async move {
                transcript::insert(tx, &record).await?;
                outbox::insert(tx, &event).await
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    Ok(seq)
}
