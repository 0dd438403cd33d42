//! What to build next in a partition, building it, and putting it in place.
//!
//! Invariants: a plan holds only vectors that cannot change, so it is carried out without a lock; owners are read when
//! the result is installed, never before. A row that came back to life meanwhile moves to the tail.

use std::sync::Arc;

use crate::index::{
    hnsw::{BuildError, Graph},
    ids::Owners,
    segment::Segment,
    segmented::State,
    vectors::Vectors,
};

/// Segments of one size before they are joined.
const FAN_OUT: usize = 4;

/// The vectors of a segment to be rewritten, and the rows to keep.
#[derive(Debug)]
pub(super) struct Source {
    number: u64,
    vectors: Arc<Vectors>,
    live: Vec<u32>,
}

/// The next thing worth building.
#[derive(Debug)]
pub(super) enum Plan {
    /// A graph for a segment as it is.
    Graph(u64, Arc<Vectors>),
    /// One segment from the living rows of these.
    Join(Vec<Source>),
}

impl Plan {
    /// The most urgent build, if any is due.
    pub(super) fn next(segments: &[Segment], seal_at: usize) -> Option<Self> {
        let join = |which: Vec<&Segment>| Self::Join(which.into_iter().map(source).collect());
        if let Some(wasteful) = segments.iter().find(|s| s.owners.dead_rows() * 10 > s.rows() * 3) {
            return Some(join(vec![wasteful]));
        }
        let small: Vec<&Segment> = segments.iter().filter(|s| !deserves_graph(s.rows(), seal_at)).collect();
        if small.len() > 1 {
            return Some(join(small));
        }
        let bare = |s: &&Segment| s.graph.is_none() && !s.graph_failed && deserves_graph(s.rows(), seal_at);
        if let Some(bare) = segments.iter().find(bare) {
            return Some(Self::Graph(bare.number, Arc::clone(&bare.vectors)));
        }
        let class = |s: &Segment| (s.rows() / seal_at).max(1).ilog(FAN_OUT);
        (0..usize::BITS)
            .map(|size| segments.iter().filter(|s| class(s) == size).collect::<Vec<_>>())
            .find(|alike| alike.len() >= FAN_OUT)
            .map(join)
    }
}

/// What is left of a segment may be so little that a scan is faster.
fn deserves_graph(rows: usize, seal_at: usize) -> bool {
    rows >= seal_at.div_ceil(2)
}

fn source(segment: &Segment) -> Source {
    let live = segment.owners.live().collect();
    Source { number: segment.number, vectors: Arc::clone(&segment.vectors), live }
}

/// The outcome of a plan, not yet in place.
#[derive(Debug)]
pub(super) enum Rewritten {
    /// A graph, or none, for the segment of this number.
    Graph(u64, Result<Graph, BuildError>),
    /// A new segment.
    Joined {
        /// Numbers of the segments it replaces.
        sources: Vec<u64>,
        /// Where each new row comes from: index into `sources`, and row.
        origin: Vec<(usize, u32)>,
        vectors: Arc<Vectors>,
        /// `None` when the segment is too small for one.
        graph: Option<Result<Graph, BuildError>>,
    },
}

impl Rewritten {
    /// Does the work, for seconds or minutes.
    pub(super) fn carry_out(plan: Plan, seal_at: usize, wanted: impl Fn() -> bool) -> Self {
        match plan {
            Plan::Graph(number, vectors) => Self::Graph(number, Graph::build(&vectors, wanted)),
            Plan::Join(from) => {
                let rows = from.iter().map(|source| source.live.len()).sum();
                let dims = from.first().map_or(0, |source| source.vectors.dims());
                let mut vectors = Vectors::with_capacity(dims, rows);
                let mut origin = Vec::with_capacity(rows);
                for (at, source) in from.iter().enumerate() {
                    for &row in &source.live {
                        vectors.push_from(&source.vectors, row);
                        origin.push((at, row));
                    }
                }
                let vectors = Arc::new(vectors);
                let graph = deserves_graph(rows, seal_at).then(|| Graph::build(&vectors, wanted));
                let sources = from.iter().map(|source| source.number).collect();
                Self::Joined { sources, origin, vectors, graph }
            }
        }
    }

    /// Puts the result in place; what it replaces is handed out, to be freed without the lock.
    pub(super) fn install(self, state: &mut State) -> Vec<Segment> {
        let Some(sealed) = &mut state.sealed else { return Vec::new() };
        match self {
            Self::Graph(number, graph) => {
                if let Some(segment) = sealed.segments.iter_mut().find(|s| s.number == number) {
                    (segment.graph, segment.graph_failed) = outcome(Some(graph));
                }
                Vec::new()
            }
            Self::Joined { sources, origin, vectors, graph } => {
                let (mut old, kept): (Vec<Segment>, Vec<Segment>) =
                    std::mem::take(&mut sealed.segments).into_iter().partition(|s| sources.contains(&s.number));
                sealed.segments = kept;
                // By place in `sources`: a source whose last entry went meanwhile is no longer there.
                let place: Vec<Option<usize>> =
                    sources.iter().map(|number| old.iter().position(|s| s.number == *number)).collect();
                let owner = |(at, row): (usize, u32)| {
                    let place = place.get(at).copied().flatten();
                    place.and_then(|place| old.get_mut(place)).map(|s| s.owners.take(row)).unwrap_or_default()
                };
                let owners = Owners::from_rows(origin.into_iter().map(owner).collect());
                for segment in &old {
                    for row in segment.owners.live() {
                        for &id in segment.owners.ids(row) {
                            state.tail.add(id, segment.vectors.values(row));
                        }
                    }
                }
                if owners.live_rows() > 0 {
                    let number = sealed.number();
                    let (graph, graph_failed) = outcome(graph);
                    sealed.segments.push(Segment { number, vectors, owners, graph, graph_failed });
                }
                old
            }
        }
    }
}

/// The graph, and whether to give up on one. An unwanted build is not tried again either: the process is ending.
fn outcome(graph: Option<Result<Graph, BuildError>>) -> (Option<Graph>, bool) {
    match graph {
        None => (None, false),
        Some(Ok(graph)) => (Some(graph), false),
        Some(Err(error)) => {
            tracing::debug!(%error, "a segment stays without a graph and is scanned");
            (None, true)
        }
    }
}
