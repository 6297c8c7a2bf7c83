//! The WebSocket connections: tickets that open one, and the hub that feeds them. A connection belongs to an account; a call that names its id
//! binds a session or stream to it, and to those that take its place later.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use vitascope_model::account::Scope;
use vitascope_model::id::ConnectionId;
use vitascope_model::{Span, WallTime};
use vitascope_store::outbox::{Heard, Told};

use super::hub::{Connection, Hub, Place};
use super::queue::{Frame, Outlet};
use crate::app::App;
use crate::app::account::{Caller, Pass};
use crate::random;

/// How long the URL of a socket may be used, and how often: a client that reconnects in a hurry need not ask again.
const TICKET_LIFE: Span = Span::seconds(300);
const TICKET_USES: u32 = 8;

struct Ticket {
    pass: Pass,
    expires: WallTime,
    uses: u32,
}

pub struct Sockets {
    tickets: Mutex<HashMap<String, Ticket>>,
    hub: Mutex<Hub>,
    /// The newest event that was given to queues, for those who wait for one.
    told: watch::Sender<i64>,
}

impl Default for Sockets {
    fn default() -> Self {
        Sockets { tickets: Mutex::default(), hub: Mutex::default(), told: watch::Sender::new(0) }
    }
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

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the connection is told what it is to hear.
    pub fn join(&self, id: ConnectionId, heard: &Heard, caller: &Caller, outlet: Arc<dyn Outlet>) -> Connection {
        self.hub().join(id, heard, caller, outlet)
    }

    pub(super) fn passes(&self) -> HashSet<Pass> {
        self.hub().passes()
    }

    pub(super) fn renew(&self, pass: &Pass, scope: &Scope) {
        self.hub().renew(pass, scope);
    }

    pub(super) fn dismiss(&self, pass: &Pass, why: &str) {
        self.hub().dismiss(pass, why);
    }

    pub fn leave(&self, id: &ConnectionId) {
        self.hub().leave(id);
    }

    pub(super) fn begin_after(&self, seq: i64) {
        self.hub().told = seq;
    }

    pub(super) fn told(&self) -> i64 {
        self.hub().told
    }

    pub(super) fn tell(&self, events: Vec<Told>) {
        let mut hub = self.hub();
        hub.tell(events);
        self.told.send_replace(hub.told);
    }

    /// Until an event is in the queues, so that what is told without the outbox comes after it.
    pub async fn wait_told(&self, app: &App, seq: i64) {
        let mut told = self.told.subscribe();
        tokio::select! {
            // It ends with this struct only.
            _ = told.wait_for(|told| *told >= seq) => {}
            () = app.shutdown.cancelled() => {}
        }
    }

    /// Tells what is not kept, at most once.
    pub fn tell_interim(&self, at: Place<'_>, lines: &[ConnectionId], frame: String) {
        let (frame, hub) = (Frame::from(frame), self.hub());
        for line in lines {
            hub.tell_interim(line.as_str(), at, &frame);
        }
    }

    pub fn count(&self) -> usize {
        self.hub().count()
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
}
