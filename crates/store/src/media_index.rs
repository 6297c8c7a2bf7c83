//! Indexes of videos and audios, and their records. Searching them by vector is `vectors.rs`. They go with their asset.

use sqlx::FromRow;
use vitascope_model::id::{MediaIndexId, VideoId};
use vitascope_model::media_index::{MediaIndex, MediaIndexKind, MediaRecord, Within};
use vitascope_model::stream::AssetId;
use vitascope_model::transcript::Utterance;
use vitascope_model::{MediaTime, Result, WallTime};

use crate::asset_transcript::UtteranceRow;
use crate::db::{OrBroken, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct IndexRow {
    id: String,
    asset_id: String,
    kind: String,
    model: String,
    complete: bool,
    job_id: String,
    created_at_us: i64,
}

impl IndexRow {
    fn into_model(self) -> Result<MediaIndex> {
        Ok(MediaIndex {
            id: self.id.parse()?,
            asset_id: self.asset_id.parse()?,
            kind: MediaIndexKind::parse(&self.kind).ok_or_else(|| unreadable("kind of an index", &self.kind))?,
            model: self.model,
            is_complete: self.complete,
            job_id: self.job_id.parse()?,
            created_at: WallTime(self.created_at_us),
        })
    }
}

/// Complete indexes of one kind of videos that lie within: `$1` the kind, `$2` a video or null, `$3` a collection or null, `$4` the model
/// of their vectors or null.
pub(crate) const WITHIN: &str = "select i.id from media_index i join video v on v.id = i.video_id
    where i.complete and i.kind = $1 and ($2 is null or v.id = $2) and ($3 is null or v.collection_id = $3)
    and ($4 is null or i.model = $4)";

/// The two parameters of `WITHIN` that say where.
pub(crate) fn places(within: &Within) -> (Option<&str>, Option<&str>) {
    match within {
        Within::Video(id) => (Some(id.as_str()), None),
        Within::Collection(id) => (None, Some(id.as_str())),
    }
}

impl Store {
    pub async fn find_media_index(&self, asset: &AssetId, kind: MediaIndexKind) -> Result<Option<MediaIndex>> {
        const SQL: &str = "select * from media_index where asset_id = $1 and kind = $2";
        let query = sqlx::query_as(SQL).bind(asset.as_str()).bind(kind.as_str());
        let row: Option<IndexRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(IndexRow::into_model).transpose()
    }

    /// All records of an index, in order.
    pub async fn list_records(&self, index: &MediaIndexId) -> Result<Vec<MediaRecord>> {
        const SQL: &str = "select start_us, end_us, text, vector from media_record where index_id = $1 order by n";
        let query = sqlx::query_as(SQL).bind(index.as_str());
        let rows: Vec<(i64, i64, String, Vec<u8>)> = query.fetch_all(&self.readers).await.or_broken()?;
        let record = |(start, end, text, vector): (i64, i64, String, Vec<u8>)| MediaRecord {
            start: MediaTime(start),
            end: MediaTime(end),
            text,
            vector: numbers_of(&vector).collect(),
        };
        Ok(rows.into_iter().map(record).collect())
    }

    /// Whether there is anything to search; of one model, if one is named.
    pub async fn has_media_index(&self, within: &Within, kind: MediaIndexKind, model: Option<&str>) -> Result<bool> {
        let (video, collection) = places(within);
        let query = sqlx::query_scalar(WITHIN).bind(kind.as_str()).bind(video).bind(collection).bind(model);
        let found: Option<String> = query.fetch_optional(&self.readers).await.or_broken()?;
        Ok(found.is_some())
    }

    /// Utterances in which something is said that reads like `part`, in upper or lower case, of videos whose spoken words are indexed.
    pub async fn list_utterances_with(&self, within: &Within, part: &str) -> Result<Vec<(VideoId, Utterance)>> {
        #[derive(FromRow)]
        struct Row {
            video_id: String,
            #[sqlx(flatten)]
            utterance: UtteranceRow,
        }
        const SQL: &str = "select i.video_id, u.start_us, u.end_us, u.words, u.confidence from media_index i
            join video v on v.id = i.video_id join asset_utterance u on u.asset_id = i.video_id
            where i.complete and i.kind = 'spoken_word' and ($1 is null or v.id = $1) and ($2 is null or v.collection_id = $2)
            and instr(lower(u.words), $3) > 0 order by i.video_id, u.start_us";
        let (video, collection) = places(within);
        let query = sqlx::query_as(SQL).bind(video).bind(collection).bind(part.to_lowercase());
        let rows: Vec<Row> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(|row| Ok((row.video_id.parse()?, row.utterance.into_model()))).collect()
    }
}

/// Begins an index; one of its kind that the asset had goes with all its records.
pub async fn begin(tx: &mut Tx, new: &MediaIndex) -> Result<()> {
    const FORGET: &str = "delete from media_index where asset_id = $1 and kind = $2";
    const SQL: &str = "insert into media_index (id, asset_id, video_id, audio_id, kind, model, job_id, created_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8)";
    let query = sqlx::query(FORGET).bind(new.asset_id.as_str()).bind(new.kind.as_str());
    query.execute(&mut *tx).await.or_broken()?;
    let query = sqlx::query(SQL).bind(new.id.as_str()).bind(new.asset_id.as_str());
    let query = query.bind(new.asset_id.as_video().map(|id| id.as_str()));
    let query = query.bind(new.asset_id.as_audio().map(|id| id.as_str()));
    let query = query.bind(new.kind.as_str()).bind(&new.model).bind(new.job_id.as_str()).bind(new.created_at.0);
    query.execute(tx).await.or_broken()?;
    Ok(())
}

/// All records of an index, which is complete then. False if it went with its asset, or was begun anew: nothing is written.
pub async fn fill(tx: &mut Tx, index: &MediaIndexId, records: &[MediaRecord]) -> Result<bool> {
    const DONE: &str = "update media_index set complete = true where id = $1";
    const RECORD: &str = "insert into media_record (index_id, n, start_us, end_us, text, vector)
        values ($1, $2, $3, $4, $5, $6)";
    if sqlx::query(DONE).bind(index.as_str()).execute(&mut *tx).await.or_broken()?.rows_affected() == 0 {
        return Ok(false);
    }
    for (n, record) in records.iter().enumerate() {
        let query = sqlx::query(RECORD).bind(index.as_str()).bind(n as i64).bind(record.start.0).bind(record.end.0);
        query.bind(&record.text).bind(bytes_of(&record.vector)).execute(&mut *tx).await.or_broken()?;
    }
    Ok(true)
}

pub(crate) fn numbers_of(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}

fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Forgets an index and all its records.
pub async fn delete(tx: &mut Tx, asset: &AssetId, kind: MediaIndexKind) -> Result<bool> {
    const SQL: &str = "delete from media_index where asset_id = $1 and kind = $2";
    let query = sqlx::query(SQL).bind(asset.as_str()).bind(kind.as_str());
    Ok(query.execute(tx).await.or_broken()?.rows_affected() > 0)
}
