//! The only room that starts a process. A command line is a value that others build purely and snapshot-test; here it is run:
//! without a terminal, in a group of its own, with the end of its stderr kept for the error message, within a limit of memory where one
//! is said, and killed when dropped.
//! What the arguments mean is no business of this file.

use std::collections::VecDeque;
use std::fmt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit, setpriority_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

/// Variables that no other program needs: keys of ours.
const KEYS: [&str; 6] = [
    "VITASCOPE_API_KEY",
    "VITASCOPE_TRANSCRIBE_KEY",
    "VITASCOPE_COMPLETE_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// The programs that we ever start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ffmpeg,
    Ffprobe,
    YtDlp,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Program::Ffmpeg => "ffmpeg",
            Program::Ffprobe => "ffprobe",
            Program::YtDlp => "yt-dlp",
        }
    }
}

/// What to run, as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub program: Program,
    pub args: Vec<String>,
    /// Bytes of memory of its own that it may have; None: as many as there are.
    memory: Option<u64>,
    /// Whether everything else goes before it.
    is_patient: bool,
}

/// How far down the queue for a processor a patient process stands, of 19.
const PATIENCE: i32 = 10;

impl CommandLine {
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(program: Program, args: I) -> Self {
        CommandLine { program, args: args.into_iter().map(Into::into).collect(), memory: None, is_patient: false }
    }

    /// With so many bytes of memory and no more: what asks for more ends with an error.
    #[must_use]
    pub fn within(self, memory: u64) -> Self {
        CommandLine { memory: Some(memory), ..self }
    }

    /// With what the others leave of the processors.
    #[must_use]
    pub fn patiently(self) -> Self {
        CommandLine { is_patient: true, ..self }
    }
}

/// As one would type it, for snapshots and logs; words that hold spaces are quoted.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program.name())?;
        for arg in &self.args {
            if arg.is_empty() || arg.contains(char::is_whitespace) {
                write!(f, " '{arg}'")?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        Ok(())
    }
}

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    program: Program,
    tail: Tail,
    stderr: JoinHandle<()>,
}

/// Starts `line` with all three pipes; `stdin` and `stdout` are taken from the result.
pub fn start(line: &CommandLine) -> Result<(Running, ChildStdin, ChildStdout)> {
    #[expect(clippy::disallowed_methods, reason = "this is the one room that starts processes")]
    let mut command = Command::new(line.program.name());
    command.args(&line.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for key in KEYS {
        command.env_remove(key);
    }
    // A group of its own: Ctrl-C in a terminal reaches us, and we let the process finish what it holds.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| {
        Error::unavailable(format!("{} could not be started; is it installed and on PATH?", line.program.name()))
            .because(e)
    })?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let (Some(memory), Some(pid)) = (line.memory, pid) {
        let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
        prlimit(Some(pid), Resource::Data, limit).internal("limit the memory of a process")?;
    }
    if line.is_patient {
        // Before it has threads: they take over what the first one has.
        setpriority_process(pid, PATIENCE).internal("lower the priority of a process")?;
    }
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::internal("a started process has no pipes"));
    };
    let tail = Tail::default();
    let stderr = tokio::spawn(read_tail(stderr, tail.clone()));
    Ok((Running { child, program: line.program, tail, stderr }, stdin, stdout))
}

impl Running {
    /// Waits for the end; an exit code other than 0 is an error that tells the last words of stderr.
    pub async fn finish(mut self) -> Result<()> {
        let status = self.child.wait().await.internal("wait for a process")?;
        // The pipe may outlive the process in a child of its own: the words so far must do then.
        if timeout(Duration::from_millis(200), &mut self.stderr).await.is_err() {
            self.stderr.abort();
        }
        if status.success() {
            return Ok(());
        }
        Err(Error::internal(format!("{} ended with {status}: {}", self.program.name(), self.tail.text())))
    }

    /// The last lines of stderr so far.
    pub fn last_words(&self) -> String {
        self.tail.text()
    }
}

/// Runs `line` to its end with nothing on stdin and returns its stdout, at most `most` bytes of it, within `limit`.
pub async fn output(line: &CommandLine, most: usize, limit: Duration) -> Result<Vec<u8>> {
    through(line, &[], most, limit).await
}

/// The same with `input` on stdin, one slice after the other; a process that has read enough may end before it has read all.
pub async fn through(line: &CommandLine, input: &[&[u8]], most: usize, limit: Duration) -> Result<Vec<u8>> {
    let (running, mut stdin, stdout) = start(line)?;
    let write = async move {
        for bytes in input {
            if stdin.write_all(bytes).await.is_err() {
                // If it should have read on, its exit code says so.
                return;
            }
        }
    };
    let read = async {
        let mut bytes = Vec::new();
        let mut capped = stdout.take(most as u64 + 1);
        capped.read_to_end(&mut bytes).await.internal("read a process's output")?;
        if bytes.len() > most {
            return Err(Error::new(ErrorKind::ResourceExhausted, "a process wrote more than it may"));
        }
        running.finish().await?;
        Ok(bytes)
    };
    let late = || Error::new(ErrorKind::ResourceExhausted, format!("{} took longer than it may", line.program.name()));
    // Both at once: either pipe may be full. What was written is closed when it is through.
    let both = async {
        tokio::pin!(write, read);
        tokio::select! {
            biased;
            result = &mut read => result,
            () = &mut write => read.await,
        }
    };
    timeout(limit, both).await.map_err(|_| late())?
}

/// The last lines that a process said, bounded.
#[derive(Clone, Debug, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    const LINES: usize = 12;
    const LINE_BYTES: usize = 400;

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == Self::LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(Self::LINE_BYTES).collect());
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

async fn read_tail(stderr: ChildStderr, tail: Tail) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line is capped by reading at most so much of it; the rest comes as the next "line".
        match (&mut reader).take(4096).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tracing::debug!(target: "process", "{}", text.trim_end());
                tail.push(text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_command_line_prints_as_typed() {
        let line = CommandLine::new(Program::Ffmpeg, ["-i", "a b.mp4", ""]);
        assert_eq!(line.to_string(), "ffmpeg -i 'a b.mp4' ''");
    }

    #[tokio::test]
    async fn output_is_what_it_wrote() {
        let line = CommandLine::new(Program::Ffprobe, ["-version"]);
        let text = output(&line, 1 << 20, LIMIT).await.unwrap();
        assert!(text.starts_with(b"ffprobe version"));
    }

    #[tokio::test]
    async fn too_much_output_and_failures_are_errors_with_the_last_words() {
        let line = CommandLine::new(Program::Ffprobe, ["-version"]);
        assert_eq!(output(&line, 10, LIMIT).await.unwrap_err().kind, ErrorKind::ResourceExhausted);
        let line = CommandLine::new(Program::Ffmpeg, ["-nostdin", "-i", "/nonexistent.mp4"]);
        let error = output(&line, 10, LIMIT).await.unwrap_err();
        assert!(error.message.contains("No such file"), "{error}");
    }

    #[tokio::test]
    async fn what_goes_through_is_read_while_it_is_written() {
        let line = CommandLine::new(Program::Ffmpeg, "-v error -f u8 -ac 1 -i pipe:0 -f u8 pipe:1".split(' '));
        let sound = vec![128; 3 << 20];
        assert_eq!(through(&line, &[&sound, &[128]], 4 << 20, LIMIT).await.unwrap().len(), sound.len() + 1);
        let line = CommandLine::new(Program::Ffmpeg, "-v error -t 0.01 -f u8 -i pipe:0 -f u8 pipe:1".split(' '));
        assert!(
            through(&line, &[&sound], 4 << 20, LIMIT).await.unwrap().len() < 10_000,
            "it reads as much as it wants"
        );
    }

    #[tokio::test]
    async fn what_needs_too_much_memory_fails() {
        let picture = |size: &str| {
            let source = format!("color=s={size}:d=0.1");
            let words = [
                "-nostdin", "-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264", "-threads", "1", "-f",
                "null", "-",
            ];
            CommandLine::new(Program::Ffmpeg, words.map(str::to_owned)).within(200 << 20)
        };
        assert!(output(&picture("640x360"), 10, LIMIT).await.is_ok());
        let error = output(&picture("3840x2160"), 10, LIMIT).await.unwrap_err();
        assert!(error.message.contains("malloc"), "{error}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_stopped() {
        let line =
            CommandLine::new(Program::Ffmpeg, ["-nostdin", "-re", "-f", "lavfi", "-i", "anullsrc", "-f", "null", "-"]);
        let error = output(&line, 10, Duration::from_millis(300)).await.unwrap_err();
        assert!(error.message.contains("took longer"), "{error}");
    }
}
