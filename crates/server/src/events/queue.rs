//! What is to be sent to one connection. As long as nothing waits, a frame goes straight to the socket from the one place that has it,
//! and the connection's task sleeps; what the socket does not take at once waits here, bounded, and the task sends it.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

/// The text of a frame, shared by all who get it.
pub(super) type Text = axum::extract::ws::Utf8Bytes;

/// Frames that may wait for a client: at ten a second, over a minute and a half of them.
pub(super) const QUEUE: usize = 1024;
/// An interim that would leave less room than this is not queued: the next one says more, and finals need the room.
pub(super) const SPARE: usize = QUEUE / 2;

/// A frame as text, and as the bytes of an unmasked WebSocket frame (RFC 6455 §5.2), both made once for all who get it.
pub(super) struct Frame {
    text: Text,
    wire: Bytes,
}

impl From<String> for Frame {
    fn from(text: String) -> Frame {
        const FINAL_TEXT: u8 = 0x81;
        let mut wire = BytesMut::with_capacity(text.len() + 10);
        wire.put_u8(FINAL_TEXT);
        match text.len() {
            length @ ..126 => wire.put_u8(length as u8),
            length @ ..0x1_0000 => {
                wire.put_u8(126);
                wire.put_u16(length as u16);
            }
            length => {
                wire.put_u8(127);
                wire.put_u64(length as u64);
            }
        }
        wire.put_slice(text.as_bytes());
        Frame { text: text.into(), wire: wire.freeze() }
    }
}

/// How much of a frame a socket took at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    All,
    /// The rest goes out with its next flush, before anything else.
    Part,
    Nothing,
}

/// The way to a connection's socket past its task.
pub trait Outlet: Send + Sync {
    /// Writes the bytes of a frame between those of others, as far as that needs no waiting.
    fn try_write(&self, frame: &Bytes) -> Taken;
}

/// What the connection's task is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Send(axum::extract::ws::Utf8Bytes),
    /// The socket took a part of a frame.
    Flush,
    /// The queue overflowed, and all that was in it was taken.
    TooSlow,
}

#[derive(PartialEq, Eq)]
enum Way {
    /// The task sends what waits.
    Queued,
    /// Nothing waits, and the task sleeps.
    Straight,
    /// A close frame ends what is sent.
    Shut,
}

struct State {
    way: Way,
    waiting: VecDeque<Text>,
    is_flush_due: bool,
    has_overflowed: bool,
}

/// Both ends of a queue: the hub pushes, the connection's task takes.
pub struct Queue {
    outlet: Arc<dyn Outlet>,
    state: Mutex<State>,
    bell: Notify,
}

impl Queue {
    pub(super) fn new(outlet: Arc<dyn Outlet>) -> Queue {
        let state = State { way: Way::Queued, waiting: VecDeque::new(), is_flush_due: false, has_overflowed: false };
        Queue { outlet, state: Mutex::new(state), bell: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room. Without it nothing is queued any more: what waits still comes, and then `TooSlow`.
    pub(super) fn push(&self, frame: &Frame) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= QUEUE {
            state.has_overflowed = true;
        }
        if !state.has_overflowed {
            self.send(&mut state, frame);
        }
        !state.has_overflowed
    }

    /// Takes a frame that may be lost, unless that would take the room of others.
    pub(super) fn push_interim(&self, frame: &Frame) {
        let mut state = self.state();
        if state.waiting.len() < QUEUE - SPARE {
            self.send(&mut state, frame);
        }
    }

    fn send(&self, state: &mut State, frame: &Frame) {
        let taken = match state.way {
            Way::Shut => return,
            Way::Queued => Taken::Nothing,
            Way::Straight => self.outlet.try_write(&frame.wire),
        };
        match taken {
            Taken::All => return,
            Taken::Part => state.is_flush_due = true,
            Taken::Nothing => state.waiting.push_back(frame.text.clone()),
        }
        if state.way == Way::Straight {
            state.way = Way::Queued;
            self.bell.notify_one();
        }
    }

    /// What is there to do now. If it is nothing, frames go straight to the socket from now on.
    pub(super) fn take(&self) -> Option<Next> {
        let mut state = self.state();
        let next = if std::mem::take(&mut state.is_flush_due) {
            Some(Next::Flush)
        } else if let Some(text) = state.waiting.pop_front() {
            Some(Next::Send(text))
        } else {
            state.has_overflowed.then_some(Next::TooSlow)
        };
        if next.is_none() && state.way == Way::Queued {
            state.way = Way::Straight;
        }
        next
    }

    /// Until there is something to do for the connection's task. What it was told before is done by then.
    pub async fn next(&self) -> Next {
        while self.state().way != Way::Shut {
            if let Some(next) = self.take() {
                return next;
            }
            self.bell.notified().await;
        }
        pending().await
    }

    /// Before a close frame is sent: nothing may follow it.
    pub fn shut(&self) {
        let mut state = self.state();
        state.way = Way::Shut;
        state.waiting.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }
}

/// A socket that takes nothing at once, so that all waits in the queue.
#[cfg(test)]
pub(super) struct Busy;

#[cfg(test)]
impl Outlet for Busy {
    fn try_write(&self, _: &Bytes) -> Taken {
        Taken::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_frame_stands_where_clients_look_for_it() {
        let head = |length: usize| {
            let wire = Frame::from("x".repeat(length)).wire;
            wire[..wire.len() - length].to_vec()
        };
        assert_eq!(head(0), [0x81, 0]);
        assert_eq!(head(125), [0x81, 125]);
        assert_eq!(head(126), [0x81, 126, 0, 126]);
        assert_eq!(head(65_535), [0x81, 126, 255, 255]);
        assert_eq!(head(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    /// A socket that takes what it is told to, and keeps it.
    struct Slot(Mutex<(Taken, Vec<Bytes>)>);

    impl Outlet for Slot {
        fn try_write(&self, frame: &Bytes) -> Taken {
            let mut slot = self.0.lock().unwrap();
            if slot.0 != Taken::Nothing {
                slot.1.push(frame.slice(2..));
            }
            slot.0
        }
    }

    #[test]
    fn a_frame_goes_straight_only_while_nothing_waits_before_it() {
        let slot = Arc::new(Slot(Mutex::new((Taken::All, Vec::new()))));
        let queue = Queue::new(slot.clone());
        let push = |text: &str| assert!(queue.push(&Frame::from(text.to_owned())));
        let socket_takes = |taken| slot.0.lock().unwrap().0 = taken;
        let send = |text: &str| Some(Next::Send(text.into()));
        push("while the client is greeted");
        assert_eq!((queue.take(), queue.take()), (send("while the client is greeted"), None));
        push("1");
        socket_takes(Taken::Part);
        push("2");
        socket_takes(Taken::All);
        push("3");
        assert_eq!((queue.take(), queue.take()), (Some(Next::Flush), send("3")));
        push("4");
        assert_eq!((queue.take(), queue.take()), (send("4"), None));
        socket_takes(Taken::Nothing);
        push("5");
        socket_takes(Taken::All);
        assert_eq!((queue.take(), queue.take()), (send("5"), None));
        push("6");
        queue.shut();
        push("after the close frame");
        assert_eq!(slot.0.lock().unwrap().1, ["1", "2", "6"]);
        assert_eq!(queue.take(), None);
    }
}
