//! The use cases: every write of the server. They take nouns, open the transaction, and put a change, its job and its event into one commit.
//! Nothing here knows a request or a response; `http`, `rtsp`, `live`, `jobs` and `events` call it.

pub mod account;
pub mod asset;
pub mod captions;
pub mod capture;
pub mod check;
pub mod collection;
pub mod connection;
pub mod deletion;
pub mod download;
pub mod embedding;
pub mod encode;
pub mod expiry;
pub mod export;
pub mod gather;
pub mod generate;
pub mod image;
pub mod ingest;
pub mod live_edge;
pub mod live_index;
pub mod pieces;
pub mod playback;
pub mod preview;
mod progress;
pub mod recording;
pub mod retention;
pub mod rtstream;
pub mod search;
mod site;
pub mod source;
pub mod space;
pub mod spans;
pub mod speech;
pub mod spoken_index;
pub mod stream;
pub mod takeout;
pub mod thumbnail;
pub mod transcode;
pub mod transcript;
pub mod tus;
pub mod upkeep;
pub mod upload;
pub mod usage;
pub mod webhook;

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vitascope_ai::provider::Provider;
use vitascope_model::error::Context;
use vitascope_model::{Clock, Result, WallTime};
use vitascope_store::{Objects, Store};

use crate::config::Config;
use crate::events::Sockets;
use crate::jobs::Bells;
use crate::live::indexing::LiveIndexes;
use crate::live::ingest::Ingest;
use crate::live::session::Sessions;
use crate::live::transcribe::Transcriber;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::random;

/// Everything a request or a task may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub store: Store,
    pub objects: Objects,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
    pub tracker: TaskTracker,
    pub shutdown: CancellationToken,
    pub ingest: Arc<Ingest>,
    pub sessions: Arc<Sessions>,
    pub sockets: Arc<Sockets>,
    pub transcriber: Arc<Transcriber>,
    pub live_indexes: Arc<LiveIndexes>,
    /// The language model, if there is one.
    pub completer: Option<Arc<Provider>>,
    pub embedding: Arc<embedding::Embedding>,
    pub outbound: Arc<Outbound>,
    pub metrics: Arc<Metrics>,
    pub usage: Arc<usage::Usage>,
    pub plans: Arc<playback::PlanCache>,
    /// Pictures of streams that were asked for last.
    pub previews: Arc<preview::Previews>,
    /// What is being encoded.
    pub encoding: Arc<encode::Encoding>,
    /// Turns of those who decode single pictures.
    pub frames: Arc<Semaphore>,
    pub pieces: Arc<pieces::Pieces>,
    pub space: Arc<space::Space>,
    pub arrivals: Arc<tus::Arrivals>,
    /// Held by who looks whether a transcript or an index is being made, and orders it if not: two who ask at once get one.
    pub orders: Arc<tokio::sync::Mutex<()>>,
    /// Rung after a commit that left something in the outbox, or a job.
    pub outbox_bell: Arc<Notify>,
    pub webhook_bell: Arc<Notify>,
    pub job_bells: Arc<Bells>,
    /// Rung to look now at what is looked at each minute.
    pub upkeep_bell: Arc<Notify>,
    /// Rung when something was deleted.
    pub sweep_bell: Arc<Notify>,
    /// Rung for all who wait when a job has ended.
    pub job_done: Arc<Notify>,
    /// Rung when a key or token may have lost what it had opened.
    pub pass_bell: Arc<Notify>,
    /// The key with which stream ids are made.
    stream_secret: Arc<str>,
}

/// Where the settings say that objects lie.
pub fn open_objects(config: &Config) -> Result<Objects> {
    let root = config.data_dir.join("objects");
    match &config.objects.remote {
        Some(remote) => Objects::remote(&root, remote),
        None => Objects::local(&root),
    }
}

impl App {
    /// Opens the data folder. Nothing listens and nothing runs yet.
    pub async fn open(config: Config, clock: Arc<dyn Clock>) -> Result<App> {
        std::fs::create_dir_all(&config.data_dir).internal(format_args!("make {}", config.data_dir.display()))?;
        let store = Store::open(&config.data_dir.join("vitascope.db")).await?;
        let objects = open_objects(&config)?;
        let fresh = random::secret_name();
        let secret = store
            .write(move |tx| {
                Box::pin(async move { vitascope_store::setting::get_or_insert(tx, "stream_secret", &fresh).await })
            })
            .await?;
        let outbound = Arc::new(Outbound::new(&config)?);
        let completer = config.complete.clone().map(Provider::new).transpose()?.map(Arc::new);
        let embedding = Arc::new(embedding::Embedding::new(&config)?);
        Ok(App {
            store,
            objects,
            clock,
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            ingest: Arc::new(Ingest::default()),
            sessions: Arc::default(),
            sockets: Arc::default(),
            transcriber: Arc::new(Transcriber::new(&config)),
            live_indexes: Arc::default(),
            completer,
            embedding,
            outbound,
            metrics: Arc::default(),
            usage: Arc::default(),
            plans: Arc::default(),
            previews: Arc::default(),
            encoding: Arc::default(),
            frames: Arc::new(Semaphore::new(thumbnail::AT_ONCE)),
            pieces: Arc::new(pieces::Pieces::open(config.data_dir.join("cache/pieces"))?),
            arrivals: Arc::default(),
            space: Arc::new(space::Space::of(&config.data_dir, config.min_free)?),
            orders: Arc::default(),
            outbox_bell: Arc::default(),
            webhook_bell: Arc::default(),
            job_bells: Arc::default(),
            upkeep_bell: Arc::default(),
            sweep_bell: Arc::default(),
            job_done: Arc::default(),
            pass_bell: Arc::default(),
            stream_secret: secret.into(),
            config: Arc::new(config),
        })
    }

    pub fn now(&self) -> WallTime {
        self.clock.now()
    }

    /// A task that shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }
}

/// Mints an id of the wanted kind.
macro_rules! mint {
    ($app:expr, $id:ty) => {
        <$id>::mint($app.now(), $crate::random::bytes())
    };
}
pub(crate) use mint;
