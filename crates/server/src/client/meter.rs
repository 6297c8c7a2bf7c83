//! How far something is, on stderr: a bar that is drawn over itself on a terminal, a line now and then elsewhere, nothing for a program
//! that reads JSON. What is drawn is made purely; how often is decided here.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::show;

const BAR: usize = 24;
const NAME: usize = 28;
const REDRAWN: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Back to the beginning of the line, and what was there is gone.
const WIPE: &str = "\r\x1b[2K";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Bar,
    Lines,
    Silent,
}

impl Manner {
    pub(super) fn for_stderr(as_json: bool) -> Manner {
        match (std::io::stderr().is_terminal(), as_json) {
            (true, _) => Manner::Bar,
            (false, false) => Manner::Lines,
            (false, true) => Manner::Silent,
        }
    }
}

/// Of one file.
pub(super) struct Meter {
    manner: Manner,
    name: String,
    began: Instant,
    /// Bytes that were there when it began.
    from: u64,
    shown: Option<Instant>,
}

impl Meter {
    pub(super) fn new(manner: Manner, name: &str) -> Meter {
        let name = show::printable(name).chars().take(NAME).collect();
        Meter { manner, name, began: Instant::now(), from: 0, shown: None }
    }

    /// What is there already took no time.
    pub(super) fn begin(&mut self, from: u64) {
        (self.began, self.from) = (Instant::now(), from);
    }

    pub(super) fn at(&mut self, done: u64, total: Option<u64>) {
        if self.is_due() {
            self.draw(&line(&self.name, done, total, done.saturating_sub(self.from), self.began.elapsed()));
        }
    }

    pub(super) fn word(&mut self, text: &str) {
        if self.is_due() {
            self.draw(&format!("{}  {text}", self.name));
        }
    }

    fn is_due(&self) -> bool {
        let pause = match self.manner {
            Manner::Bar => REDRAWN,
            Manner::Lines => LINE_EVERY,
            Manner::Silent => return false,
        };
        // Without a terminal the first line comes when it takes a while.
        let since = self.shown.or((self.manner == Manner::Lines).then_some(self.began));
        since.is_none_or(|at| at.elapsed() >= pause)
    }

    fn draw(&mut self, text: &str) {
        self.shown = Some(Instant::now());
        let mut stderr = std::io::stderr().lock();
        match self.manner {
            Manner::Bar => write!(stderr, "{WIPE}{text}").and_then(|()| stderr.flush()).ok(),
            Manner::Lines => writeln!(stderr, "{text}").ok(),
            Manner::Silent => None,
        };
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        if self.manner == Manner::Bar && self.shown.take().is_some() {
            let mut stderr = std::io::stderr().lock();
            write!(stderr, "{WIPE}").and_then(|()| stderr.flush()).ok();
        }
    }
}

/// `gained` of the `done` bytes came within `elapsed`.
fn line(name: &str, done: u64, total: Option<u64>, gained: u64, elapsed: Duration) -> String {
    let speed = gained as f64 / elapsed.as_secs_f64().max(0.001);
    let Some(total) = total.filter(|total| *total > 0) else {
        return format!("{name}  {}  {}/s", show::size(done), show::size(speed as u64));
    };
    let share = (done as f64 / total as f64).min(1.0);
    let full = (share * BAR as f64) as usize;
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR - full));
    let mut line = format!("{name}  [{bar}] {:>3.0} %  {}/s", (share * 100.0).floor(), show::size(speed as u64));
    if elapsed > Duration::from_secs(1) && speed > 1.0 && done < total {
        line += &format!("  {} left", show::clock((total - done) as f64 / speed));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_how_long_it_will_take() {
        let at = |done, total, gained| line("a.mp4", done, total, gained, Duration::from_secs(10));
        assert_eq!(
            at(50_000_000, Some(100_000_000), 20_000_000),
            "a.mp4  [############............]  50 %  2.0 MB/s  0:25 left"
        );
        assert_eq!(at(100, Some(100), 100), "a.mp4  [########################] 100 %  10 B/s");
        assert_eq!(at(99_999, Some(100_000), 0), "a.mp4  [#######################.]  99 %  0 B/s");
        assert_eq!(at(5_000_000, None, 5_000_000), "a.mp4  5.0 MB  500 kB/s");
    }
}
