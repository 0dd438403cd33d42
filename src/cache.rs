//! Lookup, admission and purge over store, hot tier and index.
//!
//! The store is the truth; hot tier and index are faster copies of it (I10). One lock orders admissions, hot-tier fills
//! and purges: whatever a purge selects is refused when its generation began earlier (I6), and a row read before the
//! purge never enters the hot tier after it. Where other nodes write to the store too, changes come from the store in the
//! order that all nodes share, the hot tier is served from for a lease only, and an admission is fenced: see
//! [`crate::store::shared`].

mod blocked;
mod derived;
pub mod hot;
mod outdated;
mod purges;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
};

use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    index::{Candidate, partitions::Partitions},
    key::{Fingerprint, Partition},
    outcome::NotStored,
    similarity::{Embedding, Similarity},
    store::{Durability, Hardness, Selector, StoreError, Upkeep, bans::Ban, verdicts::Pair},
};
use blocked::Blocked;
use hot::Hot;
pub use purges::Epoch;
use purges::{Arrival, PurgeLog};

/// An entry found by fingerprint, shared with the hot tier.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Found through another wording accepted earlier.
    pub via_alias: bool,
}

/// Store, hot tier and index as one.
#[derive(Debug)]
pub struct Cache {
    store: Arc<dyn Upkeep>,
    index: Arc<Partitions>,
    hot: Hot,
    purges: Mutex<PurgeLog>,
    blocked: Mutex<Blocked>,
    /// Entries served since the last [`Cache::take_used`]: what eviction must spare.
    used: Mutex<HashSet<EntryId>>,
    /// Whose vectors of other nodes go into the index.
    embedder: OnceLock<String>,
    /// An erasure on another node may have removed blocked pairs.
    pairs_are_old: AtomicBool,
}

impl Cache {
    /// A cache over `store`; `hot_bytes` bounds the hot tier.
    pub fn new(store: Arc<dyn Upkeep>, index: Arc<Partitions>, hot_bytes: u64) -> Self {
        let (hot, pairs_are_old) = (Hot::new(hot_bytes), AtomicBool::default());
        let (purges, blocked, used) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { store, index, hot, purges, blocked, used, embedder: OnceLock::new(), pairs_are_old }
    }

    /// The store underneath.
    pub fn store(&self) -> &Arc<dyn Upkeep> {
        &self.store
    }

    /// The index underneath.
    pub fn index(&self) -> &Arc<Partitions> {
        &self.index
    }

    /// The moment in purge order from which a generation runs; taken before the upstream is called.
    pub fn epoch(&self) -> Epoch {
        self.purges().epoch()
    }

    /// The entry of `fingerprint`, hot tier first.
    pub async fn find(&self, fingerprint: Fingerprint) -> Result<Option<Hit>, StoreError> {
        if let Some(hit) = self.find_hot(fingerprint) {
            return Ok(Some(hit));
        }
        let read_at = self.purges().changes();
        let Some(found) = self.store.find(fingerprint).await? else { return Ok(None) };
        let hit = Hit { entry: Arc::new(found.entry), via_alias: found.via_alias };
        if self.is_blocked(hit.entry.fingerprint, fingerprint) {
            return Ok(None);
        }
        self.warm(read_at, fingerprint, &hit);
        Ok(Some(hit))
    }

    /// The entry of `fingerprint`, if the hot tier has it.
    pub fn find_hot(&self, fingerprint: Fingerprint) -> Option<Hit> {
        if !self.trusts_hot() {
            return None;
        }
        self.hot.find(fingerprint).filter(|hit| !self.is_blocked(hit.entry.fingerprint, fingerprint))
    }

    /// Reads the pairs that must not share an answer; before that none is known.
    pub async fn load_blocked(&self) -> Result<(), StoreError> {
        for pair in self.store.blocked().await? {
            self.blocked().insert(pair);
        }
        Ok(())
    }

    /// Whether two questions must not share an answer. A question always shares its own.
    pub fn is_blocked(&self, cached: Fingerprint, asked: Fingerprint) -> bool {
        cached != asked && self.blocked().contains(Pair::of(cached, asked))
    }

    /// From now on, over restarts and for later answers too, the two questions do not share an answer. Each keeps its
    /// own. Returns, once that is on disk, whether it is news; `why` is a stable token.
    pub async fn block(
        &self,
        cached: Fingerprint,
        asked: Fingerprint,
        why: &'static str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if cached == asked {
            return Ok(false);
        }
        let pair = Pair::of(cached, asked);
        let new = self.blocked().insert(pair);
        self.hot.forget_alias(cached);
        self.hot.forget_alias(asked);
        self.store.block(pair, why, now).await?;
        // Again: an erasure may have read the pairs anew before this one was among them.
        self.blocked().insert(pair);
        Ok(new)
    }

    /// The live entry of `id`, hot tier first.
    pub async fn get(&self, id: EntryId) -> Result<Option<Arc<Entry>>, StoreError> {
        if let Some(entry) = self.hot.get(id).filter(|_| self.trusts_hot()) {
            return Ok(Some(entry));
        }
        let read_at = self.purges().changes();
        let Some(entry) = self.store.get(id).await? else { return Ok(None) };
        let hit = Hit { entry: Arc::new(entry), via_alias: false };
        self.warm(read_at, hit.entry.fingerprint, &hit);
        Ok(Some(hit.entry))
    }

    /// Neighbours of `query` in `partition`, closest first.
    pub fn neighbours(&self, partition: &Partition, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        self.index.search(*partition, query, k, floor)
    }

    /// Stores `entry`, whose generation began at `began`. Returns when it is as durable as asked.
    pub async fn admit(&self, mut entry: Entry, began: Epoch, durability: Durability) -> Result<Arc<Entry>, NotStored> {
        if let Some(shared) = self.store.shared() {
            return self.admit_among_nodes(shared, entry, began).await;
        }
        let displaced;
        let (entry, written) = {
            let mut purges = self.purges();
            match purges.judge(began, &entry) {
                Arrival::Welcome => {}
                Arrival::Stale(at) => {
                    entry.invalidated_at = Some(entry.invalidated_at.map_or(at, |earlier| earlier.min(at)));
                }
                Arrival::Refused(why) => return Err(why),
            }
            let entry = Arc::new(entry);
            purges.changed();
            displaced = self.hot.insert(&entry);
            // Submitted under the lock, so the store sees admissions and purges in this order.
            let written = self.store.admit(Entry::clone(&entry), durability);
            (entry, written)
        };
        if let Err(error) = written.await {
            tracing::warn!(reason = error.reason(), %error, "answer not stored");
            self.hot.remove(entry.id);
            return Err(NotStored::CacheError);
        }
        if let Some(old) = displaced {
            self.index.remove(old);
        }
        if let Some(embedding) = &entry.embedding {
            self.index.insert(entry.partition, entry.id, embedding);
        }
        Ok(entry)
    }

    /// Remembers another wording of a live entry: it is served at exact speed from now on.
    pub fn alias(&self, wording: Fingerprint, entry: &Arc<Entry>) {
        if self.is_blocked(entry.fingerprint, wording) {
            return;
        }
        let _ordered = self.purges();
        self.hot.alias(wording, entry.id);
        if let Err(error) = self.store.alias(wording, entry.id) {
            tracing::debug!(reason = error.reason(), "alias not stored");
        }
    }

    /// Removes or invalidates what `selector` selects; when it returns nothing selected is served as fresh any more. A purge
    /// by meaning is kept as a [`Ban`].
    pub async fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> Result<Vec<EntryId>, StoreError> {
        if dry_run {
            // Counting reads the store, which may still be writing what was admitted before.
            self.store.flush().await?;
        } else if let Some(ban) = Ban::of(&selector, hardness) {
            return self.ban(ban).await;
        } else if self.store.shared().is_some() {
            return self.purge_among_nodes(selector, hardness).await;
        }
        let purged = {
            let mut purges = self.purges();
            if !dry_run {
                purges.push(selector.clone());
                self.hot.remove_where(|entry| selector.selects(entry));
            }
            self.store.purge(selector.clone(), hardness, dry_run)
        };
        let ids = purged.await?;
        if !dry_run {
            self.forget(&ids, hardness == Hardness::Hard);
            if hardness == Hardness::Hard && !selector.principals.is_empty() {
                let left = self.store.blocked().await?;
                self.blocked().replace(left);
            }
        }
        Ok(ids)
    }

    /// Drops ids that the store no longer holds (or changed) from hot tier and, when `gone`, from the index.
    pub fn forget(&self, ids: &[EntryId], gone: bool) {
        let mut purges = self.purges();
        purges.changed();
        for id in ids {
            self.hot.remove(*id);
            if gone {
                self.index.remove(*id);
            }
        }
    }

    /// Notes that an entry was served.
    pub fn mark_used(&self, id: EntryId) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// The entries served since the last call.
    pub fn take_used(&self) -> Vec<EntryId> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Bytes in the hot tier.
    pub fn hot_bytes(&self) -> u64 {
        self.hot.bytes()
    }

    /// Puts what was read from the store into the hot tier, unless anything changed since the read began: a row read
    /// before a purge or a newer answer must not come back after it.
    fn warm(&self, read_at: u64, fingerprint: Fingerprint, hit: &Hit) {
        let purges = self.purges();
        if purges.changes() == read_at {
            self.hot.insert(&hit.entry);
            if hit.via_alias {
                self.hot.alias(fingerprint, hit.entry.id);
            }
        }
    }

    fn blocked(&self) -> std::sync::MutexGuard<'_, Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purges(&self) -> std::sync::MutexGuard<'_, PurgeLog> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
