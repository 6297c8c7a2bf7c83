//! What a player shows of a stream before it plays: a poster, and the strip, sheets of small pictures made of key frames alone for who
//! looks for a moment. Made when they are first asked for and kept in memory, so many bytes of them; nothing is written.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use vitascope_media::compile::{Plan, Still};
use vitascope_media::frame::{Fit, sheet};
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::{Error, Result, Span};

use super::gather::gather;
use super::playback::{init, plan_of, still_layout};
use super::thumbnail::representative;
use super::{App, image};

/// Kept at the most, in bytes: some hundred sheets.
const MOST_KEPT: usize = 24 << 20;
/// Tiles of a sheet, side by side and one below the other.
const COLUMNS: usize = 5;
const TILES: usize = COLUMNS * COLUMNS;
/// A tile is at most so wide and so high.
const TILE: u32 = 160;
/// As many tiles as a short stream has, if they are no closer than the first of these; then one each so often, and at last so many.
const SHORT: i64 = 100;
const CLOSEST: Span = Span::seconds(1);
const EACH: Span = Span::seconds(10);
const MOST: i64 = 1000;
/// A poster for a page; the video's own may be larger.
const POSTER: Fit = Fit { width: Some(1280), height: Some(1280) };

/// Pictures that were asked for last, by stream and name.
#[derive(Default)]
pub struct Previews(Mutex<VecDeque<(String, Bytes)>>);

impl Previews {
    fn get(&self, key: &str) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(k, _)| k == key)?;
        let found = kept.remove(at)?;
        let bytes = found.1.clone();
        kept.push_front(found);
        Some(bytes)
    }

    fn keep(&self, key: String, bytes: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(k, _)| *k != key);
        kept.push_front((key, bytes.clone()));
        while kept.iter().map(|(_, b)| b.len()).sum::<usize>() > MOST_KEPT {
            kept.pop_back();
        }
    }
}

/// A picture that stands for the stream: the video's own where it has one.
pub async fn poster(app: &App, stream: &Stream) -> Result<Bytes> {
    if let Piece::Video { id } = &stream.piece
        && let Some(video) = app.store.find_video(id).await?
        && let Some(thumbnail) = video.thumbnail
        && let Some(found) = app.store.find_image(&thumbnail).await?
    {
        return image::read(app, &found).await;
    }
    let plan = plan_of(app, stream).await?;
    let key = format!("{} poster", stream.id);
    if let Some(kept) = app.previews.get(&key) {
        return Ok(kept);
    }
    let (_, made) = representative(app, &plan, POSTER).await?;
    app.previews.keep(key, &made.bytes);
    Ok(made.bytes)
}

/// The list of the strip's tiles, as WebVTT: from when to when each stands, and where in which sheet it is.
pub async fn strip_list(app: &App, stream: &Stream) -> Result<String> {
    let plan = plan_of_strip(app, stream).await?;
    Ok(Strip::of(&plan)?.list())
}

/// Sheet `n` of the strip.
pub async fn strip_sheet(app: &App, stream: &Stream, n: usize) -> Result<Bytes> {
    let plan = plan_of_strip(app, stream).await?;
    let key = format!("{} strip {n}", stream.id);
    if let Some(kept) = app.previews.get(&key) {
        return Ok(kept);
    }
    let strip = Strip::of(&plan)?;
    let mut stills = Vec::with_capacity(TILES);
    for tile in (0..strip.tiles).skip(n.saturating_mul(TILES)).take(TILES) {
        stills.push(strip.still(&plan, tile)?);
    }
    if stills.is_empty() {
        return Err(Error::not_found(format_args!("sheet {n} of the strip")));
    }
    let _turn = app.frames.acquire().await;
    // Somebody may have asked for the same one a moment before.
    if let Some(kept) = app.previews.get(&key) {
        return Ok(kept);
    }
    let mut pictures = Vec::with_capacity(stills.len());
    for still in &stills {
        let layout = still_layout(app, &plan, still).await?;
        pictures.push(gather(app, &layout).await?);
    }
    let made = sheet(&init(app, &plan).await?, &pictures, strip.tile, COLUMNS as u32).await?;
    app.previews.keep(key, &made.bytes);
    Ok(made.bytes)
}

async fn plan_of_strip(app: &App, stream: &Stream) -> Result<Arc<Plan>> {
    let plan = match &stream.piece {
        Piece::Live { .. } => None,
        _ => Some(plan_of(app, stream).await?),
    };
    plan.filter(|p| p.is_complete()).ok_or_else(|| Error::not_found("the strip of what still grows"))
}

/// How a stream is cut into tiles.
#[derive(Debug, PartialEq, Eq)]
struct Strip {
    length: Span,
    every: Span,
    tiles: usize,
    tile: (u32, u32),
}

impl Strip {
    fn of(plan: &Plan) -> Result<Strip> {
        if !plan.has_picture() {
            return Err(Error::not_found("a picture of what is only sound"));
        }
        let (width, height) = plan.picture_size()?;
        Ok(Strip::new(plan.duration(), width, height))
    }

    fn new(length: Span, width: u32, height: u32) -> Strip {
        let every = Span(length.0 / SHORT).clamp(CLOSEST, EACH).max(Span(length.0 / MOST));
        let longer = width.max(height).max(1);
        // Even, as the pictures' colours want it.
        let side = |pixels: u32| ((TILE * pixels / longer) / 2 * 2).max(2);
        let tiles = (length.0.max(1) + every.0 - 1) / every.0;
        Strip { length, every, tiles: tiles as usize, tile: (side(width), side(height)) }
    }

    fn start(&self, tile: usize) -> Span {
        Span(self.every.0 * tile as i64).min(self.length)
    }

    fn list(&self) -> String {
        let mut out = String::with_capacity(80 * self.tiles + 10);
        out.push_str("WEBVTT\n");
        let (width, height) = self.tile;
        for tile in 0..self.tiles {
            let (sheet, place) = (tile / TILES, (tile % TILES) as u32);
            let (x, y) = (place % COLUMNS as u32 * width, place / COLUMNS as u32 * height);
            let (from, to) = (cue_time(self.start(tile)), cue_time(self.start(tile + 1)));
            write!(out, "\n{from} --> {to}\nstrip-{sheet}.jpg#xywh={x},{y},{width},{height}\n")
                .expect("writing to a string succeeds");
        }
        out
    }

    /// What stands for a tile: what plays in its middle, or a key frame near that.
    fn still(&self, plan: &Plan, tile: usize) -> Result<Still> {
        let middle = Span(self.start(tile).0 + self.every.0 / 2).min(Span(self.length.0 - 1));
        plan.still(middle, Span(self.every.0 / 2), self.start(tile))
    }
}

/// As WebVTT writes it.
pub(super) fn cue_time(at: Span) -> String {
    let ms = at.0 / 1000;
    let (seconds, minutes, hours) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_has_a_tile_each_second_up_to_a_thousand_in_all() {
        let tiles = |seconds| Strip::new(Span::seconds(seconds), 1280, 720).tiles;
        assert_eq!([tiles(1), tiles(30), tiles(500), tiles(3600), tiles(36_000)], [1, 30, 100, 360, 1000]);
        assert_eq!(Strip::new(Span(2_500_000), 1080, 1920).tile, (90, 160));
        assert_eq!(Strip::new(Span(2_500_000), 1920, 1080).tile, (160, 90));
    }

    #[test]
    fn the_list_says_where_each_tile_is() {
        let list = Strip::new(Span(26_500_000), 1280, 720).list();
        assert!(list.starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nstrip-0.jpg#xywh=0,0,160,90\n"));
        assert!(list.contains("\n00:00:06.000 --> 00:00:07.000\nstrip-0.jpg#xywh=160,90,160,90\n"));
        assert!(list.ends_with("\n00:00:26.000 --> 00:00:26.500\nstrip-1.jpg#xywh=160,0,160,90\n"));
    }

    #[test]
    fn what_was_asked_for_last_is_kept_and_no_more_than_fits() {
        let previews = Previews::default();
        let third = Bytes::from(vec![0; MOST_KEPT / 3]);
        ["a", "b", "c"].into_iter().for_each(|key| previews.keep(key.to_owned(), &third));
        assert!(previews.get("a").is_some());
        previews.keep("d".to_owned(), &third);
        assert!(previews.get("b").is_none() && previews.get("a").is_some() && previews.get("d").is_some());
    }
}
