//! Sends objects to the remote store, where there is one. Nobody waits for it: what could not be sent lies in the data folder, plays from
//! there, and is tried again, less and less often, for as long as the store is away. Here is only when to send.

use std::time::Duration;

use crate::app::App;

/// However quiet it is, look again after so long.
const IDLE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Runs until shutdown.
pub async fn run(app: App) {
    if !app.objects.is_remote() {
        return;
    }
    let mut pause = None;
    loop {
        let sent = tokio::select! {
            sent = app.objects.send_waiting() => sent,
            // What is on its way is sent again by the next start.
            () = app.shutdown.cancelled() => return,
        };
        match sent {
            Ok(count) => {
                if pause.take().is_some() {
                    tracing::info!(count, "the object store takes objects again");
                }
            }
            Err(error) => {
                let longer = pause.map_or(FIRST_PAUSE, |last: Duration| (last * 2).min(LONGEST_PAUSE));
                let seconds = longer.as_secs();
                tracing::error!(%error, "objects could not be sent to the object store; tried again in {seconds} s");
                pause = Some(longer);
            }
        }
        tokio::select! {
            () = app.objects.made(), if pause.is_none() => {}
            () = tokio::time::sleep(pause.unwrap_or(IDLE)) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}
