//! What is looked at each minute without being asked: sessions that nobody starts, and what is kept for a time only, or up to a size.

use std::time::Duration;

use crate::app::{App, retention, takeout, upkeep, upload};

const EACH: Duration = Duration::from_secs(60);

/// Runs until shutdown.
pub async fn run(app: App) {
    let mut was_within = true;
    loop {
        if let Err(error) = upkeep::expire_sessions(&app).await {
            tracing::error!(%error, "sessions that nobody starts could not be ended");
        }
        if let Err(error) = upkeep::forget_events(&app).await {
            tracing::error!(%error, "old events could not be forgotten");
        }
        if let Err(error) = upload::sweep_slots(&app).await {
            tracing::error!(%error, "expired upload URLs could not be swept");
        }
        if let Err(error) = takeout::expire(&app).await {
            tracing::error!(%error, "files whose week is over could not be let go of");
        }
        match retention::enforce(&app).await {
            Ok(is_within) => {
                if was_within && !is_within {
                    tracing::warn!(
                        "more is stored than the limits of retention: what is left is kept for ever, or still grows"
                    );
                }
                was_within = is_within;
            }
            Err(error) => tracing::error!(%error, "retention failed"),
        }
        tokio::select! {
            () = app.upkeep_bell.notified() => {}
            () = tokio::time::sleep(EACH) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}
