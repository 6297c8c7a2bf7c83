//! What time alone brings about: a session that nobody starts fails, and what is kept for a while only is forgotten.

use vitascope_model::capture::{Failure, SessionState};
use vitascope_model::{Result, Span};
use vitascope_store::{connection, delivery, outbox};

use super::App;
use super::capture::advance;

const DAY: Span = Span::seconds(86_400);
/// A session waits so long for its recorder.
const START_WITHIN: Span = DAY;
/// Sockets that come back are told what they missed for so long.
pub const EVENTS_KEPT: Span = DAY;
/// Deliveries can be looked at and repeated for so long.
const DELIVERIES_KEPT: Span = Span::seconds(30 * 86_400);
/// A connection may be named as one's own for so long; sessions that are bound to it hardly last longer.
const CONNECTIONS_KEPT: Span = Span::seconds(90 * 86_400);

pub async fn expire_sessions(app: &App) -> Result<()> {
    for id in app.store.list_sessions_created_before(app.now() - START_WITHIN).await? {
        let message = "no recorder started the session within 24 hours".to_owned();
        let failure = Failure { code: "expired".to_owned(), message };
        advance(app, &id, SessionState::Failed, Some(failure)).await?;
    }
    Ok(())
}

pub async fn forget_events(app: &App) -> Result<()> {
    let now = app.now();
    // Most of the time there is nothing, and that costs no commit.
    if !app.store.has_old_events(now - EVENTS_KEPT, now - DELIVERIES_KEPT).await? {
        return Ok(());
    }
    let told = app
        .store
        .write(move |tx| {
            Box::pin(async move {
                delivery::forget(tx, now - DELIVERIES_KEPT).await?;
                connection::forget(tx, now - CONNECTIONS_KEPT).await?;
                outbox::forget(tx, now - EVENTS_KEPT).await
            })
        })
        .await?;
    tracing::debug!(told, "old events were forgotten");
    Ok(())
}
