//! The end of a mix that was cut off, made again from what its channels recorded. A mix runs behind them by its patience and by its
//! encoder; a kill -9 or a full disk loses that stretch, though the sound itself is on the disk. Pieces are short, so that memory stays small.

use bytes::Bytes;
use vitascope_media::codec::AAC_FRAME;
use vitascope_media::encoder::{AudioEncoder, AudioPlan, PcmFormat};
use vitascope_media::pcm::{AacDecoder, Mixer, StereoResampler};
use vitascope_media::track::{Chunk, Place};
use vitascope_model::capture::{CaptureSession, MediaKind};
use vitascope_model::error::Context;
use vitascope_model::id::CaptureSessionId;
use vitascope_model::rtstream::Track;
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};

use super::mix::{KBPS, encode, record};
use crate::app::App;
use crate::app::recording::{close_track, open_mix_track};

/// A shorter end is what an encoder and a last frame leave.
const WORTH_IT: Span = Span::millis(100);
/// The mixer believes nothing that lies a minute ahead.
const PIECE: Span = Span::seconds(50);
/// Of 48 kHz.
const FRAME: Span = Span(AAC_FRAME as i64 * 1_000_000 / 48_000);
/// A decoder is right from its second frame on, and an encoder from its third: both begin so much earlier.
const RUN_UP: Span = Span(8 * FRAME.0);

/// After a start, once the journals are recovered and before any publisher is back.
pub async fn complete_all(app: &App) -> Result<()> {
    for session in app.store.list_unsettled_sessions().await? {
        if let Err(error) = complete(app, &session).await {
            tracing::error!(session.id = %session.id, %error, "the end of a mix could not be made again");
        }
    }
    Ok(())
}

/// When a session is drained: nothing to do, unless its mix broke off.
pub(super) async fn complete_session(app: &App, id: &CaptureSessionId) -> Result<()> {
    match app.store.find_session(id).await? {
        Some(session) => complete(app, &session).await,
        None => Ok(()),
    }
}

async fn complete(app: &App, session: &CaptureSession) -> Result<()> {
    let mut sources = Vec::new();
    for channel in session.channels.iter().filter(|c| c.kind == MediaKind::Audio && c.store) {
        sources.extend(app.store.find_rtstream_track(&channel.rtstream_id).await?);
    }
    let Some(recorded) = extent_of(app, &sources).await? else { return Ok(()) };
    let is_open = app.store.find_mix_track(&session.id).await?.is_some_and(|t| t.open);
    while let Some(missing) = missing_of(app, session, recorded).await? {
        let length_ms = missing.length().0 / 1000;
        tracing::info!(session.id = %session.id, length_ms, "the end of a mix is made again");
        mix_piece(app, session, &sources, missing).await?;
        if missing_of(app, session, recorded).await?.is_some_and(|left| left.start() <= missing.start()) {
            return Err(Error::internal("a mix does not grow"));
        }
    }
    match app.store.find_mix_track(&session.id).await? {
        Some(mix) if mix.open && !is_open && !session.state.takes_media() => close_track(app, &mix.id).await,
        _ => Ok(()),
    }
}

/// From the first sample of any of the tracks to the end of the last.
async fn extent_of(app: &App, tracks: &[Track]) -> Result<Option<TimeRange>> {
    let mut whole: Option<(i64, i64)> = None;
    for track in tracks {
        if let Some(e) = app.store.track_extent(&track.id).await? {
            let (start, end) = whole.unwrap_or((e.start_us, e.end_us));
            whole = Some((start.min(e.start_us), end.max(e.end_us)));
        }
    }
    Ok(whole.and_then(|(start, end)| TimeRange::new(WallTime(start), WallTime(end))))
}

/// What was recorded and is not mixed.
async fn missing_of(app: &App, session: &CaptureSession, recorded: TimeRange) -> Result<Option<TimeRange>> {
    let mixed = match app.store.find_mix_track(&session.id).await? {
        Some(mix) => extent_of(app, &[mix]).await?,
        None => None,
    };
    let from = mixed.map_or(recorded.start(), TimeRange::end);
    Ok(TimeRange::new(from, recorded.end()).filter(|missing| missing.length() >= WORTH_IT))
}

async fn mix_piece(app: &App, session: &CaptureSession, sources: &[Track], missing: TimeRange) -> Result<()> {
    let end = missing.end().min(missing.start() + PIECE);
    // On the line of frames that the mix had, so that the new ones follow the old.
    let start = missing.start() - RUN_UP;
    let mut mixer = Mixer::new(start);
    for (input, source) in sources.iter().enumerate() {
        push_source(app, source, input, TimeRange::new(start - RUN_UP, end), &mut mixer).await?;
    }
    let AudioEncoder { feed, output } = AudioEncoder::start(&AudioPlan { format: PcmFormat::F32, kbps: KBPS }, start)?;
    let track = open_mix_track(app, &session.id).await?;
    let writer = app.tracker.spawn(record(app.clone(), track.id, output, missing.start()));
    encode(&feed, &mixer.pull(end));
    drop(feed);
    writer.await.internal("record a mix")?
}

/// Decodes what a track has in the range, and adds it to the mix.
async fn push_source(
    app: &App,
    source: &Track,
    input: usize,
    range: Option<TimeRange>,
    mixer: &mut Mixer,
) -> Result<()> {
    let Some(range) = range else { return Ok(()) };
    for row in app.store.list_chunks(&source.id, range).await? {
        let data = app.objects.range(&row.object, 0, row.bytes as u64).await?;
        let chunk = Chunk::from_index(row.start, row.end, &row.index, Place::Object(row.object))?;
        decode(&chunk, &data, range, |at, pcm| mixer.push(input, at, pcm))?;
    }
    Ok(())
}

fn decode(chunk: &Chunk, data: &Bytes, range: TimeRange, mut sound: impl FnMut(WallTime, &[f32])) -> Result<()> {
    let vitascope_media::codec::Codec::Aac { rate, channels, .. } = chunk.codec else { return Ok(()) };
    let (mut decoder, mut resampler) = (AacDecoder::new(&chunk.codec)?, StereoResampler::new(rate, channels));
    let (mut ticks, mut offset, mut pcm) = (0, 0, Vec::new());
    for entry in chunk.entries.iter() {
        ticks += i64::from(entry.delta);
        let (from, to) = (offset, offset + entry.size as usize);
        offset = to;
        let at = chunk.start + Span::of_ticks(ticks, rate);
        if at >= range.start() && at < range.end() {
            let frame = data.get(from..to).ok_or_else(|| Error::internal("a chunk is shorter than its index says"))?;
            pcm.clear();
            resampler.push(decoder.decode(frame), &mut pcm);
            sound(at, &pcm);
        }
    }
    Ok(())
}
