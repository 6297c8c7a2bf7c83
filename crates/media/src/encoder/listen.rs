//! The sound of a stranger's file as speech models hear it: 16 kHz, one channel, numbers. Read within the limits that hold for every such
//! file; what is made of the sound is the caller's business.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use crate::probe::unreadable;
use crate::process::{self, CommandLine, Program, Running};
use crate::reading;

/// A decoder that gives nothing for so long has stalled.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes that are read at once: half a second.
const BLOCK: usize = 32 << 10;

/// Sound on its way; dropping it ends it.
pub struct Listening {
    running: Option<Running>,
    stdout: ChildStdout,
    rest: Vec<u8>,
}

/// Begins to decode the sound of a file that plays if nobody chooses.
pub fn listen(file: &Path) -> Result<Listening> {
    let (running, stdin, stdout) = process::start(&command_line(file))?;
    drop(stdin);
    Ok(Listening { running: Some(running), stdout, rest: Vec::new() })
}

fn command_line(file: &Path) -> CommandLine {
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let before = split(&format!("-nostdin {} {} -threads 1 -i", reading::quiet(), reading::limits()));
    let after = split("-map 0:a:0 -vn -sn -dn -af aresample=async=1:first_pts=0 -ac 1 -ar 16000 -f f32le pipe:1");
    CommandLine::new(Program::Ffmpeg, [before, vec![reading::name_of(file)], after].concat())
        .within(reading::MOST_MEMORY)
}

impl Listening {
    /// The next samples; none when all were given.
    pub async fn next(&mut self) -> Result<Option<Vec<f32>>> {
        loop {
            let mut block = vec![0; BLOCK];
            let read = timeout(STALLED, self.stdout.read(&mut block)).await;
            let size = read.map_err(|_| Error::invalid("the sound of the file takes too long to decode"))?;
            let size = size.internal("read sound from a decoder")?;
            if size == 0 {
                if let Some(running) = self.running.take() {
                    running.finish().await.map_err(unreadable)?;
                }
                return Ok(None);
            }
            self.rest.extend_from_slice(&block[..size]);
            let (whole, part) = self.rest.as_chunks::<4>();
            let samples: Vec<f32> = whole.iter().map(|b| f32::from_le_bytes(*b)).collect();
            self.rest = part.to_vec();
            if !samples.is_empty() {
                return Ok(Some(samples));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_limits() {
        let line = command_line(Path::new("/a b.mp3")).to_string();
        assert!(line.contains("-protocol_whitelist file") && line.contains("'file:/a b.mp3'"), "{line}");
        assert!(line.ends_with("-ac 1 -ar 16000 -f f32le pipe:1"), "{line}");
    }
}
