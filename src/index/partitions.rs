//! All partitions of the node, and which one each entry is in.
//!
//! Invariants: an entry is in one partition at most; a search looks into its own partition and no other; an insert
//! holds its shard of the map until the vector is in, so that no sweep can drop the partition beneath it. Locks are
//! taken in the order id shard, partition shard, partition.
//!
//! Most partitions are one conversation long, so their cost is what counts: less than 300 bytes and the vectors.

use std::{
    collections::HashMap,
    mem::size_of,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    entry::EntryId,
    index::{
        Candidate, VectorIndex,
        builds::{Builds, elsewhere},
        clustered::{Clustered, DEFAULT_SEAL_AT, Shared},
        ids::NumberMap,
        read, write,
    },
    key::Partition,
    similarity::{Embedding, Similarity},
};

/// Enough that two requests seldom meet.
const SHARDS: usize = 64;
/// Empty partitions before they are swept.
const SWEEP_AT: usize = 256;

type Shard = RwLock<HashMap<Partition, Clustered>>;

/// How partitions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Distinct vectors from which on a partition is divided into cells; below, it is scanned exactly.
    pub seal_at: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seal_at: DEFAULT_SEAL_AT }
    }
}

/// The indexes of all partitions.
#[derive(Debug)]
pub struct Partitions {
    shards: Arc<[Shard]>,
    ids: Box<[Mutex<NumberMap<Clustered>>]>,
    shared: Arc<Shared>,
    emptied: AtomicUsize,
}

impl Partitions {
    /// No partitions yet; cells are made on a background thread.
    pub fn new(settings: Settings) -> Self {
        Self::with_builds(settings, Builds::background())
    }

    /// As [`Partitions::new`], with the given builder.
    pub fn with_builds(settings: Settings, builds: Arc<Builds>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            ids: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shared: Shared::new(builds, settings.seal_at),
            emptied: AtomicUsize::new(0),
        }
    }

    /// Puts `id` into `partition`, replacing its vector and moving it from wherever it was. False, and nothing
    /// changes, when the vector's dimension is not that of the partition.
    pub fn insert(&self, partition: Partition, id: EntryId, embedding: &Embedding) -> bool {
        let mut ids = self.ids_of(id);
        let before = ids.get(&id.0).cloned();
        let Some(index) = self.put(partition, id, embedding, before.as_ref()) else { return false };
        if let Some(before) = before.filter(|before| !before.is_same(&index)) {
            self.note(before.take(id));
        }
        ids.insert(id.0, index);
        true
    }

    fn put(
        &self,
        partition: Partition,
        id: EntryId,
        embedding: &Embedding,
        before: Option<&Clustered>,
    ) -> Option<Clustered> {
        let put = |index: &Clustered| {
            let done = if before.is_some_and(|before| before.is_same(index)) {
                index.put(id, embedding)
            } else {
                index.add(id, embedding)
            };
            done.then(|| index.clone())
        };
        let shard = self.shard(partition);
        if let Some(index) = read(shard).get(&partition) {
            return put(index);
        }
        let mut shard = write(shard);
        put(shard.entry(partition).or_insert_with(|| Clustered::new(Arc::clone(&self.shared))))
    }

    /// Removes `id`, wherever it is; false when it is nowhere.
    pub fn remove(&self, id: EntryId) -> bool {
        let mut ids = self.ids_of(id);
        let Some(index) = ids.remove(&id.0) else { return false };
        self.note(index.take(id));
        true
    }

    /// Removes all of `ids`; how many there were.
    pub fn remove_many(&self, ids: &[EntryId]) -> usize {
        ids.iter().filter(|&&id| self.remove(id)).count()
    }

    /// Up to `k` entries of `partition` at or above `floor`, closest first.
    pub fn search(&self, partition: Partition, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let index = read(self.shard(partition)).get(&partition).cloned();
        index.map_or_else(Vec::new, |index| index.search(query, k, floor))
    }

    /// Up to `k` entries of all partitions, closest first: for an operator, who has no partition of her own.
    pub fn search_all(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let indexes = self.shards.iter().flat_map(|shard| read(shard).values().cloned().collect::<Vec<_>>());
        let mut found: Vec<Candidate> = indexes.flat_map(|index| index.search(query, k, floor)).collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(b.id.cmp(&a.id)));
        found.truncate(k);
        found
    }

    /// Entries in all partitions.
    pub fn len(&self) -> usize {
        self.ids.iter().map(|shard| lock(shard).len()).sum()
    }

    /// True when no partition has an entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Partitions with at least one entry. Walks all of them.
    pub fn partitions(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).values().filter(|index| !index.is_empty()).count()).sum()
    }

    /// Estimated bytes in memory. Walks all partitions.
    pub fn bytes(&self) -> usize {
        let of_map = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let partitions: usize = self
            .shards
            .iter()
            .map(|shard| {
                let shard = read(shard);
                let indexes: usize = shard.values().map(Clustered::bytes).sum();
                indexes + of_map(shard.capacity(), size_of::<(Partition, Clustered)>())
            })
            .sum();
        let ids: usize =
            self.ids.iter().map(|shard| of_map(lock(shard).capacity(), size_of::<(u64, Clustered)>())).sum();
        partitions + ids
    }

    /// Drops partitions that have become empty. Runs by itself, on a thread of its own, when enough of them are.
    pub fn sweep(&self) {
        self.emptied.store(0, Ordering::Relaxed);
        sweep(&self.shards);
    }

    /// Gives up builds, so that the process can end; searches go on, exactly.
    pub fn close(&self) {
        self.shared.builds.close();
    }

    fn note(&self, emptied: bool) {
        if emptied && self.emptied.fetch_add(1, Ordering::Relaxed) + 1 == SWEEP_AT {
            self.emptied.store(0, Ordering::Relaxed);
            let shards = Arc::clone(&self.shards);
            elsewhere("index-sweep", move || sweep(&shards));
        }
    }

    fn shard(&self, partition: Partition) -> &Shard {
        // A digest: any of its bytes spreads evenly.
        &self.shards[usize::from(partition.as_bytes()[0]) % SHARDS]
    }

    fn ids_of(&self, id: EntryId) -> MutexGuard<'_, NumberMap<Clustered>> {
        #[expect(clippy::cast_possible_truncation, reason = "reduced to the number of shards")]
        let at = (id.0 % SHARDS as u64) as usize;
        lock(&self.ids[at])
    }
}

fn sweep(shards: &[Shard]) {
    for shard in shards {
        let mut shard = write(shard);
        shard.retain(|_, index| !index.is_empty());
        let keep = shard.len() * 2;
        shard.shrink_to(keep);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
