//! Collections.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::collection::{Collection, Retention};
use vitascope_model::id::{CollectionId, UserId};
use vitascope_model::{Error, Result, Span, WallTime};

use crate::db::{OrBroken, bound_to};
use crate::{Store, Tx};

#[derive(FromRow)]
struct CollectionRow {
    id: String,
    user_id: String,
    name: String,
    description: String,
    is_public: bool,
    is_default: bool,
    created_at_us: i64,
    max_bytes: Option<i64>,
    max_age_us: Option<i64>,
}

impl CollectionRow {
    fn into_model(self) -> Result<Collection> {
        Ok(Collection {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            name: self.name,
            description: self.description,
            is_public: self.is_public,
            is_default: self.is_default,
            created_at: WallTime(self.created_at_us),
            retention: Retention { max_bytes: self.max_bytes, max_age: self.max_age_us.map(Span) },
        })
    }
}

impl Store {
    /// The caller's own, or anybody's that is public.
    pub async fn get_collection(&self, scope: &Scope, id: &CollectionId) -> Result<Collection> {
        const SQL: &str = "select * from collection where id = $1 and (user_id = $2 or is_public)";
        let query = sqlx::query_as(SQL).bind(id.as_str()).bind(scope.user().as_str());
        let row: Option<CollectionRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.filter(|_| scope.includes(id))
            .ok_or_else(|| Error::not_found(format_args!("collection {id}")))?
            .into_model()
    }

    pub async fn find_default_collection(&self, user: &UserId) -> Result<Option<Collection>> {
        const SQL: &str = "select * from collection where user_id = $1 and is_default";
        let row: Option<CollectionRow> =
            sqlx::query_as(SQL).bind(user.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.map(CollectionRow::into_model).transpose()
    }

    pub async fn list_collections(&self, scope: &Scope) -> Result<Vec<Collection>> {
        const SQL: &str = "select * from collection where user_id = $1
            and ($2 is null or instr($2, ' ' || id || ' ') > 0) order by created_at_us, id";
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(bound_to(scope));
        let rows: Vec<CollectionRow> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(CollectionRow::into_model).collect()
    }
}

/// A second default collection of the same user is not inserted.
pub async fn insert(tx: &mut Tx, c: &Collection) -> Result<()> {
    const SQL: &str = "insert into collection (id, user_id, name, description, is_public, is_default, created_at_us,
            max_bytes, max_age_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing";
    let query = sqlx::query(SQL).bind(c.id.as_str()).bind(c.owner.as_str()).bind(&c.name).bind(&c.description);
    let query = query.bind(c.is_public).bind(c.is_default).bind(c.created_at.0);
    query.bind(c.retention.max_bytes).bind(c.retention.max_age.map(|a| a.0)).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn update(tx: &mut Tx, c: &Collection) -> Result<()> {
    const SQL: &str = "update collection set name = $2, description = $3, is_public = $4, max_bytes = $5,
        max_age_us = $6 where id = $1";
    let query = sqlx::query(SQL).bind(c.id.as_str()).bind(&c.name).bind(&c.description).bind(c.is_public);
    query.bind(c.retention.max_bytes).bind(c.retention.max_age.map(|a| a.0)).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, id: &CollectionId) -> Result<()> {
    sqlx::query("delete from collection where id = $1").bind(id.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

/// Whether anything still lies in it.
pub async fn is_empty(tx: &mut Tx, id: &CollectionId) -> Result<bool> {
    const SQL: &str = "select (select count(*) from capture_session where collection_id = $1)
        + (select count(*) from rtstream where collection_id = $1) + (select count(*) from video where collection_id = $1)
        + (select count(*) from audio where collection_id = $1) + (select count(*) from image where collection_id = $1)";
    let count: i64 = sqlx::query_scalar(SQL).bind(id.as_str()).fetch_one(tx).await.or_broken()?;
    Ok(count == 0)
}
