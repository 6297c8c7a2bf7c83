//! Users and their API keys. A key is known by its hash only; it may be bound to some collections.

use sqlx::FromRow;
use vitascope_model::account::{ApiKey, Scope};
use vitascope_model::id::{ApiKeyId, CollectionId, UserId};
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

/// A key with one of its collections: as many rows as it has, but at least one.
#[derive(FromRow)]
struct KeyRow {
    id: String,
    user_id: String,
    hint: String,
    bound: bool,
    created_at_us: i64,
    collection_id: Option<String>,
}

/// The good keys of which the rest of the sentence is true.
macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "select k.id, k.user_id, k.hint, k.bound, k.created_at_us, c.collection_id from api_key k
             left join api_key_collection c on c.key_id = k.id where k.revoked_at_us is null and ",
            $rest
        )
    };
}

/// Rows of one key follow each other.
fn keys(rows: Vec<KeyRow>) -> Result<Vec<ApiKey>> {
    let keys = rows.chunk_by(|a, b| a.id == b.id).map(|rows| {
        let key = &rows[0];
        let collections = rows.iter().map(|r| r.collection_id.as_deref());
        Ok(ApiKey {
            id: key.id.parse()?,
            hint: key.hint.clone(),
            scope: scope_of(key.user_id.parse()?, key.bound, collections)?,
            created_at: WallTime(key.created_at_us),
        })
    });
    keys.collect()
}

pub(crate) fn scope_of<'r>(
    user: UserId,
    bound: bool,
    collections: impl Iterator<Item = Option<&'r str>>,
) -> Result<Scope> {
    if !bound {
        return Ok(Scope::whole(user));
    }
    let collections = collections.flatten().map(str::parse).collect::<Result<_>>()?;
    Ok(Scope::of_collections(user, collections))
}

impl Store {
    /// The key with this hash, unless it was revoked.
    pub async fn find_api_key(&self, key_hash: &str) -> Result<Option<ApiKey>> {
        let read = async {
            let mut connection = self.readers.acquire().await.or_broken()?;
            find_key(&mut connection, key_hash).await
        };
        self.shelves.keys.get(key_hash.to_owned(), read).await
    }

    /// The keys of a user that are good, oldest first.
    pub async fn api_keys_of(&self, user: &UserId) -> Result<Vec<ApiKey>> {
        let mut connection = self.readers.acquire().await.or_broken()?;
        keys_of(&mut connection, user).await
    }

    /// The first user, who owns the installation.
    pub async fn find_first_user(&self) -> Result<Option<UserId>> {
        const SQL: &str = "select id from user_account order by created_at_us, id limit 1";
        let found: Option<String> = sqlx::query_scalar(SQL).fetch_optional(&self.readers).await.or_broken()?;
        found.map(|id| id.parse()).transpose()
    }

    pub async fn user_name(&self, user: &UserId) -> Result<String> {
        const SQL: &str = "select name from user_account where id = $1";
        sqlx::query_scalar(SQL).bind(user.as_str()).fetch_one(&self.readers).await.or_broken()
    }

    pub async fn has_api_key(&self) -> Result<bool> {
        const SQL: &str = "select count(*) from api_key where revoked_at_us is null";
        let count: i64 = sqlx::query_scalar(SQL).fetch_one(&self.readers).await.or_broken()?;
        Ok(count > 0)
    }
}

pub async fn insert(tx: &mut Tx, id: &UserId, name: &str, now: WallTime) -> Result<()> {
    const SQL: &str = "insert into user_account (id, name, created_at_us) values ($1, $2, $3)";
    sqlx::query(SQL).bind(id.as_str()).bind(name).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// The key with this hash as the open transaction sees it.
pub async fn find_key(tx: &mut Tx, key_hash: &str) -> Result<Option<ApiKey>> {
    const SQL: &str = select_keys!("k.key_hash = $1 order by c.position");
    Ok(keys(sqlx::query_as(SQL).bind(key_hash).fetch_all(tx).await.or_broken()?)?.pop())
}

/// The keys of a user as the open transaction sees them.
pub async fn keys_of(tx: &mut Tx, user: &UserId) -> Result<Vec<ApiKey>> {
    const SQL: &str = select_keys!("k.user_id = $1 order by k.created_at_us, k.id, c.position");
    keys(sqlx::query_as(SQL).bind(user.as_str()).fetch_all(tx).await.or_broken()?)
}

/// Adding the same key again changes nothing; one that was revoked stays so.
pub async fn insert_key(
    tx: &mut Tx,
    id: &ApiKeyId,
    user: &UserId,
    hash: &str,
    hint: &str,
    now: WallTime,
) -> Result<()> {
    const SQL: &str = "insert into api_key (id, user_id, key_hash, hint, created_at_us) values ($1, $2, $3, $4, $5)
        on conflict (key_hash) do nothing";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(user.as_str()).bind(hash).bind(hint).bind(now.0);
    query.execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn revoke_key(tx: &mut Tx, id: &ApiKeyId, now: WallTime) -> Result<()> {
    const SQL: &str = "update api_key set revoked_at_us = $2 where id = $1 and revoked_at_us is null";
    sqlx::query(SQL).bind(id.as_str()).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// From now on the key sees these collections and no others.
pub async fn bind_key(tx: &mut Tx, id: &ApiKeyId, collections: &[CollectionId]) -> Result<()> {
    const BOUND: &str = "update api_key set bound = true where id = $1";
    const ADD: &str = "insert into api_key_collection (key_id, position, collection_id) values ($1, $2, $3)";
    sqlx::query(BOUND).bind(id.as_str()).execute(&mut *tx).await.or_broken()?;
    let query = sqlx::query("delete from api_key_collection where key_id = $1").bind(id.as_str());
    query.execute(&mut *tx).await.or_broken()?;
    for (position, collection) in collections.iter().enumerate() {
        let query = sqlx::query(ADD).bind(id.as_str()).bind(position as i64).bind(collection.as_str());
        query.execute(&mut *tx).await.or_broken()?;
    }
    Ok(())
}
