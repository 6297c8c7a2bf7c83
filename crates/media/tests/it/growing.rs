//! Tracks that still grow: what a player was told and given once stays true, to the byte, however much follows.

use std::path::Path;

use vitascope_media::codec::{Codec, Sample};
use vitascope_media::compile::{Plan, PlanOptions, plan};
use vitascope_media::journal::Journal;
use vitascope_media::track::{Chunk, TrackView, open_chunks};
use vitascope_model::Span;

use crate::film::{pictures, sound};
use crate::player::{Served, segment};
use crate::recording::{append, later, range, sealed};

/// A track that is being recorded.
struct Growing {
    dir: tempfile::TempDir,
    journal: Journal,
    sealed: Vec<Chunk>,
    samples: Vec<Sample>,
    done: usize,
}

impl Growing {
    fn new(codec: &Codec, samples: Vec<Sample>) -> Growing {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path(), codec.clone()).unwrap();
        Growing { dir, journal, sealed: Vec::new(), samples, done: 0 }
    }

    /// Records what was captured up to a time, and flushes it.
    fn record_until(&mut self, millis: i64) {
        let end = range(0, millis).end();
        let count = self.samples[self.done..].iter().take_while(|s| s.wall < end).count();
        let closed = append(&mut self.journal, &self.samples[self.done..self.done + count]);
        self.sealed.extend(closed.iter().map(sealed));
        self.done += count;
    }

    /// As a reader finds it, who knows nothing of the writer.
    fn view(&self, growing: bool) -> TrackView {
        let open = open_chunks(Path::new(self.dir.path())).unwrap();
        TrackView::new([self.sealed.clone(), open].concat(), growing)
    }
}

/// What of a playlist must not change: the list itself, and how long its segments are at the most.
fn told(plan: &Plan) -> String {
    let text = plan.playlist();
    let (head, list) = text.split_once("#EXT-X-MAP").unwrap();
    let longest: u64 = head.split_once("TARGETDURATION:").unwrap().1.lines().next().unwrap().parse().unwrap();
    let lengths = list.split("#EXTINF:").skip(1).map(|line| line.split_once(',').unwrap().0.parse::<f64>().unwrap());
    assert!(lengths.into_iter().all(|length| length.round() as u64 <= longest), "{text}");
    assert_eq!(longest, 5, "{text}");
    list.trim_end_matches("#EXT-X-ENDLIST\n").to_owned()
}

/// Records both tracks step by step, the sound `lag` behind, plans what is there after each, and compares with the step before.
fn assert_grows(video: Option<Growing>, audio: Option<Growing>, lag: i64) -> Served {
    let (mut video, mut audio) = (video, audio);
    let mut last: Option<(String, Vec<Vec<u8>>)> = None;
    let (steps, mut seen) = (40, 0);
    let now = |video: &Option<Growing>, audio: &Option<Growing>, growing: bool| {
        let view = |track: &Option<Growing>| track.as_ref().map(|t| t.view(growing));
        plan(view(video).as_ref(), view(audio).as_ref(), range(0, 60_000), &PlanOptions::growing()).unwrap()
    };
    for step in 1..=steps {
        video.iter_mut().for_each(|track| track.record_until(step * 700));
        audio.iter_mut().for_each(|track| track.record_until(step * 700 - lag));
        let growing = step < steps;
        let plan = now(&video, &audio, growing);
        assert_eq!(plan.is_complete(), !growing);
        let bytes: Vec<Vec<u8>> = (0..plan.segments()).map(|n| segment(&plan, n)).collect();
        if let Some((text, before)) = &last {
            assert!(told(&plan).starts_with(text), "{}\ndoes not begin with\n{text}", told(&plan));
            assert_eq!(bytes[..before.len()], before[..], "segments changed at step {step}");
            seen += usize::from(bytes.len() > before.len());
        }
        last = Some((told(&plan), bytes));
    }
    assert!(seen > 3, "the playlist grew {seen} times");
    Served::new(now(&video, &audio, false))
}

#[test]
fn pictures_with_sound_grow_and_what_was_told_stays_true() {
    // At the first step both have a key frame.
    for lag in [0, 650, -3000] {
        let video = Growing::new(&pictures().codec, pictures().samples.clone());
        let audio = Growing::new(&sound().codec, sound().samples.clone());
        let served = assert_grows(Some(video), Some(audio), lag);
        assert_eq!(served.watch().len(), 600);
        assert_eq!(served.listen().len() / 2 / 1024, 938);
    }
}

#[test]
fn pictures_that_stand_still_grow_and_what_was_told_stays_true() {
    let mut samples = pictures().samples[..100].to_vec();
    samples.extend(later(&pictures().samples[100..], Span::seconds(4), 90_000));
    let served = assert_grows(Some(Growing::new(&pictures().codec, samples)), None, 0);
    assert_eq!(served.watch().len(), 600);
}

#[test]
fn sound_alone_grows_and_what_was_told_stays_true() {
    let mut samples = sound().samples[..200].to_vec();
    samples.extend(later(&sound().samples[200..], Span::seconds(3), 48_000));
    let served = assert_grows(None, Some(Growing::new(&sound().codec, samples)), 0);
    assert_eq!(served.plan.samples() as usize, sound().samples.len() + 141);
}
