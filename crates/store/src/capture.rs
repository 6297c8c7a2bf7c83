//! Capture sessions and their channels. A state is only ever changed by `move_to`, which checks that nobody was quicker.

use std::collections::HashMap;

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::capture::{CaptureSession, Channel, Failure, MediaKind, SessionState};
use vitascope_model::id::{CaptureSessionId, CollectionId, RtStreamId, VideoId};
use vitascope_model::stream::AssetId;
use vitascope_model::{Error, Result, WallTime};

use crate::db::{OrBroken, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct SessionRow {
    id: String,
    user_id: String,
    collection_id: String,
    end_user_id: Option<String>,
    client_id: Option<String>,
    state: String,
    callback_url: Option<String>,
    ws_connection_id: Option<String>,
    metadata: String,
    keep: bool,
    exported_video_id: Option<String>,
    deleted_at_us: Option<i64>,
    failure_code: Option<String>,
    failure_message: Option<String>,
    created_at_us: i64,
    state_changed_at_us: i64,
}

impl SessionRow {
    fn into_model(self, channels: Vec<Channel>) -> Result<CaptureSession> {
        let failure = self.failure_code.map(|code| Failure { code, message: self.failure_message.unwrap_or_default() });
        Ok(CaptureSession {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            end_user_id: self.end_user_id,
            client_id: self.client_id,
            state: SessionState::parse(&self.state).ok_or_else(|| unreadable("session state", &self.state))?,
            callback_url: self.callback_url,
            ws_connection_id: self.ws_connection_id.map(|id| id.parse()).transpose()?,
            metadata: self.metadata,
            keep: self.keep,
            channels,
            exported: self.exported_video_id.map(|id| id.parse()).transpose()?,
            is_deleted: self.deleted_at_us.is_some(),
            failure,
            created_at: WallTime(self.created_at_us),
            state_changed_at: WallTime(self.state_changed_at_us),
        })
    }
}

#[derive(FromRow)]
pub(crate) struct ChannelRow {
    session_id: String,
    channel_id: String,
    name: String,
    kind: String,
    store: bool,
    is_primary: bool,
    rtstream_id: String,
    publish_path: String,
    exported_video_id: Option<String>,
}

impl ChannelRow {
    fn into_model(self) -> Result<Channel> {
        Ok(Channel {
            channel_id: self.channel_id,
            name: self.name,
            kind: MediaKind::parse(&self.kind).ok_or_else(|| unreadable("media kind", &self.kind))?,
            store: self.store,
            is_primary: self.is_primary,
            rtstream_id: self.rtstream_id.parse()?,
            publish_path: self.publish_path,
            exported_video_id: self.exported_video_id.map(|id| id.parse()).transpose()?,
        })
    }
}

/// Which sessions to list.
#[derive(Debug, Default)]
pub struct SessionFilter {
    pub state: Option<SessionState>,
    pub end_user_id: Option<String>,
    /// Sessions older than this one.
    pub after: Option<CaptureSessionId>,
}

impl Store {
    /// Looked up by id alone: the collection in a path does not matter, its owner does.
    pub async fn get_session(&self, scope: &Scope, id: &CaptureSessionId) -> Result<CaptureSession> {
        let found = self.find_session(id).await?.filter(|s| !s.is_deleted);
        let found = found.filter(|s| scope.covers(&s.owner, &s.collection_id));
        found.ok_or_else(|| Error::not_found(format_args!("capture session {id}")))
    }

    /// For our own work: whoever owns it, and even if it is marked for deletion.
    pub async fn find_session(&self, id: &CaptureSessionId) -> Result<Option<CaptureSession>> {
        let read = async {
            let mut connection = self.readers.acquire().await.or_broken()?;
            load(&mut connection, id).await
        };
        self.shelves.sessions.get(id.clone(), read).await
    }

    /// Whether the client token with this hash started the session.
    pub async fn session_started_by(&self, id: &CaptureSessionId, token_hash: &str) -> Result<bool> {
        const SQL: &str = "select count(*) from capture_session where id = $1 and started_by = $2";
        let query = sqlx::query_scalar(SQL).bind(id.as_str()).bind(token_hash);
        let count: i64 = query.fetch_one(&self.readers).await.or_broken()?;
        Ok(count > 0)
    }

    /// Newest first.
    pub async fn list_sessions(
        &self,
        scope: &Scope,
        collection: &CollectionId,
        filter: &SessionFilter,
        limit: i64,
    ) -> Result<Vec<CaptureSession>> {
        const SQL: &str =
            "select * from capture_session where user_id = $1 and collection_id = $2 and deleted_at_us is null
            and ($3 is null or state = $3) and ($4 is null or end_user_id = $4) and ($5 is null or id < $5)
            order by id desc limit $6";
        if !scope.includes(collection) {
            return Ok(Vec::new());
        }
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(collection.as_str());
        let query = query.bind(filter.state.map(SessionState::as_str)).bind(filter.end_user_id.as_deref());
        let query = query.bind(filter.after.as_ref().map(CaptureSessionId::as_str)).bind(limit);
        let rows: Vec<SessionRow> = query.fetch_all(&self.readers).await.or_broken()?;
        self.with_channels(rows).await
    }

    /// Every session that is not settled: what a restarted server must look after.
    pub async fn list_unsettled_sessions(&self) -> Result<Vec<CaptureSession>> {
        const SQL: &str =
            "select * from capture_session where state not in ('exported', 'failed', 'created') order by id";
        let rows: Vec<SessionRow> = sqlx::query_as(SQL).fetch_all(&self.readers).await.or_broken()?;
        self.with_channels(rows).await
    }

    /// Sessions that still wait for a recorder although they were made before `moment`.
    pub async fn list_sessions_created_before(&self, moment: WallTime) -> Result<Vec<CaptureSessionId>> {
        const SQL: &str = "select id from capture_session where state = 'created' and created_at_us < $1 order by id";
        let found: Vec<String> = sqlx::query_scalar(SQL).bind(moment.0).fetch_all(&self.readers).await.or_broken()?;
        found.into_iter().map(|id| id.parse()).collect()
    }

    pub async fn count_sessions(&self) -> Result<Vec<(String, i64)>> {
        const SQL: &str = "select state, count(*) from capture_session group by state order by state";
        sqlx::query_as(SQL).fetch_all(&self.readers).await.or_broken()
    }

    async fn with_channels(&self, rows: Vec<SessionRow>) -> Result<Vec<CaptureSession>> {
        const SQL: &str =
            "select * from capture_channel where session_id between $1 and $2 order by session_id, position";
        let (Some(low), Some(high)) = (rows.iter().map(|r| &r.id).min(), rows.iter().map(|r| &r.id).max()) else {
            return Ok(Vec::new());
        };
        let query = sqlx::query_as(SQL).bind(low).bind(high);
        let channels: Vec<ChannelRow> = query.fetch_all(&self.readers).await.or_broken()?;
        let mut of_session: HashMap<String, Vec<Channel>> = HashMap::new();
        for row in channels {
            of_session.entry(row.session_id.clone()).or_default().push(row.into_model()?);
        }
        rows.into_iter()
            .map(|row| {
                let channels = of_session.remove(&row.id).unwrap_or_default();
                row.into_model(channels)
            })
            .collect()
    }
}

/// The session as the open transaction sees it.
pub async fn load(tx: &mut Tx, id: &CaptureSessionId) -> Result<Option<CaptureSession>> {
    const SESSION: &str = "select * from capture_session where id = $1";
    const CHANNELS: &str = "select * from capture_channel where session_id = $1 order by position";
    let row: Option<SessionRow> =
        sqlx::query_as(SESSION).bind(id.as_str()).fetch_optional(&mut *tx).await.or_broken()?;
    let Some(row) = row else { return Ok(None) };
    let rows: Vec<ChannelRow> = sqlx::query_as(CHANNELS).bind(id.as_str()).fetch_all(tx).await.or_broken()?;
    let channels = rows.into_iter().map(ChannelRow::into_model).collect::<Result<_>>()?;
    row.into_model(channels).map(Some)
}

pub async fn insert(tx: &mut Tx, s: &CaptureSession) -> Result<()> {
    const SQL: &str = "insert into capture_session (id, user_id, collection_id, end_user_id, client_id, state,
        callback_url, ws_connection_id, metadata, created_at_us, state_changed_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let query = sqlx::query(SQL).bind(s.id.as_str()).bind(s.owner.as_str()).bind(s.collection_id.as_str());
    let query = query.bind(s.end_user_id.as_deref()).bind(s.client_id.as_deref()).bind(s.state.as_str());
    let query = query.bind(s.callback_url.as_deref()).bind(s.ws_connection_id.as_ref().map(|c| c.as_str()));
    query.bind(&s.metadata).bind(s.created_at.0).bind(s.state_changed_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn insert_channel(tx: &mut Tx, session: &CaptureSessionId, position: usize, c: &Channel) -> Result<()> {
    const SQL: &str = "insert into capture_channel
        (session_id, position, channel_id, name, kind, store, is_primary, rtstream_id, publish_path)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let query = sqlx::query(SQL).bind(session.as_str()).bind(position as i64).bind(&c.channel_id).bind(&c.name);
    let query = query.bind(c.kind.as_str()).bind(c.store).bind(c.is_primary).bind(c.rtstream_id.as_str());
    query.bind(&c.publish_path).execute(tx).await.or_broken()?;
    Ok(())
}

/// Who started it and for whom, and where its events go from now on; what is not given stays as it was.
pub async fn set_start(
    tx: &mut Tx,
    id: &CaptureSessionId,
    started_by: Option<&str>,
    client_id: Option<&str>,
    ws_connection_id: Option<&str>,
    callback_url: Option<&str>,
) -> Result<()> {
    const SQL: &str = "update capture_session set started_by = coalesce($2, started_by),
        ws_connection_id = coalesce($3, ws_connection_id), callback_url = coalesce($4, callback_url),
        client_id = coalesce($5, client_id) where id = $1";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(started_by).bind(ws_connection_id).bind(callback_url);
    query.bind(client_id).execute(tx).await.or_broken()?;
    Ok(())
}

/// Whether the session was still in `from`. A failure that was noted before stays.
pub async fn move_to(
    tx: &mut Tx,
    id: &CaptureSessionId,
    from: SessionState,
    to: SessionState,
    failure: Option<&Failure>,
    now: WallTime,
) -> Result<bool> {
    const SQL: &str = "update capture_session set state = $3, state_changed_at_us = $4,
        failure_code = coalesce($5, failure_code), failure_message = coalesce($6, failure_message) where id = $1 and state = $2";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(from.as_str()).bind(to.as_str()).bind(now.0);
    let query = query.bind(failure.map(|f| f.code.as_str())).bind(failure.map(|f| f.message.as_str()));
    Ok(query.execute(tx).await.or_broken()?.rows_affected() == 1)
}

/// Whether retention leaves alone what the session recorded.
pub async fn set_keep(tx: &mut Tx, id: &CaptureSessionId, keep: bool) -> Result<()> {
    const SQL: &str = "update capture_session set keep = $2 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(keep).execute(tx).await.or_broken()?;
    Ok(())
}

/// Why a stopped session has no export; its state stays.
pub async fn set_failure(tx: &mut Tx, id: &CaptureSessionId, failure: &Failure) -> Result<()> {
    const SQL: &str = "update capture_session set failure_code = $2, failure_message = $3 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(&failure.code).bind(&failure.message).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn set_exported(tx: &mut Tx, id: &CaptureSessionId, asset: &AssetId) -> Result<()> {
    const SQL: &str = "update capture_session set exported_video_id = $2 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(asset.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

/// The export that shows this channel. False if somebody was quicker.
pub async fn set_channel_exported(tx: &mut Tx, rtstream: &RtStreamId, video: &VideoId) -> Result<bool> {
    const SQL: &str = "update capture_channel set exported_video_id = $2
        where rtstream_id = $1 and exported_video_id is null";
    let query = sqlx::query(SQL).bind(rtstream.as_str()).bind(video.as_str());
    Ok(query.execute(tx).await.or_broken()?.rows_affected() == 1)
}
