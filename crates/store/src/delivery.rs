//! Deliveries: what webhooks are owed, or were. Within a lane (one session, one receiver) the oldest pending one goes first
//! and the others wait for it; lanes know nothing of each other.

use sqlx::FromRow;
use vitascope_model::event::{Attempt, Delivery, DeliveryState, Event, Webhook};
use vitascope_model::id::{CaptureSessionId, EventId};
use vitascope_model::{Result, WallTime};

use crate::db::{OrBroken, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct DeliveryRow {
    id: String,
    user_id: String,
    name: String,
    at_us: i64,
    seq: i64,
    lane: String,
    url: String,
    body: String,
    state: String,
    attempts: i64,
    next_attempt_us: Option<i64>,
    last_attempt_us: Option<i64>,
    response_code: Option<i64>,
    last_error: Option<String>,
}

macro_rules! select {
    ($which:literal) => {
        concat!("select e.id, e.user_id, e.name, e.at_us, d.* from delivery d join event e on e.seq = d.seq ", $which)
    };
}

/// A delivery that is due, with its place in the order.
#[derive(Clone, Debug)]
pub struct Due {
    pub seq: i64,
    pub lane: String,
    pub delivery: Delivery,
}

impl DeliveryRow {
    fn into_model(self) -> Result<Due> {
        let delivery = Delivery {
            event_id: self.id.parse()?,
            owner: self.user_id.parse()?,
            name: self.name,
            at: WallTime(self.at_us),
            webhook: Webhook { url: self.url, body: self.body },
            state: DeliveryState::parse(&self.state).ok_or_else(|| unreadable("delivery state", &self.state))?,
            attempts: self.attempts,
            next_attempt: self.next_attempt_us.map(WallTime),
            last_attempt: self.last_attempt_us.map(WallTime),
            response_code: self.response_code,
            last_error: self.last_error,
        };
        Ok(Due { seq: self.seq, lane: self.lane, delivery })
    }
}

impl Store {
    /// The oldest pending delivery of each lane, where it is due.
    pub async fn list_due_deliveries(&self, now: WallTime) -> Result<Vec<Due>> {
        const SQL: &str = select!(
            "where d.seq in (select min(seq) from delivery where state = 'pending' group by lane)
            and d.next_attempt_us <= $1 order by d.seq"
        );
        let rows: Vec<DeliveryRow> = sqlx::query_as(SQL).bind(now.0).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(DeliveryRow::into_model).collect()
    }

    /// When the next delivery is due, if one is owed.
    pub async fn next_delivery_due(&self) -> Result<Option<WallTime>> {
        const SQL: &str = "select min(next_attempt_us) from delivery
            where seq in (select min(seq) from delivery where state = 'pending' group by lane)";
        let due: Option<i64> = sqlx::query_scalar(SQL).fetch_one(&self.readers).await.or_broken()?;
        Ok(due.map(WallTime))
    }

    /// Deliveries of a session's events, in order.
    pub async fn list_deliveries(&self, session: &CaptureSessionId) -> Result<Vec<Delivery>> {
        const SQL: &str = select!("where e.session_id = $1 order by d.seq");
        let query = sqlx::query_as(SQL).bind(session.as_str());
        let rows: Vec<DeliveryRow> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(|row| row.into_model().map(|due| due.delivery)).collect()
    }
}

/// Lanes are of one session (or, without one, of one event) and one receiver.
pub(crate) async fn insert(tx: &mut Tx, seq: i64, event: &Event, webhook: &Webhook) -> Result<()> {
    const SQL: &str = "insert into delivery (seq, lane, url, body, state, attempts, next_attempt_us)
        values ($1, $2, $3, $4, 'pending', 0, $5)";
    let subject = event.session_id.as_ref().map_or(event.id.as_str(), |s| s.as_str());
    let query = sqlx::query(SQL).bind(seq).bind(format!("{subject} {}", webhook.url)).bind(&webhook.url);
    query.bind(&webhook.body).bind(event.at.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// What came of an attempt, and when the next is: none ends it.
pub async fn set_attempt(
    tx: &mut Tx,
    seq: i64,
    attempt: &Attempt,
    now: WallTime,
    next: Option<WallTime>,
) -> Result<()> {
    const SQL: &str =
        "update delivery set state = $2, attempts = attempts + 1, last_attempt_us = $3, next_attempt_us = $4,
        response_code = $5, last_error = $6 where seq = $1";
    let state = match (&attempt.error, next) {
        (None, _) => DeliveryState::Delivered,
        (Some(_), Some(_)) => DeliveryState::Pending,
        (Some(_), None) => DeliveryState::Failed,
    };
    let query = sqlx::query(SQL).bind(seq).bind(state.as_str()).bind(now.0).bind(next.map(|at| at.0));
    let query = query.bind(attempt.response_code.map(i64::from)).bind(attempt.error.as_ref().map(|e| e.to_string()));
    query.execute(tx).await.or_broken()?;
    Ok(())
}

/// Owes a delivery of this session's once more, from now on. One that is pending is tried now instead of later,
/// and so are those that it waits for. Whether there is such a delivery.
pub async fn redeliver(tx: &mut Tx, session: &CaptureSessionId, event: &EventId, now: WallTime) -> Result<bool> {
    const FIND: &str = "select d.seq, d.lane, d.state from delivery d join event e on e.seq = d.seq
        where e.id = $1 and e.session_id = $2";
    const HURRY: &str = "update delivery set next_attempt_us = $3 where state = 'pending' and lane = $1 and seq <= $2";
    const AGAIN: &str =
        "update delivery set state = 'pending', attempts = 0, next_attempt_us = $2, lane = $3 where seq = $1";
    let query = sqlx::query_as(FIND).bind(event.as_str()).bind(session.as_str());
    let found: Option<(i64, String, String)> = query.fetch_optional(&mut *tx).await.or_broken()?;
    let Some((seq, lane, state)) = found else { return Ok(false) };
    let query = if state == DeliveryState::Pending.as_str() {
        sqlx::query(HURRY).bind(lane).bind(seq).bind(now.0)
    } else {
        // In a lane of its own: newer events do not wait for an old one that somebody wants to see again.
        sqlx::query(AGAIN).bind(seq).bind(now.0).bind(format!("{event} again"))
    };
    query.execute(tx).await.or_broken()?;
    Ok(true)
}

/// Forgets deliveries that ended, of events before `before`.
pub async fn forget(tx: &mut Tx, before: WallTime) -> Result<()> {
    const SQL: &str = "delete from delivery where state <> 'pending'
        and seq in (select e.seq from event e where e.at_us < $1)";
    sqlx::query(SQL).bind(before.0).execute(tx).await.or_broken()?;
    Ok(())
}
