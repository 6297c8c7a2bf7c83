//! Streams a WAV file in real time and measures: `live MODELS FILE.wav [CHANNELS]`.
//! Shown: from a word's end (the final's own time) to the first interim that has it. Final: from the end of speech to the final.
#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vitascope_ai::speech::score::words;
use vitascope_ai::speech::{LiveConfig, LiveTranscriber, RATE, Utterance};
use vitascope_model::Result;

mod wav;

type Heard = Arc<Mutex<Vec<(f64, Utterance)>>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, file, channels @ ..] = &arguments[..] else { panic!("usage: live MODELS FILE.wav [CHANNELS]") };
    let count: usize = channels.first().map_or(1, |n| n.parse().expect("a number of channels"));
    let mut pcm = wav::read(Path::new(file));
    pcm.extend([0.0; RATE]);
    let transcriber = LiveTranscriber::load(Path::new(models), LiveConfig::default(), 2)?;
    let heard: Vec<Heard> = (0..count).map(|_| Heard::default()).collect();
    let (began, busy) = (Instant::now(), cpu_seconds());
    std::thread::scope(|scope| {
        for list in &heard {
            let (transcriber, pcm) = (&transcriber, &pcm);
            scope.spawn(move || stream(transcriber, pcm, list.clone(), began).expect("a channel streams"));
        }
    });
    let share = (cpu_seconds() - busy) / (pcm.len() as f64 / RATE as f64) / count as f64;
    let (mut shown, mut last) = (Vec::new(), Vec::new());
    heard.iter().for_each(|list| measure(&list.lock().expect("no thread panicked"), &mut shown, &mut last));
    println!("channels {count}, CPU {:.1} % of a core each", 100.0 * share);
    println!("word shown {}", percentiles(shown));
    println!("final      {}", percentiles(last));
    Ok(())
}

/// One channel, in packets of 20 ms on the clock.
fn stream(transcriber: &LiveTranscriber, pcm: &[f32], heard: Heard, began: Instant) -> Result<()> {
    let mut channel = transcriber.open(Box::new(move |u| {
        heard.lock().expect("no thread panicked").push((began.elapsed().as_secs_f64(), u));
    }));
    for (n, packet) in pcm.chunks(RATE / 50).enumerate() {
        let due = Duration::from_millis(20 * (n as u64 + 1));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        channel.push(packet)?;
    }
    channel.finish()
}

fn measure(heard: &[(f64, Utterance)], shown: &mut Vec<f64>, last: &mut Vec<f64>) {
    for (at, utterance) in heard.iter().filter(|(_, u)| u.is_final && !u.text.is_empty()) {
        last.push(at - utterance.end.to_seconds());
        let interims: Vec<_> = heard.iter().filter(|(_, u)| !u.is_final && u.number == utterance.number).collect();
        for (i, word) in utterance.words.iter().enumerate() {
            // A word counts as shown by the first interim that has it about where the final has it.
            let has = |u: &Utterance| {
                words(&u.text).iter().skip(i.saturating_sub(2)).take(5).any(|w| [w.clone()] == words(&word.text)[..])
            };
            let first = interims.iter().find(|(_, u)| has(u)).map_or(*at, |(at, _)| *at);
            shown.push(first - word.end.to_seconds());
        }
    }
}

fn percentiles(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |p: usize| {
        values.get((values.len() * p / 100).min(values.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    format!("p50 {:.2}  p90 {:.2}  p95 {:.2}  max {:.2} s (n {})", at(50), at(90), at(95), at(100), values.len())
}

/// User and system time of this process, from the kernel's count of clock ticks (100 a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|f| f.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}
