//! Outbox to sockets: each event once, in order, as soon as its commit rings the bell. Where it stands is only in memory:
//! after a restart nobody is connected, and who comes back says what it heard last.

use std::time::Duration;

use vitascope_model::Result;

use crate::app::App;

/// Events taken at a time.
const BATCH: i64 = 64;
/// After the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// Before the doors open: what is in the outbox by now is read by those who come back, and told to nobody else.
pub async fn begin(app: &App) -> Result<()> {
    app.sockets.begin_after(app.store.newest_event().await?);
    Ok(())
}

/// Runs until shutdown.
pub async fn run(app: App) {
    loop {
        let failed =
            tell_all(&app).await.inspect_err(|error| tracing::error!(%error, "events could not be told")).is_err();
        tokio::select! {
            () = app.outbox_bell.notified() => {}
            () = tokio::time::sleep(RETRY), if failed => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

async fn tell_all(app: &App) -> Result<()> {
    loop {
        let told = app.store.list_events_after(app.sockets.told(), BATCH).await?;
        if told.is_empty() {
            return Ok(());
        }
        app.sockets.tell(told);
        app.webhook_bell.notify_one();
    }
}
