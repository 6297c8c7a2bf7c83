//! The sweeper: finishes deletions that a crash broke off, and removes objects that no row needs when their grace is over.
//! What may go is decided in `app::deletion` and the store; here is only when to look.

use std::time::Duration;

use vitascope_model::Result;

use crate::app::App;
use crate::app::deletion::{GRACE, finish_marked, remove_objects};

/// However quiet it is, look again after so long.
const IDLE: Duration = Duration::from_secs(600);
/// After a failure (a disk that is full, a database that is busy).
const AFTER_TROUBLE: Duration = Duration::from_secs(60);

/// Runs until shutdown.
pub async fn run(app: App) {
    while !app.shutdown.is_cancelled() {
        let wait = match sweep(&app).await {
            Ok(()) => until_next(&app).await,
            Err(error) => {
                tracing::error!(%error, "the sweeper failed");
                AFTER_TROUBLE
            }
        };
        tokio::select! {
            () = app.sweep_bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}

async fn sweep(app: &App) -> Result<()> {
    finish_marked(app).await?;
    let freed = remove_objects(app, app.now() - GRACE).await?;
    if freed > 0 {
        tracing::info!(bytes = freed, "swept");
    }
    Ok(())
}

async fn until_next(app: &App) -> Duration {
    let oldest = app.store.oldest_dropped_object().await.ok().flatten();
    // A job that holds an object back may take a while: not at once again.
    oldest.map_or(IDLE, |at| (at + GRACE - app.now()).to_duration()).clamp(Duration::from_secs(5), IDLE)
}
