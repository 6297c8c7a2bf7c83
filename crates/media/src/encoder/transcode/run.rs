//! A transcode that runs: its bytes as they come, how far it is, and its end. Who stops reading makes it wait, and who drops it ends it;
//! nothing is left running when this process is gone, since then nobody reads either.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result, Span};

use super::{Material, Wish, plan};
use crate::encoder::RATE;
use crate::mp4::progress::Reached;
use crate::probe::unreadable;
use crate::process::{self, Running};
use crate::promise::TICKS;

/// An encoder that gives nothing for so long has stalled: a large picture takes seconds.
const STALLED: Duration = Duration::from_secs(300);
/// Read at once.
const BLOCK: usize = 256 << 10;
/// A slow disk writes 20 MB a second, and the file is written twice.
const SLOW_DISK: u64 = 10_000_000;

#[derive(Debug)]
pub struct Transcoding {
    running: Running,
    stdout: ChildStdout,
    buffer: BytesMut,
    reached: Reached,
    /// Ticks a second of the track that is looked at.
    scale: u32,
}

/// Begins to transcode a file. Must be called within a tokio runtime.
pub fn start(file: &Path, material: &Material, wish: &Wish) -> Result<Transcoding> {
    let (running, stdin, stdout) = process::start(&plan::encoding(file, material, wish)?)?;
    drop(stdin);
    let scale = if material.picture.is_some() { TICKS } else { RATE };
    Ok(Transcoding { running, stdout, buffer: BytesMut::new(), reached: Reached::default(), scale })
}

impl Transcoding {
    /// The next bytes of a fragmented MP4; none after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.buffer.reserve(BLOCK);
        let read = timeout(STALLED, self.stdout.read_buf(&mut self.buffer)).await;
        let read = read.map_err(|_| Error::internal("the encoder has stalled"))?;
        if read.internal("read from the encoder")? == 0 {
            return Ok(None);
        }
        let bytes = self.buffer.split().freeze();
        self.reached.see(&bytes)?;
        Ok(Some(bytes))
    }

    /// How much of the result is there.
    pub fn reached(&self) -> Span {
        Span::of_ticks(self.reached.ticks(), self.scale)
    }

    /// After the last bytes: whether it was a good end.
    pub async fn finish(self) -> Result<()> {
        self.running.finish().await.map_err(unreadable)
    }
}

/// Makes the fragments that came into a file with its index in front.
pub async fn put_index_in_front(fragments: &Path, made: &Path) -> Result<()> {
    let bytes = tokio::fs::metadata(fragments).await.internal("look at what was transcoded")?.len();
    let limit = Duration::from_secs(60 + bytes / SLOW_DISK);
    process::output(&plan::indexing(fragments, made), 0, limit).await.map(drop).map_err(|error| match error.kind {
        // No limit that anybody asked for.
        ErrorKind::ResourceExhausted => Error::internal("putting the index in front took too long").because(error),
        _ => error,
    })
}
