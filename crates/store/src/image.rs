//! Images: their rows, and the objects that they let go of. What an image shows of a video is a column here, no table of its own.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, ImageId, UserId, VideoId};
use vitascope_model::image::{Image, ImageKind, Moment};
use vitascope_model::{Error, Result, Span, WallTime};

use crate::db::{OrBroken, bound_to, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct ImageRow {
    id: String,
    user_id: String,
    collection_id: String,
    name: String,
    description: Option<String>,
    object: String,
    sha256: Option<String>,
    bytes: i64,
    width: i64,
    height: i64,
    mime: String,
    keep: bool,
    created_at_us: i64,
    video_id: Option<String>,
    video_time_us: Option<i64>,
    fit_width: i64,
    fit_height: i64,
    poster: bool,
}

impl ImageRow {
    fn into_model(self) -> Result<Image> {
        let size = |pixels: i64| u32::try_from(pixels).map_err(|_| unreadable("size of an image", &pixels.to_string()));
        let shows = match self.video_id.zip(self.video_time_us) {
            Some((video, at)) => Some(Moment {
                video: video.parse()?,
                at: Span(at),
                fit_width: size(self.fit_width)?,
                fit_height: size(self.fit_height)?,
                is_poster: self.poster,
            }),
            None => None,
        };
        Ok(Image {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            name: self.name,
            description: self.description,
            object: self.object,
            sha256: self.sha256,
            bytes: self.bytes,
            width: size(self.width)?,
            height: size(self.height)?,
            kind: ImageKind::parse(&self.mime).ok_or_else(|| unreadable("kind of an image", &self.mime))?,
            keep: self.keep,
            created_at: WallTime(self.created_at_us),
            shows,
        })
    }
}

impl Store {
    pub async fn get_image(&self, scope: &Scope, id: &ImageId) -> Result<Image> {
        let found = self.find_image(id).await?.filter(|i| scope.covers(&i.owner, &i.collection_id));
        found.ok_or_else(|| Error::not_found(format_args!("image {id}")))
    }

    pub async fn find_image(&self, id: &ImageId) -> Result<Option<Image>> {
        const SQL: &str = "select * from image where id = $1";
        let row: Option<ImageRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.map(ImageRow::into_model).transpose()
    }

    /// One of this owner's with this content.
    pub async fn find_image_of(&self, owner: &UserId, sha256: &str) -> Result<Option<Image>> {
        const SQL: &str = "select * from image where user_id = $1 and sha256 = $2 limit 1";
        let query = sqlx::query_as(SQL).bind(owner.as_str()).bind(sha256);
        let row: Option<ImageRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(ImageRow::into_model).transpose()
    }

    /// Newest first.
    pub async fn list_images(&self, scope: &Scope, collection: Option<&CollectionId>) -> Result<Vec<Image>> {
        const SQL: &str = "select * from image where user_id = $1 and ($2 is null or collection_id = $2)
            and ($3 is null or instr($3, ' ' || collection_id || ' ') > 0) order by id desc";
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(collection.map(CollectionId::as_str));
        let rows: Vec<ImageRow> = query.bind(bound_to(scope)).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(ImageRow::into_model).collect()
    }
}

impl Store {
    /// The thumbnail of this moment in this size, whether it is the poster or not.
    pub async fn find_thumbnail(&self, wanted: &Moment) -> Result<Option<Image>> {
        const SQL: &str =
            "select * from image where video_id = $1 and video_time_us = $2 and fit_width = $3 and fit_height = $4";
        let query = sqlx::query_as(SQL).bind(wanted.video.as_str()).bind(wanted.at.0);
        let query = query.bind(i64::from(wanted.fit_width)).bind(i64::from(wanted.fit_height));
        let row: Option<ImageRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(ImageRow::into_model).transpose()
    }

    /// In the order of the video, and of the same moment the older first.
    pub async fn list_thumbnails(&self, video: &VideoId) -> Result<Vec<Image>> {
        const SQL: &str = "select * from image where video_id = $1 order by video_time_us, id";
        let rows: Vec<ImageRow> =
            sqlx::query_as(SQL).bind(video.as_str()).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(ImageRow::into_model).collect()
    }
}

/// Whether it was inserted: of two thumbnails of one moment the first one stays.
pub async fn insert(tx: &mut Tx, i: &Image) -> Result<bool> {
    const SQL: &str =
        "insert into image (id, user_id, collection_id, name, description, object, bytes, width, height, mime,
            keep, created_at_us, video_id, video_time_us, fit_width, fit_height, poster, sha256)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
        on conflict (video_id, video_time_us, fit_width, fit_height) where video_id is not null do nothing";
    let query = sqlx::query(SQL).bind(i.id.as_str()).bind(i.owner.as_str()).bind(i.collection_id.as_str());
    let query = query.bind(&i.name).bind(&i.description).bind(&i.object).bind(i.bytes);
    let query = query.bind(i64::from(i.width)).bind(i64::from(i.height)).bind(i.kind.mime()).bind(i.keep);
    let shows = i.shows.as_ref();
    let query = query.bind(i.created_at.0).bind(shows.map(|m| m.video.as_str())).bind(shows.map(|m| m.at.0));
    let query =
        query.bind(shows.map_or(0, |m| i64::from(m.fit_width))).bind(shows.map_or(0, |m| i64::from(m.fit_height)));
    let done = query.bind(shows.is_some_and(|m| m.is_poster)).bind(&i.sha256).execute(tx).await.or_broken()?;
    Ok(done.rows_affected() == 1)
}

/// From now on it stands for its video.
pub async fn set_poster(tx: &mut Tx, id: &ImageId) -> Result<()> {
    sqlx::query("update image set poster = true where id = $1").bind(id.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

/// What is not given stays as it was.
pub async fn update(tx: &mut Tx, id: &ImageId, name: Option<&str>, keep: Option<bool>) -> Result<()> {
    const SQL: &str = "update image set name = coalesce($2, name), keep = coalesce($3, keep) where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(name).bind(keep).execute(tx).await.or_broken()?;
    Ok(())
}

/// The row goes now; its object after the grace, with the last image that it is of. How many bytes that has.
pub async fn delete(tx: &mut Tx, id: &ImageId, now: WallTime) -> Result<i64> {
    const KEEP: &str = "insert into dropped_object (object, track_id, bytes, dropped_at_us)
        select object, id, bytes, $2 from image i where id = $1
            and not exists (select 1 from image j where j.object = i.object and j.id <> i.id)
        on conflict (object) do update set dropped_at_us = excluded.dropped_at_us";
    sqlx::query(KEEP).bind(id.as_str()).bind(now.0).execute(&mut *tx).await.or_broken()?;
    let gone = sqlx::query_scalar("delete from image where id = $1 returning bytes").bind(id.as_str());
    Ok(gone.fetch_optional(tx).await.or_broken()?.unwrap_or(0))
}

/// The thumbnails of a video.
pub(crate) async fn drop_of_video(tx: &mut Tx, video: &VideoId, now: WallTime) -> Result<()> {
    const SQL: &str = "select id from image where video_id = $1";
    let ids: Vec<String> = sqlx::query_scalar(SQL).bind(video.as_str()).fetch_all(&mut *tx).await.or_broken()?;
    for id in ids {
        delete(tx, &id.parse()?, now).await?;
    }
    Ok(())
}
