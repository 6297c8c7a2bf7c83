//! Users and their API keys. A key is known by its hash only.

use vitascope_model::id::{ApiKeyId, UserId};
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

impl Store {
    /// Whose key this is, unless it was revoked.
    pub async fn find_user_by_key(&self, key_hash: &str) -> Result<Option<UserId>> {
        const SQL: &str = "select user_id from api_key where key_hash = $1 and revoked_at_us is null";
        let found: Option<String> =
            sqlx::query_scalar(SQL).bind(key_hash).fetch_optional(&self.readers).await.or_broken()?;
        found.map(|id| id.parse()).transpose()
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

/// Adding the same key again changes nothing.
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
