//! The thread that runs the local embedding model: it loads it at the first job and keeps it, works on one job after the other, and makes
//! way for everything else on the machine. A job that nobody waits for any more is not done. What a job's vectors mean is no business of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use rten::{RunOptions, ThreadPool};
use tokio::sync::oneshot;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::minilm::MiniLm;

/// How far behind recording and live speech it stands; its share of a busy processor is about a ninth of theirs.
const NICENESS: i32 = 10;

struct Job {
    texts: Vec<String>,
    reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
}

/// The thread ends with it.
pub(super) struct Worker(mpsc::Sender<Job>);

impl Worker {
    pub(super) fn start(models: PathBuf, threads: usize) -> Result<Worker> {
        let (sender, jobs) = mpsc::channel();
        std::thread::Builder::new()
            .name("embed".into())
            .spawn(move || work(&jobs, &models, threads))
            .internal("start the embedding thread")?;
        Ok(Worker(sender))
    }

    /// Dropped, it takes its job back: what runs ends with the batch it is at.
    pub(super) async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        let (reply, vectors) = oneshot::channel();
        self.0.send(Job { texts, reply }).map_err(|_| Error::internal("the embedding thread has ended"))?;
        vectors.await.internal("wait for the embedding model")?
    }
}

fn work(jobs: &mpsc::Receiver<Job>, models: &std::path::Path, threads: usize) {
    // Of this thread, and of those it starts. A machine that forbids it embeds all the same.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "embedding runs at the usual priority");
    }
    let mut loaded: Option<(MiniLm, RunOptions)> = None;
    for Job { texts, reply } in jobs {
        if reply.is_closed() {
            continue;
        }
        let job = || -> Result<Vec<Vec<f32>>> {
            if loaded.is_none() {
                let pool = Arc::new(ThreadPool::with_num_threads(threads.max(1)));
                loaded = Some((MiniLm::load(models)?, RunOptions::default().with_thread_pool(Some(pool))));
            }
            let Some((model, options)) = &loaded else { return Err(Error::internal("no embedding model was loaded")) };
            model.embed(&texts, options, || !reply.is_closed())
        };
        // A model that panics on one text must serve the next.
        let done = catch_unwind(AssertUnwindSafe(job))
            .unwrap_or_else(|_| Err(Error::internal("the embedding model panicked")));
        // Whoever asked may have gone.
        drop(reply.send(done));
    }
}
