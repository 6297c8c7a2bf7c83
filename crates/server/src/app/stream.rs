//! Streams: an unguessable id for what may be played. The same piece of the same owner always has the same id.

use hmac::{Hmac, KeyInit, Mac};
use vitascope_model::Result;
use vitascope_model::id::UserId;
use vitascope_model::stream::{Piece, Stream};
use vitascope_store::stream;

use super::App;
use crate::random;

/// The stream of `piece`, remembered so that its id can be played.
pub async fn publish(app: &App, owner: &UserId, piece: Piece, title: Option<String>) -> Result<Stream> {
    let made = Stream { id: id_of(app, owner, &piece), owner: owner.clone(), piece, title };
    let (row, now) = (made.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { stream::insert(tx, &row, now).await })).await?;
    Ok(made)
}

pub fn id_of(app: &App, owner: &UserId, piece: &Piece) -> String {
    let piece = match piece {
        Piece::RtStream { id, range } => format!("{id} {} {}", range.start().0, range.end().0),
        Piece::Video { id } => id.to_string(),
    };
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(app.stream_secret.as_bytes()).expect("any key length will do");
    mac.update(format!("{owner} {piece}").as_bytes());
    random::hex(&mac.finalize().into_bytes()[..16])
}

/// Path of the playlist. The range of an rtstream stands in its name, in microseconds of 16 digits, where notebooks read it.
pub fn playlist_path(stream: &Stream) -> String {
    match &stream.piece {
        Piece::RtStream { range, .. } => {
            format!("/streams/{}/{:016}-{:016}.m3u8", stream.id, range.start().0, range.end().0)
        }
        Piece::Video { .. } => video_playlist_path(&stream.id),
    }
}

pub fn video_playlist_path(stream_id: &str) -> String {
    format!("/streams/{stream_id}/index.m3u8")
}

/// Path of the page that plays it: SDKs want `/watch?` and `v=` in it.
pub fn player_path(stream_id: &str) -> String {
    format!("/watch?v={stream_id}")
}
