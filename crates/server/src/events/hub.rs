//! Who is connected, and a bounded queue to each. An event is serialised once and shared; a client whose queue is full loses its connection,
//! never anybody else's time: it may come back and read on where it was.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, ConnectionId, UserId};
use vitascope_store::outbox::{Heard, Told};

use crate::app::account::{Caller, Pass};

/// A frame as it is queued: text that all who get it share.
pub type Text = axum::extract::ws::Utf8Bytes;

/// Frames that may wait for a client: at ten a second, over a minute and a half of them.
pub(super) const QUEUE: usize = 1024;
/// An interim that would leave less room than this is not queued: the next one says more, and finals need the room.
const SPARE: usize = QUEUE / 2;

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
    queue: mpsc::Sender<Text>,
    ended: Arc<Ended>,
}

/// One end of a queue. It ends after its last frame when the client was too slow.
pub(super) struct Queue {
    pub(super) frames: mpsc::Receiver<Text>,
    pub(super) ended: Arc<Ended>,
    /// The newest event that this queue will not bring.
    pub(super) told: i64,
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
    pub(super) fn join(&mut self, id: &ConnectionId, heard: &Heard, caller: &Caller) -> Queue {
        let (queue, frames) = mpsc::channel(QUEUE);
        let ended = Arc::<Ended>::default();
        let Caller { pass, scope, .. } = caller;
        for audience in audiences_of(heard) {
            let (queue, ended) = (queue.clone(), ended.clone());
            let peer = Peer { id: id.clone(), pass: pass.clone(), scope: scope.clone(), queue, ended };
            self.audiences.entry(audience.to_owned()).or_default().push(peer);
        }
        self.places.insert(id.clone(), (pass.clone(), heard.clone()));
        Queue { frames, ended, told: self.told }
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

    /// Gives events to all who are to hear them. Rows of one event stand together and share their text.
    pub(super) fn tell(&mut self, events: Vec<Told>) {
        let mut shared = (0, Text::default());
        for told in events {
            self.told = told.seq;
            let (Some(line), Some(frame)) = (told.line, told.frame) else { continue };
            if shared.0 != told.seq {
                shared = (told.seq, Text::from(frame));
            }
            self.push(&line, Place { owner: &told.owner, collection: told.collection.as_ref() }, &shared.1, 0);
        }
    }

    /// Gives a frame to those of a line that have room.
    pub(super) fn tell_interim(&mut self, line: &str, at: Place<'_>, frame: &Text) {
        self.push(line, at, frame, SPARE);
    }

    fn push(&mut self, audience: &str, at: Place<'_>, frame: &Text, spare: usize) {
        let Some(peers) = self.audiences.get(audience) else { return };
        let mut slow = Vec::new();
        for peer in peers.iter().filter(|p| at.is_in(&p.scope)) {
            if spare > 0 && peer.queue.capacity() <= spare {
                continue;
            }
            if let Err(TrySendError::Full(_)) = peer.queue.try_send(frame.clone()) {
                tracing::warn!(connection.id = %peer.id, "a socket is too slow and is ended");
                slow.push(peer.id.clone());
            }
        }
        for id in slow {
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
    fn join(hub: &mut Hub, n: u8, line: u8, scope: Scope) -> Queue {
        let heard = Heard { owner: scope.user().clone(), line: connection(line), whole_account: scope.is_whole() };
        let caller = Caller { scope, pass: Pass::Key(n.to_string()), end_user_id: None };
        hub.join(&connection(n), &heard, &caller)
    }

    fn told(seq: i64, owner: UserId, collection: Option<CollectionId>, line: &str) -> Told {
        Told { seq, owner, collection, line: Some(line.to_owned()), frame: Some(format!("event {seq}")) }
    }

    fn taken(queue: &mut Queue) -> String {
        let mut texts = Vec::new();
        while let Ok(text) = queue.frames.try_recv() {
            texts.push(text.to_string());
        }
        texts.join(", ")
    }

    #[test]
    fn events_reach_the_line_and_the_account_of_their_owner_and_only_who_may_see_them() {
        let mut hub = Hub::default();
        let mut mine = join(&mut hub, 1, 1, Scope::whole(user(1)));
        let mut stranger = join(&mut hub, 2, 2, Scope::whole(user(2)));
        let mut bound = join(&mut hub, 3, 3, Scope::of_collections(user(1), vec![collection(1)]));
        let line = |n| connection(n).to_string();
        hub.tell(vec![
            told(1, user(1), Some(collection(2)), &line(1)),
            told(2, user(1), None, user(1).as_str()),
            told(3, user(1), Some(collection(1)), &line(2)),
            told(4, user(1), Some(collection(1)), &line(3)),
            told(5, user(1), Some(collection(2)), &line(3)),
        ]);
        let heard = [&mut mine, &mut stranger, &mut bound].map(taken);
        assert_eq!(heard, ["event 1, event 2", "", "event 4"]);
        // A key that is bound to other collections later hears of those.
        hub.renew(&Pass::Key("3".into()), &Scope::of_collections(user(1), vec![collection(2)]));
        hub.tell(vec![told(6, user(1), Some(collection(2)), &line(3)), told(7, user(1), None, user(1).as_str())]);
        assert_eq!(taken(&mut bound), "event 6");
    }

    #[test]
    fn a_full_queue_ends_its_connection_and_holds_up_no_other() {
        let mut hub = Hub::default();
        let scope = Scope::whole(user(1));
        let (mut slow, mut quick) = (join(&mut hub, 7, 1, scope.clone()), join(&mut hub, 8, 1, scope));
        for seq in 1..=QUEUE as i64 + 1 {
            hub.tell(vec![told(seq, user(1), None, connection(1).as_str())]);
            assert_eq!(quick.frames.try_recv().unwrap(), format!("event {seq}"));
        }
        assert_eq!(hub.count(), 1);
        for seq in 1..=QUEUE {
            assert_eq!(slow.frames.try_recv().unwrap(), format!("event {seq}"), "what is queued still comes");
        }
        assert!(slow.frames.is_closed() && slow.frames.try_recv().is_err() && slow.ended.why.get().is_none());
    }

    #[test]
    fn interims_leave_room_for_finals() {
        let mut hub = Hub::default();
        let queue = join(&mut hub, 7, 1, Scope::whole(user(1)));
        let (owner, here) = (user(1), collection(1));
        for _ in 0..2 * QUEUE {
            let at = Place { owner: &owner, collection: Some(&here) };
            hub.tell_interim(connection(1).as_str(), at, &Text::from("so far"));
        }
        assert_eq!((queue.frames.len(), hub.count()), (QUEUE - SPARE, 1));
    }

    #[test]
    fn who_is_dismissed_is_gone_from_everywhere() {
        let mut hub = Hub::default();
        let queue = join(&mut hub, 7, 1, Scope::whole(user(1)));
        hub.dismiss(&Pass::Key("7".into()), "revoked");
        assert_eq!((hub.count(), hub.audiences.len(), queue.ended.why.get().unwrap().as_str()), (0, 0, "revoked"));
    }
}
