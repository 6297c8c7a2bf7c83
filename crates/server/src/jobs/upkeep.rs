//! What is looked at each minute without being asked: sessions that nobody starts, and what is kept for a time only.

use std::time::Duration;

use crate::app::{App, upkeep};

const EACH: Duration = Duration::from_secs(60);

/// Runs until shutdown.
pub async fn run(app: App) {
    loop {
        if let Err(error) = upkeep::expire_sessions(&app).await {
            tracing::error!(%error, "sessions that nobody starts could not be ended");
        }
        if let Err(error) = upkeep::forget_events(&app).await {
            tracing::error!(%error, "old events could not be forgotten");
        }
        tokio::select! {
            () = app.upkeep_bell.notified() => {}
            () = tokio::time::sleep(EACH) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}
