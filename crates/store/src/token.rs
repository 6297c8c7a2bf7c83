//! Client tokens: short-lived, account-scoped, for recorders. Known by their hash only.

use sqlx::FromRow;
use vitascope_model::id::UserId;
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct TokenRow {
    user_id: String,
    expires_at_us: i64,
}

impl Store {
    /// Whose token this is and until when; an expired one is still found, so that the answer can say so.
    pub async fn find_token(&self, token_hash: &str) -> Result<Option<(UserId, WallTime)>> {
        const SQL: &str = "select user_id, expires_at_us from client_token where token_hash = $1";
        let row: Option<TokenRow> =
            sqlx::query_as(SQL).bind(token_hash).fetch_optional(&self.readers).await.or_broken()?;
        row.map(|r| Ok((r.user_id.parse()?, WallTime(r.expires_at_us)))).transpose()
    }
}

pub async fn insert(
    tx: &mut Tx,
    hash: &str,
    user: &UserId,
    end_user: Option<&str>,
    now: WallTime,
    expires: WallTime,
) -> Result<()> {
    const SQL: &str = "insert into client_token (token_hash, user_id, end_user_id, created_at_us, expires_at_us)
        values ($1, $2, $3, $4, $5)";
    let query = sqlx::query(SQL).bind(hash).bind(user.as_str()).bind(end_user).bind(now.0).bind(expires.0);
    query.execute(tx).await.or_broken()?;
    Ok(())
}

/// Forgets tokens that nobody could use since `before`.
pub async fn delete_expired(tx: &mut Tx, before: WallTime) -> Result<()> {
    const SQL: &str = "delete from client_token where expires_at_us < $1";
    sqlx::query(SQL).bind(before.0).execute(tx).await.or_broken()?;
    Ok(())
}
