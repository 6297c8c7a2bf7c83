//! Usage of accounts: sums by month, which are added to, and what is stored now, which is counted when it is asked for.

use sqlx::FromRow;
use vitascope_model::id::UserId;
use vitascope_model::usage::{Amounts, Meter, Month, Stored};
use vitascope_model::{Result, Span};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct MonthRow {
    month: String,
    requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    ingested_us: i64,
    analysed_us: i64,
}

impl MonthRow {
    fn into_model(self) -> (Month, Amounts) {
        let mut amounts = Amounts::default();
        for (meter, amount) in [
            (Meter::Requests, self.requests),
            (Meter::BytesIn, self.bytes_in),
            (Meter::BytesOut, self.bytes_out),
            (Meter::Ingested, self.ingested_us),
            (Meter::Analysed, self.analysed_us),
        ] {
            amounts.add(meter, amount.max(0) as u64);
        }
        (Month::named(self.month), amounts)
    }
}

#[derive(FromRow)]
struct StoredRow {
    bytes: i64,
    video_us: i64,
    audio_us: i64,
    rtstream_us: i64,
}

impl Store {
    /// Month by month, the newest first.
    pub async fn usage_of(&self, user: &UserId) -> Result<Vec<(Month, Amounts)>> {
        const SQL: &str = "select * from usage_month where user_id = $1 order by month desc";
        let rows: Vec<MonthRow> = sqlx::query_as(SQL).bind(user.as_str()).fetch_all(&self.readers).await.or_broken()?;
        Ok(rows.into_iter().map(MonthRow::into_model).collect())
    }

    pub async fn stored_of(&self, user: &UserId) -> Result<Stored> {
        const SQL: &str = "select
            (select coalesce(sum(bytes), 0) from track where user_id = $1)
            + (select coalesce(sum(bytes), 0) from image where user_id = $1)
            + (select coalesce(sum(loose_bytes), 0) from original where user_id = $1 and dropped_at_us is null)
            + (select coalesce(sum(bytes), 0) from takeout where user_id = $1)
            + (select coalesce(sum(bytes), 0) from upload_slot where user_id = $1) as bytes,
            (select coalesce(sum(length_us), 0) from video where user_id = $1 and dropped_at_us is null) as video_us,
            (select coalesce(sum(length_us), 0) from audio where user_id = $1) as audio_us,
            (select coalesce(sum(c.end_us - c.start_us), 0) from track t join chunk c on c.track_id = t.id
                where t.user_id = $1 and t.rtstream_id is not null) as rtstream_us";
        let row: StoredRow = sqlx::query_as(SQL).bind(user.as_str()).fetch_one(&self.readers).await.or_broken()?;
        Ok(Stored {
            bytes: row.bytes,
            videos: Span(row.video_us),
            audios: Span(row.audio_us),
            rtstreams: Span(row.rtstream_us),
        })
    }
}

/// Adds to the sums of a month.
pub async fn add(tx: &mut Tx, user: &UserId, month: &Month, amounts: &Amounts) -> Result<()> {
    const SQL: &str =
        "insert into usage_month (user_id, month, requests, bytes_in, bytes_out, ingested_us, analysed_us)
        values ($1, $2, $3, $4, $5, $6, $7) on conflict (user_id, month) do update set
            requests = usage_month.requests + excluded.requests,
            bytes_in = usage_month.bytes_in + excluded.bytes_in,
            bytes_out = usage_month.bytes_out + excluded.bytes_out,
            ingested_us = usage_month.ingested_us + excluded.ingested_us,
            analysed_us = usage_month.analysed_us + excluded.analysed_us";
    let mut query = sqlx::query(SQL).bind(user.as_str()).bind(month.as_str());
    for meter in [Meter::Requests, Meter::BytesIn, Meter::BytesOut, Meter::Ingested, Meter::Analysed] {
        query = query.bind(i64::try_from(amounts.of(meter)).unwrap_or(i64::MAX));
    }
    query.execute(tx).await.or_broken()?;
    Ok(())
}
