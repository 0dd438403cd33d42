//! A store that fails: in tests while it is told to, and in place of one that does not open.
//!
//! Everything above the store must fail open (I7): with this in its place a request still reaches the upstream, and
//! when the disk is back the cache works again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures_util::future::{BoxFuture, FutureExt, ready};

use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::Fingerprint,
    similarity::Embedding,
    store::{
        Browse, Browsed, Durability, EntrySummary, Expired, Found, Hardness, Page, Selector, Store, StoreError,
        StoreStats, StoredVector, Unembedded, Upkeep,
        bans::{Ban, BanId, Bans},
        sources::{SourceSummary, SourceUpdate, Sources, Updated},
        transfer::{PastPurge, Transfer},
        verdicts::{KeptLedger, Pair, Verdicts},
    },
};

/// Fails every call while it is down, and passes calls on to the store behind it while it is up.
#[derive(Debug)]
pub struct FailingStore {
    behind: Option<Arc<dyn Upkeep>>,
    down: AtomicBool,
    read_only: AtomicBool,
    ids: AtomicU64,
    calls: AtomicU64,
}

impl FailingStore {
    /// Down for ever: there is nothing behind it.
    pub fn dead() -> Self {
        Self::over(None, true)
    }

    /// Passes calls on to `store` until it is told to be down.
    pub fn in_front_of(store: Arc<dyn Upkeep>) -> Self {
        Self::over(Some(store), false)
    }

    fn over(behind: Option<Arc<dyn Upkeep>>, down: bool) -> Self {
        let (down, read_only) = (AtomicBool::new(down), AtomicBool::new(false));
        Self { behind, down, read_only, ids: AtomicU64::new(1), calls: AtomicU64::new(0) }
    }

    /// Makes every write fail as on a disk that cannot be written, or work again.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::SeqCst);
    }

    fn writable(&self) -> Result<&dyn Upkeep, StoreError> {
        let behind = self.behind()?;
        if self.read_only.load(Ordering::SeqCst) {
            return Err(failure(rusqlite::ffi::SQLITE_READONLY));
        }
        Ok(behind)
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a dyn Upkeep) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.writable().map_or_else(|error| ready(Err(error)).boxed(), call)
    }

    /// Makes it fail, or work again. A dead one stays dead.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Calls so far that could have failed.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn behind(&self) -> Result<&dyn Upkeep, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let up = self.behind.as_deref().filter(|_| !self.down.load(Ordering::SeqCst));
        up.ok_or_else(|| failure(rusqlite::ffi::SQLITE_IOERR))
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a dyn Upkeep) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.behind().map_or_else(|error| ready(Err(error)).boxed(), call)
    }
}

fn failure(code: std::ffi::c_int) -> StoreError {
    StoreError::Database(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
}

impl Store for FailingStore {
    /// Never fails: identities come from memory, and no two are the same.
    fn next_id(&self, fingerprint: Fingerprint) -> EntryId {
        let own = || EntryId(self.ids.fetch_add(1, Ordering::SeqCst));
        self.behind.as_ref().map_or_else(own, |store| store.next_id(fingerprint))
    }

    fn admit(&self, entry: Entry, durability: Durability) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|store| store.admit(entry, durability))
    }

    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        self.writable()?.alias(alias, entry)
    }

    fn find(&self, fingerprint: Fingerprint) -> BoxFuture<'_, Result<Option<Found>, StoreError>> {
        self.call(|store| store.find(fingerprint))
    }

    fn get(&self, id: EntryId) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        self.call(|store| store.get(id))
    }

    fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.write(|store| store.purge(selector, hardness, dry_run))
    }

    fn list(
        &self,
        selector: Selector,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>> {
        self.call(|store| store.list(selector, offset, limit))
    }

    fn browse(&self, browse: Browse) -> BoxFuture<'_, Result<Browsed, StoreError>> {
        self.call(|store| store.browse(browse))
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        self.call(|store| store.stats())
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|store| store.flush())
    }
}

impl Upkeep for FailingStore {
    fn vectors(&self, after: Option<EntryId>, limit: u32) -> BoxFuture<'_, Result<Page<StoredVector>, StoreError>> {
        self.call(|store| store.vectors(after, limit))
    }

    fn unembedded(
        &self,
        embedder: String,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<Unembedded>, StoreError>> {
        self.call(|store| store.unembedded(embedder, after, limit))
    }

    fn set_embedding(&self, id: EntryId, embedder: String, embedding: Embedding) -> Result<(), StoreError> {
        self.writable()?.set_embedding(id, embedder, embedding)
    }

    fn touch(&self, ids: Vec<EntryId>, now: Timestamp) -> Result<(), StoreError> {
        self.writable()?.touch(ids, now)
    }

    fn categories(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.call(|store| store.categories())
    }

    fn reap(&self, expired: Expired, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.write(|store| store.reap(expired, limit))
    }

    fn evict_to(&self, bytes: u64, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.write(|store| store.evict_to(bytes, limit))
    }

    fn example_vectors(
        &self,
        embedder: String,
        texts: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Embedding>>, StoreError>> {
        self.call(|store| store.example_vectors(embedder, texts))
    }

    fn keep_example_vectors(&self, embedder: String, vectors: Vec<(String, Embedding)>) -> Result<(), StoreError> {
        self.writable()?.keep_example_vectors(embedder, vectors)
    }
}

impl Transfer for FailingStore {
    fn ids(
        &self,
        selector: Selector,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<EntryId>, StoreError>> {
        self.call(|store| store.ids(selector, after, limit))
    }

    fn aliases(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        self.call(|store| store.aliases(entry))
    }

    fn past_purges(&self) -> BoxFuture<'_, Result<Vec<PastPurge>, StoreError>> {
        self.call(|store| store.past_purges())
    }
}

impl Verdicts for FailingStore {
    fn block(&self, pair: Pair, why: &'static str, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(|store| store.block(pair, why, now))
    }

    fn blocked(&self) -> BoxFuture<'_, Result<Vec<Pair>, StoreError>> {
        self.call(|store| store.blocked())
    }

    fn wordings(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        self.call(|store| store.wordings(entry))
    }

    fn keep_ledger(&self, ledger: KeptLedger, now: Timestamp) -> Result<(), StoreError> {
        self.writable()?.keep_ledger(ledger, now)
    }

    fn ledgers(&self) -> BoxFuture<'_, Result<Vec<KeptLedger>, StoreError>> {
        self.call(|store| store.ledgers())
    }
}

impl Sources for FailingStore {
    fn update_source(&self, update: SourceUpdate) -> BoxFuture<'_, Result<Updated, StoreError>> {
        self.write(|store| store.update_source(update))
    }

    fn forget_source(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<EntryId>>, StoreError>> {
        self.write(|store| store.forget_source(name))
    }

    fn sources(
        &self,
        text: Option<String>,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<(Vec<SourceSummary>, u64), StoreError>> {
        self.call(|store| store.sources(text, offset, limit))
    }

    fn source(&self, name: String) -> BoxFuture<'_, Result<Option<SourceSummary>, StoreError>> {
        self.call(|store| store.source(name))
    }

    fn replaced(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>> {
        self.call(|store| store.replaced())
    }
}

impl Bans for FailingStore {
    fn ban(&self, ban: Ban) -> BoxFuture<'_, Result<(BanId, Vec<EntryId>), StoreError>> {
        self.write(|store| store.ban(ban))
    }

    fn bans(&self) -> BoxFuture<'_, Result<Vec<Ban>, StoreError>> {
        self.call(|store| store.bans())
    }

    fn lift(&self, bans: Vec<BanId>) -> BoxFuture<'_, Result<Vec<BanId>, StoreError>> {
        self.write(|store| store.lift(bans))
    }
}
