//! WebSocket connections: opened anew, or in the place of an earlier one. Who comes back is told what the earlier one missed,
//! and hears what was bound to it: both are of one line, named after its first connection.

use vitascope_model::id::{ConnectionId, EventId};
use vitascope_model::{Error, Result, WallTime};
use vitascope_store::connection::{self, Opened};
use vitascope_store::outbox::Heard;

use super::account::Caller;
use super::{App, mint};

/// What a client that comes back says of itself. With the event alone, its connection is the one that was told it;
/// with the connection alone, everything that is kept for it was missed.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    pub connection: Option<ConnectionId>,
    pub last_event: Option<EventId>,
}

/// Where a client goes on.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The line that it joins; none is a new one.
    line: Option<ConnectionId>,
    /// It heard everything up to this event.
    pub after: Option<i64>,
    pub lost: Option<Lost>,
}

/// What was told between these times may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    pub since: Option<WallTime>,
    pub until: WallTime,
}

/// Looks up where a client goes on. Only who opened a connection may take its place: a client token opens its own doors, not its owner's.
pub async fn find_place(app: &App, caller: &Caller, resume: &Resume) -> Result<Place> {
    match resume {
        Resume { connection: None, last_event: None } => Ok(Place::default()),
        resume => place_of(app, caller, resume).await,
    }
}

async fn place_of(app: &App, caller: &Caller, resume: &Resume) -> Result<Place> {
    let seq = match &resume.last_event {
        Some(event) => app.store.find_event_seq(caller.user(), event).await?,
        None => None,
    };
    let line = match (&resume.connection, seq) {
        (Some(id), _) => {
            let found = app.store.find_connection(id).await?.filter(|c| is_of(caller, c));
            Some(found.ok_or_else(|| Error::not_found(format_args!("connection {id}")))?.line)
        }
        (None, Some(seq)) => only_line(app, caller, seq).await?,
        (None, None) => None,
    };
    let since = resume.last_event.as_ref().and_then(EventId::minted_at);
    let Some(line) = line else {
        // The event is not kept, nor whom it was told: all that is known is when it was.
        return Ok(Place { line: None, after: None, lost: Some(Lost { since, until: app.now() }) });
    };
    let forgotten = app.store.find_forgotten(&heard(caller, line.clone())).await?;
    let (after, lost_until) = match (&resume.last_event, seq, forgotten) {
        (None, _, None) => (0, None),
        (None, _, Some((f, newest))) => (f, newest.minted_at()),
        (Some(_), Some(seq), Some((f, newest))) if seq < f => (f, newest.minted_at()),
        (Some(_), Some(seq), _) => (seq, None),
        // Ids sort by time: the client heard all that is forgotten, or not.
        (Some(event), None, Some((f, newest))) if *event < newest => (f, newest.minted_at()),
        (Some(_), None, Some((f, _))) => (f, None),
        (Some(event), None, None) => return Err(Error::not_found(format_args!("event {event}"))),
    };
    Ok(Place { line: Some(line), after: Some(after), lost: lost_until.map(|until| Lost { since, until }) })
}

/// The one line of this caller's that was told an event.
async fn only_line(app: &App, caller: &Caller, seq: i64) -> Result<Option<ConnectionId>> {
    let mut told = app.store.list_lines_told(seq).await?;
    told.retain(|line| is_of(caller, line));
    if told.len() > 1 {
        return Err(Error::invalid("several connections were told last_event_id: give connection_id as well"));
    }
    Ok(told.pop().map(|opened| opened.line))
}

/// A new connection at its place. It is known for good before the client hears its id.
pub async fn open(app: &App, caller: &Caller, place: &Place) -> Result<(ConnectionId, Heard)> {
    let (id, now) = (mint!(app, ConnectionId), app.now());
    let line = place.line.clone().unwrap_or_else(|| id.clone());
    let opened =
        Opened { owner: caller.user().clone(), token_hash: caller.token().map(str::to_owned), line: line.clone() };
    let row = id.clone();
    app.store.write(move |tx| Box::pin(async move { connection::insert(tx, &row, &opened, now).await })).await?;
    Ok((id, heard(caller, line)))
}

fn heard(caller: &Caller, line: ConnectionId) -> Heard {
    Heard { owner: caller.user().clone(), line, whole_account: caller.token().is_none() && caller.scope.is_whole() }
}

fn is_of(caller: &Caller, opened: &Opened) -> bool {
    let token = caller.token();
    opened.owner == *caller.user() && (token.is_none() || token == opened.token_hash.as_deref())
}
