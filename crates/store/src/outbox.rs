//! The outbox: what happened, in order, with whom it is still owed to. Sockets are told once; webhooks until they answer.

use sqlx::FromRow;
use vitascope_model::capture::SessionState;
use vitascope_model::event::SessionEvent;
use vitascope_model::{Result, Span, WallTime};

use crate::db::{OrBroken, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct EventRow {
    id: String,
    user_id: String,
    collection_id: Option<String>,
    session_id: String,
    state: String,
    at_us: i64,
    end_user_id: Option<String>,
    ws_connection_id: Option<String>,
    callback_url: Option<String>,
    seq: i64,
    attempt: i64,
}

/// An event with its place in the outbox.
#[derive(Clone, Debug)]
pub struct Owed {
    pub seq: i64,
    /// Deliveries tried so far.
    pub attempt: i64,
    pub event: SessionEvent,
}

impl EventRow {
    fn into_model(self) -> Result<Owed> {
        let event = SessionEvent {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.map(|id| id.parse()).transpose()?,
            session_id: self.session_id.parse()?,
            state: SessionState::parse(&self.state).ok_or_else(|| unreadable("session state", &self.state))?,
            at: WallTime(self.at_us),
            end_user_id: self.end_user_id,
            ws_connection_id: self.ws_connection_id.map(|id| id.parse()).transpose()?,
            callback_url: self.callback_url,
        };
        Ok(Owed { seq: self.seq, attempt: self.attempt, event })
    }
}

impl Store {
    /// Events that no socket was told yet, oldest first.
    pub async fn list_untold(&self, limit: i64) -> Result<Vec<Owed>> {
        const SQL: &str = "select * from outbox where told_at_us is null order by seq limit $1";
        let rows: Vec<EventRow> = sqlx::query_as(SQL).bind(limit).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(EventRow::into_model).collect()
    }

    /// The oldest event owed to a webhook of each session: a later one waits for it, so order is kept.
    pub async fn list_owed(&self, now: WallTime) -> Result<Vec<Owed>> {
        const SQL: &str = "select * from outbox o where delivered_at_us is null and next_attempt_us <= $1 and seq = (
            select min(seq) from outbox where session_id = o.session_id and delivered_at_us is null) order by seq";
        let rows: Vec<EventRow> = sqlx::query_as(SQL).bind(now.0).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(EventRow::into_model).collect()
    }

    /// When the next delivery is due, if one is owed.
    pub async fn next_delivery_due(&self) -> Result<Option<WallTime>> {
        const SQL: &str = "select min(next_attempt_us) from outbox o where delivered_at_us is null and seq = (
            select min(seq) from outbox where session_id = o.session_id and delivered_at_us is null)";
        let due: Option<i64> = sqlx::query_scalar(SQL).fetch_one(&self.readers).await.or_broken()?;
        Ok(due.map(WallTime))
    }
}

/// An event without a webhook is owed to none.
pub async fn insert(tx: &mut Tx, e: &SessionEvent) -> Result<()> {
    const SQL: &str =
        "insert into outbox (id, user_id, session_id, state, at_us, end_user_id, ws_connection_id, callback_url,
        delivered_at_us, attempt, next_attempt_us, collection_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $5, $10)";
    let query = sqlx::query(SQL).bind(e.id.as_str()).bind(e.owner.as_str()).bind(e.session_id.as_str());
    let query = query.bind(e.state.as_str()).bind(e.at.0).bind(e.end_user_id.as_deref());
    let query = query.bind(e.ws_connection_id.as_ref().map(|c| c.as_str())).bind(e.callback_url.as_deref());
    let query = query.bind(e.callback_url.is_none().then_some(e.at.0));
    query.bind(e.collection_id.as_ref().map(|c| c.as_str())).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn set_told(tx: &mut Tx, up_to: i64, now: WallTime) -> Result<()> {
    const SQL: &str = "update outbox set told_at_us = $2 where seq <= $1 and told_at_us is null";
    sqlx::query(SQL).bind(up_to).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// Delivered, or given up with what went wrong: either way the next one may go.
pub async fn set_delivered(tx: &mut Tx, seq: i64, now: WallTime, error: Option<&str>) -> Result<()> {
    const SQL: &str = "update outbox set delivered_at_us = $2, attempt = attempt + 1, last_error = $3 where seq = $1";
    sqlx::query(SQL).bind(seq).bind(now.0).bind(error).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn set_failed_once(tx: &mut Tx, seq: i64, now: WallTime, wait: Span, error: &str) -> Result<()> {
    const SQL: &str = "update outbox set attempt = attempt + 1, next_attempt_us = $2, last_error = $3 where seq = $1";
    sqlx::query(SQL).bind(seq).bind((now + wait).0).bind(error).execute(tx).await.or_broken()?;
    Ok(())
}
