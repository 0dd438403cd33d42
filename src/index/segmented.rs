//! The index of one partition: exact while small, sealed graphs plus an exact tail when large.
//!
//! Invariants:
//! - one lock guards everything, so a search sees each entry exactly once, moved or not;
//! - new vectors go to the tail, which is sealed when it reaches `seal_at`; an identical vector is never held twice;
//! - graphs are built and segments rewritten by [`Builds`], from vectors that cannot change; until the result is
//!   swapped in, the sealed vectors are scanned exactly. Owners stay under the lock all the while, so what is removed
//!   during a build is not in its result;
//! - a segment with more than 30 % dead rows is rewritten, small segments are joined, and so are four of a size.
//!
//! A rewrite holds the write lock for the time it takes to move the owners, about 0.1 us an entry.

use std::{
    mem::size_of,
    sync::{Arc, RwLock, Weak},
};

use crate::{
    entry::EntryId,
    index::{
        Candidate, VectorIndex,
        builds::{Builds, elsewhere},
        read,
        rewrite::{Plan, Rewritten},
        segment::Segment,
        table::{Table, rank},
        write,
    },
    similarity::{Embedding, Similarity},
};

/// Rows from which on a graph clearly beats the exact scan. Measured by `benches/index.rs` at 384 dimensions with
/// AVX-512, p50 of scan and graph in us: 121 and 754 at 10 000 rows, 830 and 1194 at 50 000, 1904 and 1393 at 100 000.
/// They cross at about 70 000, and a graph costs minutes of a core and 2.6 KB a row besides.
pub const DEFAULT_SEAL_AT: usize = 100_000;

/// What all partitions of a process share.
#[derive(Debug)]
pub struct Shared {
    pub(super) builds: Arc<Builds>,
    pub(super) seal_at: usize,
}

impl Shared {
    /// Partitions below `seal_at` distinct vectors are scanned exactly; graphs are built by `builds`.
    pub fn new(builds: Arc<Builds>, seal_at: usize) -> Arc<Self> {
        Arc::new(Self { builds, seal_at: seal_at.max(2) })
    }
}

/// The index of one partition. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Segmented(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tail: Table,
    /// `None` until the tail has been sealed once: most partitions are one conversation.
    pub(super) sealed: Option<Box<Sealed>>,
}

#[derive(Debug, Default)]
pub(super) struct Sealed {
    pub(super) segments: Vec<Segment>,
    next_number: u64,
    /// A build is queued or runs.
    building: bool,
}

impl Segmented {
    /// An empty index; the first vector sets its dimension.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Inner { state: RwLock::default(), shared }))
    }

    /// Adds or replaces; false when the dimension is not that of the vectors already here.
    pub fn put(&self, id: EntryId, embedding: &Embedding) -> bool {
        let mut state = write(&self.0.state);
        if state.len() > 0 && state.dims() != embedding.dimensions() {
            return false;
        }
        let emptied = state.remove(id);
        let values = embedding.values();
        if !state.segments_mut().any(|segment| segment.adopt(id, values)) {
            state.tail.add(id, values);
        }
        self.0.build_if_due(&mut state);
        drop(state);
        free(emptied);
        true
    }

    /// Removes `id`; true when that left the partition empty.
    pub fn take(&self, id: EntryId) -> bool {
        let mut state = write(&self.0.state);
        let before = state.len();
        let emptied = state.remove(id);
        let after = state.len();
        self.0.build_if_due(&mut state);
        drop(state);
        free(emptied);
        before > 0 && after == 0
    }

    /// Estimated bytes in memory.
    pub fn bytes(&self) -> usize {
        let state = read(&self.0.state);
        let segments: usize = state.segments().map(|segment| size_of::<Segment>() + segment.bytes()).sum();
        let counts = 2 * size_of::<usize>();
        counts + size_of::<Inner>() + state.tail.bytes() + segments
    }

    /// Sealed segments, and how many of them have their graph.
    pub fn segments(&self) -> (usize, usize) {
        let state = read(&self.0.state);
        (state.segments().count(), state.segments().filter(|segment| segment.graph.is_some()).count())
    }

    /// Whether both are handles to one index.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl VectorIndex for Segmented {
    fn insert(&self, id: EntryId, embedding: &Embedding) {
        self.put(id, embedding);
    }

    fn remove(&self, id: EntryId) {
        self.take(id);
    }

    fn search(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let state = read(&self.0.state);
        let mut found = state.tail.search(query.values(), k, floor);
        if state.sealed.is_none() {
            return found;
        }
        for segment in state.segments() {
            found.extend(segment.search(query, k, floor));
        }
        rank(found, k)
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
        self.tail.owners.len() + self.segments().map(|segment| segment.owners.len()).sum::<usize>()
    }

    fn dims(&self) -> usize {
        if self.tail.owners.len() > 0 {
            return self.tail.vectors.dims();
        }
        self.segments().next().map_or(0, |segment| segment.vectors.dims())
    }

    /// Removes `id` from wherever it is. A segment that this empties is handed out, to be freed without the lock.
    fn remove(&mut self, id: EntryId) -> Option<Segment> {
        if self.tail.remove(id) {
            return None;
        }
        let segments = &mut self.sealed.as_mut()?.segments;
        let at = segments.iter_mut().position(|segment| segment.owners.remove(id).is_some())?;
        let empty = segments.get(at).is_some_and(|segment| segment.owners.len() == 0);
        empty.then(|| segments.swap_remove(at))
    }
}

impl Sealed {
    /// A number no segment of this partition has had.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Inner {
    /// Seals the tail when it is long enough, and queues the next build; nothing while one is under way.
    fn build_if_due(self: &Arc<Self>, state: &mut State) {
        let long = state.tail.vectors.len() >= self.shared.seal_at;
        if state.sealed.is_none() && !long {
            return;
        }
        let sealed = state.sealed.get_or_insert_default();
        if sealed.building {
            return;
        }
        if long {
            let number = sealed.number();
            sealed.segments.push(Segment::seal(number, std::mem::take(&mut state.tail)));
        }
        if Plan::next(&sealed.segments, self.shared.seal_at).is_some() {
            sealed.building = true;
            let (partition, shared) = (Arc::downgrade(self), Arc::clone(&self.shared));
            self.shared.builds.submit(Box::new(move || build(&partition, &shared)));
        }
    }
}

/// One build, on the builder's thread. Holds no handle while it works, so a dropped partition stops it.
fn build(partition: &Weak<Inner>, shared: &Shared) {
    let Some(inner) = partition.upgrade() else { return };
    let plan = {
        let state = read(&inner.state);
        state.sealed.as_ref().and_then(|sealed| Plan::next(&sealed.segments, shared.seal_at))
    };
    drop(inner);
    let wanted = || partition.strong_count() > 0 && !shared.builds.is_closed();
    let rewritten = plan.map(|plan| Rewritten::carry_out(plan, shared.seal_at, wanted));
    let Some(inner) = partition.upgrade() else { return };
    let mut state = write(&inner.state);
    let replaced = rewritten.map(|rewritten| rewritten.install(&mut state));
    if let Some(sealed) = &mut state.sealed {
        sealed.building = false;
    }
    inner.build_if_due(&mut state);
    drop(state);
    drop(replaced);
}

/// Freeing a large graph takes a good part of a second, which is not the caller's.
fn free(segment: Option<Segment>) {
    if let Some(segment) = segment {
        elsewhere("index-free", move || drop(segment));
    }
}

#[cfg(test)]
mod tests;
