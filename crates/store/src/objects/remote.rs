//! An S3-compatible store: whole files are put and fetched, ranges are read, by the client of `object_store` with its short retries. What
//! fails is worded here, as something that may pass: who sends tries again, who plays asks again. Long retries are the caller's.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    WriteMultipart,
};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

/// Larger files go in parts of at least so much, several at once.
const PART: u64 = 8 << 20;
const PARTS_AT_ONCE: usize = 3;
/// S3 takes 10 000.
const MOST_PARTS: u64 = 9_000;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Of one request: a part over a line of half a megabit a second.
const REQUEST_WITHIN: Duration = Duration::from_secs(150);
/// Somebody waits for it.
const READ_WITHIN: Duration = Duration::from_secs(25);
/// A file that is fetched may stand still so long.
const STALL: Duration = Duration::from_secs(60);

/// Where objects go. The keys are secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    pub bucket: String,
    /// Before each key; may be empty.
    pub prefix: String,
    /// Of a store that is not Amazon's.
    pub endpoint: Option<String>,
    pub region: String,
    pub key_id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl std::fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{} at {:?}", self.bucket, self.prefix, self.endpoint)
    }
}

pub(super) struct Remote {
    store: PrefixStore<AmazonS3>,
    bucket: String,
}

impl Remote {
    pub(super) fn open(config: &RemoteConfig) -> Result<Remote> {
        // Whoever was first has installed it.
        let _installed_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let is_plain = config.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let options = ClientOptions::new()
            .with_allow_http(is_plain)
            .with_connect_timeout(CONNECT_WITHIN)
            .with_timeout(REQUEST_WITHIN);
        let backoff =
            BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: 4, retry_timeout: REQUEST_WITHIN };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.key_id)
            .with_secret_access_key(&config.secret)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(token) = &config.token {
            builder = builder.with_token(token);
        }
        let store = builder.build().invalid("the settings of the object store")?;
        let store = PrefixStore::new(store, config.prefix.as_str());
        Ok(Remote { store, bucket: config.bucket.clone() })
    }

    /// Whether there was such a file. Returns when the store has acknowledged all of it.
    pub(super) async fn put_file(&self, key: &str, path: &Path) -> Result<bool> {
        let opened = async {
            let file = File::open(path).await?;
            let length = file.metadata().await?.len();
            Ok::<_, std::io::Error>((file, length))
        };
        let (mut file, length) = match opened.await {
            Ok(opened) => opened,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).internal(format_args!("read object {key}")),
        };
        if length > PART {
            return self.put_parts(key, file, length).await.map(|()| true);
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.read_to_end(&mut bytes).await.internal(format_args!("read object {key}"))?;
        let put = self.store.put(&Key::from(key), bytes.into()).await;
        put.map(|_| true).map_err(|error| self.unsent(key, error))
    }

    async fn put_parts(&self, key: &str, mut file: File, length: u64) -> Result<()> {
        let part = PART.max(length.div_ceil(MOST_PARTS)) as usize;
        let begun = self.store.put_multipart(&Key::from(key)).await.map_err(|error| self.unsent(key, error))?;
        let mut parts = WriteMultipart::new_with_chunk_size(begun, part);
        let mut left = length;
        while left > 0 {
            let mut block = vec![0; left.min(part as u64) as usize];
            let read = file.read_exact(&mut block).await.internal(format_args!("read object {key}"));
            let fits = match read {
                Ok(_) => parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(|error| self.unsent(key, error)),
                Err(error) => Err(error),
            };
            if let Err(error) = fits {
                // What cannot be taken back now is swept by the bucket's own rule for unfinished uploads.
                parts.abort().await.ok();
                return Err(error);
            }
            left -= block.len() as u64;
            parts.put(block.into());
        }
        parts.finish().await.map(|_| ()).map_err(|error| self.unsent(key, error))
    }

    /// An object as a file: all of it, or none.
    pub(super) async fn fetch(&self, key: &str, to: &Path) -> Result<()> {
        let beside = to.with_extension("part");
        let fetched = self.fetch_into(key, &beside).await;
        if let Err(error) = fetched {
            tokio::fs::remove_file(&beside).await.ok();
            return Err(error);
        }
        tokio::fs::rename(&beside, to).await.internal(format_args!("fetch object {key}"))
    }

    async fn fetch_into(&self, key: &str, to: &Path) -> Result<()> {
        let doing = format!("fetch object {key}");
        let found = within(STALL, self.store.get(&Key::from(key)), key).await?;
        let (length, mut blocks) = (found.meta.size, found.into_stream());
        let mut file = File::create(to).await.internal(&doing)?;
        let mut got = 0;
        while let Some(block) = within(STALL, async { blocks.next().await.transpose() }, key).await? {
            got += block.len() as u64;
            file.write_all(&block).await.internal(&doing)?;
        }
        file.sync_data().await.internal(&doing)?;
        if got == length { Ok(()) } else { Err(Error::unavailable(format!("object {key} broke off"))) }
    }

    pub(super) async fn range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes> {
        within(READ_WITHIN, self.store.get_range(&Key::from(key), offset..offset + length), key).await
    }

    /// None if it is not there.
    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>> {
        let key = Key::from(key);
        let looked = async {
            match self.store.head(&key).await {
                Ok(found) => Ok(Some(found.size)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        within(READ_WITHIN, looked, key.as_ref()).await
    }

    /// One that is not there is no error.
    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(key, error)),
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<ObjectMeta>> {
        self.store.list(None).try_collect().await.map_err(|error| failed("list", error))
    }

    /// Puts a few bytes, reads them and deletes them.
    pub(super) async fn probe(&self) -> Result<String> {
        let (key, bytes) = ("vitascope-probe", Bytes::from_static(b"vitascope"));
        let at = Key::from(key);
        let put = self.store.put(&at, bytes.clone().into());
        timeout(READ_WITHIN, put).await.map_err(|_| silent())?.map_err(|error| self.unsent(key, error))?;
        let read = self.range(key, 0, bytes.len() as u64).await?;
        self.delete(key).await?;
        if read == bytes { Ok(format!("{:?} takes, gives and deletes", self.store)) } else { Err(silent()) }
    }

    fn unsent(&self, key: &str, error: StoreError) -> Error {
        match error {
            StoreError::NotFound { .. } => {
                Error::unavailable(format!("the object store has no bucket {:?}", self.bucket)).because(error)
            }
            error => failed(key, error),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>, key: &str) -> Result<T> {
    timeout(limit, work).await.map_err(|_| silent())?.map_err(|error| failed(key, error))
}

fn silent() -> Error {
    Error::unavailable("the object store does not answer in time")
}

/// What went wrong with one object. Nothing of this is the client's fault, and most of it passes.
fn failed(key: &str, error: StoreError) -> Error {
    match error {
        StoreError::NotFound { .. } => Error::internal(format!("object {key} is missing")).because(error),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            Error::unavailable("the object store refuses our key").because(error)
        }
        error => Error::unavailable("the object store cannot be reached").because(error),
    }
}
