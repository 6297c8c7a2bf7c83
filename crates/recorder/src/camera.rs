//! Records a camera: its pictures as they come, at most so many a second, and the last one again where none comes, so that the
//! channel lives on while it is paused or its plug is out. Reading and encoding are `media`'s; this is what to do with the pictures.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use vitascope_media::camera::{Camera, CameraInput, CameraPlan, Picture};
use vitascope_media::encoder::{Output, VideoEncoder, VideoFeed};
use vitascope_model::{Clock, Error, Result, Span, WallTime};

use crate::clock::{Pulse, STALLED};
use crate::config::Config;
use crate::health::{Health, Part};
use crate::screen::{self, KEY_EVERY};

/// Where the kernel tells of its video devices.
const KNOWN: &str = "/sys/class/video4linux";
const TICK: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The cameras there are, with their names.
pub(crate) fn found(config: &Config) -> Vec<(PathBuf, String)> {
    let mut cameras = devices(Path::new(KNOWN));
    cameras.extend(config.cameras.iter().map(|pipe| (pipe.clone(), format!("Camera at {}", pipe.display()))));
    cameras
}

fn devices(known: &Path) -> Vec<(PathBuf, String)> {
    let Ok(entries) = fs::read_dir(known) else { return Vec::new() };
    let mut devices: Vec<(u32, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok()?;
            // A camera has several devices; the first gives pictures, the others speak about them.
            let first = fs::read_to_string(path.join("index")).is_ok_and(|index| index.trim() == "0");
            let name = fs::read_to_string(path.join("name")).unwrap_or_default();
            first.then(|| (number, name.trim().chars().take(200).collect()))
        })
        .collect();
    devices.sort();
    devices.into_iter().map(|(number, name)| (PathBuf::from(format!("/dev/video{number}")), name)).collect()
}

/// What the part of a channel's id after `camera:` means: the first camera, its number, or a path.
pub(crate) fn input(config: &Config, name: &str) -> Result<CameraInput> {
    let path = match (name, name.parse::<u32>()) {
        (_, Ok(number)) => PathBuf::from(format!("/dev/video{number}")),
        (path, _) if path.starts_with('/') => PathBuf::from(path),
        _ => found(config).into_iter().next().ok_or_else(|| Error::unavailable("there is no camera here"))?.0,
    };
    let kind = fs::metadata(&path)
        .map_err(|e| Error::unavailable(format!("the camera {} is not there", path.display())).because(e))?;
    match kind.file_type() {
        t if t.is_char_device() => Ok(CameraInput::Device(path)),
        t if t.is_fifo() => Ok(CameraInput::Pipe(path)),
        _ => Err(Error::invalid(format!("{} is neither a video device nor a named pipe", path.display()))),
    }
}

/// Returns when the first picture was seen. Dropping the guard ends the recording.
pub(crate) async fn open<C: Clock>(
    config: &Config,
    input: CameraInput,
    clock: Arc<C>,
    health: Arc<Health>,
    paused: Arc<AtomicBool>,
) -> Result<(DropGuard, Output)> {
    let mut plan = CameraPlan { input, fps: config.fps, size: None };
    let camera = Camera::open(&plan, clock.clone()).await?;
    let size = (camera.width, camera.height);
    // Another size would need another encoder: one that comes back is made to fit.
    plan.size = Some(size);
    let encoder = VideoEncoder::start(&screen::plan(config, size))?;
    let stop = CancellationToken::new();
    let (frame, now) = (Span(1_000_000 / i64::from(config.fps.max(1))), clock.now());
    let film = Film { feed: encoder.feed, still: None, last: now, frame, due: now, paused };
    tokio::spawn(Filming { plan, clock, health, stop: stop.clone() }.run(camera, film));
    Ok((stop.drop_guard(), encoder.output))
}

struct Filming<C> {
    plan: CameraPlan,
    clock: Arc<C>,
    health: Arc<Health>,
    stop: CancellationToken,
}

/// What was recorded last, and where it goes.
struct Film {
    feed: VideoFeed,
    still: Option<Vec<u8>>,
    /// When a picture was handed on.
    last: WallTime,
    /// The least distance of two pictures, on average.
    frame: Span,
    /// When the next picture would be due if they came evenly.
    due: WallTime,
    paused: Arc<AtomicBool>,
}

/// Pictures may come so many too early: their times jitter, and those of a camera that gives just enough shall not be left out.
const EARLY: i64 = 3;

enum Happened {
    Stop,
    Picture(Result<Picture>),
    Opened(Result<Camera>),
    Tick,
}

type Search = Option<JoinHandle<Result<Camera>>>;

impl<C: Clock> Filming<C> {
    async fn run(self, camera: Camera, mut film: Film) {
        let (mut camera, mut search, mut searched_at): (_, Search, _) = (Some(camera), None, Instant::now());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = Pulse::start(self.clock.now());
        loop {
            let happened = tokio::select! {
                biased;
                () = self.stop.cancelled() => Happened::Stop,
                picture = next(&mut camera) => Happened::Picture(picture),
                opened = opened(&mut search) => Happened::Opened(opened),
                _ = ticks.tick() => Happened::Tick,
            };
            let now = self.clock.now();
            let length = pulse.beat(now);
            if length > STALLED {
                self.health.gap(length);
                // What waits was taken before; what comes from now on is new.
                if let Some(camera) = &mut camera {
                    while camera.pictures.try_recv().is_ok() {}
                }
                continue;
            }
            match happened {
                Happened::Stop => return film.again(now),
                Happened::Picture(Ok(picture)) => film.take(picture),
                Happened::Picture(Err(error)) => {
                    self.health.ill(Part::Device, format!("{error}; the last picture stands until it is back"));
                    (camera, searched_at) = (None, Instant::now());
                }
                Happened::Opened(opened) => {
                    (search, searched_at) = (None, Instant::now());
                    match opened {
                        Ok(opened) => {
                            self.health.well(Part::Device, "the camera gives pictures again");
                            camera = Some(opened);
                        }
                        Err(error) => tracing::info!("the camera is not back: {error}"),
                    }
                }
                Happened::Tick => {
                    if now - film.last >= KEY_EVERY {
                        film.again(now);
                    }
                    if camera.is_none() && search.is_none() && searched_at.elapsed() > LOOK_AGAIN {
                        let (plan, clock) = (self.plan.clone(), self.clock.clone());
                        search = Some(tokio::spawn(async move { Camera::open(&plan, clock).await }));
                    }
                }
            }
        }
    }
}

/// Waits for ever where there is nothing to see.
async fn next(camera: &mut Option<Camera>) -> Result<Picture> {
    let ended = || Err(Error::unavailable("the camera gives no more pictures"));
    match camera {
        Some(camera) => camera.pictures.recv().await.unwrap_or_else(ended),
        None => std::future::pending().await,
    }
}

async fn opened(search: &mut Search) -> Result<Camera> {
    match search {
        Some(search) => search.await.unwrap_or_else(|_| Err(Error::internal("opening the camera broke off"))),
        None => std::future::pending().await,
    }
}

impl Film {
    fn take(&mut self, picture: Picture) {
        let slack = Span(self.frame.0 * EARLY);
        let early = picture.at < self.due - slack;
        if self.still.is_some() && (early || self.paused.load(Ordering::Relaxed)) {
            return;
        }
        self.due = self.due.max(picture.at - slack) + self.frame;
        self.hand_on(&picture.planes, picture.at);
        self.still = Some(picture.planes);
    }

    /// The last picture once more: it still stands.
    fn again(&mut self, now: WallTime) {
        if let Some(still) = self.still.take() {
            self.hand_on(&still, now);
            self.still = Some(still);
        }
    }

    fn hand_on(&mut self, planes: &[u8], at: WallTime) {
        let mut buffer = self.feed.buffer();
        buffer.copy_from_slice(planes);
        // A picture that the encoder has no time for is left out; the next one comes soon.
        self.feed.picture(buffer, at);
        self.last = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_cameras_are_found_by_number_and_what_is_no_camera_is_not() {
        let known = tempfile::tempdir().unwrap();
        for (device, index, name) in
            [("video10", "0", "Loft"), ("video2", "0", "Desk\n"), ("video3", "1", "Desk"), ("vbi0", "0", "TV")]
        {
            let folder = known.path().join(device);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("index"), index).unwrap();
            fs::write(folder.join("name"), name).unwrap();
        }
        let found = devices(known.path());
        assert_eq!(found, [("/dev/video2".into(), "Desk".to_owned()), ("/dev/video10".into(), "Loft".to_owned())]);
        assert_eq!(devices(Path::new("/nonexistent")), []);
    }
}
