//! The decode jobs of all channels: what is live before what was recorded, finals first, then pauses, then whoever waits longest. A final waits for no interim of its channel;
//! interims wait for its finals, and what comes too late is not told, so that a channel hears everything in order. A job on an open utterance holds no sound until a worker takes it, so an interim decodes the newest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::channel::State;
use super::clip::{Clip, Decoded};
use super::live::Utterance;

/// In order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The utterance is over.
    Final,
    /// A pause: a complete decode, which is the final if nobody goes on.
    Pause,
    Interim,
}

/// Whether anybody waits for a channel's words as they are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    Live,
    Recorded,
}

/// What a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    All,
    /// Where a provider makes the finals: the local model's part, and the provider's.
    Drafts,
    Finals,
}

impl Role {
    fn takes(self, kind: Kind) -> bool {
        match self {
            Role::All => true,
            Role::Drafts => kind != Kind::Final,
            Role::Finals => kind == Kind::Final,
        }
    }
}

/// When a channel's finals that are still to come were asked for. Apart from the channel: who watches it does not keep its sink open.
#[derive(Clone, Default)]
pub(super) struct Due(Arc<Mutex<VecDeque<Instant>>>);

impl Due {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lock().front().copied()
    }
}

/// What a channel and its jobs share.
pub(super) struct Channel {
    pub(super) urgency: Urgency,
    pub(super) state: Mutex<State>,
    sink: Box<dyn Fn(Utterance) + Send + Sync>,
    /// The last utterance of which the final was told.
    settled: Mutex<u64>,
    final_runs: AtomicBool,
    other_runs: AtomicBool,
    pending: AtomicUsize,
    finals: Due,
}

impl Channel {
    pub(super) fn new(state: State, urgency: Urgency, sink: Box<dyn Fn(Utterance) + Send + Sync>) -> Channel {
        Channel {
            urgency,
            state: Mutex::new(state),
            sink,
            settled: Mutex::default(),
            final_runs: AtomicBool::default(),
            other_runs: AtomicBool::default(),
            pending: AtomicUsize::default(),
            finals: Due::default(),
        }
    }

    pub(super) fn due(&self) -> Due {
        self.finals.clone()
    }

    /// Gives an utterance to the sink, unless its final was given before.
    pub(super) fn tell(&self, utterance: Utterance) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if utterance.number <= *settled {
            return;
        }
        if utterance.is_final {
            *settled = utterance.number;
        }
        (self.sink)(utterance);
    }

    fn runs(&self, kind: Kind) -> &AtomicBool {
        if kind == Kind::Final { &self.final_runs } else { &self.other_runs }
    }

    fn has_room_for(&self, kind: Kind) -> bool {
        let is_final = kind == Kind::Final;
        !self.final_runs.load(Ordering::Acquire) && (is_final || !self.other_runs.load(Ordering::Acquire))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) channel: Arc<Channel>,
    pub(super) utterance: u64,
    pub(super) asked: Instant,
    /// Of an utterance that is over: its sound, and its decode if that is done already.
    pub(super) closed: Option<(Clip, Option<Decoded>)>,
}

#[derive(Default)]
struct Inner {
    jobs: Vec<Job>,
    /// Smoothed seconds that jobs waited.
    wait: f64,
    stopped: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// A job came, or one ended.
    changed: Condvar,
    dropped: AtomicU64,
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_time(&self) -> f64 {
        self.inner().wait
    }

    pub(super) fn push(&self, job: Job) {
        job.channel.pending.fetch_add(1, Ordering::AcqRel);
        if job.kind == Kind::Final {
            job.channel.finals.lock().push_back(job.asked);
        }
        self.inner().jobs.push(job);
        // All: not every worker takes every job.
        self.changed.notify_all();
    }

    /// Jobs that wait, and how many of them are finals.
    pub(super) fn depth(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.jobs.len(), inner.jobs.iter().filter(|j| j.kind == Kind::Final).count())
    }

    /// An interim came too late.
    pub(super) fn drop_interim(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The next job for a worker; `None` when the workers are to end.
    pub(super) fn take(&self, role: Role) -> Option<Job> {
        let mut inner = self.inner();
        loop {
            if inner.stopped {
                return None;
            }
            let free = (0..inner.jobs.len()).filter(|i| {
                let job = &inner.jobs[*i];
                role.takes(job.kind) && job.channel.has_room_for(job.kind)
            });
            if let Some(i) =
                free.min_by_key(|i| (inner.jobs[*i].channel.urgency, inner.jobs[*i].kind, inner.jobs[*i].asked))
            {
                let job = inner.jobs.swap_remove(i);
                job.channel.runs(job.kind).store(true, Ordering::Release);
                if job.channel.urgency == Urgency::Live {
                    inner.wait = 0.9 * inner.wait + 0.1 * job.asked.elapsed().as_secs_f64();
                }
                return Some(job);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker is through with a job of `channel`.
    pub(super) fn done(&self, channel: &Channel, kind: Kind) {
        let _held = self.inner();
        channel.runs(kind).store(false, Ordering::Release);
        channel.pending.fetch_sub(1, Ordering::AcqRel);
        if kind == Kind::Final {
            // They are done in the order in which they were asked for.
            channel.finals.lock().pop_front();
        }
        self.changed.notify_all();
    }

    /// Blocks until no job of `channel` is left.
    pub(super) fn wait_for(&self, channel: &Channel) {
        let mut inner = self.inner();
        while channel.pending.load(Ordering::Acquire) > 0 && !inner.stopped {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks while `channel` has `most` finals to come, or more.
    pub(super) fn wait_below(&self, channel: &Channel, most: usize) {
        let mut inner = self.inner();
        while channel.finals.lock().len() >= most && !inner.stopped {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn stop(&self) {
        self.inner().stopped = true;
        self.changed.notify_all();
    }
}
