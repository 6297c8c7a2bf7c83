//! Measures the text embedding model: `embed MODELS FILE.txt [THREADS]` embeds the sentences of a file in lists of 32. Prints the time to
//! load, sentences a second of processor time, which other work on the machine bends less than the clock's, and the memory that it took.
#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use std::path::Path;

use vitascope_ai::embed::Embedder;
use vitascope_model::Result;

const LIST: usize = 32;
const ROUNDS: usize = 30;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, file, threads @ ..] = &arguments[..] else { panic!("usage: embed MODELS FILE.txt [THREADS]") };
    let threads = threads.first().map_or(1, |n| n.parse().expect("a number of threads"));
    let text = std::fs::read_to_string(file).expect("a text file");
    let lines: Vec<&str> =
        text.split_inclusive(['.', '?', '!', '\n']).map(str::trim).filter(|l| !l.is_empty()).collect();
    let sentences: Vec<String> = lines.iter().cycle().take(LIST).map(|l| (*l).to_owned()).collect();
    let words: usize = sentences.iter().map(|s| s.split_whitespace().count()).sum();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let before = kilobytes("VmRSS:");
    let embedder = Embedder::local_on(Path::new(models), threads)?;
    let embed = |texts: &[String]| {
        let began = cpu_seconds();
        runtime.block_on(embedder.embed(texts.to_vec())).expect("texts are embedded");
        cpu_seconds() - began
    };
    let loading = embed(&["warm".into()]);
    println!("loaded, with a first text: {loading:.2} s, {} MB", (kilobytes("VmRSS:") - before) / 1000);
    println!("{LIST} sentences of {:.1} words", words as f64 / LIST as f64);
    let rate = |texts: &[String], size: usize| {
        let seconds: f64 = (0..ROUNDS).flat_map(|_| texts.chunks(size)).map(embed).sum();
        (ROUNDS * texts.len()) as f64 / seconds
    };
    println!("in lists of {LIST}: {:.0} a second", rate(&sentences, LIST));
    println!("one at a time: {:.0} a second", rate(&sentences, 1));
    println!("texts of 256 tokens: {:.1} a second", rate(&vec!["a long text of many words ".repeat(100); 8], 8));
    let (now, most) = (kilobytes("VmRSS:"), kilobytes("VmHWM:"));
    println!("memory: {} MB more than before, at most {} MB in all", (now - before) / 1000, most / 1000);
    Ok(())
}

/// User and system time of this process, from the kernel's count of clock ticks (100 a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|f| f.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

/// A figure of this process's memory.
fn kilobytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find(|l| l.starts_with(name)).expect("the kernel tells it");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}
