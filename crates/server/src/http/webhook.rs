//! Webhooks over HTTP: how the deliveries of a session stand, one more try, and the secret that they are signed with. These calls are ours alone.

use axum::extract::{Path, State};
use serde_json::{Value, json};
use vitascope_model::WallTime;
use vitascope_model::event::{Delivery, WebhookSecret};
use vitascope_model::id::{CaptureSessionId, EventId};

use super::extract::{Owner, WholeOwner};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::webhook::{redeliver, rotate_secret, secret};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/collection/{collection}/capture/session/{session}/deliveries", list_deliveries)
        .post("/collection/{collection}/capture/session/{session}/deliveries/{event}/redeliver", redeliver_event)
        .get("/webhook/secret", show_secret)
        .post("/webhook/secret/rotate", rotate)
}

async fn list_deliveries(State(app): State<App>, Owner(scope): Owner, Path((_, id)): Path<(String, String)>) -> Answer {
    let session = app.store.get_session(&scope, &id.parse()?).await?;
    let deliveries: Vec<Value> = app.store.list_deliveries(&session.id).await?.iter().map(view).collect();
    Ok(Reply::ok(json!({ "deliveries": deliveries })))
}

async fn redeliver_event(
    State(app): State<App>,
    Owner(scope): Owner,
    Path((_, session, event)): Path<(String, String, String)>,
) -> Answer {
    let session: CaptureSessionId = session.parse()?;
    app.store.get_session(&scope, &session).await?;
    let event: EventId = event.parse()?;
    Ok(Reply::ok(view(&redeliver(&app, &session, &event).await?)))
}

fn view(d: &Delivery) -> Value {
    let time = |at: Option<WallTime>| at.map(|at| at.to_string());
    json!({
        "event_id": d.event_id.as_str(),
        "event": d.name,
        "timestamp": d.at.to_string(),
        "url": d.webhook.url,
        "status": d.state.as_str(),
        "attempts": d.attempts,
        "last_attempt_at": time(d.last_attempt),
        "next_attempt_at": time(d.next_attempt),
        "response_code": d.response_code,
        "last_error": d.last_error,
    })
}

async fn show_secret(State(app): State<App>, WholeOwner(user): WholeOwner) -> Answer {
    Ok(Reply::ok(secret_view(&secret(&app, &user).await?)))
}

async fn rotate(State(app): State<App>, WholeOwner(user): WholeOwner) -> Answer {
    Ok(Reply::ok(secret_view(&rotate_secret(&app, &user).await?)))
}

fn secret_view(s: &WebhookSecret) -> Value {
    json!({ "secret": s.secret, "previous_secret_valid_until": s.previous.as_ref().map(|(_, until)| until.to_string()) })
}
