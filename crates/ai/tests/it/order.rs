//! What a channel tells, whatever it hears: interims of an utterance lead to one final, which is not told again, not contradicted by a later
//! one, and overlaps none; words lie inside of it. The sounds are scripts of speech, pauses, noise and cuts, drawn by number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vitascope_ai::speech::{RATE, Utterance};

use crate::speech::{speech, transcriber};

struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// About twelve seconds: pieces of speech cut anywhere, silences of any length, noise, and sudden changes of level.
fn script(draw: &mut Draw) -> Vec<f32> {
    let voices = [speech("beckett.wav"), speech("two_cities.wav")];
    let mut pcm = Vec::new();
    while pcm.len() < 12 * RATE {
        let length = RATE / 10 + draw.below(3 * RATE);
        match draw.below(5) {
            0 => pcm.resize(pcm.len() + length / 2, 0.0),
            1 => (0..length / 2).for_each(|_| pcm.push((draw.below(2000) as f32 / 1000.0 - 1.0) * 0.05)),
            _ => {
                let voice = &voices[draw.below(2)];
                let at = draw.below(voice.len() - length);
                let level = [1.0, 0.3, 0.05][draw.below(3)];
                pcm.extend(voice[at..at + length].iter().map(|s| s * level));
            }
        }
    }
    pcm
}

/// At five times the pace of life, in packets of any size: enough for interims to come, some of them late.
fn told(pcm: &[f32], draw: &mut Draw) -> Vec<Utterance> {
    let heard: Arc<Mutex<Vec<Utterance>>> = Arc::default();
    let list = heard.clone();
    let mut channel = transcriber().open(Box::new(move |u| list.lock().unwrap().push(u)));
    let (began, mut at) = (Instant::now(), 0);
    while at < pcm.len() {
        let end = (at + 1 + draw.below(RATE / 5)).min(pcm.len());
        let due = Duration::from_secs_f64(at as f64 / RATE as f64 / 5.0);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        channel.push(&pcm[at..end]).unwrap();
        at = end;
    }
    channel.finish().unwrap();
    let heard = heard.lock().unwrap();
    heard.clone()
}

fn check(told: &[Utterance]) {
    let mut by_number: BTreeMap<u64, Vec<&Utterance>> = BTreeMap::new();
    for u in told {
        by_number.entry(u.number).or_default().push(u);
    }
    assert!(told.windows(2).all(|u| u[0].number <= u[1].number), "one utterance after the other");
    for utterances in by_number.values() {
        let (last, interims) = utterances.split_last().unwrap();
        assert!(last.is_final, "what was begun is ended: {last:?}");
        assert!(
            interims.iter().all(|u| !u.is_final && u.start == last.start),
            "one final, and it is the last: {utterances:?}"
        );
        assert!(interims.windows(2).all(|u| u[0].end <= u[1].end), "interims grow: {interims:?}");
    }
    let finals: Vec<&Utterance> = told.iter().filter(|u| u.is_final).collect();
    assert!(finals.windows(2).all(|f| f[0].end <= f[1].start), "finals do not overlap: {finals:?}");
    for u in finals {
        assert!(u.start <= u.end && u.text.is_empty() == u.words.is_empty(), "{u:?}");
        let inside = |at| u.start <= at && at <= u.end;
        assert!(u.words.iter().all(|w| inside(w.start) && inside(w.end) && w.start <= w.end), "{u:?}");
        assert!(u.words.windows(2).all(|w| w[0].start <= w[1].start), "{u:?}");
        let joined = u.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(joined, u.text, "the words are the text");
    }
}

#[test]
fn every_utterance_has_one_final_and_nothing_is_taken_back() {
    let (mut finals, mut interims) = (0, 0);
    std::thread::scope(|scope| {
        let channels: Vec<_> = (0..6)
            .map(|seed| {
                scope.spawn(move || {
                    let mut draw = Draw(seed);
                    let told = told(&script(&mut draw), &mut draw);
                    check(&told);
                    told
                })
            })
            .collect();
        for channel in channels {
            let told = channel.join().unwrap();
            finals += told.iter().filter(|u| u.is_final && !u.text.is_empty()).count();
            interims += told.iter().filter(|u| !u.is_final).count();
        }
    });
    println!("{finals} finals, {interims} interims");
    assert!(finals > 10, "{finals} finals");
}
