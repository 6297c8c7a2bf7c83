//! Captions: what was said in a stream, as WebVTT on the stream's own time: from the transcript of the asset, else from the final
//! transcripts of what it was recorded from; of a list, from the transcripts of the assets it shows.
//! A session's picture has the words of its microphones and of what its loudspeakers played. How WebVTT writes a time stands in `preview`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use vitascope_model::capture::MediaKind;
use vitascope_model::id::{CaptureSessionId, RtStreamId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::stream::{AssetId, AssetPart, Piece, Stream};
use vitascope_model::transcript::{SpokenWord, TranscriptRecord, Utterance, Word};
use vitascope_model::{Error, MediaTime, Result, Span, TimeRange, WallTime};

use super::App;
use super::playback::plan_of;
use super::preview::cue_time;

/// A caption is at most so long, in characters: two lines.
const LONGEST: usize = 84;
/// And stands at most so long; it ends where nobody speaks for a while.
const STANDS: Span = Span::seconds(6);
const PAUSE: Span = Span::millis(1200);
/// Utterances of one stream; more than ten hours have.
const MOST: i64 = 20_000;

/// Some words that stand together.
#[derive(Debug, PartialEq)]
struct Cue {
    start: WallTime,
    end: WallTime,
    text: String,
}

/// Whether anything was written down of what a stream plays.
pub async fn has_any(app: &App, stream: &Stream) -> Result<bool> {
    if !cues_of_assets(app, &stream.piece).await?.is_empty() {
        return Ok(true);
    }
    let Some((range, sources)) = sources_of(app, &stream.piece).await? else { return Ok(false) };
    for source in sources {
        if app.store.list_transcript(&source.id, range, 1, 1).await?.1 > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The captions of a stream, in the order of time.
pub async fn of_stream(app: &App, stream: &Stream) -> Result<String> {
    let none = || Error::not_found("a transcript of what this stream plays");
    let cues = cues_of_assets(app, &stream.piece).await?;
    if !cues.is_empty() {
        return Ok(write(&cues, WallTime(0), plan_of(app, stream).await?.duration()));
    }
    let (range, sources) = sources_of(app, &stream.piece).await?.ok_or_else(none)?;
    let plan = plan_of(app, stream).await?;
    let zero = plan.start().unwrap_or(range.start());
    let mut cues = Vec::new();
    for source in sources {
        let (records, _) = app.store.list_transcript(&source.id, range, 1, MOST).await?;
        cues.extend(records.iter().flat_map(cues_of));
    }
    if cues.is_empty() {
        return Err(none());
    }
    cues.sort_by_key(|cue| (cue.start, cue.end));
    Ok(write(&cues, zero, plan.duration()))
}

/// What the transcripts of the assets say that a stream plays, on the stream's time.
async fn cues_of_assets(app: &App, piece: &Piece) -> Result<Vec<Cue>> {
    // What is shown of which asset, one after the other.
    let shown: Vec<(AssetId, Option<TimeRange>)> = match piece {
        Piece::Video { id } => vec![(AssetId::Video(id.clone()), None)],
        Piece::Audio { id } => vec![(AssetId::Audio(id.clone()), None)],
        Piece::Spans(spans) => spans.iter().filter_map(|span| Some((span.of.as_asset()?, Some(span.range)))).collect(),
        Piece::RtStream { .. } | Piece::Live { .. } => Vec::new(),
    };
    let (mut cues, mut at) = (Vec::new(), WallTime(0));
    let mut known: HashMap<AssetId, Vec<Utterance>> = HashMap::new();
    for (asset, range) in shown {
        let said = match known.entry(asset.clone()) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(app.store.list_asset_utterances(&asset).await?),
        };
        for utterance in said.iter() {
            let placed: Vec<Word> = utterance.words.iter().filter_map(|w| place_in(w, range, at)).collect();
            cues.extend(cues_of_words(&placed));
        }
        at += range.map_or(Span::ZERO, TimeRange::length);
    }
    Ok(cues)
}

/// A word on the time of a stream that shows `range` of its asset from `at` on; none if it is not in it.
fn place_in(word: &SpokenWord, range: Option<TimeRange>, at: WallTime) -> Option<Word> {
    let (from, to) = range.map_or((0, i64::MAX), |range| (range.start().0, range.end().0));
    let is_in = word.end.0 > from && word.start.0 < to;
    let on_stream = |time: MediaTime| at + Span(time.0.clamp(from, to) - from);
    is_in.then(|| Word { text: word.text.clone(), start: on_stream(word.start), end: on_stream(word.end) })
}

/// From when to when, and the rtstreams that have words.
async fn sources_of(app: &App, piece: &Piece) -> Result<Option<(TimeRange, Vec<RtStream>)>> {
    Ok(match piece {
        Piece::RtStream { id, range } => Some((*range, of_rtstream(app, id).await?)),
        Piece::Video { id } => of_parts(app, app.store.find_video(id).await?.map(|v| v.parts)).await?,
        Piece::Audio { id } => of_parts(app, app.store.find_audio(id).await?.map(|a| a.parts)).await?,
        _ => None,
    })
}

async fn of_parts(app: &App, parts: Option<Vec<AssetPart>>) -> Result<Option<(TimeRange, Vec<RtStream>)>> {
    let Some(parts) = parts.filter(|p| !p.is_empty()) else { return Ok(None) };
    let mut found: Vec<RtStream> = Vec::new();
    for part in &parts {
        let track = app.store.get_track(&part.track_id).await?;
        let these = match (&track.rtstream_id, &track.session_id) {
            (Some(rtstream), _) => of_rtstream(app, rtstream).await?,
            (None, Some(session)) => speakers_of(app, session).await?,
            (None, None) => Vec::new(),
        };
        found.extend(these);
    }
    found.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    found.dedup_by(|a, b| a.id == b.id);
    Ok(Some((parts[0].range, found)))
}

/// Itself, if it is sound; of a picture, the sound that was recorded with it.
async fn of_rtstream(app: &App, id: &RtStreamId) -> Result<Vec<RtStream>> {
    let Some(found) = app.store.find_rtstream(id).await? else { return Ok(Vec::new()) };
    match (&found.session_id, found.kind) {
        (Some(session), MediaKind::Video) => speakers_of(app, session).await,
        _ => Ok(vec![found]),
    }
}

async fn speakers_of(app: &App, session: &CaptureSessionId) -> Result<Vec<RtStream>> {
    let all = app.store.list_session_rtstreams(session).await?;
    Ok(all.into_iter().filter(|r| r.kind == MediaKind::Audio).collect())
}

/// An utterance in pieces that can be read at a glance.
fn cues_of(record: &TranscriptRecord) -> Vec<Cue> {
    if record.words.is_empty() {
        return vec![Cue { start: record.start, end: record.end, text: record.text.clone() }];
    }
    cues_of_words(&record.words)
}

fn cues_of_words(words: &[Word]) -> Vec<Cue> {
    let mut cues: Vec<Cue> = Vec::new();
    for word in words {
        match cues.last_mut().filter(|cue| may_join(cue, word)) {
            Some(cue) => {
                cue.text.push(' ');
                cue.text.push_str(&word.text);
                cue.end = word.end;
            }
            None => cues.push(Cue { start: word.start, end: word.end, text: word.text.clone() }),
        }
    }
    cues
}

fn may_join(cue: &Cue, word: &Word) -> bool {
    let length = cue.text.chars().count() + 1 + word.text.chars().count();
    length <= LONGEST && word.end - cue.start <= STANDS && word.start - cue.end <= PAUSE
}

fn write(cues: &[Cue], zero: WallTime, length: Span) -> String {
    let mut out = "WEBVTT\n".to_owned();
    for cue in cues {
        let (start, end) = ((cue.start - zero).max(Span::ZERO), (cue.end - zero).min(length));
        if start < end {
            out += &format!("\n{} --> {}\n{}\n", cue_time(start), cue_time(end), escape(&cue.text));
        }
    }
    out
}

/// Text has no markup here, and no line of it is empty or an arrow.
fn escape(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start_ms: i64, end_ms: i64) -> Word {
        Word { text: text.to_owned(), start: WallTime(start_ms * 1000), end: WallTime(end_ms * 1000) }
    }

    fn record(words: Vec<Word>) -> TranscriptRecord {
        TranscriptRecord {
            rtstream_id: "rts-1".parse().unwrap(),
            start: words[0].start,
            end: words[words.len() - 1].end,
            text: String::new(),
            words,
            confidence: 1.0,
        }
    }

    #[test]
    fn captions_break_at_pauses_and_before_they_are_too_long() {
        let texts = |words| cues_of(&record(words)).into_iter().map(|c| c.text).collect::<Vec<_>>();
        assert_eq!(
            texts(vec![word("One", 0, 200), word("two.", 300, 500), word("Three.", 1701, 2000)]),
            ["One two.", "Three."]
        );
        let many: Vec<Word> = (0..30).map(|n| word("word", n * 100, n * 100 + 90)).collect();
        assert!(texts(many.clone()).iter().all(|t| t.chars().count() <= LONGEST) && texts(many).len() == 2);
        let slow: Vec<Word> = (0..10).map(|n| word("a", n * 1000, n * 1000 + 900)).collect();
        assert_eq!(texts(slow), ["a a a a a a", "a a a a"]);
    }

    #[test]
    fn captions_are_text_on_the_streams_own_time() {
        let cues = cues_of(&record(vec![word("<b>", 900, 1500), word("-->", 1600, 9000)]));
        let written = write(&cues, WallTime(1_000_000), Span::seconds(3));
        assert_eq!(
            written,
            "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\n&lt;b&gt;\n\n00:00:00.600 --> 00:00:03.000\n--&gt;\n"
        );
        assert_eq!(write(&cues, WallTime(20_000_000), Span::seconds(3)), "WEBVTT\n");
    }
}
