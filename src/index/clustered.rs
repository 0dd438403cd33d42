//! The index of one partition: exact while small, divided into cells when large.
//!
//! Invariants:
//! - one lock guards everything, so a search sees each entry exactly once, moved or not;
//! - new vectors go to the tail, which every search scans. When it is long it is sealed, and [`Builds`] moves its rows
//!   into cells, some dozen under one lock; until then they are scanned exactly;
//! - what is removed is gone at once, wherever it is: there are no dead rows and nothing to compact. The rows of a vector
//!   that was put twice become one when they reach their cell.

use std::{
    mem::size_of,
    sync::{Arc, RwLock, Weak},
};

use crate::{
    entry::EntryId,
    index::{
        Candidate, VectorIndex,
        builds::{Builds, elsewhere},
        cells::{Batch, Cells, Cursor, Plan, Prepared, SEEN, Task},
        centroids::{Centroids, Sample},
        nearest::Nearest,
        partitions::Handle,
        read,
        table::Table,
        write,
    },
    similarity::{Embedding, Similarity},
};

/// Rows from which on cells clearly beat the exact scan. Measured by `cargo bench --bench scale`, see its README.
pub const DEFAULT_SEAL_AT: usize = 16_384;
/// Rows after which the tail of a partition that has cells is sealed: every search scans it.
const TAIL: usize = 2_048;

/// What all partitions of a process share.
#[derive(Debug)]
pub struct Shared {
    pub(super) builds: Arc<Builds>,
    pub(super) seal_at: usize,
    /// Rows in cells that a search sees at least.
    seen: usize,
}

impl Shared {
    /// Partitions below `seal_at` distinct vectors are scanned exactly; rows are moved into cells by `builds`.
    pub fn new(builds: Arc<Builds>, seal_at: usize) -> Arc<Self> {
        Self::looking_at(builds, seal_at, SEEN)
    }

    /// As [`Shared::new`]; a search sees `seen` rows in cells, and a part of all rows if that is more.
    pub(super) fn looking_at(builds: Arc<Builds>, seal_at: usize, seen: usize) -> Arc<Self> {
        Arc::new(Self { builds, seal_at: seal_at.max(2), seen })
    }
}

/// The index of one partition. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Clustered(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct State {
    tail: Table,
    /// `None` until the tail has been sealed once: most partitions are one conversation.
    cells: Option<Box<Cells>>,
}

/// How a partition is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Cells that hold something.
    pub cells: usize,
    /// Distinct vectors in no cell: every search scans them.
    pub scanned: usize,
}

impl Clustered {
    fn store(&self, id: EntryId, embedding: &Embedding, replaces: bool) -> bool {
        let mut state = write(&self.0.state);
        if state.len() > 0 && state.dims() != embedding.dimensions() {
            return false;
        }
        let emptied = if replaces { state.remove(id) } else { None };
        state.tail.add(id, embedding.values());
        self.0.build_if_due(&mut state);
        drop(state);
        free(emptied);
        true
    }

    /// How it is kept just now.
    pub fn shape(&self) -> Shape {
        let state = read(&self.0.state);
        let (cells, piled) = state.cells.as_ref().map_or((0, 0), |cells| cells.shape());
        Shape { cells, scanned: state.tail.rows() + piled }
    }
}

impl Handle for Clustered {
    fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Inner { state: RwLock::default(), shared }))
    }

    fn put(&self, id: EntryId, embedding: &Embedding) -> bool {
        self.store(id, embedding, true)
    }

    fn add(&self, id: EntryId, embedding: &Embedding) -> bool {
        self.store(id, embedding, false)
    }

    fn take(&self, id: EntryId) -> bool {
        let mut state = write(&self.0.state);
        let before = state.len();
        let emptied = state.remove(id);
        let after = state.len();
        self.0.build_if_due(&mut state);
        drop(state);
        free(emptied);
        before > 0 && after == 0
    }

    fn bytes(&self) -> usize {
        let state = read(&self.0.state);
        let cells = state.cells.as_ref().map_or(0, |cells| size_of::<Cells>() + cells.bytes());
        let counts = 2 * size_of::<usize>();
        counts + size_of::<Inner>() + state.tail.bytes() + cells
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl VectorIndex for Clustered {
    fn insert(&self, id: EntryId, embedding: &Embedding) {
        self.put(id, embedding);
    }

    fn remove(&self, id: EntryId) {
        self.take(id);
    }

    fn search(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let state = read(&self.0.state);
        let mut nearest = Nearest::new(query.values(), k, floor);
        nearest.look_into(&state.tail);
        if let Some(cells) = &state.cells {
            cells.search(&mut nearest, self.0.shared.seen);
        }
        nearest.finish()
    }

    fn len(&self) -> usize {
        read(&self.0.state).len()
    }
}

impl State {
    fn len(&self) -> usize {
        self.tail.owners.len() + self.cells.as_ref().map_or(0, |cells| cells.len())
    }

    fn dims(&self) -> usize {
        if self.tail.owners.len() > 0 {
            return self.tail.vectors.dims();
        }
        self.cells.as_ref().map_or(0, |cells| cells.dims())
    }

    /// Removes `id` from wherever it is. Cells that this empties are handed out, to be freed without the lock.
    fn remove(&mut self, id: EntryId) -> Option<Box<Cells>> {
        if self.tail.remove(id) {
            return None;
        }
        let cells = self.cells.as_mut()?;
        let emptied = cells.remove(id) && cells.len() == 0;
        if !emptied {
            None
        } else if cells.building {
            // A build under way still looks for what it moves, and finds it gone.
            Some(std::mem::replace(cells, Box::new(Cells::being_built())))
        } else {
            self.cells.take()
        }
    }
}

impl Inner {
    /// Seals the tail when it is long enough, and queues the next build; nothing while one is under way.
    fn build_if_due(self: &Arc<Self>, state: &mut State) {
        let seal_at = self.shared.seal_at;
        let limit = if state.cells.is_some() { seal_at.min(TAIL) } else { seal_at };
        let long = state.tail.rows() >= limit;
        if state.cells.is_none() && !long {
            return;
        }
        let cells = state.cells.get_or_insert_default();
        if long {
            cells.pile_up(std::mem::take(&mut state.tail));
        }
        if !cells.building && cells.is_due() {
            cells.building = true;
            let (partition, shared) = (Arc::downgrade(self), Arc::clone(&self.shared));
            self.shared.builds.submit(Box::new(move || build(&partition, &shared)));
        }
    }
}

/// All that is due in one partition, on the builder's thread. Holds no handle while it works, so a dropped partition stops
/// it, and no lock for longer than it takes to copy or move a batch.
fn build(partition: &Weak<Inner>, shared: &Shared) {
    let wanted = || partition.strong_count() > 0 && !shared.builds.is_closed();
    while wanted()
        && let Some(task) = next_task(partition)
    {
        carry_out(partition, task, &wanted);
        // Whoever waits for the lock comes first.
        std::thread::yield_now();
    }
}

fn carry_out(partition: &Weak<Inner>, task: Task, wanted: &impl Fn() -> bool) {
    match task {
        Task::Divide(plan) => {
            let sample = sample(partition, plan);
            let centroids = sample.and_then(|sample| Centroids::train(&sample, plan.rows, wanted));
            let Some(prepared) = centroids.map(Prepared::new) else { return };
            let Some(inner) = partition.upgrade() else { return };
            if let Some(cells) = &mut write(&inner.state).cells {
                cells.divide(prepared);
            }
        }
        Task::Move(batch) => move_batch(partition, batch),
    }
}

/// The next task; `None` ends the build.
fn next_task(partition: &Weak<Inner>) -> Option<Task> {
    let inner = partition.upgrade()?;
    if let Some(task) = read(&inner.state).cells.as_ref().and_then(|cells| cells.next()) {
        return Some(task);
    }
    let mut state = write(&inner.state);
    // Under this lock nothing can become due unseen between the look and the end.
    let task = state.cells.as_ref().and_then(|cells| cells.next());
    let cells = state.cells.as_mut().filter(|_| task.is_none());
    let emptied = match cells {
        Some(cells) => {
            cells.building = false;
            if cells.len() == 0 { state.cells.take() } else { None }
        }
        None => None,
    };
    drop(state);
    drop(emptied);
    task
}

fn sample(partition: &Weak<Inner>, plan: Plan) -> Option<Sample> {
    let mut sample = Sample::default();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        let inner = partition.upgrade()?;
        let state = read(&inner.state);
        cursor = state.cells.as_ref().and_then(|cells| cells.sample(plan, from, &mut sample));
    }
    Some(sample)
}

fn move_batch(partition: &Weak<Inner>, batch: Batch) {
    let placed = batch.find_cells();
    let Some(inner) = partition.upgrade() else { return };
    let mut state = write(&inner.state);
    let emptied = state.cells.as_mut().map(|cells| cells.place(&placed));
    drop(state);
    drop(emptied);
}

/// Freeing a large index takes a good part of a second, which is not the caller's.
fn free(cells: Option<Box<Cells>>) {
    if let Some(cells) = cells {
        elsewhere("index-free", move || drop(cells));
    }
}

#[cfg(test)]
mod tests;
