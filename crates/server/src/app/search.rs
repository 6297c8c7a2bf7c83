//! Search: from a question to hits, each a moment of a video with a stream that plays at once. What is meant is found by the vectors of
//! records, what is said word for word by the words of transcripts. How many hits are shown, and in which order, is worked out here.

use std::collections::HashMap;

use vitascope_model::account::Scope;
use vitascope_model::id::VideoId;
use vitascope_model::media_index::{Hit, MediaIndexKind, Within};
use vitascope_model::stream::{Piece, SpanOf, Stream, StreamSpan, Video};
use vitascope_model::transcript::{SpokenWord, Utterance};
use vitascope_model::{Error, ErrorKind, Result, Span, TimeRange, WallTime};

use super::App;
use super::stream::{Words, publish_all};

/// Hits of one search.
pub const MOST: usize = 1000;
/// The shortest moment that is a stream: a word may be shorter than a picture.
const SHORTEST: Span = Span::millis(500);
/// Hits that follow each other so closely are one, where they are stitched.
const NEXT: Span = Span::millis(1500);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    pub text: String,
    pub within: Within,
    pub limit: usize,
    /// Of the score.
    pub least: f64,
    /// Hits further below the best than so many percent of the distance to the worst are left out.
    pub dynamic_percent: f64,
    /// Whether hits that follow each other become one.
    pub is_stitched: bool,
}

/// What was found in one video, the best hit first.
pub struct Found {
    pub video: Video,
    pub hits: Vec<(Hit, Stream)>,
}

/// Sentences that mean what the question means.
pub async fn by_meaning(app: &App, scope: &Scope, question: &Question) -> Result<Vec<Found>> {
    let kind = MediaIndexKind::SpokenWord;
    if !app.store.has_media_index(&question.within, kind, None).await? {
        return Ok(Vec::new());
    }
    let embedder = app.embedding.get()?;
    let model = embedder.model();
    if !app.store.has_media_index(&question.within, kind, Some(model)).await? {
        return Err(Error::conflict(format!(
            "what is to be searched was indexed with another embedding model than {model}: index it again, with force"
        )));
    }
    let vectors = embedder.embed(vec![question.text.clone()]).await?;
    let vector = vectors.into_iter().next().ok_or_else(|| Error::internal("a question has no vector"))?;
    let hits = app.store.search_records(&question.within, kind, model, vector, question.limit, question.least).await?;
    let mut hits = cut(hits, question.dynamic_percent);
    if question.is_stitched {
        hits = stitched(hits);
    }
    with_streams(app, scope, hits).await
}

/// Words that are said as they are written in the question, one after the other; upper and lower case and punctuation do not matter.
pub async fn by_words(app: &App, scope: &Scope, question: &Question) -> Result<Vec<Found>> {
    let wanted: Vec<String> = question.text.split_whitespace().map(bare).filter(|w| !w.is_empty()).collect();
    let Some(longest) = wanted.iter().max_by_key(|w| w.len()) else { return Ok(Vec::new()) };
    let said = app.store.list_utterances_with(&question.within, longest).await?;
    let hits = said.iter().flat_map(|(video, utterance)| said_in(video, utterance, &wanted)).take(question.limit);
    with_streams(app, scope, hits.collect()).await
}

/// A word without what stands around it.
fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

fn said_in(video: &VideoId, utterance: &Utterance, wanted: &[String]) -> Vec<Hit> {
    let is_said = |words: &&[SpokenWord]| words.iter().zip(wanted).all(|(word, wanted)| bare(&word.text) == *wanted);
    let hit = |words: &[SpokenWord]| Hit {
        video_id: video.clone(),
        start: words[0].start,
        end: words[words.len() - 1].end,
        text: words.iter().map(|w| bare(&w.text)).collect::<Vec<_>>().join(" "),
        score: 1.0,
    };
    utterance.words.windows(wanted.len()).filter(is_said).map(hit).collect()
}

/// Of hits in order, those near enough to the best. Contract: score >= best - percent of (best - worst).
fn cut(mut hits: Vec<Hit>, percent: f64) -> Vec<Hit> {
    let (Some(best), Some(worst)) = (hits.first().map(|h| h.score), hits.last().map(|h| h.score)) else { return hits };
    let least = best - percent / 100.0 * (best - worst);
    // The worst itself stays at 100 percent, whatever the arithmetic makes of it.
    hits.retain(|hit| hit.score >= least - 1e-9);
    hits
}

/// Hits that follow each other in a video as one, with the better score; the best first.
fn stitched(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|a, b| (&a.video_id, a.start).cmp(&(&b.video_id, b.start)));
    let mut joined: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match joined.last_mut() {
            Some(last) if last.video_id == hit.video_id && hit.start - last.end <= NEXT => {
                last.end = last.end.max(hit.end);
                last.score = last.score.max(hit.score);
                last.text = format!("{} {}", last.text, hit.text);
            }
            _ => joined.push(hit),
        }
    }
    joined.sort_by(|a, b| b.score.total_cmp(&a.score));
    joined
}

/// Hits by video, the video with the best one first; each hit with a stream of its moment.
async fn with_streams(app: &App, scope: &Scope, hits: Vec<Hit>) -> Result<Vec<Found>> {
    let mut found: Vec<(Video, Vec<Hit>)> = Vec::new();
    let mut places: HashMap<VideoId, Option<usize>> = HashMap::new();
    for hit in hits {
        let place = match places.get(&hit.video_id) {
            Some(place) => *place,
            None => {
                // What was deleted meanwhile is no hit.
                let place = match app.store.get_video(scope, &hit.video_id).await {
                    Ok(video) => {
                        found.push((video, Vec::new()));
                        Some(found.len() - 1)
                    }
                    Err(error) if error.kind == ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                };
                *places.entry(hit.video_id.clone()).or_insert(place)
            }
        };
        place.into_iter().for_each(|n| found[n].1.push(hit.clone()));
    }
    let moment = |(video, hit): (&Video, &Hit)| {
        let words = Words { title: Some(video.name.clone()), description: Some(hit.text.clone()) };
        (
            Piece::Spans([StreamSpan { of: SpanOf::Video(video.id.clone()), range: shown(hit, video.length) }].into()),
            words,
        )
    };
    let pieces = found.iter().flat_map(|(video, hits)| hits.iter().map(move |hit| (video, hit))).map(moment).collect();
    let mut streams = publish_all(app, scope.user(), pieces).await?.into_iter();
    let with =
        |(video, hits): (Video, Vec<Hit>)| Found { video, hits: hits.into_iter().zip(streams.by_ref()).collect() };
    Ok(found.into_iter().map(with).collect())
}

/// The moment of a hit, within its video.
fn shown(hit: &Hit, length: Span) -> TimeRange {
    let end = WallTime(hit.end.0.max(hit.start.0 + SHORTEST.0).min(length.0));
    let start = WallTime(hit.start.0.min(end.0 - SHORTEST.0).max(0));
    TimeRange::new(start, end)
        .unwrap_or_else(|| TimeRange::new(WallTime(0), WallTime(length.0.max(1))).expect("not empty"))
}

#[cfg(test)]
mod tests {
    use vitascope_model::MediaTime;

    use super::*;

    fn hit(video: &str, start: i64, end: i64, score: f64) -> Hit {
        let (video_id, at) = (format!("m-{video}").parse().unwrap(), |s: i64| MediaTime(s * 1_000_000));
        Hit { video_id, start: at(start), end: at(end), text: format!("{video}{start}"), score }
    }

    #[test]
    fn hits_far_below_the_best_are_left_out() {
        let hits = vec![hit("a", 0, 1, 0.9), hit("a", 5, 6, 0.8), hit("a", 9, 10, 0.4)];
        let left = |percent| cut(hits.clone(), percent).len();
        assert_eq!((left(0.0), left(19.0), left(20.0), left(100.0)), (1, 1, 2, 3));
        assert_eq!(cut(Vec::new(), 20.0), []);
    }

    #[test]
    fn hits_that_follow_each_other_are_one() {
        let found =
            stitched(vec![hit("a", 10, 12, 0.5), hit("b", 0, 1, 0.7), hit("a", 13, 15, 0.9), hit("a", 20, 22, 0.6)]);
        let shown: Vec<_> = found.iter().map(|h| (h.text.as_str(), h.score)).collect();
        assert_eq!(shown, [("a10 a13", 0.9), ("b0", 0.7), ("a20", 0.6)]);
    }

    #[test]
    fn words_are_found_one_after_the_other() {
        let at = MediaTime;
        let word = |(n, text): (usize, &str)| {
            let start = n as i64 * 1000;
            SpokenWord { text: text.to_owned(), start: at(start), end: at(start + 900) }
        };
        let words = "It was the worst, of times: it was THE worst.".split(' ').enumerate().map(word).collect();
        let utterance = Utterance { start: at(0), end: at(10_000), words, confidence: 1.0 };
        let found = |text: &str| {
            let wanted: Vec<String> = text.split(' ').map(bare).collect();
            said_in(&"m-a".parse().unwrap(), &utterance, &wanted)
                .iter()
                .map(|h| (h.start.0, h.end.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(found("the worst"), [(2000, 3900), (8000, 9900)]);
        assert_eq!(found("Worst of"), [(3000, 4900)]);
        assert_eq!(found("wor"), []);
    }

    #[test]
    fn a_moment_is_long_enough_to_be_seen_and_lies_in_its_video() {
        let range = |start, end| {
            let Hit { video_id, text, score, .. } = hit("a", 0, 0, 1.0);
            let range =
                shown(&Hit { video_id, start: MediaTime(start), end: MediaTime(end), text, score }, Span::seconds(10));
            (range.start().0, range.end().0)
        };
        assert_eq!(range(1_000_000, 1_100_000), (1_000_000, 1_500_000));
        assert_eq!(range(9_900_000, 10_200_000), (9_500_000, 10_000_000));
    }
}
