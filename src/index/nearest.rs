//! One search: the closest rows of all tables it is shown, exactly.
//!
//! Invariant: the result is what a scan of the f32 values of these tables finds, to the bit, all that tie with the last
//! included. A row is dropped only when even its upper bound is below the k-th lower bound or the floor.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    index::{
        Candidate,
        ids::Owners,
        table::{Table, rank},
        vectors::{Query, Vectors, row_number},
    },
    similarity::Similarity,
};

/// A search under way. Tables of another dimension than the query's hold nothing for it.
pub(super) struct Nearest<'a> {
    values: &'a [f32],
    /// Made when a table has codes: most have none.
    query: Option<Query>,
    k: usize,
    floor: f32,
    tables: Vec<(&'a Vectors, &'a Owners)>,
    lower: Lowest,
    /// No row whose upper bound is below this can be in the result.
    bar: f32,
    rows: Vec<Survivor>,
}

/// A row that may still be among the `k` closest.
struct Survivor {
    table: u32,
    row: u32,
    upper: f32,
}

impl<'a> Nearest<'a> {
    pub(super) fn new(values: &'a [f32], k: usize, floor: Similarity) -> Self {
        let floor = floor.get();
        Self { values, query: None, k, floor, tables: Vec::new(), lower: Lowest::new(k), bar: floor, rows: Vec::new() }
    }

    /// What is looked for, as codes.
    pub(super) fn query(&mut self) -> &Query {
        self.query.get_or_insert_with(|| Query::new(self.values))
    }

    /// What is looked for, as it is.
    pub(super) const fn values(&self) -> &'a [f32] {
        self.values
    }

    /// How many are looked for.
    pub(super) const fn k(&self) -> usize {
        self.k
    }

    /// No row less similar than this can be in the result.
    pub(super) const fn bar(&self) -> f32 {
        self.bar
    }

    /// Takes the rows of `table` into account.
    pub(super) fn look_into(&mut self, table: &'a Table) {
        self.look_at(&table.vectors, &table.owners, |_| true);
    }

    /// Takes those rows of `vectors` into account that `live` accepts; of the others nobody may be an owner.
    pub(super) fn look_at(&mut self, vectors: &'a Vectors, owners: &'a Owners, live: impl Fn(u32) -> bool) {
        let Some(number) = self.begin(vectors, owners) else { return };
        if !vectors.is_coded() {
            for row in (0..row_number(vectors.len())).filter(|row| live(*row)) {
                if let Some(similarity) = vectors.similarity(self.values, row) {
                    self.add(Survivor { table: number, row, upper: similarity.get() }, similarity.get());
                }
            }
            return;
        }
        let query = self.query.take().unwrap_or_else(|| Query::new(self.values));
        vectors.bound_all(&query, self.bar, |row, lower, upper| {
            if live(row) { self.add(Survivor { table: number, row, upper }, lower) } else { self.bar }
        });
        self.query = Some(query);
    }

    /// Takes these rows of `vectors` into account, each once and with its exact similarity, and no others.
    pub(super) fn take_in(
        &mut self,
        vectors: &'a Vectors,
        owners: &'a Owners,
        rows: impl IntoIterator<Item = (u32, Similarity)>,
    ) {
        let Some(number) = self.begin(vectors, owners) else { return };
        for (row, similarity) in rows {
            self.add(Survivor { table: number, row, upper: similarity.get() }, similarity.get());
        }
    }

    /// The number of a table; `None` when it holds nothing for this search.
    fn begin(&mut self, vectors: &'a Vectors, owners: &'a Owners) -> Option<u32> {
        if self.k == 0 || self.values.is_empty() || vectors.dims() != self.values.len() {
            return None;
        }
        self.tables.push((vectors, owners));
        Some(row_number(self.tables.len() - 1))
    }

    fn add(&mut self, row: Survivor, lower: f32) -> f32 {
        if row.upper >= self.bar {
            self.lower.push(lower);
            if let Some(bar) = self.lower.bar() {
                self.bar = self.bar.max(bar);
            }
            self.rows.push(row);
        }
        self.bar
    }

    /// The `k` closest entries, closest first, the newest first among equals.
    pub(super) fn finish(mut self) -> Vec<Candidate> {
        let bar = self.bar;
        self.rows.retain(|row| row.upper >= bar);
        self.rows.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper));
        let mut best = Lowest::new(self.k);
        let mut found = Vec::with_capacity(self.k.min(self.rows.len()));
        for Survivor { table, row, upper } in self.rows {
            if best.bar().is_some_and(|bar| upper < bar) {
                break;
            }
            let Some((vectors, owners)) = self.tables.get(table as usize) else { continue };
            let similarity = vectors.similarity(self.values, row);
            if let Some(similarity) = similarity.filter(|s| s.get() >= self.floor) {
                best.push(similarity.get());
                // Of each row the newest: no more can be asked for.
                let newest = owners.ids(row).iter().rev().take(self.k);
                found.extend(newest.map(|&id| Candidate { id, similarity }));
            }
        }
        rank(found, self.k)
    }
}

/// The `k` largest numbers seen, for the sake of the smallest of them.
struct Lowest {
    k: usize,
    heap: BinaryHeap<Reverse<Score>>,
}

impl Lowest {
    fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    fn push(&mut self, value: f32) {
        if self.heap.len() < self.k {
            self.heap.push(Reverse(Score(value)));
        } else if let Some(mut lowest) = self.heap.peek_mut()
            && lowest.0.0 < value
        {
            lowest.0 = Score(value);
        }
    }

    /// The `k`-th largest, once there are `k`.
    fn bar(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.heap.len() == self.k).map(|lowest| lowest.0.0)
    }
}

/// A finite score with a total order.
#[derive(PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
