//! The one writer: a task that owns the only connection that may write, and lets writes which wait together share one commit.
//! A lone write waits for nobody; while one commit reaches the disk the next writes gather, and those who were answered together
//! are given a moment to come back together, or every other commit would hold a single write.
//! Each write has a savepoint of its own: one that fails or panics undoes itself, not its neighbours. What a write does is not known here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use vitascope_model::{Error, Result};

use crate::db::{Opener, OrBroken, Tx, Work};

/// At most so many writes share a commit, so that none waits long for the others' statements.
const MOST: usize = 64;
/// How long those who shared the last commit may take to come again.
const GATHER: Duration = Duration::from_millis(1);

/// Orders to the task.
enum Order {
    Write(Box<dyn Piece>),
    Close(oneshot::Sender<()>),
}

/// One write among others of which nothing is known but this.
trait Piece: Send {
    /// Whether the work went well; its result is kept.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 't>>;

    /// Tells the caller how it ended, now that the commit is on the disk or has failed.
    fn finish(self: Box<Self>, commit: &Result<()>);
}

struct Write<T, F> {
    work: Option<F>,
    done: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T: Send, F> Piece for Write<T, F>
where
    F: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 't>> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let done = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
            let done = done.unwrap_or_else(|_| Err(Error::internal("a write to the database panicked")));
            self.done.insert(done).is_ok()
        })
    }

    fn finish(self: Box<Self>, commit: &Result<()>) {
        let done = self.done.unwrap_or_else(|| Err(Error::internal("the database failed")));
        let told = match commit {
            // The cause is in the log once; each caller learns that its write did not happen.
            Err(_) if done.is_ok() => Err(Error::internal("the database failed")),
            _ => done,
        };
        // Whoever asked may be gone; what was written stays written.
        self.caller.send(told).ok();
    }
}

/// How much was written since the start.
#[derive(Debug, Default)]
pub struct Written {
    pub writes: AtomicU64,
    pub commits: AtomicU64,
}

/// The way to the task.
#[derive(Clone)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
    pub(crate) written: Arc<Written>,
}

impl Writer {
    pub(crate) fn start(connection: SqliteConnection, opener: Opener) -> Writer {
        let (orders, inbox) = mpsc::channel(MOST);
        let written = Arc::new(Written::default());
        tokio::spawn(write_all(connection, inbox, written.clone(), opener));
        Writer { orders, written }
    }

    /// Returns when the write is durable, or did not happen.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let order = Order::Write(Box::new(Write { work: Some(work), done: None, caller }));
        self.orders.send(order).await.map_err(|_| Error::internal("the database is closed"))?;
        answer.await.unwrap_or_else(|_| Err(Error::internal("the database is closed")))
    }

    /// Finishes what was ordered before and closes the connection.
    pub(crate) async fn close(&self) {
        let (caller, closed) = oneshot::channel();
        if self.orders.send(Order::Close(caller)).await.is_ok() {
            // An error means that it is closed already.
            closed.await.ok();
        }
    }
}

async fn write_all(
    mut connection: SqliteConnection,
    mut inbox: mpsc::Receiver<Order>,
    written: Arc<Written>,
    opener: Opener,
) {
    let (mut orders, mut closing, mut shared) = (Vec::with_capacity(MOST), None, 1);
    while closing.is_none() && gather(&mut inbox, &mut orders, shared).await {
        shared = orders.len();
        let mut batch = Vec::with_capacity(shared);
        for order in orders.drain(..) {
            match order {
                Order::Write(piece) => batch.push(piece),
                Order::Close(caller) => closing = Some(caller),
            }
        }
        let commit = commit(&mut connection, &mut batch).await;
        // Before the callers hear of it, so that they read what they wrote.
        opener.changes.publish();
        if let Err(error) = &commit {
            tracing::error!(%error, writes = batch.len(), "a commit failed");
            renew(&mut connection, &opener).await;
        }
        written.commits.fetch_add(1, Ordering::Relaxed);
        written.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch.into_iter().for_each(|piece| piece.finish(&commit));
    }
    inbox.close();
    if let Err(error) = connection.close().await {
        tracing::error!(%error, "the database was not closed in order");
    }
    if let Some(caller) = closing {
        caller.send(()).ok();
    }
}

/// After a full disk, say, SQLite has rolled back by itself, and the library believes the transaction open for ever.
async fn renew(connection: &mut SqliteConnection, opener: &Opener) {
    match opener.open().await {
        Ok(fresh) => {
            let broken = std::mem::replace(connection, fresh);
            if let Err(error) = broken.close().await {
                tracing::warn!(%error, "a broken connection to the database was not closed in order");
            }
        }
        // The next commit fails as well, and comes here again.
        Err(error) => tracing::error!(%error, "the database could not be opened again"),
    }
}

/// The next orders: at least one, and for a moment as many as the last commit held. False when there will be none.
async fn gather(inbox: &mut mpsc::Receiver<Order>, orders: &mut Vec<Order>, shared: usize) -> bool {
    if inbox.recv_many(orders, MOST).await == 0 {
        return false;
    }
    let rest = async { while orders.len() < shared && inbox.recv_many(orders, shared - orders.len()).await > 0 {} };
    // Whoever did not come in time is in the next one.
    tokio::time::timeout(GATHER, rest).await.ok();
    true
}

/// Runs the writes in one transaction, each in a savepoint. The statements between two writes go to SQLite as one,
/// since every call crosses to its thread and back, which costs more than the statements do.
async fn commit(connection: &mut SqliteConnection, batch: &mut [Box<dyn Piece>]) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin_with("begin immediate; savepoint piece").await.or_broken()?;
    let last = batch.len() - 1;
    for (n, piece) in batch.iter_mut().enumerate() {
        let went_well = piece.run(&mut transaction).await;
        // The savepoint outlives a rollback to it, and the commit releases the last one.
        let between = match went_well {
            true if n == last => continue,
            true => "release piece; savepoint piece",
            false => "rollback to piece",
        };
        sqlx::query(between).execute(&mut *transaction).await.or_broken()?;
    }
    transaction.commit().await.or_broken()
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::Store;

    async fn store(folder: &tempfile::TempDir) -> Store {
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        let made = store.write(|tx| {
            Box::pin(async move {
                sqlx::query("create table note (n integer primary key)").execute(tx).await.or_broken()?;
                Ok(())
            })
        });
        made.await.unwrap();
        store
    }

    async fn note(store: &Store, n: i64, end: fn() -> Result<()>) -> Result<()> {
        let write = store.write(move |tx| {
            Box::pin(async move {
                sqlx::query("insert into note values ($1)").bind(n).execute(tx).await.or_broken()?;
                end()
            })
        });
        write.await
    }

    async fn notes(store: &Store) -> Vec<i64> {
        let rows = sqlx::query("select n from note order by n").fetch_all(&store.readers).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[tokio::test]
    async fn a_write_that_fails_or_panics_leaves_its_neighbours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let ends: [fn() -> Result<()>; 4] =
            [|| Ok(()), || Err(Error::invalid("no")), || panic!("on purpose"), || Ok(())];
        // Ordered together, so that they share commits.
        let all = (0..40).map(|n| note(&store, n, ends[n as usize % 4]));
        let done = futures_util::future::join_all(all).await;
        for (n, done) in done.iter().enumerate() {
            assert_eq!(done.is_ok(), n % 4 == 0 || n % 4 == 3, "{n}: {done:?}");
        }
        assert_eq!(notes(&store).await, (0..40).filter(|n| n % 4 == 0 || n % 4 == 3).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn writers_that_wait_together_share_commits_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let before = store.written().commits.load(Ordering::Relaxed);
        let writers = (0..16).map(|writer| {
            let store = &store;
            async move {
                for n in 0..50 {
                    note(store, writer * 1000 + n, || Ok(())).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(writers).await;
        let commits = store.written().commits.load(Ordering::Relaxed) - before;
        assert!(commits <= 16 * 50 / 8, "{commits} commits for {} writes", 16 * 50);
        assert_eq!(notes(&store).await.len(), 16 * 50);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_the_writer_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        for n in 0..20 {
            drop(tokio::time::timeout(std::time::Duration::ZERO, note(&store, n, || Ok(()))).await);
        }
        note(&store, 100, || Ok(())).await.unwrap();
        assert!(notes(&store).await.contains(&100));
    }

    #[tokio::test]
    async fn what_was_ordered_before_the_end_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let writes = futures_util::future::join_all((0..100).map(|n| note(&store, n, || Ok(()))));
        let (done, ()) = tokio::join!(writes, async {
            tokio::task::yield_now().await;
            store.close().await;
        });
        let answered = done.iter().filter(|done| done.is_ok()).count();
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        assert_eq!(notes(&store).await.len(), answered);
        assert!(answered > 0);
    }

    #[tokio::test]
    async fn after_a_full_disk_writes_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        note(&store, 1, || Ok(())).await.unwrap();
        // The database may not grow: as on a full disk, SQLite rolls the whole transaction back by itself.
        let limit = |pages: &'static str| {
            store.write(move |tx| Box::pin(async move { sqlx::query(pages).execute(tx).await.or_broken().map(|_| ()) }))
        };
        limit("pragma max_page_count = 1").await.unwrap();
        let large = store.write(|tx| {
            Box::pin(async move {
                let sql = "create table large as select zeroblob(1000000) as data";
                sqlx::query(sql).execute(tx).await.or_broken().map(|_| ())
            })
        });
        assert!(large.await.is_err());
        // The new connection has no such limit.
        note(&store, 2, || Ok(())).await.unwrap();
        store.close().await;
    }
}
