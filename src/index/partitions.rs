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
        clustered::{self, Clustered, Shared},
        graph::{self, Graphs},
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

/// The index of one partition as [`Partitions`] needs it: a handle, so that clones are the same index.
pub trait Handle: VectorIndex + Clone + 'static {
    /// An empty index; the first vector sets its dimension.
    fn new(shared: Arc<Shared>) -> Self;

    /// Adds or replaces; false when the dimension is not that of the vectors already here.
    fn put(&self, id: EntryId, embedding: &Embedding) -> bool;

    /// As [`Handle::put`], for an `id` that is known not to be here: it is not looked for.
    fn add(&self, id: EntryId, embedding: &Embedding) -> bool;

    /// Removes `id`; true when that left the partition empty.
    fn take(&self, id: EntryId) -> bool;

    /// Estimated bytes in memory.
    fn bytes(&self) -> usize;

    /// Whether both are handles to one index.
    fn is_same(&self, other: &Self) -> bool;
}

/// What large partitions are searched by. Small ones are scanned exactly by either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// Cells of near rows: [`Clustered`].
    #[default]
    Cells,
    /// Neighbour graphs: [`Graphs`].
    Hnsw,
}

impl Engine {
    /// Distinct vectors from which on it beats the exact scan.
    pub const fn default_seal_at(self) -> usize {
        match self {
            Self::Cells => clustered::DEFAULT_SEAL_AT,
            Self::Hnsw => graph::DEFAULT_SEAL_AT,
        }
    }
}

/// How partitions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What large partitions are searched by.
    pub engine: Engine,
    /// Distinct vectors from which on a partition is large; below, it is scanned exactly.
    pub seal_at: usize,
}

impl Settings {
    /// As `engine` is best used.
    pub const fn of(engine: Engine) -> Self {
        Self { engine, seal_at: engine.default_seal_at() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(Engine::default())
    }
}

/// The indexes of all partitions.
#[derive(Debug)]
pub struct Partitions(Kept);

/// One engine serves the whole process, so handles need not say which.
#[derive(Debug)]
enum Kept {
    Cells(Sharded<Clustered>),
    Hnsw(Sharded<Graphs>),
}

/// Calls the same method of either.
macro_rules! either {
    ($partitions:expr, $kept:ident => $call:expr) => {
        match &$partitions.0 {
            Kept::Cells($kept) => $call,
            Kept::Hnsw($kept) => $call,
        }
    };
}

impl Partitions {
    /// No partitions yet; cells and graphs are made on a background thread.
    pub fn new(settings: Settings) -> Self {
        Self::with_builds(settings, Builds::background())
    }

    /// As [`Partitions::new`], with the given builder.
    pub fn with_builds(settings: Settings, builds: Arc<Builds>) -> Self {
        let shared = Shared::new(builds, settings.seal_at);
        Self(match settings.engine {
            Engine::Cells => Kept::Cells(Sharded::new(shared)),
            Engine::Hnsw => Kept::Hnsw(Sharded::new(shared)),
        })
    }

    /// Puts `id` into `partition`, replacing its vector and moving it from wherever it was. False, and nothing
    /// changes, when the vector's dimension is not that of the partition.
    pub fn insert(&self, partition: Partition, id: EntryId, embedding: &Embedding) -> bool {
        either!(self, kept => kept.insert(partition, id, embedding))
    }

    /// Removes `id`, wherever it is; false when it is nowhere.
    pub fn remove(&self, id: EntryId) -> bool {
        either!(self, kept => kept.remove(id))
    }

    /// Removes all of `ids`; how many there were.
    pub fn remove_many(&self, ids: &[EntryId]) -> usize {
        ids.iter().filter(|&&id| self.remove(id)).count()
    }

    /// Up to `k` entries of `partition` at or above `floor`, closest first.
    pub fn search(&self, partition: Partition, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        either!(self, kept => kept.search(partition, query, k, floor))
    }

    /// Up to `k` entries of all partitions, closest first: for an operator, who has no partition of her own.
    pub fn search_all(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        either!(self, kept => kept.search_all(query, k, floor))
    }

    /// Entries in all partitions.
    pub fn len(&self) -> usize {
        either!(self, kept => kept.len())
    }

    /// True when no partition has an entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Partitions with at least one entry. Walks all of them.
    pub fn partitions(&self) -> usize {
        either!(self, kept => kept.partitions())
    }

    /// Estimated bytes in memory. Walks all partitions.
    pub fn bytes(&self) -> usize {
        either!(self, kept => kept.bytes())
    }

    /// Drops partitions that have become empty. Runs by itself, on a thread of its own, when enough of them are.
    pub fn sweep(&self) {
        either!(self, kept => kept.sweep());
    }

    /// Gives up builds, so that the process can end; searches go on, exactly.
    pub fn close(&self) {
        either!(self, kept => kept.shared.builds.close());
    }
}

type Shard<I> = RwLock<HashMap<Partition, I>>;

/// The indexes of all partitions, by one engine.
#[derive(Debug)]
struct Sharded<I> {
    shards: Arc<[Shard<I>]>,
    ids: Box<[Mutex<NumberMap<I>>]>,
    shared: Arc<Shared>,
    emptied: AtomicUsize,
}

impl<I: Handle> Sharded<I> {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            ids: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shared,
            emptied: AtomicUsize::new(0),
        }
    }

    fn insert(&self, partition: Partition, id: EntryId, embedding: &Embedding) -> bool {
        let mut ids = self.ids_of(id);
        let before = ids.get(&id.0).cloned();
        let Some(index) = self.put(partition, id, embedding, before.as_ref()) else { return false };
        if let Some(before) = before.filter(|before| !before.is_same(&index)) {
            self.note(before.take(id));
        }
        ids.insert(id.0, index);
        true
    }

    fn put(&self, partition: Partition, id: EntryId, embedding: &Embedding, before: Option<&I>) -> Option<I> {
        let put = |index: &I| {
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
        put(shard.entry(partition).or_insert_with(|| I::new(Arc::clone(&self.shared))))
    }

    fn remove(&self, id: EntryId) -> bool {
        let mut ids = self.ids_of(id);
        let Some(index) = ids.remove(&id.0) else { return false };
        self.note(index.take(id));
        true
    }

    fn search(&self, partition: Partition, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let index = read(self.shard(partition)).get(&partition).cloned();
        index.map_or_else(Vec::new, |index| index.search(query, k, floor))
    }

    fn search_all(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let indexes = self.shards.iter().flat_map(|shard| read(shard).values().cloned().collect::<Vec<_>>());
        let mut found: Vec<Candidate> = indexes.flat_map(|index| index.search(query, k, floor)).collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(b.id.cmp(&a.id)));
        found.truncate(k);
        found
    }

    fn len(&self) -> usize {
        self.ids.iter().map(|shard| lock(shard).len()).sum()
    }

    fn partitions(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).values().filter(|index| !index.is_empty()).count()).sum()
    }

    fn bytes(&self) -> usize {
        let of_map = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let partitions: usize = self
            .shards
            .iter()
            .map(|shard| {
                let shard = read(shard);
                let indexes: usize = shard.values().map(I::bytes).sum();
                indexes + of_map(shard.capacity(), size_of::<(Partition, I)>())
            })
            .sum();
        let ids: usize = self.ids.iter().map(|shard| of_map(lock(shard).capacity(), size_of::<(u64, I)>())).sum();
        partitions + ids
    }

    fn sweep(&self) {
        self.emptied.store(0, Ordering::Relaxed);
        sweep(&self.shards);
    }

    fn note(&self, emptied: bool) {
        if emptied && self.emptied.fetch_add(1, Ordering::Relaxed) + 1 == SWEEP_AT {
            self.emptied.store(0, Ordering::Relaxed);
            let shards = Arc::clone(&self.shards);
            elsewhere("index-sweep", move || sweep(&shards));
        }
    }

    fn shard(&self, partition: Partition) -> &Shard<I> {
        // A digest: any of its bytes spreads evenly.
        &self.shards[usize::from(partition.as_bytes()[0]) % SHARDS]
    }

    fn ids_of(&self, id: EntryId) -> MutexGuard<'_, NumberMap<I>> {
        #[expect(clippy::cast_possible_truncation, reason = "reduced to the number of shards")]
        let at = (id.0 % SHARDS as u64) as usize;
        lock(&self.ids[at])
    }
}

fn sweep<I: Handle>(shards: &[Shard<I>]) {
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
