//! Rtstreams: live inputs.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::capture::{Category, MediaKind};
use vitascope_model::id::{CaptureSessionId, RtStreamId};
use vitascope_model::rtstream::{RtStream, RtStreamState, Transcription};
use vitascope_model::{Error, Result, WallTime};

use crate::db::{OrBroken, bound_to, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct RtStreamRow {
    id: String,
    user_id: String,
    collection_id: String,
    session_id: Option<String>,
    name: String,
    category: Option<String>,
    kind: String,
    state: String,
    store: bool,
    transcription: Option<String>,
    transcription_since_us: Option<i64>,
    transcription_until_us: Option<i64>,
    created_at_us: i64,
}

impl RtStreamRow {
    fn into_model(self) -> Result<RtStream> {
        const CATEGORIES: [Category; 4] = [Category::Mic, Category::SystemAudio, Category::Screen, Category::Camera];
        let since = WallTime(self.transcription_since_us.unwrap_or_default());
        let transcription = match self.transcription.as_deref() {
            Some("running") => Transcription::Running { since },
            Some(_) => {
                Transcription::Stopped { since, until: WallTime(self.transcription_until_us.unwrap_or_default()) }
            }
            None => Transcription::NotConfigured,
        };
        Ok(RtStream {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            session_id: self.session_id.map(|id| id.parse()).transpose()?,
            name: self.name,
            category: self.category.and_then(|text| CATEGORIES.into_iter().find(|c| c.as_str() == text)),
            kind: MediaKind::parse(&self.kind).ok_or_else(|| unreadable("media kind", &self.kind))?,
            state: RtStreamState::parse(&self.state).ok_or_else(|| unreadable("rtstream state", &self.state))?,
            store: self.store,
            created_at: WallTime(self.created_at_us),
            transcription,
        })
    }
}

impl Store {
    pub async fn get_rtstream(&self, scope: &Scope, id: &RtStreamId) -> Result<RtStream> {
        let found = self.find_rtstream(id).await?.filter(|s| scope.covers(&s.owner, &s.collection_id));
        found.ok_or_else(|| Error::not_found(format_args!("rtstream {id}")))
    }

    pub async fn find_rtstream(&self, id: &RtStreamId) -> Result<Option<RtStream>> {
        const SQL: &str = "select * from rtstream where id = $1";
        let row: Option<RtStreamRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.map(RtStreamRow::into_model).transpose()
    }

    /// The rtstream that is published on this path.
    pub async fn find_rtstream_by_path(&self, publish_path: &str) -> Result<Option<RtStream>> {
        const SQL: &str =
            "select r.* from rtstream r join capture_channel c on c.rtstream_id = r.id where c.publish_path = $1";
        let row: Option<RtStreamRow> =
            sqlx::query_as(SQL).bind(publish_path).fetch_optional(&self.readers).await.or_broken()?;
        row.map(RtStreamRow::into_model).transpose()
    }

    pub async fn list_session_rtstreams(&self, session: &CaptureSessionId) -> Result<Vec<RtStream>> {
        const SQL: &str = "select r.* from rtstream r join capture_channel c on c.rtstream_id = r.id
            where r.session_id = $1 order by c.position";
        let read = async {
            let query = sqlx::query_as(SQL).bind(session.as_str());
            let rows: Vec<RtStreamRow> = query.fetch_all(&self.readers).await.or_broken()?;
            rows.into_iter().map(RtStreamRow::into_model).collect()
        };
        self.shelves.session_rtstreams.get(session.clone(), read).await
    }

    /// Newest first, with the number of all that match.
    pub async fn list_rtstreams(
        &self,
        scope: &Scope,
        state: Option<RtStreamState>,
        name: Option<&str>,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<RtStream>, i64)> {
        const COUNT: &str = "select count(*) from rtstream where user_id = $1 and ($2 is null or state = $2)
            and ($3 is null or instr(lower(name), lower($3)) > 0)
            and ($4 is null or instr($4, ' ' || collection_id || ' ') > 0)";
        const LIST: &str = "select * from rtstream where user_id = $1 and ($2 is null or state = $2)
            and ($3 is null or instr(lower(name), lower($3)) > 0)
            and ($4 is null or instr($4, ' ' || collection_id || ' ') > 0) order by id desc limit $5 offset $6";
        let (user, state, bound) = (scope.user().as_str(), state.map(RtStreamState::as_str), bound_to(scope));
        let query = sqlx::query_scalar(COUNT).bind(user).bind(state).bind(name).bind(bound.as_deref());
        let count: i64 = query.fetch_one(&self.readers).await.or_broken()?;
        let query = sqlx::query_as(LIST).bind(user).bind(state).bind(name).bind(bound.as_deref());
        let query = query.bind(limit).bind(offset);
        let rows: Vec<RtStreamRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok((rows.into_iter().map(RtStreamRow::into_model).collect::<Result<_>>()?, count))
    }

    /// Streams whose speech was being written down, and who is told: what a restart takes up again.
    pub async fn transcription_connection(&self, id: &RtStreamId) -> Result<Option<String>> {
        const SQL: &str = "select transcription_connection_id from rtstream where id = $1";
        let found: Option<Option<String>> =
            sqlx::query_scalar(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        Ok(found.flatten())
    }
}

pub async fn insert(tx: &mut Tx, r: &RtStream) -> Result<()> {
    const SQL: &str = "insert into rtstream
        (id, user_id, collection_id, session_id, name, category, kind, state, store, created_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let query = sqlx::query(SQL).bind(r.id.as_str()).bind(r.owner.as_str()).bind(r.collection_id.as_str());
    let query = query.bind(r.session_id.as_ref().map(|s| s.as_str())).bind(&r.name);
    let query = query.bind(r.category.map(Category::as_str)).bind(r.kind.as_str()).bind(r.state.as_str());
    query.bind(r.store).bind(r.created_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn set_state(tx: &mut Tx, id: &RtStreamId, state: RtStreamState) -> Result<()> {
    const SQL: &str = "update rtstream set state = $2 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(state.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn start_transcription(tx: &mut Tx, id: &RtStreamId, connection: Option<&str>, now: WallTime) -> Result<()> {
    const SQL: &str = "update rtstream set transcription_since_us =
            case when transcription = 'running' then transcription_since_us else $3 end,
        transcription = 'running', transcription_connection_id = coalesce($2, transcription_connection_id),
        transcription_until_us = null where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(connection).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn stop_transcription(tx: &mut Tx, id: &RtStreamId, now: WallTime) -> Result<()> {
    const SQL: &str = "update rtstream set transcription = 'stopped', transcription_until_us = $2
        where id = $1 and transcription = 'running'";
    sqlx::query(SQL).bind(id.as_str()).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}
