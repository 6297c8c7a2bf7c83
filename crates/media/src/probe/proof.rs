//! The proof that something of a file can be shown and heard: its first picture and its first sound are decoded. What a container claims
//! costs nothing; a file of which nothing can be decoded is refused before anybody is told that it became a video.

use std::path::Path;

use vitascope_model::{Error, Result};

use super::{LIMIT, Probe, unreadable};
use crate::process::{self, CommandLine, Program};
use crate::reading;

/// A line for the frame, and a few that describe the stream.
const MOST_OUTPUT: usize = 16 << 10;

/// Decodes the first frame of what is going to be played.
pub async fn prove(file: &Path, probe: &Probe) -> Result<()> {
    let picture = probe.picture.as_ref().map(|picture| picture.index);
    let sound = probe.sounds.first().map(|sound| sound.index);
    // A process for each: ffmpeg ends all that goes into a file with the first that is complete.
    tokio::try_join!(prove_one(file, picture, "picture"), prove_one(file, sound, "sound"))?;
    Ok(())
}

async fn prove_one(file: &Path, stream: Option<u32>, what: &str) -> Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let said = process::output(&command_line(file, stream), MOST_OUTPUT, LIMIT).await.map_err(unreadable)?;
    if !has_frame(&String::from_utf8_lossy(&said)) {
        return Err(Error::invalid(format!("no {what} of the file can be decoded: it is damaged")));
    }
    Ok(())
}

fn command_line(file: &Path, stream: u32) -> CommandLine {
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let before = format!("-nostdin {} {} -threads 1 -i", reading::quiet(), reading::limits());
    let after = format!("-map 0:{stream} -frames 1 -f framecrc pipe:1");
    let words = [split(&before), vec![reading::name_of(file)], split(&after)].concat();
    CommandLine::new(Program::Ffmpeg, words).within(reading::MOST_MEMORY)
}

/// Lines that begin with `#` describe.
fn has_frame(said: &str) -> bool {
    said.lines().any(|line| !line.starts_with('#') && line.contains(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_what_describes_them() {
        assert!(has_frame("#software: Lavf59\n#tb 0: 1/25\n0,          0,          0,        1,   345600, 0x9a\n"));
        assert!(!has_frame("#tb 0: 1/25\n"));
    }
}
