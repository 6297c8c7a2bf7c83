//! The secrets that webhooks are signed with, one an owner, and the one before.

use sqlx::FromRow;
use vitascope_model::event::WebhookSecret;
use vitascope_model::id::UserId;
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct SecretRow {
    secret: String,
    previous: Option<String>,
    previous_until_us: Option<i64>,
}

impl Store {
    pub async fn find_webhook_secret(&self, user: &UserId) -> Result<Option<WebhookSecret>> {
        const SQL: &str = "select secret, previous, previous_until_us from webhook_secret where user_id = $1";
        let query = sqlx::query_as(SQL).bind(user.as_str());
        let row: Option<SecretRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        Ok(row.map(|r| WebhookSecret { secret: r.secret, previous: r.previous.zip(r.previous_until_us.map(WallTime)) }))
    }
}

/// The first secret of a user; one that is there already stays.
pub async fn insert(tx: &mut Tx, user: &UserId, secret: &str, now: WallTime) -> Result<()> {
    const SQL: &str = "insert into webhook_secret (user_id, secret, made_at_us) values ($1, $2, $3)
        on conflict (user_id) do nothing";
    sqlx::query(SQL).bind(user.as_str()).bind(secret).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// A new secret; the one it replaces is good until `until`.
pub async fn rotate(tx: &mut Tx, user: &UserId, secret: &str, now: WallTime, until: WallTime) -> Result<()> {
    const SQL: &str =
        "update webhook_secret set previous = secret, previous_until_us = $4, secret = $2, made_at_us = $3
        where user_id = $1";
    sqlx::query(SQL).bind(user.as_str()).bind(secret).bind(now.0).bind(until.0).execute(tx).await.or_broken()?;
    Ok(())
}
