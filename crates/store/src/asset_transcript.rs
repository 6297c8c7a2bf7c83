//! Transcripts of videos and audios: how far each is, and its utterances. They go with their asset.

use sqlx::FromRow;
use vitascope_model::stream::AssetId;
use vitascope_model::transcript::{SpokenWord, Transcript, Utterance};
use vitascope_model::{MediaTime, Result, WallTime};

use crate::db::OrBroken;
use crate::transcript::{from_lines, to_lines};
use crate::{Store, Tx};

#[derive(FromRow)]
struct TranscriptRow {
    asset_id: String,
    language: String,
    heard_us: i64,
    complete: bool,
    job_id: String,
    created_at_us: i64,
}

impl TranscriptRow {
    fn into_model(self) -> Result<Transcript> {
        Ok(Transcript {
            asset_id: self.asset_id.parse()?,
            language: self.language,
            heard: MediaTime(self.heard_us),
            is_complete: self.complete,
            job_id: self.job_id.parse()?,
            created_at: WallTime(self.created_at_us),
        })
    }
}

#[derive(FromRow)]
pub(crate) struct UtteranceRow {
    start_us: i64,
    end_us: i64,
    words: String,
    confidence: f64,
}

impl UtteranceRow {
    pub(crate) fn into_model(self) -> Utterance {
        let word = |(start, end, text)| SpokenWord { text, start: MediaTime(start), end: MediaTime(end) };
        Utterance {
            start: MediaTime(self.start_us),
            end: MediaTime(self.end_us),
            words: from_lines(&self.words).map(word).collect(),
            confidence: self.confidence,
        }
    }
}

impl Store {
    pub async fn find_asset_transcript(&self, asset: &AssetId) -> Result<Option<Transcript>> {
        const SQL: &str = "select * from asset_transcript where asset_id = $1";
        let query = sqlx::query_as(SQL).bind(asset.as_str());
        let row: Option<TranscriptRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(TranscriptRow::into_model).transpose()
    }

    /// All that was said, in order.
    pub async fn list_asset_utterances(&self, asset: &AssetId) -> Result<Vec<Utterance>> {
        const SQL: &str =
            "select start_us, end_us, words, confidence from asset_utterance where asset_id = $1 order by start_us";
        let query = sqlx::query_as(SQL).bind(asset.as_str());
        let rows: Vec<UtteranceRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok(rows.into_iter().map(UtteranceRow::into_model).collect())
    }
}

/// Begins a transcript; one that was there is forgotten.
pub async fn begin(tx: &mut Tx, new: &Transcript) -> Result<()> {
    const FORGET: &str = "delete from asset_transcript where asset_id = $1";
    const SQL: &str = "insert into asset_transcript (asset_id, video_id, audio_id, language, job_id, created_at_us)
        values ($1, $2, $3, $4, $5, $6)";
    sqlx::query(FORGET).bind(new.asset_id.as_str()).execute(&mut *tx).await.or_broken()?;
    let query = sqlx::query(SQL).bind(new.asset_id.as_str());
    let query =
        query.bind(new.asset_id.as_video().map(|id| id.as_str())).bind(new.asset_id.as_audio().map(|id| id.as_str()));
    query.bind(&new.language).bind(new.job_id.as_str()).bind(new.created_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// Goes on with a transcript that is not complete, in another job.
pub async fn set_job(tx: &mut Tx, old: &Transcript, job_id: &str) -> Result<()> {
    const SQL: &str = "update asset_transcript set job_id = $2 where asset_id = $1";
    sqlx::query(SQL).bind(old.asset_id.as_str()).bind(job_id).execute(tx).await.or_broken()?;
    Ok(())
}

/// What was said since, up to `heard`. False if the transcript is not this job's any more, or went with its asset: nothing is written then.
pub async fn advance(
    tx: &mut Tx,
    of: &Transcript,
    said: &[Utterance],
    heard: MediaTime,
    is_complete: bool,
) -> Result<bool> {
    const ADVANCE: &str =
        "update asset_transcript set heard_us = $3, complete = $4 where asset_id = $1 and job_id = $2";
    const SAID: &str = "insert into asset_utterance (asset_id, start_us, end_us, words, confidence)
        values ($1, $2, $3, $4, $5) on conflict (asset_id, start_us) do nothing";
    let query =
        sqlx::query(ADVANCE).bind(of.asset_id.as_str()).bind(of.job_id.as_str()).bind(heard.0).bind(is_complete);
    if query.execute(&mut *tx).await.or_broken()?.rows_affected() == 0 {
        return Ok(false);
    }
    for utterance in said {
        let words = to_lines(utterance.words.iter().map(|w| (w.start.0, w.end.0, w.text.as_str())));
        let query = sqlx::query(SAID).bind(of.asset_id.as_str()).bind(utterance.start.0).bind(utterance.end.0);
        query.bind(words).bind(utterance.confidence).execute(&mut *tx).await.or_broken()?;
    }
    Ok(true)
}
