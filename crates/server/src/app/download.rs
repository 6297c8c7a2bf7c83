//! Downloads: a stream becomes one MP4 file, by copying the samples of its segments behind an index that is worked out first. No process
//! is started and nothing is encoded that playing would not encode as well.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use vitascope_media::compile::{Plan, SegmentPart};
use vitascope_media::faststart::Faststart;
use vitascope_model::error::Context;
use vitascope_model::id::TakeoutId;
use vitascope_model::job::Job;
use vitascope_model::stream::Stream;
use vitascope_model::takeout::MadeFile;
use vitascope_model::{Error, Result, Span};

use super::progress::Progress;
use super::takeout::{self, Draft};
use super::upload::{check_room, unwritten};
use super::{App, playback};

/// Makes the file of a download.
pub async fn make(app: &App, job: &Job) -> Result<String> {
    if let Some(reply) = &job.reply {
        return Ok(reply.clone());
    }
    let id: TakeoutId = job.payload.parse()?;
    let gone = || Error::gone("the download was deleted");
    let of = app.store.find_takeout(&id).await?.ok_or_else(gone)?;
    let stream = of.stream_id.as_deref().ok_or_else(|| Error::internal("a download of no stream"))?;
    let stream = app.store.find_stream(stream).await?.ok_or_else(gone)?;
    let draft = Draft::of(app, &job.id, "made").await?;
    let written = write(app, &stream, draft.path(), Progress::new(job, 0, 99)).await?;
    let made = MadeFile {
        object: takeout::object_of(&of.id),
        bytes: written.bytes as i64,
        length: written.length,
        has_picture: written.has_picture,
    };
    takeout::finish(app, job, of, draft, made).await
}

/// A stream as a file.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) length: Span,
    pub(super) has_picture: bool,
    /// Whether its pictures differ in how they are coded, as those of several sources do.
    pub(super) is_mixed: bool,
}

/// Writes what a stream plays into a file.
pub(super) async fn write(app: &App, stream: &Stream, into: &Path, progress: Progress) -> Result<Written> {
    let plan = playback::plan_of(app, stream).await?;
    if !plan.is_complete() {
        return Err(Error::conflict("this range is still being recorded: ask again when it is over"));
    }
    let mut file = Faststart::new(plan.codecs());
    for n in 0..plan.segments() {
        file.add(&playback::layout(app, &plan, n).await?)?;
        tokio::task::yield_now().await;
    }
    let head = file.head()?;
    let bytes = head.len() as u64 + file.data_size();
    check_room(app, bytes)?;
    copy(app, into, head, &plan, bytes, progress).await?;
    Ok(Written { bytes, length: file.length(), has_picture: file.has_picture(), is_mixed: !file.is_uniform() })
}

/// Writes the head, and the samples of each segment after it.
async fn copy(app: &App, into: &Path, head: Vec<u8>, plan: &Plan, total: u64, mut progress: Progress) -> Result<()> {
    let mut out = std::fs::File::create(into).map_err(unwritten)?;
    let mut written = 0;
    let mut next = Bytes::from(head);
    for n in 0..=plan.segments() {
        written += next.len() as u64;
        // Off the threads that serve others: a disk may be slow.
        let put = tokio::task::spawn_blocking(move || out.write_all(&next).map(|()| out));
        out = put.await.internal("write a download")?.map_err(unwritten)?;
        if n == plan.segments() {
            break;
        }
        // What had to be coded anew is kept from the first look, so that this is the same again.
        let data = playback::layout(app, plan, n).await?.into_data();
        let size = data.iter().map(SegmentPart::size).sum();
        next = super::gather::read_parts(app, &data, size).await?;
        if app.space.is_full() {
            return Err(super::upload::full());
        }
        progress.tell(app, written, total).await?;
    }
    if written != total {
        return Err(Error::internal(format!("a download has {written} bytes, not {total}")));
    }
    Ok(())
}
