//! The one writer of tracks: samples into the journal, flushed four times a second, synced each second on another thread, and finished
//! chunks sealed in order in the background. It waits neither for the database nor for the disk's cache.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vitascope_media::codec::{Codec, Sample};
use vitascope_media::journal::{ClosedChunk, Journal};
use vitascope_model::error::Context;
use vitascope_model::id::TrackId;
use vitascope_model::{Result, WallTime};

use crate::app::App;
use crate::app::recording::{journal_dir, seal_chunk};

/// Ticks from one sync to the next; a tick is a quarter of a second.
const TICKS_PER_SYNC: u32 = 4;

pub struct Recording {
    journal: Journal,
    sealing: mpsc::UnboundedSender<ClosedChunk>,
    sealer: JoinHandle<()>,
    syncing: Option<JoinHandle<()>>,
    ticks: u32,
}

impl Recording {
    /// Writes to the open end of `track` until it is finished.
    pub fn open(app: &App, track: &TrackId, codec: Codec) -> Result<Recording> {
        let journal = Journal::create(&journal_dir(app, track), codec)?;
        let (sealing, chunks) = mpsc::unbounded_channel();
        let sealer = app.tracker.spawn(seal_all(app.clone(), track.clone(), chunks));
        Ok(Recording { journal, sealing, sealer, syncing: None, ticks: 0 })
    }

    /// Takes a sample; tells whether a chunk began with it.
    pub fn sample(&mut self, sample: &Sample) -> Result<bool> {
        let closed = self.journal.append(sample)?;
        let began = closed.is_some();
        self.seal(closed);
        Ok(began)
    }

    /// Brings what has come to the journal files at once.
    pub fn flush(&mut self) -> Result<()> {
        self.journal.flush()
    }

    /// Called four times a second.
    pub fn tick(&mut self) -> Result<()> {
        self.journal.flush()?;
        self.ticks += 1;
        let is_idle = self.syncing.as_ref().is_none_or(JoinHandle::is_finished);
        if self.ticks < TICKS_PER_SYNC || !is_idle {
            return Ok(());
        }
        self.ticks = 0;
        self.syncing = self.journal.dirty().map(|handles| {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = handles.sync() {
                    tracing::error!(%error, "a recording could not be synced");
                }
            })
        });
        Ok(())
    }

    /// Ends the recording; returns when everything is sealed. `end` is when the last sample ends, if that is known.
    pub async fn finish(mut self, end: Option<WallTime>) -> Result<()> {
        let closed = self.journal.finish(end)?;
        self.seal(closed);
        drop(self.sealing);
        self.sealer.await.internal("seal a recording")
    }

    fn seal(&self, closed: Option<ClosedChunk>) {
        if let Some(chunk) = closed {
            // The sealer ends only after this sender is gone.
            self.sealing.send(chunk).expect("the sealer listens");
        }
    }
}

/// A chunk that cannot be sealed stays in its journal files, where it can be played and where the next start finds it.
async fn seal_all(app: App, track: TrackId, mut chunks: mpsc::UnboundedReceiver<ClosedChunk>) {
    while let Some(chunk) = chunks.recv().await {
        if let Err(error) = seal_chunk(&app, &track, chunk).await {
            tracing::error!(track.id = %track, %error, "a chunk could not be sealed");
        }
    }
}
