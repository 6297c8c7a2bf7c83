//! Streams: an unguessable id for what may be played. The same piece of the same owner always has the same id.

use std::collections::HashSet;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, UserId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::stream::{Piece, SpanOf, Stream};
use vitascope_model::{Error, Result, WallTime};
use vitascope_store::stream;

use super::App;
use crate::random;

/// Words of a player's URL are cut after so many characters.
const LONGEST_SLUG: usize = 80;

/// What a player page says about a stream.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub title: Option<String>,
    pub description: Option<String>,
}

/// The stream of `piece`, remembered so that its id can be played.
pub async fn publish(app: &App, owner: &UserId, piece: Piece, words: Words) -> Result<Stream> {
    let made = new(app, owner, piece, words);
    let (row, now) = (made.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { stream::insert(tx, &row, now).await })).await?;
    Ok(made)
}

/// The streams of many pieces, stored together.
pub async fn publish_all(app: &App, owner: &UserId, pieces: Vec<(Piece, Words)>) -> Result<Vec<Stream>> {
    let made: Vec<Stream> = pieces.into_iter().map(|(piece, words)| new(app, owner, piece, words)).collect();
    if made.is_empty() {
        return Ok(made);
    }
    let (rows, now) = (made.clone(), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                for row in &rows {
                    stream::insert(tx, row, now).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(made)
}

/// The stream of `piece`, to be stored by the caller.
pub fn new(app: &App, owner: &UserId, piece: Piece, words: Words) -> Stream {
    let Words { title, description } = words;
    Stream { id: id_of(app, owner, &piece), owner: owner.clone(), piece, title, description, is_gone: false }
}

pub fn id_of(app: &App, owner: &UserId, piece: &Piece) -> String {
    let piece = match piece {
        Piece::RtStream { id, range } => format!("{id} {} {}", range.start().0, range.end().0),
        Piece::Live { id } => format!("{id} live"),
        Piece::Video { id } => id.to_string(),
        Piece::Audio { id } => id.to_string(),
        Piece::Spans(spans) => spans.iter().fold("spans".to_owned(), |mut list, span| {
            write!(list, " {} {} {}", span.of, span.range.start().0, span.range.end().0).expect("a string takes it");
            list
        }),
    };
    random::hex(&mac_of(app, &format!("{owner} {piece}")).finalize().into_bytes()[..16])
}

/// A secret of this server's own, made of `text`.
pub(super) fn mac(app: &App, text: &str) -> [u8; 32] {
    mac_of(app, text).finalize().into_bytes().into()
}

fn mac_of(app: &App, text: &str) -> Hmac<sha2::Sha256> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(app.stream_secret.as_bytes()).expect("any key length will do");
    mac.update(text.as_bytes());
    mac
}

/// The collection in which lies what a stream plays, if that may be seen; none where it is of several.
pub async fn collection_of(app: &App, scope: &Scope, stream: &Stream) -> Result<Option<CollectionId>> {
    let all: Vec<SpanOf> = match &stream.piece {
        Piece::RtStream { id, .. } | Piece::Live { id } => vec![SpanOf::RtStream(id.clone())],
        Piece::Video { id } => vec![SpanOf::Video(id.clone())],
        Piece::Audio { id } => vec![SpanOf::Audio(id.clone())],
        Piece::Spans(spans) => spans.iter().map(|s| s.of.clone()).collect::<HashSet<_>>().into_iter().collect(),
    };
    let mut homes = HashSet::new();
    for of in all {
        homes.insert(match &of {
            SpanOf::RtStream(id) => app.store.get_rtstream(scope, id).await?.collection_id,
            SpanOf::Video(id) => app.store.get_video(scope, id).await?.collection_id,
            SpanOf::Audio(id) => app.store.get_audio(scope, id).await?.collection_id,
        });
    }
    if homes.len() > 1 && !scope.is_whole() {
        return Err(Error::denied(
            "a file of several collections belongs to the account: this API key is bound to some of them",
        ));
    }
    Ok(homes.iter().next().filter(|_| homes.len() == 1).cloned())
}

/// What proves that a URL of the stream was given out by us, until it expires.
pub fn signature(app: &App, stream_id: &str, expires: WallTime) -> String {
    random::hex(&mac_of(app, &format!("signed {stream_id} {}", expires.0)).finalize().into_bytes())
}

pub fn is_signature(app: &App, stream_id: &str, expires: WallTime, mac: &str) -> bool {
    // Of digests, so that the time it takes says nothing about where they differ.
    random::digest(&signature(app, stream_id, expires)) == random::digest(mac)
}

/// Path of the playlist. The range of an rtstream stands in its name, in microseconds of 16 digits, where notebooks read it.
pub fn playlist_path(stream: &Stream) -> String {
    match &stream.piece {
        Piece::RtStream { range, .. } => {
            format!("/streams/{}/{:016}-{:016}.m3u8", stream.id, range.start().0, range.end().0)
        }
        Piece::Live { .. } => live_playlist_path(&stream.id),
        Piece::Video { .. } | Piece::Audio { .. } | Piece::Spans(_) => asset_playlist_path(&stream.id),
    }
}

pub fn live_playlist_path(stream_id: &str) -> String {
    format!("/streams/{stream_id}/live.m3u8")
}

/// The stream of an rtstream's live edge, under its name.
pub fn live_of(app: &App, rtstream: &RtStream) -> Stream {
    let words = Words { title: Some(rtstream.name.clone()), description: None };
    new(app, &rtstream.owner, Piece::Live { id: rtstream.id.clone() }, words)
}

/// At start: rtstreams that were made before streams had a live edge get theirs.
pub async fn complete_live(app: &App) -> Result<()> {
    let (id_of, now) = (app.clone(), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                for (id, owner, name) in stream::list_rtstreams_without(tx).await? {
                    let words = Words { title: Some(name), description: None };
                    let made = new(&id_of, &owner.parse()?, Piece::Live { id: id.parse()? }, words);
                    stream::insert(tx, &made, now).await?;
                }
                Ok(())
            })
        })
        .await
}

pub fn asset_playlist_path(stream_id: &str) -> String {
    format!("/streams/{stream_id}/index.m3u8")
}

/// Path of the page that plays it: SDKs want `/watch?` and `v=` in it.
pub fn player_path(stream_id: &str) -> String {
    format!("/watch?v={stream_id}")
}

/// The same with words before the id, for people who read URLs.
pub fn player_path_with_slug(stream_id: &str, wanted: &str) -> String {
    let mut slug = String::new();
    for c in wanted.chars().take(LONGEST_SLUG) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { player_path(stream_id) } else { format!("/watch?v={slug}-{stream_id}") }
}

/// The id in what stands behind `v=`: all of it, or what comes after the words.
pub fn id_in_slug(v: &str) -> &str {
    v.rsplit('-').next().unwrap_or(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_an_id_do_not_hide_it() {
        let id = "0123456789abcdef0123456789abcdef";
        for (wanted, path) in [
            ("Daily stand-up!", format!("/watch?v=daily-stand-up-{id}")),
            ("  ", format!("/watch?v={id}")),
            ("é/../<x>", format!("/watch?v=x-{id}")),
        ] {
            assert_eq!(player_path_with_slug(id, wanted), path);
            assert_eq!(id_in_slug(path.split_once("v=").unwrap().1), id);
        }
    }
}
