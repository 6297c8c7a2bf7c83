//! Who is connected, and a bounded queue to each. An event is serialised once and shared; a client whose queue is full loses its connection,
//! never anybody else's time: it may come back and read on where it was.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, ConnectionId, UserId};
use vitascope_store::outbox::{Heard, Told};

use super::queue::{Frame, Outlet, Queue};
use crate::app::account::{Caller, Pass};

/// Why the server ends a connection, when it ends it at once: whatever is still queued is not sent.
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

    pub fn is_said(&self) -> bool {
        self.signal.is_cancelled()
    }

    pub async fn wait(&self) -> &str {
        self.signal.cancelled().await;
        self.why.get().map_or("", String::as_str)
    }
}

/// Where the thing lies that a frame speaks of: only those who may see it are told.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub owner: &'a UserId,
    /// `None` for what belongs to the whole account.
    pub collection: Option<&'a CollectionId>,
}

impl Place<'_> {
    pub fn is_in(self, scope: &Scope) -> bool {
        match self.collection {
            Some(collection) => scope.covers(self.owner, collection),
            None => scope.is_whole() && scope.user() == self.owner,
        }
    }
}

struct Peer {
    id: ConnectionId,
    pass: Pass,
    scope: Scope,
    queue: Arc<Queue>,
    ended: Arc<Ended>,
}

/// The server's end of one connection: what is to be sent to it, until the queue overflows.
pub struct Connection {
    pub id: ConnectionId,
    pub queue: Arc<Queue>,
    /// Events up to this one do not come through the queue: who missed them reads them from the outbox.
    pub told: i64,
    pub ended: Arc<Ended>,
}

#[derive(Default)]
pub(super) struct Hub {
    /// The newest event that was given to queues.
    pub(super) told: i64,
    /// By line; and by user for those that hear their whole account.
    audiences: HashMap<String, Vec<Peer>>,
    places: HashMap<ConnectionId, (Pass, Heard)>,
}

impl Hub {
    /// Every event after the `told` that is returned comes through the queue, and none before it.
    pub(super) fn join(
        &mut self,
        id: ConnectionId,
        heard: &Heard,
        caller: &Caller,
        outlet: Arc<dyn Outlet>,
    ) -> Connection {
        let queue = Arc::new(Queue::new(outlet));
        let ended = Arc::<Ended>::default();
        let Caller { pass, scope, .. } = caller;
        for audience in audiences_of(heard) {
            let (queue, ended) = (queue.clone(), ended.clone());
            let peer = Peer { id: id.clone(), pass: pass.clone(), scope: scope.clone(), queue, ended };
            self.audiences.entry(audience.to_owned()).or_default().push(peer);
        }
        self.places.insert(id.clone(), (pass.clone(), heard.clone()));
        Connection { id, queue, ended, told: self.told }
    }

    pub(super) fn leave(&mut self, id: &ConnectionId) {
        let Some((_, heard)) = self.places.remove(id) else { return };
        for audience in audiences_of(&heard) {
            if let Some(peers) = self.audiences.get_mut(audience) {
                peers.retain(|p| p.id != *id);
                if peers.is_empty() {
                    self.audiences.remove(audience);
                }
            }
        }
    }

    /// The passes with which the open connections were opened.
    pub(super) fn passes(&self) -> HashSet<Pass> {
        let mut passes = HashSet::new();
        for (pass, _) in self.places.values() {
            if !passes.contains(pass) {
                passes.insert(pass.clone());
            }
        }
        passes
    }

    /// What the connections of this pass may hear from now on.
    pub(super) fn renew(&mut self, pass: &Pass, scope: &Scope) {
        let peers = self.audiences.values_mut().flatten();
        peers.filter(|p| p.pass == *pass && p.scope != *scope).for_each(|p| p.scope = scope.clone());
    }

    /// Ends every connection of this pass.
    pub(super) fn dismiss(&mut self, pass: &Pass, why: &str) {
        for peers in self.audiences.values_mut() {
            peers.iter().filter(|p| p.pass == *pass).for_each(|p| p.ended.say(why));
            peers.retain(|p| p.pass != *pass);
        }
        self.audiences.retain(|_, peers| !peers.is_empty());
        self.places.retain(|_, (of, _)| of != pass);
    }

    /// Gives events to all who are to hear them. Rows of one event stand together and share their frame.
    pub(super) fn tell(&mut self, events: Vec<Told>) {
        let mut shared = None;
        for told in events {
            self.told = told.seq;
            let (Some(line), Some(frame)) = (told.line, told.frame) else { continue };
            let (_, frame) = match shared.take_if(|(seq, _)| *seq == told.seq) {
                Some(same) => shared.insert(same),
                None => shared.insert((told.seq, Frame::from(frame))),
            };
            self.push(&line, Place { owner: &told.owner, collection: told.collection.as_ref() }, frame);
        }
    }

    /// Gives a frame to those of a line that have room.
    pub(super) fn tell_interim(&self, line: &str, at: Place<'_>, frame: &Frame) {
        self.listeners(line, at).for_each(|peer| peer.queue.push_interim(frame));
    }

    fn listeners(&self, audience: &str, at: Place<'_>) -> impl Iterator<Item = &Peer> {
        self.audiences.get(audience).into_iter().flatten().filter(move |peer| at.is_in(&peer.scope))
    }

    fn push(&mut self, audience: &str, at: Place<'_>, frame: &Frame) {
        let slow = self.listeners(audience, at).filter(|peer| !peer.queue.push(frame));
        let slow: Vec<ConnectionId> = slow.map(|peer| peer.id.clone()).collect();
        for id in slow {
            tracing::warn!(connection.id = %id, "a socket is too slow and is ended");
            self.leave(&id);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }
}

fn audiences_of(heard: &Heard) -> impl Iterator<Item = &str> {
    [Some(heard.line.as_str()), heard.account()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use vitascope_model::WallTime;

    use super::super::queue::{Busy, Next, QUEUE, SPARE};
    use super::*;

    fn collection(n: u8) -> CollectionId {
        CollectionId::mint(WallTime(0), [n; 10])
    }

    fn connection(n: u8) -> ConnectionId {
        ConnectionId::mint(WallTime(0), [n; 10])
    }

    fn user(n: u8) -> UserId {
        UserId::mint(WallTime(0), [n; 10])
    }

    /// A client with a queue of its own on line `line`.
    fn join(hub: &mut Hub, n: u8, line: u8, scope: Scope) -> Connection {
        let heard = Heard { owner: scope.user().clone(), line: connection(line), whole_account: scope.is_whole() };
        let caller = Caller { scope, pass: Pass::Key(n.to_string()), end_user_id: None };
        hub.join(connection(n), &heard, &caller, Arc::new(Busy))
    }

    fn told(seq: i64, owner: UserId, collection: Option<CollectionId>, line: &str) -> Told {
        Told { seq, owner, collection, line: Some(line.to_owned()), frame: Some(format!("event {seq}")) }
    }

    fn taken(connection: &Connection) -> String {
        let mut texts = Vec::new();
        while let Some(Next::Send(text)) = connection.queue.take() {
            texts.push(text.to_string());
        }
        texts.join(", ")
    }

    #[test]
    fn events_reach_the_line_and_the_account_of_their_owner_and_only_who_may_see_them() {
        let mut hub = Hub::default();
        let mine = join(&mut hub, 1, 1, Scope::whole(user(1)));
        let stranger = join(&mut hub, 2, 2, Scope::whole(user(2)));
        let bound = join(&mut hub, 3, 3, Scope::of_collections(user(1), vec![collection(1)]));
        let line = |n| connection(n).to_string();
        hub.tell(vec![
            told(1, user(1), Some(collection(2)), &line(1)),
            told(2, user(1), None, user(1).as_str()),
            told(3, user(1), Some(collection(1)), &line(2)),
            told(4, user(1), Some(collection(1)), &line(3)),
            told(5, user(1), Some(collection(2)), &line(3)),
        ]);
        let heard = [&mine, &stranger, &bound].map(taken);
        assert_eq!(heard, ["event 1, event 2", "", "event 4"]);
        // A key that is bound to other collections later hears of those.
        hub.renew(&Pass::Key("3".into()), &Scope::of_collections(user(1), vec![collection(2)]));
        hub.tell(vec![told(6, user(1), Some(collection(2)), &line(3)), told(7, user(1), None, user(1).as_str())]);
        assert_eq!(taken(&bound), "event 6");
    }

    #[test]
    fn a_full_queue_ends_its_connection_and_holds_up_no_other() {
        let mut hub = Hub::default();
        let scope = Scope::whole(user(1));
        let (slow, quick) = (join(&mut hub, 7, 1, scope.clone()), join(&mut hub, 8, 1, scope));
        for seq in 1..=QUEUE as i64 + 1 {
            hub.tell(vec![told(seq, user(1), None, connection(1).as_str())]);
            assert_eq!(taken(&quick), format!("event {seq}"));
        }
        assert_eq!(hub.count(), 1);
        for seq in 1..=QUEUE {
            let next = Next::Send(format!("event {seq}").into());
            assert_eq!(slow.queue.take(), Some(next), "what is queued still comes");
        }
        assert!(slow.queue.take() == Some(Next::TooSlow) && slow.ended.why.get().is_none());
    }

    #[test]
    fn interims_leave_room_for_finals() {
        let mut hub = Hub::default();
        let client = join(&mut hub, 7, 1, Scope::whole(user(1)));
        let (owner, here) = (user(1), collection(1));
        for _ in 0..2 * QUEUE {
            let at = Place { owner: &owner, collection: Some(&here) };
            hub.tell_interim(connection(1).as_str(), at, &Frame::from("so far".to_owned()));
        }
        assert_eq!((client.queue.len(), hub.count()), (QUEUE - SPARE, 1));
    }

    #[test]
    fn who_is_dismissed_is_gone_from_everywhere() {
        let mut hub = Hub::default();
        let client = join(&mut hub, 7, 1, Scope::whole(user(1)));
        hub.dismiss(&Pass::Key("7".into()), "revoked");
        assert_eq!((hub.count(), hub.audiences.len(), client.ended.why.get().unwrap().as_str()), (0, 0, "revoked"));
    }
}
