//! Search by vector: every record of the indexes in question is compared, exactly, and the nearest are given. Vectors of indexes that were
//! searched last stay in memory, within bounds; a complete index never changes, so what is kept is true as long as its row is there.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::FromRow;
use vitascope_model::error::Context;
use vitascope_model::media_index::{Hit, MediaIndexKind, Within};
use vitascope_model::{MediaTime, Result};

use crate::Store;
use crate::db::OrBroken;
use crate::media_index::{WITHIN, numbers_of, places};

/// Numbers of vectors that are kept: 128 MB, or 87,000 sentences of 384 numbers.
const KEPT: usize = 32 << 20;
/// Indexes that are read in one go.
const AT_ONCE: usize = 64;

/// The vectors of one index, back to back.
struct Matrix {
    rows: Vec<f32>,
    width: usize,
}

/// What was searched last.
#[derive(Default)]
pub(crate) struct VectorCache(Mutex<CacheInner>);

#[derive(Default)]
struct CacheInner {
    kept: HashMap<String, (u64, Arc<Matrix>)>,
    numbers: usize,
    clock: u64,
}

impl VectorCache {
    fn get(&self, id: &str) -> Option<Arc<Matrix>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let (used, matrix) = inner.kept.get_mut(id)?;
        *used = now;
        Some(matrix.clone())
    }

    fn keep(&self, id: &str, matrix: &Arc<Matrix>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        if inner.kept.insert(id.to_owned(), (now, matrix.clone())).is_none() {
            inner.numbers += matrix.rows.len();
        }
        while inner.numbers > KEPT {
            let Some(oldest) = inner.kept.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| id.clone()) else {
                break;
            };
            let gone = inner.kept.remove(&oldest);
            inner.numbers -= gone.map_or(0, |(_, matrix)| matrix.rows.len());
        }
    }
}

/// A record by its index and place, and how near it is.
#[derive(Clone, Debug, PartialEq)]
struct Near {
    score: f32,
    index: Arc<str>,
    n: usize,
}

impl Eq for Near {}

impl Ord for Near {
    /// The worst comes out of the heap first; equal ones in a fixed order.
    fn cmp(&self, other: &Near) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| (&self.index, self.n).cmp(&(&other.index, other.n)))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Store {
    /// The records nearest to `query`, a vector of length 1 by `model`, the nearest first; those of other models are left out.
    pub async fn search_records(
        &self,
        within: &Within,
        kind: MediaIndexKind,
        model: &str,
        query: Vec<f32>,
        limit: usize,
        least: f64,
    ) -> Result<Vec<Hit>> {
        let (video, collection) = places(within);
        let asked = sqlx::query_scalar(WITHIN).bind(kind.as_str()).bind(video).bind(collection).bind(model);
        let ids: Vec<String> = asked.fetch_all(&self.readers).await.or_broken()?;
        let query = Arc::new(query);
        let mut best: BinaryHeap<Near> = BinaryHeap::new();
        for some in ids.chunks(AT_ONCE) {
            let matrices = self.matrices(some).await?;
            let (query, mut found) = (query.clone(), best);
            let compare = move || {
                matrices.iter().for_each(|(id, matrix)| compare(id, matrix, &query, limit, &mut found));
                found
            };
            best = tokio::task::spawn_blocking(compare).await.internal("compare vectors")?;
        }
        let nearest = best.into_sorted_vec().into_iter().filter(|near| f64::from(near.score) >= least);
        self.hits(&nearest.collect::<Vec<_>>()).await
    }

    async fn matrices(&self, ids: &[String]) -> Result<Vec<(Arc<str>, Arc<Matrix>)>> {
        const SQL: &str = "select vector from media_record where index_id = $1 order by n";
        let mut matrices = Vec::with_capacity(ids.len());
        for id in ids {
            let matrix = match self.vectors.get(id) {
                Some(matrix) => matrix,
                None => {
                    let rows: Vec<Vec<u8>> =
                        sqlx::query_scalar(SQL).bind(id).fetch_all(&self.readers).await.or_broken()?;
                    let width = rows.first().map_or(0, |row| row.len() / 4);
                    let matrix = Matrix { rows: rows.iter().flat_map(|row| numbers_of(row)).collect(), width };
                    let matrix = Arc::new(matrix);
                    self.vectors.keep(id, &matrix);
                    matrix
                }
            };
            matrices.push((id.as_str().into(), matrix));
        }
        Ok(matrices)
    }

    /// The records themselves, in the order given. One that went meanwhile is left out.
    async fn hits(&self, nearest: &[Near]) -> Result<Vec<Hit>> {
        #[derive(FromRow)]
        struct Row {
            place: i64,
            video_id: String,
            start_us: i64,
            end_us: i64,
            text: String,
        }
        const SQL: &str =
            "with wanted as (select key as place, value ->> 0 as index_id, value ->> 1 as n from json_each($1))
            select place, i.video_id, start_us, end_us, text from wanted
            cross join media_record r on r.index_id = wanted.index_id and r.n = wanted.n
            join media_index i on i.id = r.index_id order by place";
        let wanted: Vec<(&str, usize)> = nearest.iter().map(|near| (&*near.index, near.n)).collect();
        let wanted = serde_json::to_string(&wanted).internal("ask for records")?;
        let rows: Vec<Row> = sqlx::query_as(SQL).bind(wanted).fetch_all(&self.readers).await.or_broken()?;
        let hit = |row: Row| {
            Ok(Hit {
                video_id: row.video_id.parse()?,
                start: MediaTime(row.start_us),
                end: MediaTime(row.end_us),
                text: row.text,
                // Rounding may leave the same vector a little above 1.
                score: f64::from(nearest[row.place as usize].score).clamp(0.0, 1.0),
            })
        };
        rows.into_iter().map(hit).collect()
    }
}

fn compare(id: &Arc<str>, matrix: &Matrix, query: &[f32], limit: usize, best: &mut BinaryHeap<Near>) {
    if matrix.width != query.len() || limit == 0 {
        return;
    }
    for (n, row) in matrix.rows.chunks_exact(matrix.width).enumerate() {
        let score = dot(row, query);
        if best.len() < limit {
            best.push(Near { score, index: id.clone(), n });
        } else if best.peek().is_some_and(|worst| score > worst.score) {
            best.pop();
            best.push(Near { score, index: id.clone(), n });
        }
    }
}

/// In eight lanes, which the compiler makes one instruction of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in a.0.iter().zip(b.0) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    let rest: f32 = a.1.iter().zip(b.1).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[[f32; 2]]) -> Matrix {
        Matrix { rows: rows.concat(), width: 2 }
    }

    #[test]
    fn the_nearest_come_first_and_no_more_than_asked_for() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut best = BinaryHeap::new();
        compare(&a, &matrix(&[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), &[0.6, 0.8], 2, &mut best);
        compare(&b, &matrix(&[[0.8, 0.6]]), &[0.6, 0.8], 2, &mut best);
        compare(&b, &Matrix { rows: vec![1.0; 3], width: 3 }, &[0.6, 0.8], 2, &mut best);
        let found: Vec<(String, usize)> =
            best.into_sorted_vec().iter().map(|near| (near.index.to_string(), near.n)).collect();
        assert_eq!(found, [("a".to_owned(), 2), ("b".to_owned(), 0)]);
    }

    #[test]
    fn a_dot_product_is_one_of_any_length() {
        let a: Vec<f32> = (0..19).map(|n| n as f32).collect();
        assert_eq!(dot(&a, &a), (0..19).map(|n| (n * n) as f32).sum::<f32>());
    }

    #[test]
    fn what_was_not_searched_for_long_goes_first() {
        let cache = VectorCache::default();
        let large = || Arc::new(Matrix { rows: vec![0.0; KEPT / 2], width: 1 });
        cache.keep("a", &large());
        cache.keep("b", &large());
        assert!(cache.get("a").is_some());
        cache.keep("c", &large());
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
    }
}
