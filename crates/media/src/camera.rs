//! A camera's pictures, as ffmpeg reads them: from a V4L2 device, or from a pipe that another program fills (`libcamera-vid`,
//! `gphoto2 --stdout`). They come as I420 with the time at which each was here. When to look for a camera again, and what to do
//! with its pictures, is the caller's business.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Clock, Error, Result, WallTime};

use crate::process::{self, CommandLine, Program, Running};

/// Cheap cameras take seconds until their first picture.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// A header is some words; this is more than any.
const LONGEST_HEADER: u64 = 512;
/// The largest picture that is believed: 8K.
const MOST_PIXELS: u32 = 7680 * 4320;
/// Pictures that may wait for who reads them.
const WAITING: usize = 2;

/// Where the pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraInput {
    /// A video device of the kernel's.
    Device(PathBuf),
    /// A named pipe with Motion JPEG, Y4M or anything else that ffmpeg knows by its first bytes.
    Pipe(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraPlan {
    pub input: CameraInput,
    /// What is asked of a device; it may give something near.
    pub fps: u32,
    /// What the pictures are made to be; None for what the camera gives.
    pub size: Option<(u32, u32)>,
}

/// A picture as it came: I420, studio range.
#[derive(Clone, Debug)]
pub struct Picture {
    pub planes: Vec<u8>,
    pub at: WallTime,
}

/// A camera that is being read; dropping it ends that.
#[derive(Debug)]
pub struct Camera {
    /// Both even.
    pub width: u32,
    pub height: u32,
    /// After an error nothing follows.
    pub pictures: mpsc::Receiver<Result<Picture>>,
}

impl CameraPlan {
    pub fn command_line(&self) -> CommandLine {
        let quick = "-nostdin -hide_banner -loglevel warning -flags low_delay -threads 1";
        let mut args: Vec<String> = quick.split_whitespace().map(str::to_owned).collect();
        match &self.input {
            CameraInput::Device(device) => {
                let ask = format!("-f v4l2 -framerate {} -video_size 1280x720 -i", self.fps);
                args.extend(ask.split_whitespace().map(str::to_owned));
                args.push(device.display().to_string());
            }
            CameraInput::Pipe(pipe) => {
                // Enough to know the form by its first bytes; what is read for that comes late and at once.
                let ask = "-protocol_whitelist file -probesize 5000 -analyzeduration 0 -i";
                args.extend(ask.split_whitespace().map(str::to_owned));
                args.push(format!("file:{}", pipe.display()));
            }
        }
        let size =
            self.size.map_or("trunc(iw/2)*2:trunc(ih/2)*2".to_owned(), |(width, height)| format!("{width}:{height}"));
        let give = "-an -sn -dn -fps_mode passthrough -vf";
        args.extend(give.split_whitespace().map(str::to_owned));
        args.push(format!("scale={size}:out_range=tv:out_color_matrix=bt709,format=yuv420p"));
        args.extend("-f yuv4mpegpipe -flush_packets 1 pipe:1".split_whitespace().map(str::to_owned));
        CommandLine::new(Program::Ffmpeg, args)
    }
}

impl Camera {
    /// Returns when the first picture is on its way. Must be called within a tokio runtime.
    pub async fn open<C: Clock>(plan: &CameraPlan, clock: Arc<C>) -> Result<Camera> {
        let (running, stdin, stdout) = process::start(&plan.command_line())?;
        drop(stdin);
        let mut reader = BufReader::new(stdout);
        let header = timeout(FIRST_WITHIN, line(&mut reader)).await;
        let (width, height) = match header {
            Ok(header) => match size_of(&header?) {
                Some(size) => size,
                // It ended: ffmpeg says why.
                None => return Err(ended(running).await),
            },
            Err(_) => return Err(Error::unavailable(format!("the camera gives no picture: {}", running.last_words()))),
        };
        let (send, pictures) = mpsc::channel(WAITING);
        let length = width as usize * height as usize * 3 / 2;
        tokio::spawn(async move {
            let end = tokio::select! {
                end = read(&mut reader, length, &*clock, &send) => end,
                () = send.closed() => return,
            };
            let error = match end {
                Ok(()) => ended(running).await,
                Err(error) => error,
            };
            // Nobody wants to know when the camera was dropped.
            send.send(Err(error)).await.ok();
        });
        Ok(Camera { width, height, pictures })
    }
}

async fn ended(running: Running) -> Error {
    match running.finish().await {
        Ok(()) => Error::unavailable("the camera gives no more pictures"),
        Err(error) => Error::unavailable(error.message),
    }
}

/// Until the end of what ffmpeg gives, or until nobody wants it.
async fn read(
    reader: &mut BufReader<ChildStdout>,
    length: usize,
    clock: &impl Clock,
    pictures: &mpsc::Sender<Result<Picture>>,
) -> Result<()> {
    while line(reader).await?.starts_with(b"FRAME") {
        let mut planes = vec![0; length];
        reader.read_exact(&mut planes).await.internal("read a picture")?;
        if pictures.send(Ok(Picture { planes, at: clock.now() })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Empty at the end.
async fn line(reader: &mut BufReader<ChildStdout>) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LONGEST_HEADER).read_until(b'\n', &mut line).await.internal("read from the camera")?;
    Ok(line)
}

/// Of a Y4M header: its width and height, if they are such as we can use.
fn size_of(header: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(header).ok()?.strip_prefix("YUV4MPEG2 ")?;
    let number = |letter: char| text.split_whitespace().find_map(|w| w.strip_prefix(letter)?.parse::<u32>().ok());
    let (width, height) = (number('W')?, number('H')?);
    let usable = width > 0 && height > 0 && width.is_multiple_of(2) && height.is_multiple_of(2);
    (usable && width.checked_mul(height)? <= MOST_PIXELS).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_and_a_pipe_is_taken_as_it_is() {
        let device = CameraPlan { input: CameraInput::Device("/dev/video0".into()), fps: 15, size: None };
        insta::assert_snapshot!(device.command_line(), @"ffmpeg -nostdin -hide_banner -loglevel warning -flags low_delay -threads 1 -f v4l2 -framerate 15 -video_size 1280x720 -i /dev/video0 -an -sn -dn -fps_mode passthrough -vf scale=trunc(iw/2)*2:trunc(ih/2)*2:out_range=tv:out_color_matrix=bt709,format=yuv420p -f yuv4mpegpipe -flush_packets 1 pipe:1");
        let pipe = CameraPlan { input: CameraInput::Pipe("/run/cam".into()), size: Some((640, 480)), ..device };
        insta::assert_snapshot!(pipe.command_line(), @"ffmpeg -nostdin -hide_banner -loglevel warning -flags low_delay -threads 1 -protocol_whitelist file -probesize 5000 -analyzeduration 0 -i file:/run/cam -an -sn -dn -fps_mode passthrough -vf scale=640:480:out_range=tv:out_color_matrix=bt709,format=yuv420p -f yuv4mpegpipe -flush_packets 1 pipe:1");
    }

    #[test]
    fn only_usable_sizes_are_believed() {
        assert_eq!(size_of(b"YUV4MPEG2 W640 H480 F15:1 Ip A1:1 C420jpeg\n"), Some((640, 480)));
        for header in ["", "YUV4MPEG2 W641 H480", "YUV4MPEG2 W0 H480", "YUV4MPEG2 W60000 H60000", "FRAME"] {
            assert_eq!(size_of(header.as_bytes()), None, "{header}");
        }
    }

    struct Still;

    impl Clock for Still {
        fn now(&self) -> WallTime {
            WallTime(7)
        }
    }

    #[tokio::test]
    async fn a_camera_that_is_not_there_says_so() {
        let plan = CameraPlan { input: CameraInput::Device("/dev/video-nobody".into()), fps: 15, size: None };
        let error = Camera::open(&plan, Arc::new(Still)).await.unwrap_err();
        assert!(error.message.contains("No such file"), "{error}");
    }

    #[tokio::test]
    async fn pictures_come_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        // A file in the place of the pipe: what is read is the same.
        let file = folder.path().join("cam.y4m");
        let mut y4m = b"YUV4MPEG2 W16 H16 F15:1 Ip A1:1 C420mpeg2\n".to_vec();
        for grey in [50u8, 100, 150] {
            y4m.extend(b"FRAME\n");
            y4m.extend([grey; 256]);
            y4m.extend([128; 128]);
        }
        std::fs::write(&file, y4m).unwrap();
        let plan = CameraPlan { input: CameraInput::Pipe(file), fps: 15, size: None };
        let mut camera = Camera::open(&plan, Arc::new(Still)).await.unwrap();
        assert_eq!((camera.width, camera.height), (16, 16));
        let mut greys = Vec::new();
        let end = loop {
            match camera.pictures.recv().await.unwrap() {
                Ok(picture) => greys.push(picture.planes[40]),
                Err(end) => break end,
            }
        };
        assert_eq!(greys.len(), 3);
        assert!(greys.iter().zip([50u8, 100, 150]).all(|(seen, drawn)| seen.abs_diff(drawn) <= 1), "{greys:?}");
        assert!(end.message.contains("no more pictures"), "{end}");
    }
}
