//! The WebSocket connections: tickets that open one, and queues that feed one. A connection belongs to an account, and a call that
//! names its id binds a session or stream to it. A slow client loses its connection, never anybody else's time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use vitascope_model::id::{ConnectionId, UserId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::{Span, WallTime};

use super::frames;
use crate::app::{App, mint};
use crate::live::transcribe::TranscriptFrame;
use crate::random;

/// How long the URL of a socket may be used, and how often: a client that reconnects in a hurry need not ask again.
const TICKET_LIFE: Span = Span::seconds(300);
const TICKET_USES: u32 = 8;
/// Frames that may wait for a client: at ten a second, over a minute and a half of them.
const QUEUE: usize = 1024;

struct Ticket {
    user: UserId,
    expires: WallTime,
    uses: u32,
}

struct Peer {
    user: UserId,
    queue: mpsc::Sender<String>,
}

#[derive(Default)]
pub struct Sockets {
    tickets: Mutex<HashMap<String, Ticket>>,
    peers: Mutex<HashMap<ConnectionId, Peer>>,
}

/// The server's end of one connection: what is to be sent to it, until it is dropped or the queue overflows.
pub struct Connection {
    pub id: ConnectionId,
    pub frames: mpsc::Receiver<String>,
}

impl Sockets {
    /// A secret that opens a connection of this user.
    pub fn ticket(&self, app: &App, user: &UserId) -> String {
        let (name, now) = (random::secret_name(), app.now());
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, t| t.expires > now);
        tickets.insert(name.clone(), Ticket { user: user.clone(), expires: now + TICKET_LIFE, uses: TICKET_USES });
        name
    }

    /// A new connection for a ticket that is still good; its first frame waits in the queue.
    pub fn connect(&self, app: &App, ticket: &str) -> Option<Connection> {
        let user = self.redeem(ticket, app.now())?;
        let (queue, frames) = mpsc::channel(QUEUE);
        let id = mint!(app, ConnectionId);
        queue.try_send(frames::hello(id.as_str())).expect("an empty queue takes a frame");
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Peer { user, queue });
        Some(Connection { id, frames })
    }

    fn redeem(&self, ticket: &str, now: WallTime) -> Option<UserId> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tickets.get_mut(ticket).filter(|t| t.expires > now)?;
        found.uses -= 1;
        let user = found.user.clone();
        if found.uses == 0 {
            tickets.remove(ticket);
        }
        Some(user)
    }

    pub fn disconnect(&self, id: &ConnectionId) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Gives a frame to a connection of `user`. One whose queue is full is dropped: it would show old news for ever.
    pub(super) fn send(&self, user: &UserId, id: &ConnectionId, frame: String) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.get(id).filter(|p| p.user == *user) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = peer.queue.try_send(frame) {
            tracing::warn!(connection.id = %id, "a socket is too slow and was dropped");
            peers.remove(id);
        }
    }

    /// Tells what was said, if anybody listens.
    pub fn transcript(&self, stream: &RtStream, to: Option<&ConnectionId>, frame: &TranscriptFrame, now: WallTime) {
        if let Some(id) = to {
            self.send(&stream.owner, id, frames::transcript(stream, frame, now));
        }
    }

    pub fn count(&self) -> usize {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_a_while_and_a_few_connects() {
        let sockets = Sockets::default();
        let user = UserId::mint(WallTime(0), [1; 10]);
        let ticket = |uses| Ticket { user: user.clone(), expires: WallTime(100), uses };
        sockets.tickets.lock().unwrap().insert("t".into(), ticket(2));
        assert!(sockets.redeem("t", WallTime(100)).is_none());
        assert!(sockets.redeem("t", WallTime(99)).is_some());
        assert!(sockets.redeem("t", WallTime(99)).is_some());
        assert!(sockets.redeem("t", WallTime(99)).is_none());
    }

    #[test]
    fn a_frame_reaches_only_its_owner_and_a_full_queue_ends_the_connection() {
        let sockets = Sockets::default();
        let (mine, other) = (UserId::mint(WallTime(0), [1; 10]), UserId::mint(WallTime(0), [2; 10]));
        let id = ConnectionId::mint(WallTime(0), [3; 10]);
        let (queue, mut frames) = mpsc::channel(1);
        sockets.peers.lock().unwrap().insert(id.clone(), Peer { user: mine.clone(), queue });
        sockets.send(&other, &id, "not yours".into());
        sockets.send(&mine, &id, "yours".into());
        assert_eq!(frames.try_recv().unwrap(), "yours");
        sockets.send(&mine, &id, "one".into());
        sockets.send(&mine, &id, "too many".into());
        assert_eq!(sockets.count(), 0);
    }
}
