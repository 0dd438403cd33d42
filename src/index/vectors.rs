//! Rows of distinct vectors: f32 values, and int8 codes to preselect with.
//!
//! Invariants: no vector is held twice; all have one dimension; [`Vectors::nearest`] returns exactly the rows that an
//! f32 scan would. The codes only rule rows out: for a row `v = v' + e` and a query `q = q' + f` (codes plus error),
//! `q·v - q'·v' = q·e + f·v'`, so with unit vectors the estimate is off by at most `|e| + |f|·(1 + |e|)`. Both norms
//! are measured, not assumed; a row is dropped only when even its upper bound is below the k-th lower bound.

use std::{collections::BinaryHeap, mem::size_of};

use crate::{
    index::{ids::IdMap, kernel},
    similarity::{Similarity, dot},
};

/// Up to this many rows a search through them is as fast as a hash map, and much smaller.
pub(super) const SMALL: usize = 16;

/// Rows whose codes are multiplied in one go.
const BLOCK: usize = 256;

/// A query, quantised to 16 bits so that nearly all of the error is the rows'.
#[derive(Debug, Clone)]
pub(super) struct Query {
    codes: Box<[i16]>,
    scale: f32,
    /// `|f|`: what the codes lose.
    error: f32,
}

impl Query {
    /// Quantises a unit vector.
    pub(super) fn new(values: &[f32]) -> Self {
        let dims = as_f32(values.len());
        let max = values.iter().fold(f32::EPSILON, |max, v| max.max(v.abs()));
        // A sum of products over any set of lanes is at most |query codes| * |row codes|, and |row codes| is at most
        // 127 * sqrt(dims): half of an i32 is left as headroom.
        let levels = (32_767.0 / max).min(1_073_741_824.0 / (127.0 * dims.sqrt().max(1.0)));
        #[expect(clippy::cast_possible_truncation, reason = "bounded by 32767 above")]
        let codes: Box<[i16]> = values.iter().map(|v| nearest_integer(v * levels) as i16).collect();
        let scale = 1.0 / levels;
        let error = error_norm(values.iter().zip(&codes).map(|(v, &c)| v - f32::from(c) * scale));
        Self { codes, scale, error }
    }
}

/// How a row's codes relate to its values.
#[derive(Debug, Clone, Copy)]
struct Code {
    scale: f32,
    /// `|e|`: what the codes lose.
    error: f32,
}

/// A row and its exact similarity to a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Near {
    pub(super) row: u32,
    pub(super) similarity: Similarity,
}

/// Distinct vectors of one dimension, numbered from zero.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    dims: usize,
    values: Vec<f32>,
    codes: Vec<i8>,
    code: Vec<Code>,
    /// Row by hash of its values, once there are more than [`SMALL`] rows.
    by_hash: Option<Box<IdMap>>,
}

impl Vectors {
    pub(super) fn with_capacity(dims: usize, rows: usize) -> Self {
        Self {
            dims,
            values: Vec::with_capacity(dims * rows),
            codes: Vec::with_capacity(dims * rows),
            code: Vec::with_capacity(rows),
            by_hash: (rows > SMALL).then(|| Box::new(IdMap::with_capacity_and_hasher(rows, Default::default()))),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.code.len()
    }

    /// Zero until the first row.
    pub(super) fn dims(&self) -> usize {
        self.dims
    }

    pub(super) fn values(&self, row: u32) -> &[f32] {
        let start = row as usize * self.dims;
        self.values.get(start..start + self.dims).unwrap_or_default()
    }

    fn codes(&self, row: u32) -> &[i8] {
        let start = row as usize * self.dims;
        self.codes.get(start..start + self.dims).unwrap_or_default()
    }

    fn code(&self, row: u32) -> Code {
        self.code.get(row as usize).copied().unwrap_or(Code { scale: 0.0, error: 0.0 })
    }

    /// The row that holds exactly `values`.
    pub(super) fn find(&self, values: &[f32]) -> Option<u32> {
        if values.len() != self.dims {
            return None;
        }
        match &self.by_hash {
            Some(map) => map.get(&hash(values)).copied().filter(|&row| self.values(row) == values),
            None => (0..row_number(self.len())).find(|&row| self.values(row) == values),
        }
    }

    /// Adds a vector that [`Vectors::find`] does not know. The first one sets the dimension.
    pub(super) fn push(&mut self, values: &[f32]) -> u32 {
        if self.code.is_empty() {
            self.dims = values.len();
        }
        let max = values.iter().fold(f32::EPSILON, |max, v| max.max(v.abs()));
        let (scale, levels) = (max / 127.0, 127.0 / max);
        self.grow();
        #[expect(clippy::cast_possible_truncation, reason = "v * levels is at most 127")]
        self.codes.extend(values.iter().map(|v| nearest_integer(v * levels) as i8));
        let row = row_number(self.code.len());
        let start = self.values.len();
        self.values.extend_from_slice(values);
        let codes = self.codes.get(start..).unwrap_or_default();
        let error = error_norm(values.iter().zip(codes).map(|(v, &c)| v - f32::from(c) * scale));
        self.code.push(Code { scale, error });
        self.remember(row);
        row
    }

    /// Adds `row` of `other`, as it is.
    pub(super) fn push_from(&mut self, other: &Self, row: u32) -> u32 {
        if self.code.is_empty() {
            self.dims = other.dims;
        }
        let new = row_number(self.code.len());
        self.grow();
        self.values.extend_from_slice(other.values(row));
        self.codes.extend_from_slice(other.codes(row));
        self.code.push(other.code(row));
        self.remember(new);
        new
    }

    /// Removes `row`; the last row takes its number.
    pub(super) fn swap_remove(&mut self, row: u32) {
        let Some(last) = self.code.len().checked_sub(1).map(row_number).filter(|&last| row <= last) else {
            return;
        };
        if let Some(map) = &mut self.by_hash {
            let range = |row: u32| row as usize * self.dims..(row as usize + 1) * self.dims;
            let moved = self.values.get(range(last)).map(hash);
            let gone = self.values.get(range(row)).map(hash);
            if let Some(gone) = gone.filter(|gone| map.get(gone) == Some(&row)) {
                map.remove(&gone);
            }
            if let Some(moved) = moved.filter(|moved| map.get(moved) == Some(&last)) {
                map.insert(moved, row);
            }
        }
        let (from, to) = (last as usize * self.dims, row as usize * self.dims);
        self.values.copy_within(from.., to);
        self.values.truncate(from);
        self.codes.copy_within(from.., to);
        self.codes.truncate(from);
        self.code.swap_remove(row as usize);
    }

    /// Doubling wastes half of a small partition's memory, so growth is by a quarter.
    fn grow(&mut self) {
        let rows = self.code.len();
        if rows == self.code.capacity() {
            let more = (rows / 4).max(1);
            self.code.reserve_exact(more);
            self.values.reserve_exact(more * self.dims);
            self.codes.reserve_exact(more * self.dims);
        }
    }

    fn remember(&mut self, row: u32) {
        if self.by_hash.is_none() && self.code.len() > SMALL {
            let rows = (0..row).map(|row| (hash(self.values(row)), row)).collect();
            self.by_hash = Some(Box::new(rows));
        }
        if self.by_hash.is_some() {
            let key = hash(self.values(row));
            if let Some(map) = &mut self.by_hash {
                // Two vectors of one hash: the second is merely not recognised when it comes again.
                map.entry(key).or_insert(row);
            }
        }
    }

    /// Exact cosine of `values` and `row`.
    pub(super) fn similarity(&self, values: &[f32], row: u32) -> Option<Similarity> {
        Similarity::new(dot(values, self.values(row)))
    }

    /// Estimated cosine from the codes; always finite.
    pub(super) fn estimate(&self, query: &Query, row: u32) -> f32 {
        let mut out = [0];
        kernel::scan(&query.codes, self.codes(row), &mut out);
        as_score(out[0]) * query.scale * self.code(row).scale
    }

    /// Estimated cosine of two rows; always finite.
    pub(super) fn estimate_pair(&self, a: u32, b: u32) -> f32 {
        let product = kernel::pair(self.codes(a), self.codes(b));
        as_score(product) * self.code(a).scale * self.code(b).scale
    }

    /// The `k` rows closest to `values` among those that `live` accepts, at or above `floor`, and all that tie with the
    /// last of them: exactly what a scan of the f32 values finds.
    pub(super) fn nearest(&self, values: &[f32], k: usize, floor: f32, live: impl Fn(u32) -> bool) -> Vec<Near> {
        if k == 0 || values.len() != self.dims || self.dims == 0 {
            return Vec::new();
        }
        let mut bounds = Bounds::new(k.min(self.len()), floor);
        self.bound_all(values, &live, &mut bounds);
        let mut rows = bounds.survivors();
        rows.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper));
        let mut best = Lowest::new(k);
        let mut found = Vec::with_capacity(k.min(rows.len()));
        for Survivor { row, upper } in rows {
            if best.bar().is_some_and(|bar| upper < bar) {
                break;
            }
            if let Some(similarity) = self.similarity(values, row).filter(|s| s.get() >= floor) {
                best.push(similarity.get());
                found.push(Near { row, similarity });
            }
        }
        if let Some(bar) = best.bar() {
            found.retain(|near| near.similarity.get() >= bar);
        }
        found
    }

    /// Bounds the similarity of every row by its codes.
    fn bound_all(&self, values: &[f32], live: &impl Fn(u32) -> bool, bounds: &mut Bounds) {
        let query = Query::new(values);
        // What f32 rounding can add: eight lanes, then their sum.
        let rounding = (as_f32(self.dims) / 8.0 + 16.0) * f32::EPSILON;
        let mut products = [0i32; BLOCK];
        let mut row = 0u32;
        for (codes, code) in self.codes.chunks(BLOCK * self.dims).zip(self.code.chunks(BLOCK)) {
            let products = products.get_mut(..code.len()).unwrap_or_default();
            kernel::scan(&query.codes, codes, products);
            for (&product, code) in products.iter().zip(code) {
                let estimate = as_score(product) * query.scale * code.scale;
                let error = (code.error + query.error * (1.0 + code.error)) * 1.001 + rounding;
                if estimate + error >= bounds.bar && live(row) {
                    bounds.add(row, estimate - error, estimate + error);
                }
                row += 1;
            }
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
            + self.codes.capacity()
            + self.code.capacity() * size_of::<Code>()
            + self.by_hash.as_ref().map_or(0, |map| size_of::<IdMap>() + map.capacity() * 8 / 7 * 17)
    }
}

#[derive(Debug)]
struct Survivor {
    row: u32,
    upper: f32,
}

/// Rows that may still be among the `k` closest.
struct Bounds {
    lower: Lowest,
    /// No row whose upper bound is below this can be in the result.
    bar: f32,
    rows: Vec<Survivor>,
}

impl Bounds {
    fn new(k: usize, floor: f32) -> Self {
        Self { lower: Lowest::new(k), bar: floor, rows: Vec::new() }
    }

    fn add(&mut self, row: u32, lower: f32, upper: f32) {
        self.lower.push(lower);
        if let Some(bar) = self.lower.bar() {
            self.bar = self.bar.max(bar);
        }
        self.rows.push(Survivor { row, upper });
    }

    fn survivors(mut self) -> Vec<Survivor> {
        let bar = self.bar;
        self.rows.retain(|row| row.upper >= bar);
        self.rows
    }
}

/// The `k` largest numbers seen, for the sake of the smallest of them.
struct Lowest {
    k: usize,
    heap: BinaryHeap<std::cmp::Reverse<Score>>,
}

impl Lowest {
    fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    fn push(&mut self, value: f32) {
        if self.heap.len() < self.k {
            self.heap.push(std::cmp::Reverse(Score(value)));
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

/// Rounds in a shape the compiler vectorises; `f32::round` is a call on baseline processors. Which way halves go does
/// not matter, the error is measured afterwards.
#[expect(clippy::cast_possible_truncation, reason = "codes are at most 16 bits")]
fn nearest_integer(v: f32) -> i32 {
    (v + 0.5f32.copysign(v)) as i32
}

fn error_norm(errors: impl Iterator<Item = f32>) -> f32 {
    errors.map(|e| e * e).sum::<f32>().sqrt()
}

/// Hash of the bits of a vector; not keyed, since a collision costs a missed de-duplication and nothing else.
fn hash(values: &[f32]) -> u64 {
    values.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, value| {
        (hash.rotate_left(23) ^ u64::from(value.to_bits())).wrapping_mul(0xd6e8_feb8_6659_fd93)
    })
}

/// Row numbers are 32 bits: four thousand million vectors of one partition do not fit in memory.
pub(super) fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
fn as_f32(n: usize) -> f32 {
    n as f32
}

#[expect(clippy::cast_precision_loss, reason = "the loss is far below the error bound's slack")]
fn as_score(product: i32) -> f32 {
    product as f32
}
