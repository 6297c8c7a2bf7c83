//! Webhooks: with what they are signed, what came of an attempt, and deliveries that somebody wants to see again.

use vitascope_model::event::{Attempt, Delivery, WebhookSecret};
use vitascope_model::id::{CaptureSessionId, EventId, UserId};
use vitascope_model::{Error, Result, Span, WallTime};
use vitascope_store::{delivery, webhook_secret};

use super::App;
use crate::events::secret_of;
use crate::random;

/// Receivers have so long to learn of a new secret.
const OVERLAP: Span = Span::seconds(86_400);

/// With what this user's webhooks are signed; made when it is first asked for.
pub async fn secret(app: &App, user: &UserId) -> Result<WebhookSecret> {
    if let Some(found) = app.store.find_webhook_secret(user).await? {
        return Ok(found);
    }
    let (owner, fresh, now) = (user.clone(), fresh(), app.now());
    app.store.write(move |tx| Box::pin(async move { webhook_secret::insert(tx, &owner, &fresh, now).await })).await?;
    let found = app.store.find_webhook_secret(user).await?;
    found.ok_or_else(|| Error::internal("the webhook secret was not stored"))
}

/// Signs with a new secret from now on, and with the old one as well for a day.
pub async fn rotate_secret(app: &App, user: &UserId) -> Result<WebhookSecret> {
    secret(app, user).await?;
    let (owner, fresh, now) = (user.clone(), fresh(), app.now());
    app.store
        .write(move |tx| Box::pin(async move { webhook_secret::rotate(tx, &owner, &fresh, now, now + OVERLAP).await }))
        .await?;
    secret(app, user).await
}

fn fresh() -> String {
    secret_of(&random::bytes::<32>())
}

/// What came of an attempt, and when the next one is, if any.
pub async fn record_attempt(app: &App, seq: i64, attempt: Attempt, next: Option<WallTime>) -> Result<()> {
    let now = app.now();
    app.store.write(move |tx| Box::pin(async move { delivery::set_attempt(tx, seq, &attempt, now, next).await })).await
}

/// Delivers an event of a session once more, or now instead of later.
pub async fn redeliver(app: &App, session: &CaptureSessionId, event: &EventId) -> Result<Delivery> {
    let (of, wanted, now) = (session.clone(), event.clone(), app.now());
    let found =
        app.store.write(move |tx| Box::pin(async move { delivery::redeliver(tx, &of, &wanted, now).await })).await?;
    if !found {
        return Err(Error::not_found(format_args!("delivery of event {event}")));
    }
    let mut all = app.store.list_deliveries(session).await?;
    app.webhook_bell.notify_one();
    all.retain(|d| d.event_id == *event);
    all.pop().ok_or_else(|| Error::not_found(format_args!("delivery of event {event}")))
}
