//! Deliveries to webhooks: at least once, in order per session and receiver, tried again with back-off. No lock is held while a receiver thinks,
//! since it may well call back before it answers, and one that is down holds up nobody but itself.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vitascope_model::{Result, Span};
use vitascope_store::delivery::Due;

use super::signature;
use crate::app::App;
use crate::app::webhook::{record_attempt, secret};

/// Waits between the attempts of one delivery: Svix's schedule, 8 attempts over 27.6 hours. After the last it is given up, with the error kept.
const WAITS: [Span; 7] = [
    Span::seconds(5),
    Span::seconds(5 * 60),
    Span::seconds(30 * 60),
    Span::seconds(2 * 3600),
    Span::seconds(5 * 3600),
    Span::seconds(10 * 3600),
    Span::seconds(10 * 3600),
];
/// However quiet it is, look again after so long.
const IDLE: Duration = Duration::from_secs(60);

/// The lanes in which a delivery is under way.
type Busy = Arc<Mutex<HashSet<String>>>;

/// Runs until shutdown.
pub async fn run(app: App) {
    let busy = Busy::default();
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

/// Starts every delivery that is due, one a lane; returns how long to wait for the next.
async fn deliver_due(app: &App, busy: &Busy) -> Result<Duration> {
    for due in app.store.list_due_deliveries(app.now()).await? {
        let lane = due.lane.clone();
        if !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(lane.clone()) {
            continue;
        }
        let (app, busy) = (app.clone(), busy.clone());
        app.clone().spawn(async move {
            if let Err(error) = deliver(&app, &due).await {
                tracing::error!(event.id = %due.delivery.event_id, %error, "the outcome of a delivery could not be stored");
                // Not at once: what failed is the database.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane);
            app.webhook_bell.notify_one();
        });
    }
    let due = app.store.next_delivery_due().await?;
    let wait = due.map(|at| (at - app.now()).to_duration()).filter(|wait| !wait.is_zero());
    // What is due now is being delivered, and rings the bell when it is done.
    Ok(wait.unwrap_or(IDLE).min(IDLE))
}

async fn deliver(app: &App, due: &Due) -> Result<()> {
    let delivery = &due.delivery;
    let secret = secret(app, &delivery.owner).await?;
    let (url, body) = (&delivery.webhook.url, &delivery.webhook.body);
    let headers = signature::headers(&secret, &delivery.event_id, app.now(), body)?;
    let attempt = app.outbound.post_callback(url, &headers, body.clone()).await;
    app.metrics.webhook(attempt.error.is_none());
    let wait = usize::try_from(delivery.attempts).ok().and_then(|tried| WAITS.get(tried));
    let next = wait.filter(|_| attempt.error.is_some()).map(|wait| app.now() + *wait);
    if let Some(error) = &attempt.error {
        tracing::info!(event.id = %delivery.event_id, attempt = delivery.attempts + 1, given_up = next.is_none(), %error, "a webhook was not delivered");
    }
    record_attempt(app, due.seq, attempt, next).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_attempts_spread_over_more_than_a_day() {
        let all: i64 = WAITS.iter().map(|w| w.0).sum();
        assert_eq!((WAITS.len() + 1, (all as f64 / 3.6e9 * 10.0).round() / 10.0), (8, 27.6));
    }
}
