//! The outbox: what happened, in order, and which sockets are told. Rows are written in the transaction that made them true and never change;
//! a socket that comes back reads on where it was. What webhooks are owed is in `delivery.rs`.

use sqlx::FromRow;
use vitascope_model::event::{Audience, Event};
use vitascope_model::id::{CollectionId, ConnectionId, EventId, UserId};
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx, delivery};

#[derive(FromRow)]
struct ToldRow {
    seq: i64,
    user_id: String,
    collection_id: Option<String>,
    line: Option<String>,
    frame: Option<String>,
}

#[derive(FromRow)]
struct MissedRow {
    seq: i64,
    collection_id: Option<String>,
    frame: String,
}

/// An event for one line of connections, or none if no socket is told.
#[derive(Clone, Debug)]
pub struct Told {
    pub seq: i64,
    pub owner: UserId,
    pub collection: Option<CollectionId>,
    pub line: Option<String>,
    pub frame: Option<String>,
}

impl ToldRow {
    fn into_model(self) -> Result<Told> {
        let ToldRow { seq, line, frame, .. } = self;
        let collection = self.collection_id.map(|id| id.parse()).transpose()?;
        Ok(Told { seq, owner: self.user_id.parse()?, collection, line, frame })
    }
}

/// What a connection hears: events for its line, and, if an API key opened it, those for the whole account.
#[derive(Clone, Debug)]
pub struct Heard {
    pub owner: UserId,
    pub line: ConnectionId,
    pub whole_account: bool,
}

impl Heard {
    pub fn account(&self) -> Option<&str> {
        self.whole_account.then(|| self.owner.as_str())
    }
}

/// An event that a line of connections was told.
#[derive(Clone, Debug)]
pub struct Missed {
    pub seq: i64,
    pub collection: Option<CollectionId>,
    pub frame: String,
}

impl MissedRow {
    fn into_model(self) -> Result<Missed> {
        let collection = self.collection_id.map(|id| id.parse()).transpose()?;
        Ok(Missed { seq: self.seq, collection, frame: self.frame })
    }
}

impl Store {
    /// The newest event there is.
    pub async fn newest_event(&self) -> Result<i64> {
        const SQL: &str = "select coalesce(max(seq), 0) from event";
        sqlx::query_scalar(SQL).fetch_one(&self.readers).await.or_broken()
    }

    /// The next `limit` events after `seq`, each once for every line that is told, in order.
    pub async fn list_events_after(&self, seq: i64, limit: i64) -> Result<Vec<Told>> {
        const SQL: &str = "select e.seq, e.user_id, e.collection_id, t.line, e.frame
            from (select seq, user_id, collection_id, frame from event where seq > $1 order by seq limit $2) e
            left join event_to t on t.seq = e.seq order by e.seq";
        let rows: Vec<ToldRow> =
            sqlx::query_as(SQL).bind(seq).bind(limit).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(ToldRow::into_model).collect()
    }

    /// What a line and its whole account were told after `after` and up to `up_to`, oldest first.
    pub async fn list_missed(&self, heard: &Heard, after: i64, up_to: i64, limit: i64) -> Result<Vec<Missed>> {
        const SQL: &str = "select t.seq, e.collection_id, e.frame from event_to t join event e on e.seq = t.seq
            where t.line in ($1, $2) and t.seq > $4 and t.seq <= $5 and e.user_id = $3 and e.frame is not null
            order by t.seq limit $6";
        let query = sqlx::query_as(SQL).bind(heard.line.as_str()).bind(heard.account()).bind(heard.owner.as_str());
        let query = query.bind(after).bind(up_to).bind(limit);
        let rows: Vec<MissedRow> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(MissedRow::into_model).collect()
    }

    /// Whether something is kept that was told before `told`, or was delivered before `delivered`.
    pub async fn has_old_events(&self, told: WallTime, delivered: WallTime) -> Result<bool> {
        const SQL: &str = "select exists (select 1 from event e where e.at_us < $1
                and (exists (select 1 from event_to t where t.seq = e.seq)
                    or not exists (select 1 from delivery d where d.seq = e.seq)))
            or exists (select 1 from event e join delivery d on d.seq = e.seq where e.at_us < $2 and d.state <> 'pending')";
        sqlx::query_scalar(SQL).bind(told.0).bind(delivered.0).fetch_one(&self.readers).await.or_broken()
    }

    /// Where an event of this user stands in the order, while it is kept.
    pub async fn find_event_seq(&self, user: &UserId, id: &EventId) -> Result<Option<i64>> {
        const SQL: &str = "select seq from event where id = $1 and user_id = $2";
        let query = sqlx::query_scalar(SQL).bind(id.as_str()).bind(user.as_str());
        query.fetch_optional(&self.readers).await.or_broken()
    }

    /// The newest event of a line (or of its account) that is not kept any more.
    pub async fn find_forgotten(&self, heard: &Heard) -> Result<Option<(i64, EventId)>> {
        const SQL: &str = "select seq, event_id from forgotten where line in ($1, $2) order by seq desc limit 1";
        let query = sqlx::query_as(SQL).bind(heard.line.as_str()).bind(heard.account());
        let found: Option<(i64, String)> = query.fetch_optional(&self.readers).await.or_broken()?;
        found.map(|(seq, id)| Ok((seq, id.parse()?))).transpose()
    }
}

/// Writes down what happened; its place in the order. Connections that took another's place are told under the first of their line.
pub async fn insert(tx: &mut Tx, e: &Event) -> Result<i64> {
    const EVENT: &str = "insert into event (id, user_id, collection_id, session_id, name, at_us, frame)
        values ($1, $2, $3, $4, $5, $6, $7) returning seq";
    const TO: &str = "insert into event_to (line, seq)
        values (coalesce((select line from connection where id = $1 and user_id = $3), $1), $2) on conflict do nothing";
    let query = sqlx::query_scalar(EVENT).bind(e.id.as_str()).bind(e.owner.as_str());
    let query = query.bind(e.collection_id.as_ref().map(|c| c.as_str()));
    let query = query.bind(e.session_id.as_ref().map(|s| s.as_str())).bind(&e.name).bind(e.at.0);
    let query = query.bind(e.frame.as_ref().map(|f| f.text.as_str()));
    let seq: i64 = query.fetch_one(&mut *tx).await.or_broken()?;
    let lines = match e.frame.as_ref().map(|f| &f.to) {
        Some(Audience::Connections(to)) => to.iter().map(ConnectionId::as_str).collect(),
        Some(Audience::Account) => vec![e.owner.as_str()],
        None => Vec::new(),
    };
    for line in lines {
        sqlx::query(TO).bind(line).bind(seq).bind(e.owner.as_str()).execute(&mut *tx).await.or_broken()?;
    }
    if let Some(webhook) = &e.webhook {
        delivery::insert(tx, seq, e, webhook).await?;
    }
    Ok(seq)
}

/// Forgets what sockets were told before `before`, and notes up to where; then the events that no webhook needs either.
pub async fn forget(tx: &mut Tx, before: WallTime) -> Result<u64> {
    const NEWEST: &str = "select max(seq) from event where at_us < $1";
    const NOTE: &str = "insert into forgotten (line, seq, event_id) select t.line, max(t.seq), max(e.id)
        from event_to t join event e on e.seq = t.seq where t.seq <= $1 group by t.line
        on conflict (line) do update set seq = excluded.seq, event_id = excluded.event_id";
    const TO: &str = "delete from event_to where seq <= $1";
    const EVENTS: &str =
        "delete from event where seq <= $1 and not exists (select 1 from delivery d where d.seq = event.seq)";
    let newest: Option<i64> = sqlx::query_scalar(NEWEST).bind(before.0).fetch_one(&mut *tx).await.or_broken()?;
    let Some(newest) = newest else { return Ok(0) };
    sqlx::query(NOTE).bind(newest).execute(&mut *tx).await.or_broken()?;
    let told = sqlx::query(TO).bind(newest).execute(&mut *tx).await.or_broken()?.rows_affected();
    sqlx::query(EVENTS).bind(newest).execute(&mut *tx).await.or_broken()?;
    Ok(told)
}
