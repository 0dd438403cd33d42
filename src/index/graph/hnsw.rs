//! A sealed neighbour graph over rows of vectors. The only file that knows `hnsw_rs`.
//!
//! What is done about the crate's traps, version 0.3.5:
//! - it cannot delete: a graph is built once over rows that never change, and who owns a row is kept outside;
//! - many identical vectors make others unfindable: the rows are distinct by construction;
//! - its filters cost up to 250 times the search: none is used, the caller fetches more and drops the dead;
//! - its cosine calls a zero or NaN vector identical to everything and its dot product panics above norm one: the
//!   distance here is our own, over codes, finite and never negative, and only orders candidates: the caller computes
//!   every similarity from the f32 values;
//! - its dump is neither atomic nor checked, and a reloaded graph has another level scale: nothing is dumped. After a
//!   start the vectors come from the store and are scanned exactly until their graph has been built in the background,
//!   so a start never waits for a graph;
//! - parallel insertion would take every core: rows are inserted by the one thread that builds.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use hnsw_rs::{anndists::dist::Distance, hnsw::Hnsw};

use crate::index::vectors::{Query, Vectors, row_number};

/// Links a row on the upper layers; twice as many on the lowest.
const LINKS: usize = 16;
const EF_CONSTRUCTION: usize = 200;
const LAYERS: usize = 16;
/// Rows between two looks at whether the graph is still wanted.
const PATIENCE: usize = 64;
/// Measured heap bytes a row, vectors apart: links, layers and the crate's own bookkeeping.
const BYTES_PER_ROW: usize = 2_550;

/// What the crate believes to be a vector component: each "vector" is a single one of these, so that the graph
/// holds no copy of the vectors.
#[derive(Debug, Clone)]
enum Point {
    Row(u32),
    Query(Arc<Query>),
}

/// One minus the estimated cosine, never below zero.
#[derive(Debug)]
struct CodeDistance(Arc<Vectors>);

impl Distance<Point> for CodeDistance {
    fn eval(&self, a: &[Point], b: &[Point]) -> f32 {
        let estimate = match (a, b) {
            ([Point::Row(a)], [Point::Row(b)]) => self.0.estimate_pair(*a, *b),
            ([Point::Query(query)], [Point::Row(row)]) | ([Point::Row(row)], [Point::Query(query)]) => {
                self.0.estimate(query, *row)
            }
            _ => -1.0,
        };
        (1.0 - estimate).max(0.0)
    }
}

/// Why there is no graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BuildError {
    /// Its partition is gone or the process ends.
    #[error("the graph is no longer wanted")]
    Unwanted,
    /// The crate panicked.
    #[error("building the graph panicked")]
    Failed,
}

/// A graph over all rows of one sealed set of vectors.
pub(super) struct Graph {
    hnsw: Hnsw<'static, Point, CodeDistance>,
    rows: usize,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Graph {
    /// Builds the graph on this thread, which takes milliseconds a row; gives up as soon as `wanted` says no.
    /// The rows have codes.
    pub(super) fn build(vectors: &Arc<Vectors>, wanted: impl Fn() -> bool) -> Result<Self, BuildError> {
        // The crate asserts its own invariants; a broken one costs the graph, not the partition.
        catch_unwind(AssertUnwindSafe(|| Self::grow(vectors, wanted))).unwrap_or(Err(BuildError::Failed))
    }

    fn grow(vectors: &Arc<Vectors>, wanted: impl Fn() -> bool) -> Result<Self, BuildError> {
        let rows = vectors.len();
        let hnsw = Hnsw::new(LINKS, rows, LAYERS, EF_CONSTRUCTION, CodeDistance(Arc::clone(vectors)));
        let mut order: Vec<u32> = (0..row_number(rows)).collect();
        // Entries arrive by topic; a graph grown topic by topic has few links between topics.
        fastrand::Rng::with_seed(rows as u64).shuffle(&mut order);
        for (inserted, row) in order.into_iter().enumerate() {
            if inserted % PATIENCE == 0 && !wanted() {
                return Err(BuildError::Unwanted);
            }
            hnsw.insert_slice((&[Point::Row(row)], row as usize));
        }
        Ok(Self { hnsw, rows })
    }

    /// About the `want` rows nearest to `query`, dead ones among them, nearest first by estimate.
    pub(super) fn nearest(&self, query: &Arc<Query>, want: usize) -> Vec<u32> {
        let found = self.hnsw.search(&[Point::Query(Arc::clone(query))], want, want);
        found.into_iter().map(|neighbour| row_number(neighbour.d_id)).collect()
    }

    /// Estimated bytes, vectors apart.
    pub(super) fn bytes(&self) -> usize {
        self.rows * BYTES_PER_ROW
    }
}
