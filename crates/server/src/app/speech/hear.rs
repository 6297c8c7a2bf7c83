//! From the stored sound of an asset to utterances: chunk by chunk out of the objects, decoded on a thread of its own, heard by the
//! speech models as fast as what is live leaves them free. Nothing is written here.

use std::sync::mpsc as plain;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use vitascope_ai::speech::{LiveChannel, Utterance as Spoken};
use vitascope_media::codec::Codec;
use vitascope_media::compile::{SegmentPart, Slice, slices_of};
use vitascope_media::pcm::{AacDecoder, SpeechResampler};
use vitascope_media::track::{Chunk, Place};
use vitascope_model::capture::MediaKind;
use vitascope_model::id::TrackId;
use vitascope_model::rtstream::SealedChunk;
use vitascope_model::transcript::{SpokenWord, Transcript, Utterance};
use vitascope_model::usage::Meter;
use vitascope_model::{Error, MediaTime, Result, Span, TimeRange, WallTime};

use super::Audible;
use crate::app::playback::chunk_of;
use crate::app::usage::Tally;
use crate::app::{App, encode, gather};
use crate::live::hearing::{RATE, TimeLine};

/// Where nobody speaks, it is told so often how far the sound was read.
const TELL_EACH: Span = Span::seconds(30);

/// What was said since the last time this was told.
pub(super) struct Said {
    pub(super) utterances: Vec<Utterance>,
    /// Up to here everything was said: nothing before it will come.
    pub(super) until: MediaTime,
    /// How far the sound was read.
    pub(super) at: MediaTime,
    pub(super) is_last: bool,
}

/// Somebody who hears; dropping it ends the hearing.
pub(super) struct Hearing(mpsc::Receiver<Result<Said>>);

impl Hearing {
    /// None when all was told.
    pub(super) async fn next(&mut self) -> Result<Option<Said>> {
        self.0.recv().await.transpose()
    }
}

/// Begins to hear what `known` does not know yet.
pub(super) async fn start(app: &App, of: &Audible, known: &Transcript) -> Result<Hearing> {
    let (track, range) = sound_of(app, of).await?;
    let zero = range.start();
    let from = zero + (known.heard - MediaTime(0));
    let (spoken, told) = plain::channel();
    let spoken = Mutex::new(spoken);
    let sink = move |utterance: Spoken| {
        if utterance.is_final && !utterance.words.is_empty() {
            // Whoever stopped listening needs no words.
            spoken.lock().unwrap_or_else(PoisonError::into_inner).send(utterance).ok();
        }
    };
    let channel = app.transcriber.open_recording(Box::new(sink)).await?;
    let (chunks, read) = mpsc::channel(2);
    let (output, heard) = mpsc::channel(4);
    let (reader, tally) = (app.clone(), Tally::of(app, &of.owner));
    let listeners = output.clone();
    app.spawn(async move {
        let Some(rest) = TimeRange::new(from, range.end()) else { return };
        let read = async {
            if let Err(error) = read_all(&reader, &track, rest, &chunks).await {
                chunks.send(Err(error)).await.ok();
            }
        };
        // It may wait for an encoder when nobody listens any more.
        tokio::select! {
            () = read => {}
            () = listeners.closed() => {}
        }
    });
    let line = Line { zero, from, end: range.end(), places: Arc::default(), position: 0, until: known.heard };
    tokio::task::spawn_blocking(move || {
        let ended = listen(channel, line, read, &told, &output, |span| tally.add(Meter::Analysed, span.0 as u64));
        if let Err(error) = ended {
            output.blocking_send(Err(error)).ok();
        }
    });
    Ok(Hearing(heard))
}

/// The sound that plays with the asset, and where in its track.
async fn sound_of(app: &App, of: &Audible) -> Result<(TrackId, TimeRange)> {
    for part in of.parts.iter().filter(|p| p.purpose.plays_whole()) {
        if app.store.get_track(&part.track_id).await?.kind == MediaKind::Audio {
            return Ok((part.track_id.clone(), part.range));
        }
    }
    Err(Error::invalid(format!("{} has no sound: there is nothing to transcribe", of.asset_id)))
}

/// Frames of one chunk, with the times at which they begin.
type Heard = (Codec, Vec<(WallTime, u64)>, Bytes);

async fn read_all(app: &App, track: &TrackId, range: TimeRange, chunks: &mpsc::Sender<Result<Heard>>) -> Result<()> {
    for row in app.store.list_chunks(track, range).await? {
        let chunk = there(app, track, row).await?;
        let frames: Vec<(WallTime, Slice)> = slices_of(&chunk).filter(|(at, _)| *at < range.end()).collect();
        let sizes = frames.iter().map(|(at, slice)| (*at, slice.length)).collect();
        let size = frames.iter().map(|(_, slice)| slice.length).sum();
        let parts: Vec<SegmentPart> = frames.into_iter().map(|(_, slice)| SegmentPart::Slice(slice)).collect();
        let bytes = gather::read_parts(app, &parts, size).await?;
        if chunks.send(Ok((chunk.codec, sizes, bytes))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A chunk with its bytes: where it is still to be encoded, that is waited for.
async fn there(app: &App, track: &TrackId, row: SealedChunk) -> Result<Chunk> {
    let start = row.start;
    let chunk = chunk_of(track, row.into())?;
    if !matches!(chunk.place, Place::Promised(_)) {
        return Ok(chunk);
    }
    chunk_of(track, encode::once_there(app, track, start).await?.into())
}

/// From places in what was heard to the asset's time.
struct Line {
    /// The asset's beginning on the track's clock.
    zero: WallTime,
    from: WallTime,
    end: WallTime,
    places: Arc<TimeLine>,
    position: u64,
    until: MediaTime,
}

impl Line {
    fn time(&self, at: MediaTime) -> MediaTime {
        MediaTime(0) + (self.places.wall(at).clamp(self.from, self.end) - self.zero)
    }

    fn utterance(&mut self, spoken: Spoken) -> Utterance {
        let word = |w: SpokenWord| SpokenWord { start: self.time(w.start), end: self.time(w.end), text: w.text };
        let words: Vec<SpokenWord> = spoken.words.into_iter().map(word).collect();
        let (start, end) = (self.time(spoken.start), self.time(spoken.end));
        self.until = self.until.max(end);
        Utterance { start, end, words, confidence: spoken.confidence }
    }
}

/// Hears all chunks, and tells after each what was said.
fn listen(
    mut channel: LiveChannel,
    mut line: Line,
    mut chunks: mpsc::Receiver<Result<Heard>>,
    told: &plain::Receiver<Spoken>,
    output: &mpsc::Sender<Result<Said>>,
    count: impl Fn(Span),
) -> Result<()> {
    let mut sound: Option<(Codec, AacDecoder, SpeechResampler)> = None;
    let mut pcm = Vec::new();
    let (mut at, mut told_at) = (line.from, line.from);
    while let Some(chunk) = chunks.blocking_recv() {
        let (codec, frames, bytes) = chunk?;
        if sound.as_ref().is_none_or(|(known, ..)| *known != codec) {
            let Codec::Aac { rate, channels, .. } = codec else { return Err(Error::internal("sound that is no AAC")) };
            sound = Some((codec.clone(), AacDecoder::new(&codec)?, SpeechResampler::new(rate, channels)));
        }
        let Some((_, decoder, resampler)) = &mut sound else { continue };
        let mut rest = &bytes[..];
        for (wall, size) in frames {
            let (frame, after) = rest
                .split_at_checked(size as usize)
                .ok_or_else(|| Error::internal("a chunk is shorter than it says"))?;
            rest = after;
            if wall < line.from {
                continue;
            }
            pcm.clear();
            if let Some(silence) = line.places.place(line.position, wall) {
                pcm.resize(silence.to_ticks(RATE) as usize, 0.0);
                line.places.anchor(line.position + pcm.len() as u64, wall);
            }
            resampler.push(decoder.decode(frame), &mut pcm);
            line.position += pcm.len() as u64;
            count(Span::of_ticks(pcm.len() as i64, RATE));
            channel.push(&pcm)?;
            at = wall;
        }
        let utterances: Vec<_> = told.try_iter().map(|u| line.utterance(u)).collect();
        if utterances.is_empty() && at - told_at < TELL_EACH {
            continue;
        }
        told_at = at;
        let said = Said { utterances, until: line.until, at: MediaTime(0) + (at - line.zero), is_last: false };
        if output.blocking_send(Ok(said)).is_err() {
            return Ok(());
        }
    }
    channel.finish()?;
    let utterances = told.try_iter().map(|u| line.utterance(u)).collect();
    let end = MediaTime(0) + (line.end - line.zero);
    // Nobody left to tell is fine: then it was stopped.
    output.blocking_send(Ok(Said { utterances, until: end, at: end, is_last: true })).ok();
    Ok(())
}
