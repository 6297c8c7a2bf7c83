//! What is heard against what was said: read speech loud and quiet, and channels side by side.
#![expect(clippy::disallowed_methods, reason = "a test finds the models by the environment")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use vitascope_ai::models::Installed;
use vitascope_ai::speech::score::word_errors;
use vitascope_ai::speech::{LiveConfig, LiveTranscriber, Utterance};

use crate::wav;

pub(crate) fn models() -> PathBuf {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let cache =
        || variable("XDG_CACHE_HOME").map(PathBuf::from).or(variable("HOME").map(|h| PathBuf::from(h).join(".cache")));
    variable("VITASCOPE_MODELS_DIR").map_or_else(|| cache().unwrap().join("vitascope/models"), PathBuf::from)
}

pub(crate) fn transcriber() -> &'static LiveTranscriber {
    static LOADED: OnceLock<LiveTranscriber> = OnceLock::new();
    LOADED.get_or_init(|| {
        Installed::read(&models()).unwrap().verify().unwrap();
        LiveTranscriber::load(&models(), LiveConfig::default(), 2).unwrap()
    })
}

pub(crate) fn speech(name: &str) -> Vec<f32> {
    wav::read(&models().join("speech").join(name))
}

pub(crate) fn text(finals: &[Utterance]) -> String {
    finals.iter().map(|u| u.text.as_str()).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_heard(pcm: &[f32], reference: &str, most_percent: usize) {
    let heard = text(&transcriber().transcribe(pcm).unwrap());
    let (errors, words) = word_errors(reference, &heard);
    println!("{errors} of {words} words wrong: {heard}");
    assert!(errors * 100 <= words * most_percent, "{errors} of {words}: {heard}");
}

const TWO_CITIES: &str = include_str!("../../../../fixtures/speech/two_cities.txt");
pub(crate) const BECKETT: &str = include_str!("../../../../fixtures/speech/beckett.txt");

#[test]
fn read_speech_is_heard() {
    assert_heard(&speech("two_cities.wav"), TWO_CITIES, 8);
    assert_heard(&speech("beckett.wav"), BECKETT, 17);
}

#[test]
fn quiet_speech_is_heard() {
    let quiet: Vec<f32> = speech("two_cities.wav").iter().map(|s| s * 0.0316).collect();
    assert_heard(&quiet, TWO_CITIES, 12);
}

#[test]
fn words_have_times_in_order_within_their_utterance() {
    let finals = transcriber().transcribe(&speech("beckett.wav")).unwrap();
    assert!(finals.len() > 1);
    for u in &finals {
        assert!(!u.words.is_empty() && u.confidence > 0.2 && u.confidence <= 1.0);
        let joined = u.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(word_errors(&u.text, &joined).0, 0, "{} / {joined}", u.text);
        assert!(u.words.windows(2).all(|w| w[0].start <= w[1].start), "{:?}", u.words);
        assert!(u.words.iter().all(|w| w.start <= w.end && w.end.0 <= u.end.0 + 500_000), "{u:?}");
    }
    assert!(finals.windows(2).all(|f| f[0].end <= f[1].start && f[0].number < f[1].number));
}

#[test]
fn who_watches_a_channel_does_not_keep_its_sink() {
    let (sender, heard) = std::sync::mpsc::channel();
    let sender = Mutex::new(sender);
    let channel = transcriber().open(Box::new(move |u| sender.lock().unwrap().send(u).unwrap()));
    let watch = channel.watch();
    channel.finish().unwrap();
    assert!(
        heard
            .recv_timeout(std::time::Duration::from_secs(20))
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Disconnected)
    );
    assert_eq!(watch.oldest_final().0, 0);
}

#[test]
fn several_channels_at_once_all_finish_and_each_final_comes_once() {
    let pcm = speech("beckett.wav");
    let heard: Vec<Arc<Mutex<Vec<Utterance>>>> = (0..4).map(|_| Arc::default()).collect();
    std::thread::scope(|scope| {
        for (n, list) in heard.iter().enumerate() {
            let pcm = &pcm;
            scope.spawn(move || {
                let list = list.clone();
                let mut channel = transcriber().open(Box::new(move |u| list.lock().unwrap().push(u)));
                pcm.chunks(300 + 977 * n).for_each(|piece| channel.push(piece).unwrap());
                assert_eq!(channel.position(), pcm.len() as u64);
                channel.finish().unwrap();
            });
        }
    });
    for list in &heard {
        let list = list.lock().unwrap();
        let finals: Vec<u64> = list.iter().filter(|u| u.is_final).map(|u| u.number).collect();
        assert!(!finals.is_empty() && finals.windows(2).all(|n| n[0] < n[1]), "{finals:?}");
        for u in list.iter().filter(|u| !u.is_final) {
            assert!(finals.contains(&u.number), "an interim without a final: {u:?}");
        }
        let order: Vec<u64> = list.iter().map(|u| u.number).collect();
        assert!(order.is_sorted(), "{order:?}");
    }
}
