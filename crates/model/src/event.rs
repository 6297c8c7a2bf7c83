//! Events: what happened, as it is told to sockets and webhooks. An event is written in the transaction that made it true.
//! Its JSON is made once, by the server's `events::frames`; here and in the store it is text that nobody looks into.

use crate::error::Error;
use crate::id::{CaptureSessionId, CollectionId, ConnectionId, EventId, UserId};
use crate::time::WallTime;

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub owner: UserId,
    /// Where what it speaks of lies: only those who may see that are told. `None` for what belongs to the whole account.
    pub collection_id: Option<CollectionId>,
    /// The session it belongs to, if any.
    pub session_id: Option<CaptureSessionId>,
    /// Subject and what became of it, as in `capture_session.active`.
    pub name: String,
    pub at: WallTime,
    pub frame: Option<Frame>,
    pub webhook: Option<Webhook>,
}

/// What sockets are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// JSON text.
    pub text: String,
    pub to: Audience,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Audience {
    /// Those that were bound to what happened, and those that took their place.
    Connections(Vec<ConnectionId>),
    /// Every socket that was opened with an API key of the owner.
    Account,
}

/// What a webhook is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: String,
    /// JSON text.
    pub body: String,
}

/// How a delivery to a webhook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Owed, and tried again until it succeeds or the last attempt has failed.
    Pending,
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        use DeliveryState::{Delivered, Failed, Pending};
        [Pending, Delivered, Failed].into_iter().find(|s| s.as_str() == text)
    }
}

/// An event's way to its webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub event_id: EventId,
    pub owner: UserId,
    pub name: String,
    pub at: WallTime,
    pub webhook: Webhook,
    pub state: DeliveryState,
    pub attempts: i64,
    /// When it is tried next, while it is pending.
    pub next_attempt: Option<WallTime>,
    pub last_attempt: Option<WallTime>,
    /// What the receiver last answered, if it answered.
    pub response_code: Option<i64>,
    pub last_error: Option<String>,
}

/// What came of one attempt: the receiver's status, and what was wrong unless it succeeded.
#[derive(Debug)]
pub struct Attempt {
    pub response_code: Option<u16>,
    pub error: Option<Error>,
}

/// With what an owner's webhooks are signed.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret {
    pub secret: String,
    /// The one before the last change, and until when it is good.
    pub previous: Option<(String, WallTime)>,
}

impl WebhookSecret {
    /// The newest first.
    pub fn good_at(&self, now: WallTime) -> impl Iterator<Item = &str> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret.as_str());
        std::iter::once(self.secret.as_str()).chain(previous)
    }
}
