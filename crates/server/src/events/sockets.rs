//! The WebSocket connections: tickets that open one, and queues that feed one. A connection belongs to an account, and a call that
//! names its id binds a session or stream to it. A slow client loses its connection, never anybody else's time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, ConnectionId, UserId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::{Span, WallTime};

use super::frames;
use crate::app::account::{Caller, Pass};
use crate::app::{App, mint};
use crate::live::transcribe::TranscriptFrame;
use crate::random;

/// How long the URL of a socket may be used, and how often: a client that reconnects in a hurry need not ask again.
const TICKET_LIFE: Span = Span::seconds(300);
const TICKET_USES: u32 = 8;
/// Frames that may wait for a client: at ten a second, over a minute and a half of them.
const QUEUE: usize = 1024;

struct Ticket {
    pass: Pass,
    expires: WallTime,
    uses: u32,
}

struct Peer {
    pass: Pass,
    scope: Scope,
    queue: mpsc::Sender<String>,
    ended: Arc<Ended>,
}

/// Why the server ends a connection. It comes before whatever is still queued.
#[derive(Default)]
pub struct Ended {
    signal: CancellationToken,
    why: OnceLock<String>,
}

impl Ended {
    fn say(&self, why: &str) {
        // Only the first reason counts.
        self.why.get_or_init(|| why.to_owned());
        self.signal.cancel();
    }

    pub async fn wait(&self) -> &str {
        self.signal.cancelled().await;
        self.why.get().map_or("", String::as_str)
    }
}

/// Where the thing lies that a frame speaks of: only those who may see it are told.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub owner: &'a UserId,
    /// `None` for what belongs to the whole account.
    pub collection: Option<&'a CollectionId>,
}

impl Place<'_> {
    fn is_in(self, scope: &Scope) -> bool {
        match self.collection {
            Some(collection) => scope.covers(self.owner, collection),
            None => scope.is_whole() && scope.user() == self.owner,
        }
    }
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
    pub ended: Arc<Ended>,
}

impl Sockets {
    /// A secret that opens a connection as if with this pass.
    pub fn ticket(&self, app: &App, pass: &Pass) -> String {
        let (name, now) = (random::secret_name(), app.now());
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, t| t.expires > now);
        tickets.insert(name.clone(), Ticket { pass: pass.clone(), expires: now + TICKET_LIFE, uses: TICKET_USES });
        name
    }

    /// A new connection of this caller; its first frame waits in the queue.
    pub fn connect(&self, app: &App, caller: Caller) -> Connection {
        let (queue, frames) = mpsc::channel(QUEUE);
        let id = mint!(app, ConnectionId);
        queue.try_send(frames::hello(id.as_str())).expect("an empty queue takes a frame");
        let ended = Arc::<Ended>::default();
        let peer = Peer { pass: caller.pass, scope: caller.scope, queue, ended: ended.clone() };
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), peer);
        Connection { id, frames, ended }
    }

    /// What a ticket stands for, as long as it is good.
    pub fn redeem(&self, ticket: &str, now: WallTime) -> Option<Pass> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tickets.get_mut(ticket).filter(|t| t.expires > now)?;
        found.uses -= 1;
        let pass = found.pass.clone();
        if found.uses == 0 {
            tickets.remove(ticket);
        }
        Some(pass)
    }

    /// The passes with which the open connections were opened.
    pub(super) fn passes(&self) -> HashSet<Pass> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).values().map(|p| p.pass.clone()).collect()
    }

    /// What the connections of this pass may hear from now on.
    pub(super) fn renew(&self, pass: &Pass, scope: &Scope) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.values_mut().filter(|p| p.pass == *pass).for_each(|p| p.scope = scope.clone());
    }

    /// Ends every connection of this pass.
    pub(super) fn dismiss(&self, pass: &Pass, why: &str) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, peer| {
            if peer.pass == *pass {
                peer.ended.say(why);
            }
            peer.pass != *pass
        });
    }

    pub fn disconnect(&self, id: &ConnectionId) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Gives a frame to a connection that may see what it speaks of. One whose queue is full is dropped: it would show old news for ever.
    pub(super) fn send(&self, at: Place<'_>, id: &ConnectionId, frame: String) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.get(id).filter(|p| at.is_in(&p.scope)) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = peer.queue.try_send(frame) {
            tracing::warn!(connection.id = %id, "a socket is too slow and was dropped");
            if let Some(peer) = peers.remove(id) {
                peer.ended.say("too slow");
            }
        }
    }

    /// Tells what was said, if anybody listens.
    pub fn transcript(&self, stream: &RtStream, to: Option<&ConnectionId>, frame: &TranscriptFrame, now: WallTime) {
        if let Some(id) = to {
            let at = Place { owner: &stream.owner, collection: Some(&stream.collection_id) };
            self.send(at, id, frames::transcript(stream, frame, now));
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
        let ticket = |uses| Ticket { pass: Pass::Key("k".into()), expires: WallTime(100), uses };
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
        let (here, there) = (CollectionId::mint(WallTime(0), [4; 10]), CollectionId::mint(WallTime(0), [5; 10]));
        let id = ConnectionId::mint(WallTime(0), [3; 10]);
        let (queue, mut frames) = mpsc::channel(1);
        let scope = Scope::of_collections(mine.clone(), vec![here.clone()]);
        let ended = Arc::<Ended>::default();
        let peer = Peer { pass: Pass::Key("k".into()), scope, queue, ended: ended.clone() };
        sockets.peers.lock().unwrap().insert(id.clone(), peer);
        let send = |owner, collection, frame: &str| sockets.send(Place { owner, collection }, &id, frame.into());
        send(&other, Some(&here), "another account's");
        send(&mine, Some(&there), "another collection's");
        send(&mine, None, "the whole account's");
        send(&mine, Some(&here), "yours");
        assert_eq!(frames.try_recv().unwrap(), "yours");
        send(&mine, Some(&here), "one");
        send(&mine, Some(&here), "too many");
        assert_eq!((sockets.count(), ended.why.get().unwrap().as_str()), (0, "too slow"));
    }
}
