//! The index of one partition: exact while small, sealed neighbour graphs plus an exact tail when large.
//!
//! The second engine: cells ([`super::clustered`]) are built in a fortieth of the time, weigh less and are searched faster,
//! see `benches/README.md`.
//!
//! Invariants:
//! - one lock guards everything, so a search sees each entry exactly once, moved or not;
//! - new vectors go to the tail, which is sealed when it reaches `seal_at`, unless a sealed row is identical;
//! - graphs are built by [`Builds`](super::builds::Builds), from vectors that cannot change, and without a lock; until a
//!   graph is there, its rows are scanned exactly. Owners stay under the lock all the while, so what is removed during a
//!   build is not found after it;
//! - a graph cannot forget: when more than a third of a segment's rows is dead, the living ones go back to the tail, some
//!   dozen under one lock, and the segment is dropped. Segments are never joined: each is one more graph to search.

mod hnsw;
mod segment;

use std::{
    mem::size_of,
    sync::{Arc, RwLock, Weak},
};

use hnsw::Graph;
use segment::Segment;

use crate::{
    entry::EntryId,
    index::{
        Candidate, VectorIndex, builds::elsewhere, clustered::Shared, nearest::Nearest, partitions::Handle, read,
        table::Table, vectors::Vectors, write,
    },
    similarity::{Embedding, Similarity},
};

/// Rows from which on a graph clearly beats the exact scan. Measured at 384 dimensions with AVX-512, p50 of scan and graph in
/// us: 121 and 754 at 10 000 rows, 830 and 1194 at 50 000, 1904 and 1393 at 100 000.
/// They cross at about 70 000, and a graph costs minutes of a core and 2.6 KB a row besides.
pub const DEFAULT_SEAL_AT: usize = 100_000;
/// Rows that go back to the tail under one lock.
const BATCH: usize = 64;

/// The index of one partition. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Graphs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct State {
    tail: Table,
    /// `None` until the tail has been sealed once: most partitions are one conversation.
    sealed: Option<Box<Sealed>>,
}

#[derive(Debug, Default)]
struct Sealed {
    segments: Vec<Segment>,
    next_number: u64,
    /// A build is queued or runs.
    building: bool,
}

/// How a partition is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Graphs that every search asks.
    pub graphs: usize,
    /// Distinct vectors in no graph: every search scans them.
    pub scanned: usize,
}

/// One step of a build.
enum Task {
    /// A graph for the segment of this number.
    Grow(u64, Arc<Vectors>),
    /// Rows of the segment of this number go back to the tail.
    Withdraw(u64),
}

impl Graphs {
    fn store(&self, id: EntryId, embedding: &Embedding, replaces: bool) -> bool {
        let mut state = write(&self.0.state);
        if state.len() > 0 && state.dims() != embedding.dimensions() {
            return false;
        }
        let emptied = if replaces { state.remove(id) } else { None };
        let values = embedding.values();
        if !state.segments_mut().any(|segment| segment.adopt(id, values)) {
            state.tail.add(id, values);
        }
        self.0.build_if_due(&mut state);
        drop(state);
        free(emptied);
        true
    }

    /// How it is kept just now.
    pub fn shape(&self) -> Shape {
        let state = read(&self.0.state);
        let graphs = state.segments().filter(|segment| segment.has_graph()).count();
        Shape { graphs, scanned: state.tail.rows() + state.segments().map(Segment::scanned).sum::<usize>() }
    }
}

impl Handle for Graphs {
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
        let segments: usize = state.segments().map(|segment| size_of::<Segment>() + segment.bytes()).sum();
        let counts = 2 * size_of::<usize>();
        counts + size_of::<Inner>() + state.tail.bytes() + segments
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl VectorIndex for Graphs {
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
        state.segments().for_each(|segment| segment.search(&mut nearest));
        nearest.finish()
    }

    fn len(&self) -> usize {
        read(&self.0.state).len()
    }
}

impl State {
    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.sealed.iter().flat_map(|sealed| &sealed.segments)
    }

    fn segments_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.sealed.iter_mut().flat_map(|sealed| &mut sealed.segments)
    }

    fn len(&self) -> usize {
        self.tail.owners.len() + self.segments().map(Segment::len).sum::<usize>()
    }

    fn dims(&self) -> usize {
        if self.tail.owners.len() > 0 {
            return self.tail.vectors.dims();
        }
        self.segments().next().map_or(0, Segment::dims)
    }

    /// Removes `id` from wherever it is. A segment that this empties is handed out, to be freed without the lock.
    fn remove(&mut self, id: EntryId) -> Option<Segment> {
        if self.tail.remove(id) {
            return None;
        }
        let segments = &mut self.sealed.as_mut()?.segments;
        let at = segments.iter_mut().position(|segment| segment.remove(id))?;
        let empty = segments.get(at).is_some_and(|segment| segment.len() == 0);
        empty.then(|| segments.swap_remove(at))
    }

    /// Moves some rows of the segment back to the tail; handed out once it is empty.
    fn withdraw(&mut self, number: u64) -> Option<Segment> {
        let segments = &mut self.sealed.as_mut()?.segments;
        let at = segments.iter().position(|segment| segment.number == number)?;
        let segment = segments.get_mut(at)?;
        segment.withdraw(BATCH, &mut self.tail);
        (segment.len() == 0).then(|| segments.swap_remove(at))
    }

    /// The most urgent step, if any is due.
    fn next(&self) -> Option<Task> {
        let wasteful = self.segments().find(|segment| segment.is_wasteful());
        let withdraw = wasteful.map(|segment| Task::Withdraw(segment.number));
        let grow = |segment: &Segment| Some(Task::Grow(segment.number, segment.wants_graph()?));
        withdraw.or_else(|| self.segments().find_map(grow))
    }
}

impl Inner {
    /// Seals the tail when it is long enough, and queues a build unless one is under way.
    fn build_if_due(self: &Arc<Self>, state: &mut State) {
        let long = state.tail.rows() >= self.shared.seal_at;
        if state.sealed.is_none() && !long {
            return;
        }
        let sealed = state.sealed.get_or_insert_default();
        if long {
            sealed.next_number += 1;
            sealed.segments.push(Segment::seal(sealed.next_number, std::mem::take(&mut state.tail)));
        }
        if !sealed.building && state.next().is_some() {
            state.sealed.get_or_insert_default().building = true;
            let (partition, shared) = (Arc::downgrade(self), Arc::clone(&self.shared));
            self.shared.builds.submit(Box::new(move || build(&partition, &shared)));
        }
    }
}

/// All that is due in one partition, on the builder's thread. Holds no handle while it works, so a dropped partition stops
/// it.
fn build(partition: &Weak<Inner>, shared: &Shared) {
    let wanted = || partition.strong_count() > 0 && !shared.builds.is_closed();
    while wanted()
        && let Some(task) = next_task(partition)
    {
        carry_out(partition, task, wanted);
        // Whoever waits for the lock comes first.
        std::thread::yield_now();
    }
}

/// The next step; `None` ends the build.
fn next_task(partition: &Weak<Inner>) -> Option<Task> {
    let inner = partition.upgrade()?;
    // Under this lock nothing can become due unseen between the look and the end.
    let mut state = write(&inner.state);
    let task = state.next();
    if let Some(sealed) = state.sealed.as_mut().filter(|_| task.is_none()) {
        sealed.building = false;
    }
    task
}

fn carry_out(partition: &Weak<Inner>, task: Task, wanted: impl Fn() -> bool) {
    match task {
        Task::Grow(number, vectors) => {
            // Dropped after the lock when its segment is gone.
            let mut built = Some(Graph::build(&vectors, wanted));
            let Some(inner) = partition.upgrade() else { return };
            let mut state = write(&inner.state);
            let segment = state.segments_mut().find(|segment| segment.number == number);
            if let Some(segment) = segment
                && let Some(built) = built.take()
            {
                segment.install(built);
            }
        }
        Task::Withdraw(number) => {
            let Some(inner) = partition.upgrade() else { return };
            let mut state = write(&inner.state);
            let emptied = state.withdraw(number);
            inner.build_if_due(&mut state);
            drop(state);
            drop(emptied);
        }
    }
}

/// Freeing a large graph takes a good part of a second, which is not the caller's.
fn free(segment: Option<Segment>) {
    if let Some(segment) = segment {
        elsewhere("index-free", move || drop(segment));
    }
}

#[cfg(test)]
mod tests;
