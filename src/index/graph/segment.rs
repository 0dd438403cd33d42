//! A sealed part of a large partition: vectors that never change, owners that do, and, once built, a graph.
//!
//! Invariants: without a graph a search is exact; with one, an identical vector is still always found, by its hash;
//! rows nobody owns are never returned. When the graph yields too few living rows the segment is scanned exactly, so
//! the dead cannot hide the living.

use std::sync::Arc;

use super::hnsw::{BuildError, Graph};
use crate::{
    entry::EntryId,
    index::{
        ids::{Owner, Owners},
        nearest::Nearest,
        table::Table,
        vectors::{Vectors, row_number},
    },
    similarity::Similarity,
};

/// Rows fetched from a graph at first, and the width of its search.
const FETCH: usize = 64;
/// Rows fetched before the exact scan is cheaper.
const FETCH_MOST: usize = 512;

/// Sealed vectors and their owners.
#[derive(Debug)]
pub(super) struct Segment {
    /// Names the segment within its partition while a build is away with its vectors.
    pub(super) number: u64,
    vectors: Arc<Vectors>,
    owners: Owners,
    living: usize,
    graph: Option<Graph>,
    /// A build that failed is not tried again.
    given_up: bool,
    /// The next row that goes back to the tail, once they do.
    leaving: Option<u32>,
}

impl Segment {
    /// Seals `table`, in which every row is owned; searched exactly until a graph is there.
    pub(super) fn seal(number: u64, table: Table) -> Self {
        let Table { vectors, owners } = table;
        let (living, vectors) = (vectors.len(), Arc::new(vectors.coded()));
        Self { number, vectors, owners, living, graph: None, given_up: false, leaving: None }
    }

    /// Ids.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    pub(super) fn dims(&self) -> usize {
        self.vectors.dims()
    }

    pub(super) const fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// Living rows that every search scans.
    pub(super) const fn scanned(&self) -> usize {
        if self.graph.is_some() { 0 } else { self.living }
    }

    /// What a graph is to be built of, where one is still wanted.
    pub(super) fn wants_graph(&self) -> Option<Arc<Vectors>> {
        (self.graph.is_none() && !self.given_up).then(|| Arc::clone(&self.vectors))
    }

    /// Whether more than a third of the rows is dead, or has left for that reason.
    pub(super) fn is_wasteful(&self) -> bool {
        self.leaving.is_some() || (self.vectors.len() - self.living) * 3 > self.vectors.len()
    }

    /// Puts the outcome of a build in place.
    pub(super) fn install(&mut self, built: Result<Graph, BuildError>) {
        match built {
            Ok(graph) => self.graph = Some(graph),
            Err(error) => {
                tracing::debug!(%error, "a segment stays without a graph and is scanned");
                self.given_up = true;
            }
        }
    }

    /// Gives `id` the row of an identical vector, if there is one; a dead row lives again.
    pub(super) fn adopt(&mut self, id: EntryId, values: &[f32]) -> bool {
        let Some(row) = self.vectors.find(values).filter(|_| self.leaving.is_none()) else { return false };
        self.living += usize::from(!self.is_live(row));
        self.owners.add_all(row, Owner::One(id));
        true
    }

    /// Removes `id`; whether it was there.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        let Some(row) = self.owners.remove(id) else { return false };
        self.living -= usize::from(!self.is_live(row));
        true
    }

    /// Moves up to `count` living rows to `tail`. Afterwards nothing joins the segment any more.
    pub(super) fn withdraw(&mut self, count: usize, tail: &mut Table) {
        let from = self.leaving.unwrap_or_default();
        let rows: Vec<u32> =
            (from..row_number(self.vectors.len())).filter(|row| self.is_live(*row)).take(count).collect();
        for &row in &rows {
            tail.add_all(self.owners.take(row), self.vectors.values(row));
        }
        self.living -= rows.len();
        self.leaving = Some(rows.last().map_or(from, |last| last + 1));
    }

    fn is_live(&self, row: u32) -> bool {
        !self.owners.ids(row).is_empty()
    }

    /// Shows the search what is near, or all.
    pub(super) fn search<'a>(&'a self, nearest: &mut Nearest<'a>) {
        match self.graph.as_ref().and_then(|graph| self.by_graph(graph, nearest)) {
            Some(rows) => nearest.take_in(&self.vectors, &self.owners, rows),
            None => nearest.look_at(&self.vectors, &self.owners, |row| self.is_live(row)),
        }
    }

    /// Living rows; `None` when the graph cannot say: too few of them among the most it is asked for.
    fn by_graph(&self, graph: &Graph, nearest: &mut Nearest<'_>) -> Option<Vec<(u32, Similarity)>> {
        let (values, k, bar) = (nearest.values(), nearest.k(), nearest.bar());
        if values.len() != self.vectors.dims() {
            return Some(Vec::new());
        }
        let codes = Arc::new(nearest.query().clone());
        let exact = |row: u32| Some((row, self.vectors.similarity(values, row)?));
        let mut want = FETCH.max(k.saturating_mul(2));
        while want <= FETCH_MOST {
            let fetched = graph.nearest(&codes, want);
            // A graph that comes apart hides some of its rows.
            if fetched.len() < want.min(self.vectors.len()) {
                return None;
            }
            let mut rows: Vec<_> = fetched.into_iter().filter_map(exact).collect();
            let below_bar = rows.iter().any(|(_, similarity)| similarity.get() < bar);
            rows.retain(|(row, _)| self.is_live(*row));
            if rows.len() >= k || below_bar {
                // A graph may miss a neighbour, but never the very same vector.
                let missed = self.vectors.find(values).filter(|&row| self.is_live(row));
                rows.extend(missed.filter(|row| rows.iter().all(|(found, _)| found != row)).and_then(exact));
                return Some(rows);
            }
            want *= 4;
        }
        None
    }

    /// Whether a search asks the graph and is content with its answer.
    #[cfg(test)]
    pub(super) fn answers_by_graph(&self, nearest: &mut Nearest<'_>) -> bool {
        self.graph.as_ref().is_some_and(|graph| self.by_graph(graph, nearest).is_some())
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.vectors.bytes() + self.owners.bytes() + self.graph.as_ref().map_or(0, Graph::bytes)
    }
}
