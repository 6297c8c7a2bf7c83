//! One channel from its device to the server: a source, an encoder and a publication, opened together and ended together.
//! Which channels there are, and when they stop, is the session's business.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use vitascope_media::encoder::{AudioEncoder, AudioPlan, Output, PcmFormat};
use vitascope_model::capture::Category;
use vitascope_model::error::Context;
use vitascope_model::{Clock as _, Error, Result};

use crate::camera;
use crate::channel::{self, Device};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::eye::Eye;
use crate::health::Health;
use crate::publish::{Progress, Publication};
use crate::screen::{self, Screen};
use crate::sound::Sound;

/// A channel whose source and encoder run; what they give waits for an address.
#[derive(Debug)]
pub(crate) struct Ready {
    health: Arc<Health>,
    pub paused: Arc<AtomicBool>,
    source: Source,
    output: Output,
}

#[derive(Debug)]
enum Source {
    Screen(Screen),
    /// A sound or a camera.
    Stream {
        /// Ends it when dropped.
        _stop: DropGuard,
    },
}

impl Ready {
    pub(crate) async fn open(config: Arc<Config>, clock: Arc<SystemClock>, health: Arc<Health>) -> Result<Ready> {
        let paused = Arc::new(AtomicBool::new(false));
        let (asked, of) = (config.clone(), health.clone());
        let device = blocking(move || channel::device(&asked, &of.channel_id, of.kind)).await?;
        let (source, output) = match device {
            Device::Display(number) => {
                let asked = config.clone();
                let eye = blocking(move || Eye::open(channel::wanted_display(&asked, number)?)).await?;
                let plan = screen::plan(&config, screen::picture_size(&config, eye.size()));
                let (screen, output) = screen::start(eye, &plan, paused.clone(), clock, health.clone())?;
                (Source::Screen(screen), output)
            }
            Device::Sound(source) => {
                let stop = CancellationToken::new();
                let (muted, health) = (paused.clone(), health.clone());
                let sound = Sound { config, source, clock, health, muted, stop: stop.clone() };
                (Source::Stream { _stop: stop.drop_guard() }, open_sound(sound).await?)
            }
            Device::Camera(input) => {
                let (stop, output) = camera::open(&config, input, clock, health.clone(), paused.clone()).await?;
                (Source::Stream { _stop: stop }, output)
            }
        };
        Ok(Ready { health, paused, source, output })
    }

    pub(crate) fn category(&self) -> Category {
        Category::of_channel(&self.health.channel_id, self.health.kind)
    }
}

async fn open_sound(sound: Sound<SystemClock>) -> Result<Output> {
    let start = sound.clock.now();
    let encoder = AudioEncoder::start(&AudioPlan { format: PcmFormat::S16, kbps: 128 }, start)?;
    let hearing = sound.hear().await;
    tokio::spawn(sound.run(hearing, encoder.feed, start));
    Ok(encoder.output)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.internal("open a device")?
}

/// A channel that is being published.
pub(crate) struct Track {
    channel_id: String,
    source: Source,
    output: Output,
    publication: Publication<SystemClock>,
    progress: watch::Receiver<Progress>,
}

impl Track {
    pub(crate) fn publish(ready: Ready, url: &str, clock: Arc<SystemClock>) -> Result<Track> {
        let url = Url::parse(url).ok().filter(|u| u.scheme() == "rtsp");
        let url = url.ok_or_else(|| Error::invalid("the server gives an address that is no rtsp:// address"))?;
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|e| Error::internal(format!("no randomness: {e}")))?;
        let (tell, progress) = watch::channel(Progress::Starting);
        let Ready { health, source, output, .. } = ready;
        let channel_id = health.channel_id.clone();
        let publication = Publication { url, name: channel_id.clone(), clock, health, random, progress: tell };
        Ok(Track { channel_id, source, output, publication, progress })
    }

    /// Ends when the channel is live the first time; false if it never will be.
    pub(crate) fn live(&self) -> impl Future<Output = bool> + use<> {
        let mut progress = self.progress.clone();
        async move { progress.wait_for(|p| *p == Progress::Live).await.is_ok() }
    }

    /// Until the channel ends; closing `stop` ends its source, and the rest follows when everything is sent.
    pub(crate) async fn run(self, mut stop: broadcast::Receiver<()>) -> (String, Result<()>) {
        let Track { channel_id, source, output, publication, .. } = self;
        let mut source = Some(source);
        let mut publishing = std::pin::pin!(publication.run(output));
        let mut end = tokio::select! {
            end = &mut publishing => end,
            _ = stop.recv() => {
                let ending = source.take();
                let end = publishing_after(ending, publishing).await;
                return (channel_id, end);
            }
        };
        // It ended by itself: the source knows better why.
        if let Some(Source::Screen(mut screen)) = source
            && let Ok(Err(error)) = screen.end.try_recv()
        {
            end = Err(error);
        }
        (channel_id, end)
    }
}

/// Dropping the source ends the encoder, which ends the publication.
async fn publishing_after(source: Option<Source>, publishing: impl Future<Output = Result<()>>) -> Result<()> {
    drop(source);
    publishing.await
}
