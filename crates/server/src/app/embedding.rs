//! Who makes vectors of texts: the provider that is configured, else the local model as soon as it is installed. Nothing is embedded here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use vitascope_ai::embed::Embedder;
use vitascope_ai::provider::Provider;
use vitascope_model::Result;

use crate::config::Config;

pub struct Embedding {
    models: PathBuf,
    threads: usize,
    found: Mutex<Option<Arc<Embedder>>>,
}

impl Embedding {
    pub fn new(config: &Config) -> Result<Embedding> {
        let remote = config.embed.clone().map(Provider::new).transpose()?.map(Embedder::remote).map(Arc::new);
        Ok(Embedding { models: config.models_dir.clone(), threads: config.embed_threads, found: Mutex::new(remote) })
    }

    /// The one that makes vectors, or what is missing for it. A model that is installed while the server runs is found.
    pub fn get(&self) -> Result<Arc<Embedder>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match &*found {
            Some(embedder) => Ok(embedder.clone()),
            None => {
                let local = Arc::new(Embedder::local_on(&self.models, self.threads)?);
                Ok(found.insert(local).clone())
            }
        }
    }

    /// Says in the log who it is, or what is missing.
    pub fn announce(&self) {
        match self.get() {
            Ok(embedder) => tracing::info!(model = embedder.model(), "texts are embedded"),
            Err(error) => tracing::warn!(%error, "no text is embedded"),
        }
    }
}
