//! Publishes one channel: takes what an encoder gives and keeps an RTSP recording going with it, over as many connections as it
//! takes. Between connections it keeps a few seconds of samples; what is older is lost and counted. Capture never waits for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use url::Url;
use vitascope_media::codec::Codec;
use vitascope_media::encoder::{Encoded, Output};
use vitascope_model::{Clock, Error, ErrorKind, Result};

use crate::health::{Health, Part};
use crate::rtp::{Backlog, Packetiser};
use crate::rtsp::{Recording, record};

const REPORT_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A server may hold our old connection for a while before it lets a new one in.
const OLD_CONNECTION_LINGERS: Duration = Duration::from_secs(15);

/// How far a channel is, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Starting,
    Live,
    /// The connection broke, and why; it is being made again.
    Broken(String),
}

/// One channel's way out.
pub(crate) struct Publication<C> {
    pub url: Url,
    pub name: String,
    pub clock: Arc<C>,
    pub health: Arc<Health>,
    pub random: [u8; 10],
    pub progress: watch::Sender<Progress>,
}

impl<C: Clock> Publication<C> {
    /// Runs until the encoder ends (then the recording is torn down) or until the server refuses for good.
    pub(crate) async fn run(self, mut output: Output) -> Result<()> {
        let Some(codec) = first_codec(&mut output).await? else { return Ok(()) };
        let mut channel = Channel {
            packetiser: Packetiser::new(&codec, self.random),
            backlog: Backlog::default(),
            output,
            clock: &*self.clock,
            health: &self.health,
        };
        let mut been_live = None;
        loop {
            let Some(mut recording) = self.connect(&codec, &mut channel, been_live).await? else { return Ok(()) };
            self.progress.send_replace(Progress::Live);
            self.health.well(Part::Connection, "the server is connected again");
            let end = channel.send_all(&mut recording).await;
            been_live = Some(Instant::now());
            match end {
                Ok(()) => {
                    // Whether the server says goodbye or not, everything was sent.
                    if let Err(error) = recording.teardown().await {
                        tracing::warn!(channel = self.name, "teardown: {error}");
                    }
                    tracing::info!(channel = self.name, lost = channel.backlog.lost, "published");
                    return Ok(());
                }
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    tracing::warn!(channel = self.name, "publishing broke: {error}");
                    channel.backlog.broken();
                    self.health.ill(Part::Connection, error.to_string());
                    self.progress.send_replace(Progress::Broken(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tries until it works, keeping samples meanwhile. None if the encoder ended first.
    async fn connect(
        &self,
        codec: &Codec,
        channel: &mut Channel<'_, C>,
        since: Option<Instant>,
    ) -> Result<Option<Recording>> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match channel.keep_while(record(&self.url, &self.name, codec)).await? {
                Some(Ok(recording)) => return Ok(Some(recording)),
                Some(Err(error)) => error,
                None => return Ok(None),
            };
            let lingers =
                error.kind == ErrorKind::Conflict && since.is_some_and(|t| t.elapsed() < OLD_CONNECTION_LINGERS);
            if error.kind != ErrorKind::Unavailable && !lingers {
                return Err(error);
            }
            tracing::warn!(channel = self.name, "not connected: {error}");
            self.progress.send_replace(Progress::Broken(error.to_string()));
            if channel.keep_while(sleep_until(Instant::now() + pause)).await?.is_none() {
                return Ok(None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// None if the encoder ended without having said anything.
async fn first_codec(output: &mut Output) -> Result<Option<Codec>> {
    match output.recv().await.transpose()? {
        Some(Encoded::Codec(codec)) => Ok(Some(codec)),
        Some(Encoded::Sample(_)) => Err(Error::internal("a sample came before its codec")),
        None => Ok(None),
    }
}

struct Channel<'a, C> {
    packetiser: Packetiser,
    backlog: Backlog,
    output: Output,
    clock: &'a C,
    health: &'a Health,
}

impl<C: Clock> Channel<'_, C> {
    /// Keeps what the encoder gives while `work` runs. None if the encoder ended first.
    async fn keep_while<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                encoded = self.output.recv() => match encoded.transpose()? {
                    Some(Encoded::Sample(sample)) => self.backlog.push(sample),
                    Some(Encoded::Codec(_)) => {}
                    None => return Ok(None),
                },
            }
        }
    }

    /// Ok when the encoder has ended and everything is sent.
    async fn send_all(&mut self, recording: &mut Recording) -> Result<()> {
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wire = BytesMut::new();
        if let Some(first) = self.backlog.first() {
            // The line of time is told before the first packet that lies on it.
            self.packetiser.anchor(first);
            self.packetiser.report(self.clock.now(), &mut wire);
        }
        loop {
            let mut samples = 0;
            while let Some(sample) = self.backlog.pop() {
                self.packetiser.sample(&sample, &mut wire)?;
                samples += 1;
            }
            if !wire.is_empty() {
                recording.write(&wire).await?;
                self.health.sent(wire.len(), samples);
                wire.clear();
            }
            tokio::select! {
                encoded = self.output.recv() => match encoded.transpose()? {
                    Some(Encoded::Sample(sample)) => {
                        if self.packetiser.is_new() {
                            self.packetiser.anchor(&sample);
                            self.packetiser.report(self.clock.now(), &mut wire);
                        }
                        self.backlog.push(sample);
                    }
                    Some(Encoded::Codec(_)) => {}
                    None => return Ok(()),
                },
                _ = reports.tick() => self.packetiser.report(self.clock.now(), &mut wire),
                () = recording.closed() => return Err(Error::unavailable("the RTSP server closed the connection")),
            }
        }
    }
}
