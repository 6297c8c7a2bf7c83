//! Hours of speech without an end, faster than life: `long MODELS FILE.wav [MINUTES]`. The recording is said again and again, a pause between,
//! so where each word belongs is known. Prints memory as it goes on, and how far the words of each round lie from those of the first.
//! Ends with 1 if memory grows by more than a tenth, or words drift by more than 0.2 s.
#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use vitascope_ai::speech::score::words;
use vitascope_ai::speech::{LiveConfig, LiveTranscriber, RATE, Utterance};
use vitascope_model::Result;

mod wav;

const PAUSE: usize = 2 * RATE;
const MOST_DRIFT: f64 = 0.2;
const MOST_GROWTH: f64 = 1.1;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, file, minutes @ ..] = &arguments[..] else { panic!("usage: long MODELS FILE.wav [MINUTES]") };
    let minutes: usize = minutes.first().map_or(35, |n| n.parse().expect("a number of minutes"));
    let mut round = wav::read(Path::new(file));
    round.extend([0.0; PAUSE]);
    let rounds = minutes * 60 * RATE / round.len() + 1;
    let transcriber = LiveTranscriber::load(Path::new(models), LiveConfig::default(), 2)?;
    let heard: Arc<Mutex<Vec<Utterance>>> = Arc::default();
    let list = heard.clone();
    let mut channel = transcriber.open(Box::new(move |u| {
        if u.is_final {
            list.lock().expect("no thread panicked").push(u);
        }
    }));
    let (began, mut memory) = (Instant::now(), Vec::new());
    for n in 0..rounds {
        for packet in round.chunks(RATE / 50) {
            channel.push(packet)?;
        }
        memory.push(resident_mb());
        if n % 5 == 0 || n + 1 == rounds {
            let minute = channel.position() as f64 / RATE as f64 / 60.0;
            println!("minute {minute:5.1}: {:6.1} MB, {:.0} s passed", memory[n], began.elapsed().as_secs_f64());
        }
    }
    channel.finish()?;
    let period = round.len() as f64 / RATE as f64;
    let heard = heard.lock().expect("no thread panicked");
    let texts: usize = heard.iter().map(|u| u.words.len()).sum();
    let slowest = heard.iter().map(|u| u.waited.to_seconds() + u.computed.to_seconds()).fold(0.0, f64::max);
    let (drift, compared) = drift(&heard, period, rounds);
    // The first rounds fill what is filled once.
    let settled = memory[memory.len() / 4];
    let growth = memory.iter().skip(memory.len() / 4).fold(0.0_f64, |m, v| m.max(*v)) / settled;
    println!("{rounds} rounds of {period:.1} s, {} finals, {texts} words", heard.len());
    println!(
        "the slowest final took {slowest:.2} s; drift of a round at most {drift:.3} s ({compared} words compared); memory x{growth:.3}"
    );
    std::process::exit(i32::from(drift > MOST_DRIFT || growth > MOST_GROWTH));
}

/// The largest median distance of a round's words from the same words of the first round.
fn drift(heard: &[Utterance], period: f64, rounds: usize) -> (f64, usize) {
    let mut said: Vec<Vec<(String, f64)>> = vec![Vec::new(); rounds];
    for word in heard.iter().flat_map(|u| &u.words) {
        let at = word.start.to_seconds();
        let n = ((at / period) as usize).min(rounds - 1);
        said[n].push((words(&word.text).concat(), at - n as f64 * period));
    }
    let (mut worst, mut compared) = (0.0_f64, 0);
    for round in &said[1..] {
        // Cuts fall elsewhere in each round, so a word is compared where the first round has the same one within a second.
        let mut off: Vec<f64> = round
            .iter()
            .filter_map(|(word, at)| {
                let same = said[0].iter().filter(|(w, _)| w == word).map(|(_, first)| at - first);
                same.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|d| d.abs() < 1.0)
            })
            .collect();
        assert!(off.len() * 2 > said[0].len(), "a round was not heard: {} of {} words", off.len(), said[0].len());
        off.sort_by(f64::total_cmp);
        compared += off.len();
        worst = worst.max(off[off.len() / 2].abs());
    }
    (worst, compared)
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages: f64 = status.split(' ').nth(1).expect("two fields").parse().expect("a number");
    pages * 4096.0 / 1e6
}
