//! Videos, audios and images in one list, for who looks for something across collections. Each kind's own table is in its own file;
//! here is only what they have in common.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::asset::{AssetFilter, AssetKind, AssetSort, Listed};
use vitascope_model::{Result, Span, WallTime};

use crate::Store;
use crate::db::{OrBroken, bound_to, unreadable};

#[derive(FromRow)]
struct ListedRow {
    kind: String,
    id: String,
    collection_id: String,
    name: String,
    description: Option<String>,
    length_us: Option<i64>,
    bytes: i64,
    stream_id: Option<String>,
    keep: bool,
    created_at_us: i64,
}

impl ListedRow {
    fn into_model(self) -> Result<Listed> {
        Ok(Listed {
            kind: AssetKind::parse(&self.kind).ok_or_else(|| unreadable("kind of an asset", &self.kind))?,
            id: self.id,
            collection_id: self.collection_id.parse()?,
            name: self.name,
            description: self.description,
            length: self.length_us.map(Span),
            bytes: self.bytes,
            stream_id: self.stream_id,
            keep: self.keep,
            created_at: WallTime(self.created_at_us),
        })
    }
}

impl Store {
    /// In the order that is wished, and of the same rank the older first (or last, if it descends). An image has no length:
    /// a filter by length leaves images out, and the shortest video comes after them.
    pub async fn list_assets(&self, scope: &Scope, filter: &AssetFilter) -> Result<Vec<Listed>> {
        const SQL: &str = "select * from (
            select 'video' as kind, id, user_id, collection_id, name, description, length_us, bytes, stream_id, keep, created_at_us from video
            union all
            select 'audio', id, user_id, collection_id, name, description, length_us, bytes, stream_id, keep, created_at_us from audio
            union all
            select 'image', id, user_id, collection_id, name, description, null, bytes, null, keep, created_at_us from image)
            where user_id = $1 and ($2 is null or instr($2, ' ' || collection_id || ' ') > 0)
            and ($3 is null or collection_id = $3) and instr($4, kind) > 0
            and ($5 is null or length_us >= $5) and ($6 is null or length_us <= $6)
            and ($7 is null or bytes >= $7) and ($8 is null or bytes <= $8)
            order by case $9 when 'name' then lower(name) when 'duration' then coalesce(length_us, -1)
                when 'size' then bytes else created_at_us end, created_at_us, id";
        let kinds = filter.kinds.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(" ");
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(bound_to(scope));
        let query = query.bind(filter.collection.as_ref().map(|id| id.as_str())).bind(kinds);
        let query = query.bind(filter.shortest.map(|s| s.0)).bind(filter.longest.map(|s| s.0));
        let query = query.bind(filter.smallest).bind(filter.largest).bind(match filter.sort {
            AssetSort::Name => "name",
            AssetSort::Duration => "duration",
            AssetSort::Size => "size",
            AssetSort::CreatedAt => "created_at",
        });
        let mut rows: Vec<ListedRow> = query.fetch_all(&self.readers).await.or_broken()?;
        if filter.descending {
            rows.reverse();
        }
        rows.into_iter().map(ListedRow::into_model).collect()
    }
}
