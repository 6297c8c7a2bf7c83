//! Transcript records: the final utterances of an rtstream.

use sqlx::FromRow;
use vitascope_model::id::RtStreamId;
use vitascope_model::transcript::{TranscriptRecord, Word};
use vitascope_model::{Result, TimeRange, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct RecordRow {
    rtstream_id: String,
    start_us: i64,
    end_us: i64,
    text: String,
    words: String,
    confidence: f64,
}

impl RecordRow {
    fn into_model(self) -> Result<TranscriptRecord> {
        Ok(TranscriptRecord {
            rtstream_id: self.rtstream_id.parse()?,
            start: WallTime(self.start_us),
            end: WallTime(self.end_us),
            text: self.text,
            words: words_from_text(&self.words),
            confidence: self.confidence,
        })
    }
}

impl Store {
    /// Page `page` (from 1) of what was said in `range`, and how many records there are in all.
    pub async fn list_transcript(
        &self,
        rtstream: &RtStreamId,
        range: TimeRange,
        page: i64,
        page_size: i64,
    ) -> Result<(Vec<TranscriptRecord>, i64)> {
        const COUNT: &str =
            "select count(*) from transcript_record where rtstream_id = $1 and end_us > $2 and start_us < $3";
        const LIST: &str = "select * from transcript_record where rtstream_id = $1 and end_us > $2 and start_us < $3
            order by start_us limit $4 offset $5";
        let (from, to) = (range.start().0, range.end().0);
        let query = sqlx::query_scalar(COUNT).bind(rtstream.as_str()).bind(from).bind(to);
        let count: i64 = query.fetch_one(&self.readers).await.or_broken()?;
        let query = sqlx::query_as(LIST).bind(rtstream.as_str()).bind(from).bind(to);
        let query = query.bind(page_size).bind((page - 1) * page_size);
        let rows: Vec<RecordRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok((rows.into_iter().map(RecordRow::into_model).collect::<Result<_>>()?, count))
    }
}

impl Store {
    /// The next `limit` utterances that begin at `from` or later.
    pub async fn list_utterances(
        &self,
        rtstream: &RtStreamId,
        from: WallTime,
        limit: i64,
    ) -> Result<Vec<TranscriptRecord>> {
        const SQL: &str = "select * from transcript_record where rtstream_id = $1 and start_us >= $2
            order by start_us limit $3";
        let query = sqlx::query_as(SQL).bind(rtstream.as_str()).bind(from.0).bind(limit);
        let rows: Vec<RecordRow> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(RecordRow::into_model).collect()
    }

    /// Up to where an rtstream's transcript goes.
    pub async fn last_transcript_end(&self, rtstream: &RtStreamId) -> Result<Option<WallTime>> {
        const SQL: &str = "select max(end_us) from transcript_record where rtstream_id = $1";
        let query = sqlx::query_scalar(SQL).bind(rtstream.as_str());
        let end: Option<i64> = query.fetch_one(&self.readers).await.or_broken()?;
        Ok(end.map(WallTime))
    }
}

pub async fn insert(tx: &mut Tx, r: &TranscriptRecord) -> Result<()> {
    const SQL: &str = "insert into transcript_record (rtstream_id, start_us, end_us, text, words, confidence)
        values ($1, $2, $3, $4, $5, $6) on conflict (rtstream_id, start_us) do nothing";
    let query = sqlx::query(SQL).bind(r.rtstream_id.as_str()).bind(r.start.0).bind(r.end.0).bind(&r.text);
    query.bind(words_to_text(&r.words)).bind(r.confidence).execute(tx).await.or_broken()?;
    Ok(())
}

fn words_to_text(words: &[Word]) -> String {
    to_lines(words.iter().map(|w| (w.start.0, w.end.0, w.text.as_str())))
}

fn words_from_text(text: &str) -> Vec<Word> {
    let word = |(start, end, text)| Word { text, start: WallTime(start), end: WallTime(end) };
    from_lines(text).map(word).collect()
}

/// One word a line: start, end, text. Words hold no white space of their own.
pub(crate) fn to_lines<'w>(words: impl Iterator<Item = (i64, i64, &'w str)>) -> String {
    let line =
        |(start, end, text): (i64, i64, &str)| format!("{start} {end} {}", text.replace(char::is_whitespace, ""));
    words.map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn from_lines(text: &str) -> impl Iterator<Item = (i64, i64, String)> + '_ {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ' ');
        let mut time = || parts.next()?.parse().ok();
        Some((time()?, time()?, parts.next()?.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_they_were_written() {
        let word = |text: &str, at: i64| Word { text: text.to_owned(), start: WallTime(at), end: WallTime(at + 5) };
        let words = vec![word("It", 1), word("wasn't,", 7)];
        assert_eq!(words_from_text(&words_to_text(&words)), words);
        assert_eq!(words_from_text(""), []);
    }
}
