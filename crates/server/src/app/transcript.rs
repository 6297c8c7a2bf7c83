//! Transcripts: whether an rtstream's speech is written down, and the records of what was said.

use vitascope_model::capture::MediaKind;
use vitascope_model::event::Event;
use vitascope_model::id::{ConnectionId, EventId};
use vitascope_model::rtstream::{RtStream, RtStreamState, Transcription};
use vitascope_model::transcript::TranscriptRecord;
use vitascope_model::{Error, Result};
use vitascope_store::{Tx, outbox, rtstream, transcript};

use super::{App, mint};
use crate::events::frames::transcription_status;
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
    let news = connection.clone().map(|to| transcription_status(stream, true, to, mint!(app, EventId), now));
    app.store
        .write(move |tx| {
            Box::pin(async move {
                rtstream::start_transcription(tx, &id, connection.as_ref().map(ConnectionId::as_str), now).await?;
                tell(tx, news).await
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    Ok(())
}

async fn tell(tx: &mut Tx, news: Option<Event>) -> Result<()> {
    match news {
        Some(event) => outbox::insert(tx, &event).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Ends it; what was being said becomes final first.
pub async fn stop(app: &App, stream: &RtStream) -> Result<()> {
    transcribe::stop(app, &stream.id).await?;
    note_stopped(app, stream).await
}

/// The same, without waiting for the words that are being worked out.
pub async fn stop_soon(app: &App, stream: &RtStream) -> Result<()> {
    note_stopped(app, stream).await?;
    let (app, id) = (app.clone(), stream.id.clone());
    app.clone().spawn(async move {
        if let Err(error) = transcribe::stop(&app, &id).await {
            tracing::error!(rtstream.id = %id, %error, "a live transcript could not be stopped");
        }
    });
    Ok(())
}

async fn note_stopped(app: &App, stream: &RtStream) -> Result<()> {
    let is_running = matches!(stream.transcription, Transcription::Running { .. });
    let listener = app.store.transcription_connection(&stream.id).await?.and_then(|c| c.parse().ok());
    let (id, now) = (stream.id.clone(), app.now());
    let news = listener.filter(|_| is_running);
    let news = news.map(|to| transcription_status(stream, false, to, mint!(app, EventId), now));
    app.store
        .write(move |tx| {
            Box::pin(async move {
                rtstream::stop_transcription(tx, &id, now).await?;
                tell(tx, news).await
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    app.live_indexes.ring(&stream.id);
    Ok(())
}

/// A final utterance, and the event of it: stored together, before any socket hears of it. Its place in the outbox.
pub async fn record_final(app: &App, record: TranscriptRecord, event: Event) -> Result<i64> {
    let rtstream = record.rtstream_id.clone();
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
    app.live_indexes.ring(&rtstream);
    Ok(seq)
}
