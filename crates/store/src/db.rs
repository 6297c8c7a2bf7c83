//! The database itself: one writer (`writer.rs`), a few readers, and the migrations.
//! SQLite in WAL mode with `synchronous=FULL`: what was acknowledged survives a power cut.
//! SQL keeps to the subset that PostgreSQL reads as well (`$1` placeholders, `returning`, `on conflict`).

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlSafeStr, SqliteConnection, SqlitePool};
use vitascope_model::account::{self, Scope};
use vitascope_model::capture;
use vitascope_model::error::Context;
use vitascope_model::id::{CaptureSessionId, RtStreamId, TrackId, VideoId};
use vitascope_model::rtstream;
use vitascope_model::stream;
use vitascope_model::{Error, Result};

use crate::kept::{Changes, Kept, Table};
use crate::track::Extent;
use crate::vectors::VectorCache;
use crate::writer::{Writer, Written};

/// Forward only; a released file is never edited. The number is the file's.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "init", include_str!("../migrations/sqlite/0001_init.sql")),
    (2, "assets_and_deletion", include_str!("../migrations/sqlite/0002_assets_and_deletion.sql")),
    (3, "rtstream_core", include_str!("../migrations/sqlite/0003_rtstream_core.sql")),
    (4, "event", include_str!("../migrations/sqlite/0004_event.sql")),
    (6, "retention", include_str!("../migrations/sqlite/0006_retention.sql")),
    (8, "scopes", include_str!("../migrations/sqlite/0008_scopes.sql")),
    (10, "live_index", include_str!("../migrations/sqlite/0010_live_index.sql")),
    (12, "library", include_str!("../migrations/sqlite/0012_library.sql")),
    (15, "upload", include_str!("../migrations/sqlite/0015_upload.sql")),
    (16, "assets", include_str!("../migrations/sqlite/0016_assets.sql")),
    (19, "tus", include_str!("../migrations/sqlite/0019_tus.sql")),
    (20, "ingest", include_str!("../migrations/sqlite/0020_ingest.sql")),
    (25, "recipe", include_str!("../migrations/sqlite/0025_recipe.sql")),
    (27, "stream_span", include_str!("../migrations/sqlite/0027_stream_span.sql")),
    (29, "usage", include_str!("../migrations/sqlite/0029_usage.sql")),
    (30, "takeout", include_str!("../migrations/sqlite/0030_takeout.sql")),
    (32, "thumbnails", include_str!("../migrations/sqlite/0032_thumbnails.sql")),
    (33, "dropped_storage", include_str!("../migrations/sqlite/0033_dropped_storage.sql")),
    (36, "image_content", include_str!("../migrations/sqlite/0036_image_content.sql")),
    (37, "asset_transcript", include_str!("../migrations/sqlite/0037_asset_transcript.sql")),
    (40, "media_index", include_str!("../migrations/sqlite/0040_media_index.sql")),
];

/// The open transaction, handed to every function that writes.
pub type Tx = SqliteConnection;

/// What a write does inside its transaction. It owns what it needs, and awaits only SQL.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// Readers beside the writer. WAL readers never wait for it; more than the cores gain nothing.
const READERS: u32 = 4;

/// Pages that each connection keeps, in KiB (negative, as SQLite wants it). The system's own cache holds the rest: with SQLite's 2 MB a
/// server grew for hours until five connections had filled theirs.
const PAGE_CACHE: &str = "-256";

#[derive(Clone)]
pub struct Store {
    writer: Writer,
    pub(crate) readers: SqlitePool,
    pub(crate) shelves: Arc<Shelves>,
    pub(crate) vectors: Arc<VectorCache>,
}

/// What every request reads, kept as long as it is true.
pub(crate) struct Shelves {
    pub(crate) keys: Kept<String, Option<account::ApiKey>>,
    pub(crate) tokens: Kept<String, Option<account::ClientToken>>,
    pub(crate) sessions: Kept<CaptureSessionId, Option<capture::CaptureSession>>,
    pub(crate) session_rtstreams: Kept<CaptureSessionId, Vec<rtstream::RtStream>>,
    pub(crate) videos: Kept<VideoId, Option<stream::Video>>,
    pub(crate) rtstream_tracks: Kept<RtStreamId, Option<rtstream::Track>>,
    pub(crate) extents: Kept<TrackId, Option<Extent>>,
    pub(crate) streams: Kept<String, Option<stream::Stream>>,
}

impl Shelves {
    fn new(changes: &Arc<Changes>) -> Shelves {
        use Table::*;
        Shelves {
            keys: Kept::new(&[ApiKey, ApiKeyCollection], changes),
            tokens: Kept::new(&[ClientToken, ApiKey, ApiKeyCollection], changes),
            sessions: Kept::new(&[CaptureSession, CaptureChannel], changes),
            session_rtstreams: Kept::new(&[RtStream, CaptureChannel], changes),
            videos: Kept::new(&[Video, VideoPart, Image], changes),
            rtstream_tracks: Kept::new(&[Track], changes),
            extents: Kept::new(&[Chunk], changes),
            streams: Kept::new(&[Stream, StreamSpan, RtStream, Video, Audio], changes),
        }
    }
}

/// How the writer's connection is made: the first one, and one that takes the place of another that failed.
pub(crate) struct Opener {
    options: SqliteConnectOptions,
    pub(crate) changes: Arc<Changes>,
}

impl Opener {
    pub(crate) async fn open(&self) -> Result<SqliteConnection> {
        let mut connection = SqliteConnection::connect_with(&self.options).await.or_broken()?;
        let watching = self.changes.clone();
        connection.lock_handle().await.or_broken()?.set_update_hook(move |change| watching.touch(change.table));
        Ok(connection)
    }
}

impl Store {
    /// Opens (or makes) the database file and brings its schema up to date.
    pub async fn open(file: &Path) -> Result<Store> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", PAGE_CACHE)
            .busy_timeout(Duration::from_secs(10));
        let doing = format!("open the database {}", file.display());
        let changes = Arc::new(Changes::default());
        let opener = Opener { options: options.clone(), changes: changes.clone() };
        let mut writer = opener.open().await.internal(&doing)?;
        migrator().run_direct(None, &mut writer, false).await.internal("migrate the database")?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options.read_only(true));
        let shelves = Arc::new(Shelves::new(&changes));
        Ok(Store { writer: Writer::start(writer, opener), readers, shelves, vectors: Arc::default() })
    }

    /// Runs `work` as one: all of it is durable when this returns, or none of it happened. Writes that wait together share a commit.
    /// It is done even if the caller no longer waits.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        self.writer.write(work).await
    }

    /// How many writes there were, and how few commits they needed.
    pub fn written(&self) -> &Written {
        &self.writer.written
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.readers).await.or_broken()?;
        Ok(())
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A database error is ours, whatever it is: what clients may get wrong is checked before.
pub(crate) trait OrBroken<T> {
    fn or_broken(self) -> Result<T>;
}

impl<T> OrBroken<T> for std::result::Result<T, sqlx::Error> {
    fn or_broken(self) -> Result<T> {
        self.map_err(|e| Error::internal("the database failed").because(e))
    }
}

/// A value in a row that this program did not write.
pub(crate) fn unreadable(what: &str, value: &str) -> Error {
    Error::internal(format!("the database holds an unreadable {what}: {value:?}"))
}

/// The collections of a bound scope as one text, for `($n is null or instr($n, ' ' || collection_id || ' ') > 0)`.
pub(crate) fn bound_to(scope: &Scope) -> Option<String> {
    let bound = scope.collections()?.iter().map(|id| format!("{id} "));
    Some(format!(" {}", bound.collect::<String>()))
}

fn migrator() -> Migrator {
    let numbered = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(numbered.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitascope_model::account::Scope;
    use vitascope_model::id::{ApiKeyId, CollectionId, RtStreamId, TrackId, UserId};
    use vitascope_model::stream::Piece;
    use vitascope_model::{Span, TimeRange, WallTime};

    const NOW: WallTime = WallTime(1_700_000_000_000_000);

    /// The file as the first release left it, with a row in every table.
    async fn first_release(file: &Path, user: &UserId, collection: &CollectionId) {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true).foreign_keys(true);
        let mut db = SqliteConnection::connect_with(&options).await.unwrap();
        let (version, name, sql) = MIGRATIONS[0];
        let first = Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false);
        Migrator::with_migrations(vec![first]).run_direct(None, &mut db, false).await.unwrap();
        let key = ApiKeyId::mint(NOW, [0; 10]);
        let rows = format!(
            "insert into user_account values ('{user}', 'owner', 1);
            insert into api_key values ('{key}', '{user}', 'hash', 'sk-', 1, null);
            insert into setting values ('stream_secret', 'secret');
            insert into collection values ('{collection}', '{user}', 'name', 'words', false, true, 1);
            insert into client_token values ('token', '{user}', 'someone', 1, 9000000000000000000);
            insert into capture_session values ('{session}', '{user}', '{collection}', 'someone', null, 'exported', null, null,
                '{{}}', null, '{video}', null, null, 1, 2);
            insert into rtstream values ('{rtstream}', '{user}', '{collection}', '{session}', 'display:1', 'screen', 'video',
                'stopped', true, null, null, null, null, 1);
            insert into capture_channel values ('{session}', 0, 'display:1', 'Screen', 'video', true, true, '{rtstream}', 'path');
            insert into track values ('{track}', '{user}', '{rtstream}', '{session}', 'source', 'video', false);
            insert into chunk values ('{track}', 100, 200, 5, 1, 'tracks/a/100.dat', x'00');
            insert into chunk values ('{track}', 200, 300, 7, 1, 'tracks/a/200.dat', x'00');
            insert into video values ('{video}', '{user}', '{collection}', 'video', 200, 12, 'stream', 3);
            insert into video_part values ('{video}', 0, '{track}', 100, 300);
            insert into stream values ('stream', '{user}', null, null, null, '{video}', 'title', 3);
            insert into transcript_record values ('{rtstream}', 100, 200, 'words', '', 0.5);
            insert into job values ('job', '{user}', 'export_session', '{session}', null, 'done', 1, 100, '{{}}', null, 1, null, 1, 2);
            insert into outbox values (1, 'evt', '{user}', '{session}', 'exported', 1, null, null, null, 1, 1, 1, 1, null);",
            session = session(),
            rtstream = rtstream(),
            track = track(),
            video = video(),
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    }

    fn session() -> CaptureSessionId {
        CaptureSessionId::mint(NOW, [1; 10])
    }

    fn rtstream() -> RtStreamId {
        RtStreamId::mint(NOW, [2; 10])
    }

    fn track() -> TrackId {
        TrackId::mint(NOW, [3; 10])
    }

    fn video() -> VideoId {
        VideoId::mint(NOW, [4; 10])
    }

    #[tokio::test]
    async fn what_the_first_release_stored_is_read_after_all_later_migrations() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vitascope.db");
        let (user, collection) = (UserId::mint(NOW, [5; 10]), CollectionId::mint(NOW, [6; 10]));
        first_release(&file, &user, &collection).await;
        let store = Store::open(&file).await.unwrap();
        let scope = Scope::whole(user.clone());
        assert!(store.find_api_key("hash").await.unwrap().unwrap().scope.is_whole());
        assert!(store.find_token("token").await.unwrap().is_some());
        let found = store.get_collection(&scope, &collection).await.unwrap();
        assert_eq!((found.name.as_str(), found.is_default, found.retention), ("name", true, Default::default()));
        let found = store.get_session(&scope, &session()).await.unwrap();
        assert_eq!((found.state, found.channels.len(), found.keep), (capture::SessionState::Exported, 1, false));
        assert_eq!(found.exported, Some(stream::AssetId::Video(video())));
        let found = store.get_rtstream(&scope, &rtstream()).await.unwrap();
        assert_eq!((found.name.as_str(), found.sample_rate, found.keep), ("display:1", rtstream::SAMPLE_RATE, false));
        let found = store.find_rtstream_track(&rtstream()).await.unwrap().unwrap();
        assert_eq!((found.id, found.collection_id, found.kept_from), (track(), collection.clone(), None));
        let all = TimeRange::new(WallTime(0), NOW).unwrap();
        let chunks = store.list_chunks(&track(), all).await.unwrap();
        assert_eq!(chunks.iter().map(|c| c.bytes).collect::<Vec<_>>(), [5, 7]);
        let found = store.get_video(&scope, &video()).await.unwrap();
        assert_eq!((found.parts.len(), found.length, found.keep), (1, Span(200), false));
        let found = store.find_stream("stream").await.unwrap().unwrap();
        assert_eq!(
            (found.piece, found.title.as_deref(), found.is_gone),
            (Piece::Video { id: video() }, Some("title"), false)
        );
        assert_eq!(store.last_transcript_end(&rtstream()).await.unwrap(), Some(WallTime(200)));
        assert_eq!(store.list_shelves().await.unwrap().iter().map(|s| s.bytes).collect::<Vec<_>>(), [12]);
        // A second start finds nothing to do.
        store.close().await;
        Store::open(&file).await.unwrap().close().await;
    }
}
