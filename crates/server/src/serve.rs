//! `vitascope serve`: the parts put together, in the order in which they depend on each other, and taken down the other way round.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use vitascope_model::Result;
use vitascope_model::error::Context;

use crate::app::{App, account, recording, stream, tus, upload, usage};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::{events, http, jobs, live, rtsp};

/// What is under way at shutdown gets so long: recordings are flushed in a fraction of it.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Runs the server until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<()> {
    let app = App::open(config, Arc::new(SystemClock::new())).await?;
    if let Some(key) = account::bootstrap(&app).await? {
        announce_key(&key);
    }
    let http_door = listen(app.config.listen).await?;
    let rtsp_door = listen(app.config.rtsp_listen).await?;
    start(&app, rtsp_door).await?;
    tracing::info!(http = %app.config.listen, rtsp = %app.config.rtsp_listen, url = app.config.public_url, "vitascope is ready");
    let stop = app.shutdown.clone();
    tokio::spawn(async move {
        wait_for_signal().await;
        stop.cancel();
    });
    http::serve(app.clone(), http_door).await?;
    drain(&app).await;
    Ok(())
}

/// Takes up what an earlier process left, then starts everything that runs by itself.
pub async fn start(app: &App, rtsp_door: TcpListener) -> Result<()> {
    events::begin(app).await?;
    app.objects.keep_copies(&app.config.data_dir.join("copies"), app.config.objects.cache_bytes)?;
    recording::recover_journals(app).await?;
    stream::complete_live(app).await?;
    tus::recover(app).await?;
    upload::clear_broken(app).await?;
    live::remix::complete_all(app).await?;
    app.spawn(events::run_relay(app.clone()));
    app.spawn(events::run_webhooks(app.clone()));
    app.spawn(events::run_passes(app.clone()));
    app.spawn(jobs::run(app.clone()));
    app.spawn(jobs::run_upkeep(app.clone()));
    app.spawn(jobs::sweeper::run(app.clone()));
    app.spawn(jobs::sender::run(app.clone()));
    app.spawn(usage::run(app.clone()));
    app.spawn(live::space::run(app.clone()));
    app.spawn(live::health::watch(app.clone()));
    app.spawn(rtsp::serve(app.clone(), rtsp_door));
    app.embedding.announce();
    live::indexing::resume(app).await?;
    live::session::resume(app).await
}

async fn listen(at: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(at).await.internal(format_args!("listen on {at}"))
}

/// Ends what runs by itself; what is recorded is flushed and sealed.
pub async fn drain(app: &App) {
    app.shutdown.cancel();
    app.tracker.close();
    let ended = async {
        app.ingest.shut_down().await;
        app.tracker.wait().await;
    };
    if tokio::time::timeout(DRAIN_WITHIN, ended).await.is_err() {
        tracing::warn!("some work did not end in time; the next start takes it up");
    }
    if let Err(error) = usage::flush(app).await {
        tracing::error!(%error, "the last usage could not be written down");
    }
    app.store.close().await;
    tracing::info!("vitascope has stopped");
}

async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; stop the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down");
}

/// Shown once, on the terminal and never in the log: afterwards only its hash is known.
#[expect(clippy::print_stdout, reason = "a person must be able to copy it")]
fn announce_key(key: &str) {
    println!("API key (shown only now): {key}");
}
