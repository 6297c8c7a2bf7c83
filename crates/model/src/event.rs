//! Events: what is told to sockets and webhooks. An event of the outbox is written in the transaction that made it true;
//! live transcript frames are told at once and kept as records instead.

use crate::capture::SessionState;
use crate::id::{CaptureSessionId, CollectionId, ConnectionId, EventId, UserId};
use crate::time::WallTime;

/// A change of a capture session's state, as the outbox keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionEvent {
    pub id: EventId,
    pub owner: UserId,
    /// Where the session lies; only a session that was deleted long ago lies nowhere.
    pub collection_id: Option<CollectionId>,
    pub session_id: CaptureSessionId,
    pub state: SessionState,
    pub at: WallTime,
    pub end_user_id: Option<String>,
    /// Where to tell it, if anywhere.
    pub ws_connection_id: Option<ConnectionId>,
    pub callback_url: Option<String>,
}
