//! Rtstreams: live inputs.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::capture::{Category, MediaKind};
use vitascope_model::id::{CaptureSessionId, RtStreamId};
use vitascope_model::rtstream::{RtStream, RtStreamState, Transcription};
use vitascope_model::stream::AssetId;
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
    sample_rate: i64,
    keep: bool,
    exported_asset_id: Option<String>,
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
            sample_rate: self.sample_rate,
            keep: self.keep,
            exported: self.exported_asset_id.map(|id| id.parse()).transpose()?,
            created_at: WallTime(self.created_at_us),
            transcription,
        })
    }
}

/// Which rtstreams to list, and in which order.
#[derive(Clone, Debug)]
pub struct RtStreamFilter {
    pub state: Option<RtStreamState>,
    /// A part of the name, in any case.
    pub name: Option<String>,
    pub order: RtStreamOrder,
}

#[derive(Clone, Copy, Debug)]
pub struct RtStreamOrder {
    pub by: RtStreamField,
    pub descending: bool,
}

/// What a list of rtstreams can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtStreamField {
    Created,
    Name,
    State,
}

impl RtStreamField {
    fn column(self) -> &'static str {
        match self {
            RtStreamField::Created => "created_at_us",
            RtStreamField::Name => "lower(name)",
            RtStreamField::State => "state",
        }
    }
}

impl Store {
    pub async fn get_rtstream(&self, scope: &Scope, id: &RtStreamId) -> Result<RtStream> {
        const SQL: &str = "select * from rtstream where id = $1 and deleted_at_us is null";
        let row: Option<RtStreamRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        let found = row.map(RtStreamRow::into_model).transpose()?;
        let found = found.filter(|s| scope.covers(&s.owner, &s.collection_id));
        found.ok_or_else(|| Error::not_found(format_args!("rtstream {id}")))
    }

    /// For our own work: whoever owns it, and even if it is marked for deletion.
    pub async fn find_rtstream(&self, id: &RtStreamId) -> Result<Option<RtStream>> {
        const SQL: &str = "select * from rtstream where id = $1";
        let row: Option<RtStreamRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.map(RtStreamRow::into_model).transpose()
    }

    /// The rtstream that is published on this path.
    pub async fn find_rtstream_by_path(&self, publish_path: &str) -> Result<Option<RtStream>> {
        const SQL: &str =
            "select r.* from rtstream r join capture_channel c on c.rtstream_id = r.id where c.publish_path = $1
            and r.deleted_at_us is null";
        let row: Option<RtStreamRow> =
            sqlx::query_as(SQL).bind(publish_path).fetch_optional(&self.readers).await.or_broken()?;
        row.map(RtStreamRow::into_model).transpose()
    }

    pub async fn list_session_rtstreams(&self, session: &CaptureSessionId) -> Result<Vec<RtStream>> {
        const SQL: &str = "select r.* from rtstream r join capture_channel c on c.rtstream_id = r.id
            where r.session_id = $1 and r.deleted_at_us is null order by c.position";
        let read = async {
            let query = sqlx::query_as(SQL).bind(session.as_str());
            let rows: Vec<RtStreamRow> = query.fetch_all(&self.readers).await.or_broken()?;
            rows.into_iter().map(RtStreamRow::into_model).collect()
        };
        self.shelves.session_rtstreams.get(session.clone(), read).await
    }

    /// A page of those that match, with the number of all of them.
    pub async fn list_rtstreams(
        &self,
        scope: &Scope,
        filter: &RtStreamFilter,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<RtStream>, i64)> {
        const CHOSEN: &str = "from rtstream where user_id = $1 and deleted_at_us is null and ($2 is null or state = $2)
            and ($3 is null or instr(lower(name), lower($3)) > 0)
            and ($4 is null or instr($4, ' ' || collection_id || ' ') > 0)";
        let (user, state, bound) = (scope.user().as_str(), filter.state.map(RtStreamState::as_str), bound_to(scope));
        let RtStreamOrder { by, descending } = filter.order;
        let direction = if descending { "desc" } else { "asc" };
        let count = format!("select count(*) {CHOSEN}");
        // Ids sort by age: among equals, the order is that of their making.
        let order = format!("order by {} {direction}, id {direction}", by.column());
        let list = format!("select * {CHOSEN} {order} limit $5 offset $6");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).bind(user).bind(state);
        let count: i64 =
            query.bind(filter.name.as_deref()).bind(bound.as_deref()).fetch_one(&self.readers).await.or_broken()?;
        let query = sqlx::query_as(sqlx::AssertSqlSafe(list)).bind(user).bind(state).bind(filter.name.as_deref());
        let query = query.bind(bound.as_deref()).bind(limit).bind(offset);
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
        (id, user_id, collection_id, session_id, name, category, kind, state, store, created_at_us, sample_rate)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let query = sqlx::query(SQL).bind(r.id.as_str()).bind(r.owner.as_str()).bind(r.collection_id.as_str());
    let query = query.bind(r.session_id.as_ref().map(|s| s.as_str())).bind(&r.name);
    let query = query.bind(r.category.map(Category::as_str)).bind(r.kind.as_str()).bind(r.state.as_str());
    query.bind(r.store).bind(r.created_at.0).bind(r.sample_rate).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn set_state(tx: &mut Tx, id: &RtStreamId, state: RtStreamState) -> Result<()> {
    const SQL: &str = "update rtstream set state = $2 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(state.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

/// What is not given stays as it was.
pub async fn update(
    tx: &mut Tx,
    id: &RtStreamId,
    name: Option<&str>,
    sample_rate: Option<i64>,
    keep: Option<bool>,
) -> Result<()> {
    const SQL: &str = "update rtstream set name = coalesce($2, name), sample_rate = coalesce($3, sample_rate),
        keep = coalesce($4, keep) where id = $1";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(name).bind(sample_rate).bind(keep);
    query.execute(tx).await.or_broken()?;
    Ok(())
}

/// Replaces the export `before`. False if somebody was quicker.
pub async fn set_exported(tx: &mut Tx, id: &RtStreamId, before: Option<&AssetId>, asset: &AssetId) -> Result<bool> {
    const SQL: &str = "update rtstream set exported_asset_id = $3
        where id = $1 and coalesce(exported_asset_id, '') = coalesce($2, '')";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(before.map(AssetId::as_str)).bind(asset.as_str());
    Ok(query.execute(tx).await.or_broken()?.rows_affected() == 1)
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
