//! Stop before full: looks at the disk each second, and where less than `min_free` is left brings what records to its end in order.
//! What was recorded is sealed and exported as after any stop; the event of the stop says why.

use std::time::Duration;

use vitascope_model::capture::Failure;

use crate::app::App;

const EACH: Duration = Duration::from_secs(1);

/// Runs until shutdown.
pub async fn run(app: App) {
    let mut was_full = app.space.is_full();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EACH) => {}
            () = app.shutdown.cancelled() => return,
        }
        let looked = app.space.look(&app.config.data_dir);
        let full = looked.unwrap_or_else(|error| {
            tracing::error!(%error, "the disk could not be looked at");
            was_full
        });
        if full != was_full {
            let free_mb = app.space.free() >> 20;
            tracing::warn!(
                full,
                free_mb,
                "recording {}",
                if full { "stops: the disk is nearly full" } else { "may begin again" }
            );
        }
        if full {
            stop_all(&app);
        }
        was_full = full;
    }
}

/// Again each second: what began in the same moment is stopped the next time.
fn stop_all(app: &App) {
    app.sessions.stop_all(&Failure::disk_full());
    app.ingest.cancel_without_session();
}
