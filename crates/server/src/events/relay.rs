//! Outbox to sockets: each event once, in order, as soon as its commit rings the bell.

use vitascope_model::Result;
use vitascope_store::outbox;

use super::frames;
use super::sockets::Place;
use crate::app::App;

/// Events taken at a time.
const BATCH: i64 = 64;

/// Runs until shutdown.
pub async fn run(app: App) {
    loop {
        if let Err(error) = tell_all(&app).await {
            tracing::error!(%error, "events could not be told to sockets");
        }
        tokio::select! {
            () = app.outbox_bell.notified() => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

async fn tell_all(app: &App) -> Result<()> {
    loop {
        let events = app.store.list_untold(BATCH).await?;
        let Some(last) = events.last().map(|e| e.seq) else { return Ok(()) };
        for owed in &events {
            if let Some(connection) = &owed.event.ws_connection_id {
                let body = frames::session_event(app, &owed.event).await?;
                let at = Place { owner: &owed.event.owner, collection: owed.event.collection_id.as_ref() };
                app.sockets.send(at, connection, frames::session_frame(&body));
            }
        }
        let now = app.now();
        app.store.write(move |tx| Box::pin(async move { outbox::set_told(tx, last, now).await })).await?;
        app.webhook_bell.notify_one();
    }
}
