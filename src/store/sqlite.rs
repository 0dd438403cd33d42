//! The store on one node: SQLite in WAL mode, one thread that writes, a few that read.
//!
//! # Durability
//! [`Durability::Behind`] returns when the write is queued; it is committed within 50 ms and survives a killed process
//! from then on, a power cut from the next synced group on. [`Durability::Through`], purges and flushes return when
//! their commit is synced to the disk, and share that sync with whatever waits beside them. A hard purge also empties
//! the log file before it returns, so that the text is in neither file (`secure_delete` overwrites it in the database);
//! while a reader is in the way of that, it is repeated in the background.
//!
//! # Files
//! `semblance.sqlite3` with `-wal` and `-shm`, and `semblance.lock`, which one process holds. Errors on opening say what
//! to do. After an error while writing (a full disk) later writes work as soon as the cause is gone.

mod bans;
pub mod doctor;
mod meaning;
mod queue;
mod read;
mod readers;
mod schema;
mod sealing;
mod selection;
mod sources;
pub mod traffic;
mod transfer;
mod verdicts;
mod write;
mod writer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::{
    queue::{Bounds, Queue, Queued, Urgency},
    readers::Readers,
    writer::{Job, Task, Writer},
};
use crate::{
    clock::{Clock, Timestamp},
    entry::{Entry, EntryId},
    key::Fingerprint,
    similarity::Embedding,
    store::{
        Browse, Browsed, Durability, EntrySummary, Expired, Found, Hardness, Page, Selector, Store, StoreError,
        StoreStats, StoredVector, Unembedded, Upkeep, codec,
        encryption::EncryptionKey,
        vault::{self, Vault},
    },
};

/// Bounds and sources of a [`SqliteStore`].
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Dates admissions and purges.
    pub clock: Clock,
    /// Writes that may wait; more are refused with [`StoreError::Full`].
    pub queue_items: usize,
    /// Bytes of the entries that may wait.
    pub queue_bytes: usize,
    /// Writes in one commit at most.
    pub batch: usize,
    /// How long writes that nobody waits for gather before their commit.
    pub gather: Duration,
    /// Threads that read.
    pub readers: usize,
    /// The database file never grows beyond this; writes then fail with [`StoreError::NoSpace`].
    pub max_file_bytes: Option<u64>,
    /// Seals questions, answers and vectors; a file that was made without a key, or with another, is refused.
    pub encryption: Option<EncryptionKey>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            queue_items: 4096,
            queue_bytes: 64 << 20,
            batch: 512,
            gather: Duration::from_millis(25),
            readers: 2,
            max_file_bytes: None,
            encryption: None,
        }
    }
}

/// Ids left out after an unclean end: more than can have been given away without being stored.
const ID_GAP: u64 = 1 << 16;
/// A page is 8 KiB; see the schema.
const PAGE_BYTES: u64 = 8192;
/// With nothing to write for this long, housekeeping does one step.
const IDLE: Duration = Duration::from_millis(250);
/// What a small write counts in the queue.
const SMALL: usize = 128;

/// [`Store`] and [`Upkeep`] over one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    clock: Clock,
    vault: Vault,
    next_id: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    queue: Arc<Queue<Box<dyn Job>>>,
    readers: Readers,
    writer: Mutex<Option<WriterThread>>,
    lock: Mutex<Option<File>>,
}

#[derive(Debug)]
struct WriterThread {
    ended: oneshot::Receiver<Result<(), StoreError>>,
    thread: JoinHandle<()>,
}

impl SqliteStore {
    /// Opens the store in `dir`, making it when it is missing. Blocks; call it before serving.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Locked`], [`StoreError::TooNew`], [`StoreError::NotADatabase`],
    /// [`StoreError::KeyMissing`], [`StoreError::WrongKey`] and [`StoreError::KeyNotWanted`], each of which says what to do, and whatever the database says beyond that.
    pub fn open(dir: &Path, settings: StoreSettings) -> Result<Self, StoreError> {
        let StoreSettings { clock, queue_items, queue_bytes, batch, gather, readers, max_file_bytes, encryption } =
            settings;
        schema::make_directory(dir)?;
        let lock = schema::lock(dir)?;
        let (conn, vault) = schema::open_writer(dir, encryption.as_ref())?;
        if let Some(bytes) = max_file_bytes {
            let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX).max(1);
            conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        }
        conn.execute_batch("PRAGMA synchronous = FULL")?;
        let next_id = Arc::new(AtomicU64::new(write::take_next_id(&conn, ID_GAP)?));
        let path = schema::database_path(dir);
        let readers = Readers::start(&path, readers)?;
        let bounds = Bounds { items: queue_items, bytes: queue_bytes, batch: batch.max(1), gather, idle: IDLE };
        let queue = Arc::new(Queue::new(bounds));
        let writer = Writer {
            conn,
            queue: Arc::clone(&queue),
            next_id: Arc::clone(&next_id),
            synced: true,
            // Text purged just before a crash may still be in the log file.
            scrub_owed: true,
        };
        let (ending, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(move || writer.run(ending)).map_err(StoreError::Thread)?;
        Ok(Self {
            path,
            clock,
            vault,
            next_id,
            failed: Arc::default(),
            queue,
            readers,
            writer: Mutex::new(Some(WriterThread { ended, thread })),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Writes what is queued, empties the log file and gives the directory free. Later calls are refused with
    /// [`StoreError::Closed`]. Dropping the store does the same, and blocks while it does.
    ///
    /// # Errors
    /// What the database said while it was left clean; all that was acknowledged is safe even so.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        self.queue.close();
        let Some(WriterThread { ended, thread }) = take(&self.writer) else { return Ok(()) };
        let outcome = ended.await.unwrap_or(Err(StoreError::Closed));
        // It has sent its last word; the join only waits for the thread to unwind.
        let _ = thread.join();
        drop(take(&self.lock));
        outcome
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes that wait for their commit.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Writes that failed since the store was opened, those nobody waited for included.
    pub fn failed_writes(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn submit<T, F>(&self, urgency: Urgency, bytes: usize, run: F) -> Result<Reply<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let reply = urgency.waits().then_some(reply);
        let item: Box<dyn Job> = Box::new(Task::new(run, reply, Arc::clone(&self.failed)));
        self.queue.push(Queued { item, urgency, bytes })?;
        Ok(answer)
    }

    /// Submits now; the future only waits.
    fn write<T, F>(&self, urgency: Urgency, bytes: usize, run: F) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        match self.submit(urgency, bytes, run) {
            Ok(answer) => async { answer.await.unwrap_or(Err(StoreError::Closed)) }.boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn behind<F>(&self, bytes: usize, run: F) -> Result<(), StoreError>
    where
        F: Fn(&Connection) -> Result<(), StoreError> + Send + 'static,
    {
        self.submit(Urgency::Behind, bytes, run).map(drop)
    }

    fn read<T, F>(&self, read: F) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let answer = self.readers.run(read);
        async {
            let answer = answer.await;
            if let Err(StoreError::Damaged { id, what }) = answer {
                tracing::error!(entry = %id, what, "a damaged entry is removed");
                self.behind(SMALL, move |conn| write::remove(conn, id))?;
            }
            answer
        }
        .boxed()
    }
}

type Reply<T> = oneshot::Receiver<Result<T, StoreError>>;

fn take<T>(cell: &Mutex<Option<T>>) -> Option<T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.close();
        self.queue.close();
        if let Some(writer) = take(&self.writer) {
            // The lock is given free only after the last write: fields are dropped after this.
            let _ = writer.thread.join();
        }
    }
}

impl Store for SqliteStore {
    fn next_id(&self, _: Fingerprint) -> EntryId {
        EntryId(self.next_id.fetch_add(1, Ordering::SeqCst))
    }

    fn admit(&self, entry: Entry, durability: Durability) -> BoxFuture<'_, Result<(), StoreError>> {
        let (bytes, now, vault) = (entry.weight(), self.clock.now(), self.vault.clone());
        let run = move |conn: &Connection| write::admit(conn, &vault, &entry, now);
        match durability {
            Durability::Behind => ready(self.behind(bytes, run)).boxed(),
            Durability::Through => self.write(Urgency::Through, bytes, run),
        }
    }

    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        self.behind(SMALL, move |conn| write::alias(conn, &alias, entry))
    }

    fn find(&self, fingerprint: Fingerprint) -> BoxFuture<'_, Result<Option<Found>, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| read::find(conn, &vault, &fingerprint))
    }

    fn get(&self, id: EntryId) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| read::get(conn, &vault, id))
    }

    fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        let vault = self.vault.clone();
        if dry_run {
            // By the writer all the same, so that it counts what is still queued.
            return self.write(Urgency::Command, SMALL, move |conn| write::selected(conn, &vault, &selector));
        }
        let now = self.clock.now();
        self.write(Urgency::of(hardness), SMALL, move |conn| write::purge(conn, &vault, &selector, hardness, now))
    }

    fn list(
        &self,
        selector: Selector,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| read::list(conn, &vault, &selector, offset, limit))
    }

    fn browse(&self, browse: Browse) -> BoxFuture<'_, Result<Browsed, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| read::browse(conn, &vault, &browse))
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        let files = [self.path.clone(), self.path.with_extension("sqlite3-wal")];
        self.read(move |conn| {
            let bytes = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
            Ok(StoreStats { file_bytes: files.iter().map(bytes).sum(), ..read::stats(conn)? })
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(Urgency::Command, SMALL, write::flush)
    }
}

impl Upkeep for SqliteStore {
    fn vectors(&self, after: Option<EntryId>, limit: u32) -> BoxFuture<'_, Result<Page<StoredVector>, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| read::vectors(conn, &vault, after, limit))
    }

    fn unembedded(
        &self,
        embedder: String,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<Unembedded>, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| read::unembedded(conn, &vault, &embedder, after, limit))
    }

    fn set_embedding(&self, id: EntryId, embedder: String, embedding: Embedding) -> Result<(), StoreError> {
        let (bytes, vault) = (SMALL + embedding.dimensions() * 4, self.vault.clone());
        self.behind(bytes, move |conn| write::set_embedding(conn, &vault, id, &embedder, &embedding))
    }

    fn touch(&self, ids: Vec<EntryId>, now: Timestamp) -> Result<(), StoreError> {
        self.behind(SMALL + ids.len() * 8, move |conn| write::touch(conn, &ids, now))
    }

    fn categories(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.read(read::categories)
    }

    fn reap(&self, expired: Expired, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.write(Urgency::Through, SMALL, move |conn| write::reap(conn, &expired, limit))
    }

    fn evict_to(&self, bytes: u64, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.write(Urgency::Through, SMALL, move |conn| write::evict_to(conn, bytes, limit))
    }

    fn example_vectors(
        &self,
        embedder: String,
        texts: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Embedding>>, StoreError>> {
        self.read(move |conn| read::example_vectors(conn, &embedder, &texts))
    }

    fn keep_example_vectors(&self, embedder: String, vectors: Vec<(String, Embedding)>) -> Result<(), StoreError> {
        let bytes = vectors.iter().map(|(text, vector)| text.len() + vector.dimensions() * 4).sum();
        self.behind(bytes, move |conn| write::keep_example_vectors(conn, &embedder, &vectors))
    }
}

#[cfg(test)]
mod tests;
