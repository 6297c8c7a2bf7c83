//! Videos and audios as their owner handles them: renamed, and kept for ever or not. How they are made is `export`'s business.

use vitascope_model::Result;
use vitascope_model::stream::{Audio, Piece, Video};
use vitascope_store::{audio, stream, video};

use super::App;
use super::stream::{Words, new};

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
