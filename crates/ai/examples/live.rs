//! Streams a WAV file in real time: `live MODELS FILE.wav [CHANNELS]`. Prints what each channel was told as it was told, one line of JSON
//! each, and the processor time at the end. `bench/speech/latency.py` makes figures of it, beside a peer.
#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vitascope_ai::speech::{LiveConfig, LiveTranscriber, RATE, Utterance};
use vitascope_model::Result;

mod wav;

/// Between the beginnings of two channels: people do not pause in step.
const STAGGER: Duration = Duration::from_millis(1370);

type Lines = Arc<Mutex<Vec<Value>>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, file, channels @ ..] = &arguments[..] else { panic!("usage: live MODELS FILE.wav [CHANNELS]") };
    let count: u32 = channels.first().map_or(1, |n| n.parse().expect("a number of channels"));
    let mut pcm = wav::read(Path::new(file));
    pcm.extend([0.0; RATE]);
    let transcriber = LiveTranscriber::load(Path::new(models), LiveConfig::default(), 2)?;
    let lines = Lines::default();
    let (began, busy) = (Instant::now(), cpu_seconds());
    std::thread::scope(|scope| {
        for n in 0..count {
            let (transcriber, pcm, lines) = (&transcriber, &pcm, lines.clone());
            scope.spawn(move || stream(transcriber, pcm, n, lines, began + STAGGER * n).expect("a channel streams"));
        }
    });
    for line in lines.lock().expect("no thread panicked").iter() {
        println!("{line}");
    }
    let dropped = transcriber.pressure().dropped_interims;
    println!("{}", json!({ "cpu": cpu_seconds() - busy, "dropped_interims": dropped }));
    Ok(())
}

/// One channel, in packets of 20 ms on the clock.
fn stream(transcriber: &LiveTranscriber, pcm: &[f32], n: u32, lines: Lines, began: Instant) -> Result<()> {
    std::thread::sleep(began.saturating_duration_since(Instant::now()));
    let mut channel = transcriber.open(Box::new(move |u| {
        lines.lock().expect("no thread panicked").push(line(n, began.elapsed().as_secs_f64(), &u));
    }));
    for (packet, sound) in pcm.chunks(RATE / 50).enumerate() {
        let due = Duration::from_millis(20 * (packet as u64 + 1));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        channel.push(sound)?;
    }
    channel.finish()
}

/// Times in seconds from the channel's first sample.
fn line(channel: u32, at: f64, u: &Utterance) -> Value {
    json!({
        "channel": channel, "at": at, "final": u.is_final, "start": u.start.to_seconds(), "end": u.end.to_seconds(),
        "text": u.text, "waited": u.waited.to_seconds(), "computed": u.computed.to_seconds(),
    })
}

/// User and system time of this process, from the kernel's count of clock ticks (100 a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|f| f.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}
