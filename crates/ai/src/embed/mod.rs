//! Text to vectors for search by meaning: by the model in this process (`minilm.rs`, on the thread of `worker.rs`) or by a provider.
//! All vectors have length 1, so that a dot product is their cosine; vectors of different models are never comparable, so who keeps them
//! keeps `Embedder::model` beside them. Where vectors are kept and compared is not known here.

mod minilm;
mod wordpiece;
mod worker;

use std::path::Path;
use std::sync::OnceLock;

use vitascope_model::{Error, Result};

use self::minilm::MiniLm;
use self::worker::Worker;
use crate::provider::Provider;

/// Texts of one job or call. Long lists are cut, so that the one text of a search waits behind no more than these.
const AT_ONCE: usize = 32;

pub struct Embedder {
    model: String,
    /// Known from the start, or from a provider's first answer on.
    dimensions: OnceLock<usize>,
    by: By,
}

enum By {
    Local(Worker),
    Remote(Provider),
}

impl Embedder {
    /// The model in the models folder, on one thread. It is loaded by the first call of `embed`.
    pub fn local(models: &Path) -> Result<Embedder> {
        Embedder::local_on(models, 1)
    }

    /// The same on several threads.
    pub fn local_on(models: &Path, threads: usize) -> Result<Embedder> {
        if !models.join(MiniLm::FOLDER).is_dir() {
            let text = format!("no text embedding model in {}; ./run setup installs it", models.display());
            return Err(Error::unavailable(text));
        }
        let by = By::Local(Worker::start(models.to_owned(), threads)?);
        Ok(Embedder { model: MiniLm::NAME.to_owned(), dimensions: OnceLock::from(minilm::DIMENSIONS), by })
    }

    pub fn remote(provider: Provider) -> Embedder {
        Embedder { model: provider.config().model.clone(), dimensions: OnceLock::new(), by: By::Remote(provider) }
    }

    /// The name to keep beside the vectors.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How long the vectors are; a provider's are known from its first answer on.
    pub fn dimensions(&self) -> Option<usize> {
        self.dimensions.get().copied()
    }

    /// The vectors of `texts`, in order. The local model reads the first 256 tokens of a text (some 190 English words) and no more; an
    /// empty text has a vector too, which is near to nothing in particular. Dropped half way it does no further work.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter().peekable();
        while texts.peek().is_some() {
            let some: Vec<String> = texts.by_ref().take(AT_ONCE).collect();
            let made = match &self.by {
                By::Local(worker) => worker.embed(some).await?,
                By::Remote(provider) => provider.embed(&some).await?,
            };
            self.check(&made)?;
            vectors.extend(made);
        }
        Ok(vectors)
    }

    /// A provider that gives vectors of another length than before runs another model under the same name.
    fn check(&self, vectors: &[Vec<f32>]) -> Result<()> {
        let Some(first) = vectors.first() else { return Ok(()) };
        let wanted = *self.dimensions.get_or_init(|| first.len());
        match vectors.iter().find(|v| v.len() != wanted) {
            Some(other) => {
                let text =
                    format!("{} gave a vector of {} numbers where {wanted} were expected", self.model, other.len());
                Err(Error::unavailable(text))
            }
            None => Ok(()),
        }
    }
}

/// The ids that the local model reads for a text, by a `vocab.txt`; None if that is torn.
pub fn tokens(vocabulary: &str, text: &str) -> Option<Vec<i32>> {
    wordpiece::WordPiece::read(vocabulary).map(|words| words.encode(text, minilm::MOST_TOKENS))
}

/// The vector of length 1 in the same direction; None if it has none.
pub(crate) fn normalise(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    // In f64: squares of large numbers leave the range of f32.
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    Some(vector)
}
