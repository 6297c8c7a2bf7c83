//! Downloads: a stream becomes one MP4 file, by copying the samples of its segments behind an index that is worked out first. No process
//! is started and nothing is encoded that playing would not encode as well.

use std::io::Write;

use bytes::Bytes;
use tokio::time::{Duration, Instant};
use vitascope_media::compile::{Plan, SegmentPart};
use vitascope_media::faststart::Faststart;
use vitascope_model::error::Context;
use vitascope_model::id::{JobId, TakeoutId};
use vitascope_model::job::Job;
use vitascope_model::takeout::MadeFile;
use vitascope_model::{Error, Result};
use vitascope_store::job;

use super::takeout::{self, Draft};
use super::upload::{check_room, unwritten};
use super::{App, playback};

/// How often a job says how far it is.
const TELL_EACH: Duration = Duration::from_secs(1);

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
    let plan = playback::plan_of(app, &stream).await?;
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
    let draft = Draft::of(app, &job.id).await?;
    copy(app, &job.id, &draft, head, &plan, bytes).await?;
    let made = MadeFile {
        object: takeout::object_of(&of.id),
        bytes: bytes as i64,
        length: file.length(),
        has_picture: file.has_picture(),
    };
    takeout::finish(app, job, of, draft, made).await
}

/// Writes the head, and the samples of each segment after it.
async fn copy(app: &App, job: &JobId, draft: &Draft, head: Vec<u8>, plan: &Plan, total: u64) -> Result<()> {
    let mut out = std::fs::File::create(draft.path()).map_err(unwritten)?;
    let (mut written, mut told) = (0, Instant::now());
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
        if told.elapsed() >= TELL_EACH {
            told = Instant::now();
            if app.space.is_full() {
                return Err(super::upload::full());
            }
            let (id, percent) = (job.clone(), (written * 100 / total.max(1)).min(99) as i64);
            app.store.write(move |tx| Box::pin(async move { job::set_progress(tx, &id, percent).await })).await?;
        }
    }
    if written != total {
        return Err(Error::internal(format!("a download has {written} bytes, not {total}")));
    }
    Ok(())
}
