//! Slots of uploads: URLs of ours that take one file each. The files themselves lie beside the objects, under names that only rows know.

use sqlx::FromRow;
use vitascope_model::upload::{Arriving, Received, UploadSlot};
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct SlotRow {
    hash: String,
    user_id: String,
    collection_id: String,
    name: Option<String>,
    expires_at_us: i64,
    file: Option<String>,
    source_name: Option<String>,
    sha256: Option<String>,
    bytes: Option<i64>,
    arriving: Option<String>,
    declared: Option<i64>,
    sure: Option<i64>,
}

impl SlotRow {
    fn into_model(self) -> Result<UploadSlot> {
        let source_name = self.source_name;
        let arriving = self.arriving.zip(self.declared).map(|(file, length)| Arriving {
            file,
            source_name: source_name.clone(),
            length: length.unsigned_abs(),
            sure: self.sure.map(i64::unsigned_abs),
        });
        let file = self.file.zip(self.sha256).zip(self.bytes);
        let received =
            file.map(|((file, sha256), bytes)| Received { file, source_name, sha256, bytes: bytes.unsigned_abs() });
        Ok(UploadSlot {
            hash: self.hash,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            name: self.name,
            expires_at: WallTime(self.expires_at_us),
            arriving,
            received,
        })
    }
}

impl Store {
    /// An expired slot is still found, so that the answer can say so.
    pub async fn find_upload_slot(&self, hash: &str) -> Result<Option<UploadSlot>> {
        const SQL: &str = "select * from upload_slot where hash = $1";
        let row: Option<SlotRow> = sqlx::query_as(SQL).bind(hash).fetch_optional(&self.readers).await.or_broken()?;
        row.map(SlotRow::into_model).transpose()
    }

    /// Slots whose files come in by pieces.
    pub async fn list_arriving_slots(&self) -> Result<Vec<UploadSlot>> {
        const SQL: &str = "select * from upload_slot where arriving is not null";
        let rows: Vec<SlotRow> = sqlx::query_as(SQL).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(SlotRow::into_model).collect()
    }

    /// The files that slots hold, or will hold.
    pub async fn list_uploaded_files(&self) -> Result<Vec<String>> {
        const SQL: &str =
            "select coalesce(file, arriving) from upload_slot where file is not null or arriving is not null";
        sqlx::query_scalar(SQL).fetch_all(&self.readers).await.or_broken()
    }

    pub async fn has_expired_upload_slots(&self, now: WallTime) -> Result<bool> {
        const SQL: &str = "select exists (select 1 from upload_slot where expires_at_us <= $1)";
        sqlx::query_scalar(SQL).bind(now.0).fetch_one(&self.readers).await.or_broken()
    }
}

pub async fn insert_slot(tx: &mut Tx, slot: &UploadSlot, now: WallTime) -> Result<()> {
    const SQL: &str = "insert into upload_slot (hash, user_id, collection_id, name, created_at_us, expires_at_us,
        arriving, source_name, declared) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let query = sqlx::query(SQL).bind(&slot.hash).bind(slot.owner.as_str()).bind(slot.collection_id.as_str());
    let query = query.bind(slot.name.as_deref()).bind(now.0).bind(slot.expires_at.0);
    let arriving = slot.arriving.as_ref();
    let query = query.bind(arriving.map(|a| a.file.as_str())).bind(arriving.and_then(|a| a.source_name.as_deref()));
    let length = arriving.map(|a| i64::try_from(a.length).unwrap_or(i64::MAX));
    query.bind(length).execute(tx).await.or_broken()?;
    Ok(())
}

/// What came of setting a slot's file.
#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    /// The file that it held before, if any, is nobody's now.
    Replaced(Option<String>),
    /// The slot went in the meantime.
    Gone,
}

/// The slot holds this file from now on.
pub async fn fill_slot(tx: &mut Tx, hash: &str, received: &Received) -> Result<Filled> {
    const FIND: &str = "select file from upload_slot where hash = $1";
    const SQL: &str = "update upload_slot set file = $2, source_name = $3, sha256 = $4, bytes = $5, arriving = null
        where hash = $1";
    let found: Option<Option<String>> =
        sqlx::query_scalar(FIND).bind(hash).fetch_optional(&mut *tx).await.or_broken()?;
    let Some(before) = found else { return Ok(Filled::Gone) };
    let query = sqlx::query(SQL).bind(hash).bind(&received.file).bind(received.source_name.as_deref());
    let bytes = i64::try_from(received.bytes).unwrap_or(i64::MAX);
    query.bind(&received.sha256).bind(bytes).execute(tx).await.or_broken()?;
    Ok(Filled::Replaced(before))
}

/// So many bytes of a file that comes in by pieces are right, whatever else is there; `None`: all that is there.
pub async fn mark_sure(tx: &mut Tx, hash: &str, sure: Option<u64>) -> Result<()> {
    const SQL: &str = "update upload_slot set sure = $2 where hash = $1";
    let sure = sure.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    sqlx::query(SQL).bind(hash).bind(sure).execute(tx).await.or_broken()?;
    Ok(())
}

/// Forgets a slot; returns the file that is nobody's now.
pub async fn delete_slot(tx: &mut Tx, hash: &str) -> Result<Vec<String>> {
    const SQL: &str = "delete from upload_slot where hash = $1 returning coalesce(file, arriving)";
    let files: Vec<Option<String>> = sqlx::query_scalar(SQL).bind(hash).fetch_all(tx).await.or_broken()?;
    Ok(files.into_iter().flatten().collect())
}

/// Forgets slots whose time is over; returns the files that are nobody's now.
pub async fn delete_expired(tx: &mut Tx, now: WallTime) -> Result<Vec<String>> {
    const SQL: &str = "delete from upload_slot where expires_at_us <= $1 returning coalesce(file, arriving)";
    let files: Vec<Option<String>> = sqlx::query_scalar(SQL).bind(now.0).fetch_all(tx).await.or_broken()?;
    Ok(files.into_iter().flatten().collect())
}
