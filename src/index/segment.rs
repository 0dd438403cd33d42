//! A sealed part of a large partition: vectors that never change, owners that do, and, once built, a graph.
//!
//! Invariants: without a graph a search is exact; with one, an identical vector is still always found, by its hash;
//! rows nobody owns are never returned. When the graph yields too few living rows the segment is scanned exactly, so
//! the dead cannot hide the living.

use std::sync::Arc;

use crate::{
    entry::EntryId,
    index::{
        Candidate,
        hnsw::Graph,
        ids::Owners,
        table::{Table, expand},
        vectors::{Near, Query, Vectors},
    },
    similarity::{Embedding, Similarity},
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
    pub(super) vectors: Arc<Vectors>,
    pub(super) owners: Owners,
    pub(super) graph: Option<Graph>,
    /// A build that failed is not tried again.
    pub(super) graph_failed: bool,
}

impl Segment {
    /// Seals `table`; searched exactly until a graph is there.
    pub(super) fn seal(number: u64, table: Table) -> Self {
        let Table { vectors, owners } = table;
        Self { number, vectors: Arc::new(vectors), owners, graph: None, graph_failed: false }
    }

    /// Rows, the dead ones too.
    pub(super) fn rows(&self) -> usize {
        self.vectors.len()
    }

    /// Gives `id` the row of an identical vector, if there is one; a dead row lives again.
    pub(super) fn adopt(&mut self, id: EntryId, values: &[f32]) -> bool {
        let row = self.vectors.find(values);
        if let Some(row) = row {
            self.owners.add(row, id);
        }
        row.is_some()
    }

    /// The closest entries, at most `k` a row, unordered.
    pub(super) fn search(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let rows = self.graph.as_ref().and_then(|graph| self.by_graph(graph, query, k, floor));
        let rows = rows
            .unwrap_or_else(|| self.vectors.nearest(query.values(), k, floor.get(), |row| self.owners.is_live(row)));
        expand(&rows, &self.owners, k)
    }

    /// `None` when the graph cannot say: too few living rows among the most it is asked for.
    fn by_graph(&self, graph: &Graph, query: &Embedding, k: usize, floor: Similarity) -> Option<Vec<Near>> {
        let values = query.values();
        if values.len() != self.vectors.dims() {
            return Some(Vec::new());
        }
        let codes = Arc::new(Query::new(values));
        let mut want = FETCH.max(k.saturating_mul(2));
        while want <= FETCH_MOST {
            let fetched = graph.nearest(&codes, want);
            let exact = |&row: &u32| self.vectors.similarity(values, row).map(|similarity| Near { row, similarity });
            let all: Vec<Near> = fetched.iter().filter_map(exact).collect();
            let below_floor = all.iter().any(|near| near.similarity.get() < floor.get());
            let mut rows: Vec<Near> = all.into_iter().filter(|near| self.owners.is_live(near.row)).collect();
            if rows.len() >= k || below_floor {
                self.add_identical(values, &mut rows);
                rows.retain(|near| near.similarity.get() >= floor.get());
                return Some(rows);
            }
            want *= 4;
        }
        None
    }

    /// A graph may miss a neighbour, but never the very same vector.
    fn add_identical(&self, values: &[f32], rows: &mut Vec<Near>) {
        let identical = self.vectors.find(values).filter(|&row| self.owners.is_live(row));
        if let Some(row) = identical.filter(|row| rows.iter().all(|near| near.row != *row))
            && let Some(similarity) = self.vectors.similarity(values, row)
        {
            rows.push(Near { row, similarity });
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.vectors.bytes() + self.owners.bytes() + self.graph.as_ref().map_or(0, Graph::bytes)
    }
}
