//! WebSocket connections that were opened: whose they were, and which took whose place.

use sqlx::FromRow;
use vitascope_model::id::{ConnectionId, UserId};
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct ConnectionRow {
    user_id: String,
    token_hash: Option<String>,
    line: String,
}

/// A connection as it was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    pub owner: UserId,
    /// Hash of the client token that opened it, if one did.
    pub token_hash: Option<String>,
    /// The first of those that took each other's place.
    pub line: ConnectionId,
}

impl ConnectionRow {
    fn into_model(self) -> Result<Opened> {
        Ok(Opened { owner: self.user_id.parse()?, token_hash: self.token_hash, line: self.line.parse()? })
    }
}

impl Store {
    pub async fn find_connection(&self, id: &ConnectionId) -> Result<Option<Opened>> {
        const SQL: &str = "select user_id, token_hash, line from connection where id = $1";
        let query = sqlx::query_as(SQL).bind(id.as_str());
        let row: Option<ConnectionRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(ConnectionRow::into_model).transpose()
    }

    /// The line of a connection; one that is not known is a line of its own.
    pub async fn line_of(&self, id: &ConnectionId) -> Result<ConnectionId> {
        Ok(self.find_connection(id).await?.map_or_else(|| id.clone(), |opened| opened.line))
    }

    /// The lines of connections that were told an event.
    pub async fn list_lines_told(&self, seq: i64) -> Result<Vec<Opened>> {
        const SQL: &str = "select c.user_id, c.token_hash, c.line from event_to t join connection c on c.id = t.line
            where t.seq = $1";
        let rows: Vec<ConnectionRow> = sqlx::query_as(SQL).bind(seq).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(ConnectionRow::into_model).collect()
    }
}

pub async fn insert(tx: &mut Tx, id: &ConnectionId, opened: &Opened, now: WallTime) -> Result<()> {
    const SQL: &str =
        "insert into connection (id, user_id, token_hash, line, opened_at_us) values ($1, $2, $3, $4, $5)";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(opened.owner.as_str()).bind(opened.token_hash.as_deref());
    query.bind(opened.line.as_str()).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// Forgets connections that were opened before `before`, and what is noted of their lines.
pub async fn forget(tx: &mut Tx, before: WallTime) -> Result<()> {
    const CONNECTIONS: &str = "delete from connection where opened_at_us < $1";
    const LINES: &str = "delete from forgotten where line like 'ws-%'
        and not exists (select 1 from connection c where c.line = forgotten.line)";
    sqlx::query(CONNECTIONS).bind(before.0).execute(&mut *tx).await.or_broken()?;
    sqlx::query(LINES).execute(tx).await.or_broken()?;
    Ok(())
}
