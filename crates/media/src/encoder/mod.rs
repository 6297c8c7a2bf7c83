//! Encoders. `upload` makes the chunks of uploaded files; the others are live: raw pictures, PCM or what a browser recorded in, samples in our own form out, by one supervised ffmpeg each.
//! The times of the samples are the caller's own: ffmpeg is told how late things are, and what it says about time is only used to
//! find the frame again. Reading sources and sending samples anywhere is the caller's business.

mod audio;
mod browser;
mod chain;
pub mod edge;
pub mod listen;
mod raw_video;
pub mod transcode;
pub mod upload;
mod video;

pub use audio::{AudioEncoder, AudioFeed, AudioPlan, FRAME, PcmFormat, RATE};
pub use browser::{BrowserEncoder, BrowserFeed, BrowserPlan, Container, Wanted};
pub use video::{VideoEncoder, VideoFeed, VideoPlan};

use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use vitascope_model::Result;
use vitascope_model::error::Context;

use crate::codec::{Codec, Sample};
use crate::flv::{Parser, Tag};
use crate::process::Running;

/// What an encoder says: its codec first, then samples in order. After an error nothing follows; the end is the channel's end.
#[derive(Clone, Debug)]
pub enum Encoded {
    Codec(Codec),
    Sample(Sample),
}

/// Where an encoder's output arrives. Dropping it kills the encoder.
pub type Output = mpsc::Receiver<Result<Encoded>>;

/// How many samples may wait for a slow consumer before the encoder has to.
const WAITING: usize = 64;

/// Reads the encoder's FLV to its end; `sample` gives a coded unit its times (None if it is not to be passed on).
async fn pump(
    running: Running,
    stdout: ChildStdout,
    output: mpsc::Sender<Result<Encoded>>,
    sample: impl FnMut(&Codec, Tag) -> Result<Option<Sample>>,
) {
    let result = tokio::select! {
        result = read_flv(stdout, &output, sample) => result,
        () = output.closed() => return,
    };
    let result = match result {
        Ok(()) => running.finish().await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        // Nobody left to tell is fine: then the encoder was dropped.
        output.send(Err(error)).await.ok();
    }
}

async fn read_flv(
    mut stdout: ChildStdout,
    output: &mpsc::Sender<Result<Encoded>>,
    mut sample: impl FnMut(&Codec, Tag) -> Result<Option<Sample>>,
) -> Result<()> {
    let mut parser = Parser::default();
    let mut known = None;
    while stdout.read_buf(parser.buffer()).await.internal("read from the encoder")? > 0 {
        while let Some(tag) = parser.next_tag()? {
            let said = match (tag, &known) {
                (Tag::Codec(codec), _) => Some(Encoded::Codec(known.insert(codec).clone())),
                (unit, Some(codec)) => sample(codec, unit)?.map(Encoded::Sample),
                (_, None) => None,
            };
            let Some(said) = said else { continue };
            if output.send(Ok(said)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
