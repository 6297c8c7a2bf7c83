//! `vitascope-capture`: records this desktop for the SDKs' capture client, which starts it and talks to it over stdin and stdout;
//! or by hand. This file puts the parts together and ends them in order; every power is in a file of its own.

mod api;
mod camera;
mod channel;
mod clock;
mod commands;
mod config;
mod eye;
mod fit;
mod health;
mod install;
mod picture;
mod progress;
mod protocol;
mod publish;
mod pulse;
mod record;
mod rtp;
mod rtsp;
mod screen;
mod session;
mod settings;
mod sound;
mod track;
mod windows;
mod x11;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use vitascope_model::Result;
use vitascope_model::error::Context;

use crate::commands::Recorder;
use crate::config::Config;
use crate::session::Surroundings;
use crate::settings::Flags;

/// Records this desktop for the VideoDB SDKs. Without arguments it talks the SDKs' recorder protocol over stdin and stdout.
#[derive(Debug, Parser)]
#[command(name = "vitascope-capture", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Asked>,
    #[command(flatten)]
    screen: Flags,
}

#[derive(Debug, Subcommand)]
enum Asked {
    /// Records by hand: until Ctrl+C, then prints the address of the video.
    Record(record::Arguments),
    /// Puts this recorder where the npm package `videodb` looks for one.
    Install {
        /// The project folder that holds `node_modules/videodb`.
        #[arg(long)]
        node: PathBuf,
    },
}

/// What a stop may take when the process ends; the clients kill after 5 s.
const END_WITHIN: Duration = Duration::from_secs(4);

/// Ctrl+Z, which is ignored where windows are hidden: to look at them the X server is taken for a moment, and a recorder that were
/// stopped just then would stop the whole desktop with it.
const SIGTSTP: i32 = 20;

/// Longer lines are nobody's.
const LONGEST_LINE: u64 = 1 << 20;

fn main() -> ExitCode {
    let asked = Arguments::parse();
    let screen = asked.screen;
    let done = match asked.command {
        Some(Asked::Install { node }) => install(&node),
        Some(Asked::Record(arguments)) => within_runtime(screen, |config| record::run(arguments, config)),
        None => within_runtime(screen, serve),
    };
    done.unwrap_or_else(|error| {
        eprintln!("vitascope-capture: {error}");
        ExitCode::FAILURE
    })
}

fn install(project: &Path) -> Result<ExitCode> {
    for target in install::into_node(project)? {
        eprintln!("vitascope-capture: {} leads here now", target.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn within_runtime<W: Future<Output = Result<ExitCode>>>(
    screen: Flags,
    work: impl FnOnce(Config) -> W,
) -> Result<ExitCode> {
    let config = Config::from_env(screen)?;
    if let Some(filter) = &config.log {
        let subscriber = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
        subscriber.with_ansi(std::io::stderr().is_terminal()).init();
    }
    // Only the first provider of a process can be installed, and there is no other.
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.internal("start the runtime")?;
    let hides = !config.hidden.is_empty();
    let done = runtime.block_on(async {
        if hides {
            let _ignored = signal(SignalKind::from_raw(SIGTSTP)).internal("listen for SIGTSTP")?;
        }
        work(config).await
    });
    // A thread that waits for a device or for stdout must not hold up the end.
    runtime.shutdown_background();
    done
}

async fn serve(config: Config) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).internal("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).internal("listen for SIGINT")?;
    let (lines, written) = mpsc::unbounded_channel();
    let (events, mut happened) = mpsc::unbounded_channel::<protocol::Event>();
    let writing = tokio::task::spawn_blocking(move || write_lines(written));
    let event_lines = lines.clone();
    let telling = tokio::spawn(async move {
        while let Some(event) = happened.recv().await {
            event_lines.send(event.line()).ok();
        }
    });
    let around = Surroundings { config: Arc::new(config), events };
    let recorder =
        Recorder { around, client: api::client()?, lines, greeting: Default::default(), session: Default::default() };
    let recorder = Arc::new(recorder);
    let input = lines_of_stdin()?;
    tokio::select! {
        () = recorder.serve(input) => tracing::info!("stdin ended or shutdown asked"),
        _ = terminate.recv() => tracing::info!("SIGTERM"),
        _ = interrupt.recv() => tracing::info!("SIGINT"),
    }
    if timeout(END_WITHIN, recorder.end()).await.is_err() {
        tracing::error!("the recording did not end in time");
    }
    drop(recorder);
    // What is still to be said is said, unless somebody holds on to a command or nobody reads.
    let said = async { (telling.await.ok(), writing.await.ok()) };
    timeout(Duration::from_millis(300), said).await.ok();
    Ok(ExitCode::SUCCESS)
}

/// Stdin's lines, read by a thread of their own: a read cannot be cancelled.
fn lines_of_stdin() -> Result<mpsc::Receiver<Vec<u8>>> {
    let (send, lines) = mpsc::channel(16);
    let work = move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = stdin.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
            if read.is_ok_and(|n| n > 0) && send.blocking_send(line).is_ok() {
                continue;
            }
            return;
        }
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(work).internal("start a thread")?;
    Ok(lines)
}

/// The one writer of stdout. Ends with its lines, or when nobody reads them.
fn write_lines(mut lines: mpsc::UnboundedReceiver<String>) {
    let mut stdout = std::io::stdout().lock();
    while let Some(line) = lines.blocking_recv() {
        if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}
