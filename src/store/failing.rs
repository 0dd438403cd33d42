//! A test double: a store whose disk fails while it is told to.
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
        Durability, EntrySummary, Expired, Found, Hardness, Page, Selector, Store, StoreError, StoreStats,
        StoredVector, Unembedded, Upkeep,
        verdicts::{KeptLedger, Pair, Verdicts},
    },
};

/// Fails every call while it is down, and passes calls on to the store behind it while it is up.
#[derive(Debug)]
pub struct FailingStore {
    behind: Option<Arc<dyn Upkeep>>,
    down: AtomicBool,
    calls: AtomicU64,
}

impl FailingStore {
    /// Down for ever: there is nothing behind it.
    pub fn dead() -> Self {
        Self { behind: None, down: AtomicBool::new(true), calls: AtomicU64::new(0) }
    }

    /// Passes calls on to `store` until it is told to be down.
    pub fn in_front_of(store: Arc<dyn Upkeep>) -> Self {
        Self { behind: Some(store), down: AtomicBool::new(false), calls: AtomicU64::new(0) }
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
        up.ok_or_else(|| {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
            StoreError::Database(rusqlite::Error::SqliteFailure(code, None))
        })
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a dyn Upkeep) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.behind().map_or_else(|error| ready(Err(error)).boxed(), call)
    }
}

impl Store for FailingStore {
    /// Never fails: identities come from memory.
    fn next_id(&self) -> EntryId {
        self.behind.as_ref().map_or(EntryId(1), |store| store.next_id())
    }

    fn admit(&self, entry: Entry, durability: Durability) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(|store| store.admit(entry, durability))
    }

    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        self.behind()?.alias(alias, entry)
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
        self.call(|store| store.purge(selector, hardness, dry_run))
    }

    fn list(
        &self,
        selector: Selector,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>> {
        self.call(|store| store.list(selector, offset, limit))
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        self.call(|store| store.stats())
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(|store| store.flush())
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
        self.behind()?.set_embedding(id, embedder, embedding)
    }

    fn touch(&self, ids: Vec<EntryId>, now: Timestamp) -> Result<(), StoreError> {
        self.behind()?.touch(ids, now)
    }

    fn categories(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.call(|store| store.categories())
    }

    fn reap(&self, expired: Expired, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.call(|store| store.reap(expired, limit))
    }

    fn evict_to(&self, bytes: u64, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.call(|store| store.evict_to(bytes, limit))
    }

    fn example_vectors(
        &self,
        embedder: String,
        texts: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Embedding>>, StoreError>> {
        self.call(|store| store.example_vectors(embedder, texts))
    }

    fn keep_example_vectors(&self, embedder: String, vectors: Vec<(String, Embedding)>) -> Result<(), StoreError> {
        self.behind()?.keep_example_vectors(embedder, vectors)
    }
}

impl Verdicts for FailingStore {
    fn block(&self, pair: Pair, why: &'static str, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.call(|store| store.block(pair, why, now))
    }

    fn blocked(&self) -> BoxFuture<'_, Result<Vec<Pair>, StoreError>> {
        self.call(|store| store.blocked())
    }

    fn wordings(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        self.call(|store| store.wordings(entry))
    }

    fn keep_ledger(&self, ledger: KeptLedger, now: Timestamp) -> Result<(), StoreError> {
        self.behind()?.keep_ledger(ledger, now)
    }

    fn ledgers(&self) -> BoxFuture<'_, Result<Vec<KeptLedger>, StoreError>> {
        self.call(|store| store.ledgers())
    }
}
