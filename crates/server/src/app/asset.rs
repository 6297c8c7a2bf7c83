//! Videos and audios as such: made of ranges of tracks, renamed, kept for ever or not. Which ranges, `export` says of what was recorded
//! here and `ingest` of what was uploaded.

use vitascope_model::id::{AudioId, CollectionId, OriginalId, UserId, VideoId};
use vitascope_model::stream::{AssetId, AssetPart, Audio, Piece, Stream, Video};
use vitascope_model::{Error, Result, WallTime};
use vitascope_store::{Tx, audio, stream, video};

use super::export::Exported;
use super::stream::{Words, new};
use super::{App, mint};

/// What an asset is made of.
pub(super) struct Material {
    pub(super) owner: UserId,
    pub(super) collection_id: CollectionId,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) original_id: Option<OriginalId>,
    pub(super) bytes: i64,
    /// Picture first. All have the same range.
    pub(super) parts: Vec<AssetPart>,
    pub(super) has_picture: bool,
}

#[derive(Clone)]
pub(super) enum Asset {
    Video(Video),
    Audio(Audio),
}

impl Asset {
    pub(super) fn exported(&self) -> Exported {
        let (name, length, stream_id) = match self {
            Asset::Video(v) => (v.name.clone(), v.length, v.stream_id.clone()),
            Asset::Audio(a) => (a.name.clone(), a.length, a.stream_id.clone()),
        };
        Exported { id: self.id(), name, length, stream_id }
    }

    pub(super) fn id(&self) -> AssetId {
        match self {
            Asset::Video(v) => AssetId::Video(v.id.clone()),
            Asset::Audio(a) => AssetId::Audio(a.id.clone()),
        }
    }
}

/// An asset that is not stored yet, with the stream that plays it.
pub(super) struct Made {
    pub(super) asset: Asset,
    plays: Stream,
}

impl Made {
    pub(super) async fn insert(&self, tx: &mut Tx, now: WallTime) -> Result<()> {
        match &self.asset {
            Asset::Video(made) => video::insert(tx, made).await?,
            Asset::Audio(made) => audio::insert(tx, made).await?,
        }
        stream::insert(tx, &self.plays, now).await
    }
}

pub(super) fn make(app: &App, material: Material) -> Result<Made> {
    let Material { owner, collection_id, name, description, original_id, bytes, parts, has_picture } = material;
    let length = parts.first().ok_or_else(|| Error::internal("an asset of nothing"))?.range.length();
    let (created_at, keep, title) = (app.now(), false, Some(name.clone()));
    let plays = |piece| new(app, &owner, piece, Words { title, description: description.clone() });
    Ok(if has_picture {
        let id = mint!(app, VideoId);
        let plays = plays(Piece::Video { id: id.clone() });
        let stream_id = plays.id.clone();
        let made = Video {
            id,
            owner,
            collection_id,
            name,
            description,
            original_id,
            length,
            bytes,
            stream_id,
            thumbnail: None,
            dropped_at: None,
            keep,
            created_at,
            parts,
        };
        Made { asset: Asset::Video(made), plays }
    } else {
        let id = mint!(app, AudioId);
        let plays = plays(Piece::Audio { id: id.clone() });
        let stream_id = plays.id.clone();
        let made = Audio {
            id,
            owner,
            collection_id,
            name,
            description,
            original_id,
            length,
            bytes,
            stream_id,
            keep,
            created_at,
            parts,
        };
        Made { asset: Asset::Audio(made), plays }
    })
}

/// What of an asset a client may choose; `None` leaves it as it is.
#[derive(Debug, Default)]
pub struct Wishes {
    pub name: Option<String>,
    pub keep: Option<bool>,
}

impl Wishes {
    /// The page that plays it bears the name.
    fn words(&self) -> Words {
        Words { title: self.name.clone(), description: None }
    }
}

pub async fn update_video(app: &App, found: &Video, wishes: Wishes) -> Result<()> {
    let (id, now) = (found.id.clone(), app.now());
    let plays = new(app, &found.owner, Piece::Video { id: id.clone() }, wishes.words());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                video::update(tx, &id, wishes.name.as_deref(), wishes.keep).await?;
                stream::insert(tx, &plays, now).await
            })
        })
        .await
}

pub async fn update_audio(app: &App, found: &Audio, wishes: Wishes) -> Result<()> {
    let (id, now) = (found.id.clone(), app.now());
    let plays = new(app, &found.owner, Piece::Audio { id: id.clone() }, wishes.words());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                audio::update(tx, &id, wishes.name.as_deref(), wishes.keep).await?;
                stream::insert(tx, &plays, now).await
            })
        })
        .await
}
