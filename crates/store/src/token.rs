//! Client tokens: short-lived, for recorders. Known by their hash only; they see what the key that minted them sees, and end with it.

use sqlx::FromRow;
use vitascope_model::account::ClientToken;
use vitascope_model::id::UserId;
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::user::scope_of;
use crate::{Store, Tx};

/// A token with one of its key's collections: as many rows as that has, but at least one.
#[derive(FromRow)]
struct TokenRow {
    user_id: String,
    end_user_id: Option<String>,
    expires_at_us: i64,
    bound: bool,
    collection_id: Option<String>,
}

impl Store {
    /// An expired token is still found, so that the answer can say so; one whose key was revoked is not.
    pub async fn find_token(&self, token_hash: &str) -> Result<Option<ClientToken>> {
        self.shelves.tokens.get(token_hash.to_owned(), self.read_token(token_hash)).await
    }

    async fn read_token(&self, token_hash: &str) -> Result<Option<ClientToken>> {
        // Tokens of the first release know no key.
        const SQL: &str = "select t.user_id, t.end_user_id, t.expires_at_us, coalesce(k.bound, false) as bound,
            c.collection_id from client_token t
            left join api_key k on k.key_hash = t.key_hash and k.revoked_at_us is null
            left join api_key_collection c on c.key_id = k.id
            where t.token_hash = $1 and (t.key_hash is null or k.id is not null) order by c.position";
        let rows: Vec<TokenRow> = sqlx::query_as(SQL).bind(token_hash).fetch_all(&self.readers).await.or_broken()?;
        let Some(first) = rows.first() else { return Ok(None) };
        let collections = rows.iter().map(|r| r.collection_id.as_deref());
        Ok(Some(ClientToken {
            scope: scope_of(first.user_id.parse()?, first.bound, collections)?,
            end_user_id: first.end_user_id.clone(),
            expires_at: WallTime(first.expires_at_us),
        }))
    }
}

/// What is known of a new token.
#[derive(Debug)]
pub struct NewToken {
    pub hash: String,
    /// That of the key which mints it.
    pub key_hash: String,
    pub user: UserId,
    pub end_user_id: Option<String>,
    pub expires_at: WallTime,
}

pub async fn insert(tx: &mut Tx, t: &NewToken, now: WallTime) -> Result<()> {
    const SQL: &str =
        "insert into client_token (token_hash, key_hash, user_id, end_user_id, created_at_us, expires_at_us)
        values ($1, $2, $3, $4, $5, $6)";
    let query = sqlx::query(SQL).bind(&t.hash).bind(&t.key_hash).bind(t.user.as_str()).bind(t.end_user_id.as_deref());
    query.bind(now.0).bind(t.expires_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// Whether there was such a token of this user.
pub async fn delete(tx: &mut Tx, hash: &str, user: &UserId) -> Result<bool> {
    const SQL: &str = "delete from client_token where token_hash = $1 and user_id = $2";
    let done = sqlx::query(SQL).bind(hash).bind(user.as_str()).execute(tx).await.or_broken()?;
    Ok(done.rows_affected() == 1)
}

/// Forgets tokens that nobody could use since `before`.
pub async fn delete_expired(tx: &mut Tx, before: WallTime) -> Result<()> {
    const SQL: &str = "delete from client_token where expires_at_us < $1";
    sqlx::query(SQL).bind(before.0).execute(tx).await.or_broken()?;
    Ok(())
}
