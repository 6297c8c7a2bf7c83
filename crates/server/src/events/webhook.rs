//! Outbox to webhooks: at least once, in order per session, tried again with back-off. No lock is held while a receiver thinks,
//! since it may well call back before it answers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vitascope_model::id::CaptureSessionId;
use vitascope_model::{Result, Span};
use vitascope_store::outbox::{self, Owed};

use super::frames;
use crate::app::App;

/// Waits between the tries of one delivery; after the last it is given up, with the error kept.
const WAITS: [Span; 4] = [Span::seconds(1), Span::seconds(5), Span::seconds(30), Span::seconds(300)];
/// However quiet it is, look again after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Runs until shutdown.
pub async fn run(app: App) {
    let busy = Arc::new(Mutex::new(HashSet::new()));
    loop {
        let wait = match deliver_due(&app, &busy).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "webhooks could not be delivered");
                IDLE
            }
        };
        tokio::select! {
            () = app.webhook_bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

/// Starts every delivery that is due, one a session; returns how long to wait for the next.
async fn deliver_due(app: &App, busy: &Arc<Mutex<HashSet<CaptureSessionId>>>) -> Result<Duration> {
    for owed in app.store.list_owed(app.now()).await? {
        let session = owed.event.session_id.clone();
        if !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone()) {
            continue;
        }
        let (app, busy) = (app.clone(), busy.clone());
        app.clone().spawn(async move {
            if let Err(error) = deliver(&app, &owed).await {
                tracing::error!(event.id = %owed.event.id, %error, "the outcome of a delivery could not be stored");
            }
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
            app.webhook_bell.notify_one();
        });
    }
    let due = app.store.next_delivery_due().await?;
    let wait = due.map(|at| (at - app.now()).to_duration()).filter(|wait| !wait.is_zero());
    // What is due now is being delivered, and rings the bell when it is done.
    Ok(wait.unwrap_or(IDLE).min(IDLE))
}

async fn deliver(app: &App, owed: &Owed) -> Result<()> {
    let Some(url) = &owed.event.callback_url else { return Ok(()) };
    let body = frames::session_event(app, &owed.event).await?;
    let sent = app.outbound.post_callback(url, &body).await;
    let (seq, now) = (owed.seq, app.now());
    let wait = WAITS.get(usize::try_from(owed.attempt).unwrap_or(usize::MAX)).copied();
    app.metrics.webhook(sent.is_ok());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                match (sent, wait) {
                    (Ok(()), _) => outbox::set_delivered(tx, seq, now, None).await,
                    (Err(error), Some(wait)) => outbox::set_failed_once(tx, seq, now, wait, &error.to_string()).await,
                    (Err(error), None) => outbox::set_delivered(tx, seq, now, Some(&error.to_string())).await,
                }
            })
        })
        .await
}
