//! The encoder of uploaded files: promised chunks in, the same chunks with their bytes out, in order. One ffmpeg makes picture and
//! sound of a stretch of a file, from any chunk on; a chunk that is made by itself has the same frames as one that is made with all the
//! others. What is promised holds: no boundary moves, and where the file gives less than it said, the last picture stays and sound is
//! silence. Which chunks are wanted, and where they go, is the caller's business.

mod picture;
mod plan;
mod sound;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result, Span, WallTime};

use crate::codec::Codec;
use crate::index::{Encoder, Entry, Form};
use crate::mp4::written::{Fragment, Parser, Said};
use crate::process::{self, Running};
use crate::promise::{PromisedChunk, Recipe};
use picture::PictureChunks;
pub use plan::is_large;
use sound::SoundChunks;

/// An encoder that gives nothing for so long has stalled.
const STALLED: Duration = Duration::from_secs(120);
/// Chunks that may wait for a slow consumer before the encoder has to.
const WAITING: usize = 4;

/// What is to be made of one track.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub recipe: Recipe,
    /// Consecutive, and at least one.
    pub chunks: Vec<PromisedChunk>,
    /// Whether the last of them is the last of the track.
    pub is_rest: bool,
}

/// A promised chunk with its bytes.
#[derive(Clone, Debug)]
pub struct EncodedChunk {
    /// Which stretch, in the order in which they were asked for.
    pub track: usize,
    pub start: WallTime,
    pub end: WallTime,
    pub samples: i64,
    pub index: Vec<u8>,
    pub data: Bytes,
}

/// Starts to encode one or two tracks of a file (a picture, a sound) on so many threads. Chunks come as they are done; after an error
/// nothing follows. Dropping the receiver stops it. Must be called within a tokio runtime.
pub fn encode(file: &Path, stretches: Vec<Stretch>, threads: usize) -> Result<mpsc::Receiver<Result<EncodedChunk>>> {
    let line = plan::command_line(file, &stretches, threads)?;
    let makers: Vec<Maker> = stretches.into_iter().map(Maker::new).collect::<Result<_>>()?;
    let (running, stdin, stdout) = process::start(&line)?;
    drop(stdin);
    let (output, chunks) = mpsc::channel(WAITING);
    tokio::spawn(pump(running, stdout, makers, output));
    Ok(chunks)
}

async fn pump(
    running: Running,
    stdout: ChildStdout,
    mut makers: Vec<Maker>,
    output: mpsc::Sender<Result<EncodedChunk>>,
) {
    let work = async {
        read(stdout, &mut makers, &output).await?;
        running.finish().await?;
        for (track, maker) in makers.iter_mut().enumerate() {
            hand_on(&output, track, maker.finish()?).await;
        }
        Ok(())
    };
    let result: Result<()> = tokio::select! {
        result = work => result,
        () = output.closed() => return,
    };
    if let Err(error) = result {
        // Nobody left to tell is fine: then it was stopped.
        output.send(Err(error)).await.ok();
    }
}

async fn read(
    mut stdout: ChildStdout,
    makers: &mut [Maker],
    output: &mpsc::Sender<Result<EncodedChunk>>,
) -> Result<()> {
    let mut parser = Parser::default();
    loop {
        let read = timeout(STALLED, stdout.read_buf(parser.buffer())).await;
        let read = read.map_err(|_| Error::internal("the encoder has stalled"))?;
        if read.internal("read from the encoder")? == 0 {
            return Ok(());
        }
        while let Some(said) = parser.next()? {
            match said {
                Said::Picture(codec) => makers.iter_mut().for_each(|maker| maker.learn(&codec)),
                Said::Sample(sample) => {
                    let track = sample.track;
                    let maker =
                        makers.get_mut(track).ok_or_else(|| Error::internal("a track that nobody asked for"))?;
                    hand_on(output, track, maker.take(sample)?).await;
                }
            }
        }
    }
}

async fn hand_on(output: &mpsc::Sender<Result<EncodedChunk>>, track: usize, made: Vec<Made>) {
    for Made { chunk: PromisedChunk { start, end, .. }, samples, codec } in made {
        let mut index = Form::Packed.line(&codec).into_bytes();
        let mut encoder = Encoder::default();
        let mut data = Vec::with_capacity(samples.iter().map(|s| s.1.len()).sum());
        for (entry, bytes) in &samples {
            encoder.push(*entry, &mut index);
            data.extend_from_slice(bytes);
        }
        let samples = samples.len() as i64;
        // Nobody left is noticed by who drives this.
        output.send(Ok(EncodedChunk { track, start, end, samples, index, data: data.into() })).await.ok();
    }
}

/// A chunk that is done.
struct Made {
    chunk: PromisedChunk,
    samples: Vec<(Entry, Bytes)>,
    codec: Codec,
}

/// Puts coded frames into chunks.
enum Maker {
    Picture(PictureChunks),
    Sound(SoundChunks),
}

impl Maker {
    fn new(stretch: Stretch) -> Result<Maker> {
        let chunks: VecDeque<PromisedChunk> = stretch.chunks.into();
        Ok(match stretch.recipe {
            Recipe::Picture(_) => Maker::Picture(PictureChunks::new(chunks, stretch.is_rest)?),
            Recipe::Sound(_) => Maker::Sound(SoundChunks::new(chunks)),
        })
    }

    fn learn(&mut self, codec: &Codec) {
        if let Maker::Picture(picture) = self {
            picture.learn(codec);
        }
    }

    fn take(&mut self, sample: Fragment) -> Result<Vec<Made>> {
        match self {
            Maker::Picture(picture) => picture.take(sample),
            Maker::Sound(sound) => Ok(sound.take(sample)),
        }
    }

    /// What is still missing at the end.
    fn finish(&mut self) -> Result<Vec<Made>> {
        match self {
            Maker::Picture(picture) => picture.finish(),
            Maker::Sound(sound) => Ok(sound.finish()),
        }
    }
}

/// Ticks from 0 to a moment of a track, to the nearest: its moments are whole ticks, cut to microseconds.
pub(in crate::encoder) fn ticks_at(at: WallTime, rate: u32) -> i64 {
    let half = Span(500_000 / i64::from(rate));
    ((at - WallTime(0)) + half).to_ticks(rate)
}
