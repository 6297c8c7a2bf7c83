//! How each channel is, as far as the recorder sees it: what it has sent, how loud it is, and what is wrong with it.
//! Changes for the worse and the better are told as events; nothing is decided here.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use vitascope_model::Span;
use vitascope_model::capture::MediaKind;

use crate::protocol::Event;

/// What can be wrong with a channel that goes on all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The microphone, the camera.
    Device,
    /// The way to the server.
    Connection,
}

/// One channel's, shared by all that work for it.
#[derive(Debug)]
pub(crate) struct Health {
    pub channel_id: String,
    pub kind: MediaKind,
    session_id: String,
    events: mpsc::UnboundedSender<Event>,
    troubles: Mutex<[Option<String>; 2]>,
    bytes: AtomicU64,
    samples: AtomicU64,
    /// The loudest sample since the last reading.
    peak: AtomicU32,
}

/// A look at a channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub channel_id: String,
    pub kind: MediaKind,
    /// Sent so far.
    pub bytes: u64,
    pub samples: u64,
    /// The loudest since the look before, of 32768.
    pub peak: u32,
    pub trouble: Option<String>,
}

impl Health {
    pub(crate) fn new(
        session_id: &str,
        channel_id: &str,
        kind: MediaKind,
        events: mpsc::UnboundedSender<Event>,
    ) -> Health {
        Health {
            channel_id: channel_id.to_owned(),
            kind,
            session_id: session_id.to_owned(),
            events,
            troubles: Mutex::default(),
            bytes: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            peak: AtomicU32::new(0),
        }
    }

    /// Told once, until `well`.
    pub(crate) fn ill(&self, part: Part, why: impl Into<String>) {
        let why = why.into();
        let before = self.set(part, Some(why.clone()));
        if before.is_none() {
            tracing::warn!(channel = self.channel_id, ?part, "{why}");
            self.tell("lost", why);
        }
    }

    pub(crate) fn well(&self, part: Part, how: impl Into<String>) {
        if self.set(part, None).is_some() {
            let how = how.into();
            tracing::info!(channel = self.channel_id, ?part, "{how}");
            self.tell("restored", how);
        }
    }

    /// Nothing was recorded for so long.
    pub(crate) fn gap(&self, length: Span) {
        let seconds = length.to_seconds();
        tracing::warn!(channel = self.channel_id, seconds, "a gap");
        self.tell("gap", format!("nothing was recorded for {seconds:.1} s: this program was suspended"));
    }

    fn set(&self, part: Part, to: Option<String>) -> Option<String> {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut troubles[part as usize], to)
    }

    fn tell(&self, status: &'static str, message: String) {
        let (session_id, channel_id) = (self.session_id.clone(), self.channel_id.clone());
        // Nobody listens any more when the process ends.
        self.events.send(Event::Health { session_id, channel_id, status, message }).ok();
    }

    pub(crate) fn sent(&self, bytes: usize, samples: u64) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// s16, as it will be encoded.
    pub(crate) fn heard(&self, pcm: &[u8]) {
        let loudest = pcm.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs()).max();
        self.peak.fetch_max(loudest.unwrap_or(0).into(), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Reading {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        Reading {
            channel_id: self.channel_id.clone(),
            kind: self.kind,
            bytes: self.bytes.load(Ordering::Relaxed),
            samples: self.samples.load(Ordering::Relaxed),
            peak: self.peak.swap(0, Ordering::Relaxed),
            trouble: troubles.iter().flatten().next().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_so_is_its_end() {
        let (events, mut told) = mpsc::unbounded_channel();
        let health = Health::new("cap-1", "mic:default", MediaKind::Audio, events);
        health.well(Part::Device, "nothing was wrong");
        health.ill(Part::Device, "gone");
        health.ill(Part::Device, "still gone");
        assert_eq!(health.read().trouble.as_deref(), Some("still gone"));
        health.well(Part::Connection, "this never was");
        health.well(Part::Device, "here again");
        assert_eq!(health.read().trouble, None);
        let mut statuses = Vec::new();
        while let Ok(Event::Health { status, message, .. }) = told.try_recv() {
            statuses.push(format!("{status}: {message}"));
        }
        assert_eq!(statuses, ["lost: gone", "restored: here again"]);
    }

    #[test]
    fn the_loudest_sample_counts_until_it_is_read() {
        let (events, _told) = mpsc::unbounded_channel();
        let health = Health::new("cap-1", "mic:default", MediaKind::Audio, events);
        health.heard(&[5i16, -300, i16::MIN].iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>());
        assert_eq!((health.read().peak, health.read().peak), (32_768, 0));
    }
}
