//! What divides a large partition into cells: the middles of its topics.
//!
//! Invariants: [`Centroids::nearest`] depends on the values of a vector alone, so the cell that a vector was put into is
//! the one that a query of the same values looks into. Which cell that is decides how soon a neighbour is found, never
//! how near it is said to be.
//!
//! They are made in two steps, some dozen groups and then the cells of each group, over a sample of the rows: that takes
//! seconds for a million rows where one step would take minutes, and finding a vector's cell takes microseconds.

use crate::index::{
    kernel,
    vectors::{Query, as_score, encode},
};

/// Rows a cell is made for. Fewer make the list of cells longer than what is looked at in them.
const ROWS_A_CELL: usize = 96;
/// Rows of the sample for each cell.
const SAMPLE_A_CELL: usize = 24;
/// Rounds of moving each middle into the middle of the rows that are nearest to it.
const ROUNDS: usize = 6;
/// Groups whose cells are compared with a vector.
const GROUPS_TRIED: usize = 8;
/// Rows compared with every centroid before the next rows are fetched.
const BLOCK: usize = 128;

/// Codes of vectors, and the scale of each.
#[derive(Debug, Default)]
pub(super) struct Sample {
    dims: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

impl Sample {
    /// How many rows to take from `rows` of them.
    pub(super) fn wanted(rows: usize) -> usize {
        (cells(rows) * SAMPLE_A_CELL).min(rows)
    }

    /// Adds a row; rows of another dimension than the first are left out.
    pub(super) fn push(&mut self, codes: &[i8], scale: f32) {
        if self.scales.is_empty() {
            self.dims = codes.len();
        }
        if self.dims == codes.len() && self.dims > 0 {
            self.codes.extend_from_slice(codes);
            self.scales.push(scale);
        }
    }

    /// Adds a row that has no codes yet.
    pub(super) fn push_values(&mut self, values: &[f32]) {
        let code = encode(values, &mut self.codes);
        self.dims = values.len();
        self.scales.push(code.scale);
    }

    fn len(&self) -> usize {
        self.scales.len()
    }

    fn row(&self, row: usize) -> &[i8] {
        self.codes.get(row * self.dims..(row + 1) * self.dims).unwrap_or_default()
    }

    fn scale(&self, row: usize) -> f32 {
        self.scales.get(row).copied().unwrap_or(0.0)
    }

    fn values(&self, row: usize) -> impl Iterator<Item = f32> {
        let scale = self.scale(row);
        self.row(row).iter().map(move |&code| f32::from(code) * scale)
    }

    /// The numbers of the rows nearest to `query`, and how near, into `out`.
    fn scores(&self, query: &[i16], from: usize, to: usize, mut out: impl FnMut(usize, f32)) {
        let mut products = [0i32; BLOCK];
        let mut row = from;
        while row < to {
            let rows = BLOCK.min(to - row);
            let products = products.get_mut(..rows).unwrap_or_default();
            kernel::scan(
                query,
                self.codes.get(row * self.dims..(row + rows) * self.dims).unwrap_or_default(),
                products,
            );
            for &product in products.iter() {
                out(row, as_score(product) * self.scale(row));
                row += 1;
            }
        }
    }
}

fn cells(rows: usize) -> usize {
    (rows / ROWS_A_CELL).max(1)
}

/// The middles of all cells, those of a group side by side.
#[derive(Debug)]
pub(super) struct Centroids {
    groups: Sample,
    cells: Sample,
    /// Where each group's cells begin, and where the last one's end.
    starts: Vec<usize>,
}

impl Centroids {
    /// Divides what `sample` was taken from, `rows` rows. `None` when that is not `wanted` any more or there is nothing to
    /// divide.
    pub(super) fn train(sample: &Sample, rows: usize, wanted: &impl Fn() -> bool) -> Option<Self> {
        if sample.len() == 0 {
            return None;
        }
        let mut random = fastrand::Rng::with_seed(rows as u64);
        let count = cells(rows);
        let part = every_nth(sample, count.isqrt().max(1) * SAMPLE_A_CELL * 8);
        let groups = means(&part, count.isqrt().max(1), &mut random, wanted)?;
        let nearest = nearest_of(sample, &groups);
        let mut members: Vec<Sample> = (0..groups.len()).map(|_| Sample::default()).collect();
        for (row, &group) in nearest.iter().enumerate() {
            if let Some(members) = members.get_mut(group as usize) {
                members.push(sample.row(row), sample.scale(row));
            }
        }
        let (mut cells, mut starts) = (Sample::default(), vec![0]);
        for members in &members {
            let share = (count * members.len()).div_ceil(sample.len());
            if share > 0 {
                let means = means(members, share, &mut random, wanted)?;
                (0..means.len()).for_each(|row| cells.push(means.row(row), means.scale(row)));
            }
            starts.push(cells.len());
        }
        Some(Self { groups, cells, starts })
    }

    /// Dimensions of the vectors that are divided.
    pub(super) const fn dims(&self) -> usize {
        self.cells.dims
    }

    /// Cells.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Calls `out` with each cell and the similarity of its middle to `query`, in units of the query.
    pub(super) fn scores(&self, query: &Query, out: impl FnMut(usize, f32)) {
        if query.codes().len() == self.cells.dims {
            self.cells.scores(query.codes(), 0, self.len(), out);
        }
    }

    /// The cell of a vector.
    pub(super) fn nearest(&self, query: &Query) -> usize {
        if query.codes().len() != self.cells.dims {
            return 0;
        }
        let mut groups: Vec<(usize, f32)> = Vec::with_capacity(self.groups.len());
        self.groups.scores(query.codes(), 0, self.groups.len(), |group, score| groups.push((group, score)));
        groups.sort_unstable_by(|(a, one), (b, other)| other.total_cmp(one).then(a.cmp(b)));
        let mut best = (0, f32::NEG_INFINITY);
        for (group, _) in groups.into_iter().take(GROUPS_TRIED) {
            let (Some(&from), Some(&to)) = (self.starts.get(group), self.starts.get(group + 1)) else { continue };
            self.cells.scores(query.codes(), from, to, |cell, score| {
                if score > best.1 {
                    best = (cell, score);
                }
            });
        }
        best.0
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let of = |sample: &Sample| sample.codes.capacity() + sample.scales.capacity() * size_of::<f32>();
        of(&self.groups) + of(&self.cells) + self.starts.capacity() * size_of::<usize>()
    }
}

fn every_nth(sample: &Sample, most: usize) -> Sample {
    let step = sample.len().div_ceil(most.max(1)).max(1);
    let mut part = Sample::default();
    (0..sample.len()).step_by(step).for_each(|row| part.push(sample.row(row), sample.scale(row)));
    part
}

/// The nearest of `centroids` for each row of `sample`.
fn nearest_of(sample: &Sample, centroids: &Sample) -> Vec<u32> {
    let mut best = vec![(0u32, f32::NEG_INFINITY); sample.len()];
    let queries: Vec<Query> = (0..centroids.len()).map(|row| query_of(centroids, row)).collect();
    let scales: Vec<f32> = queries.iter().map(Query::scale).collect();
    for from in (0..sample.len()).step_by(BLOCK) {
        let to = (from + BLOCK).min(sample.len());
        for ((number, query), scale) in (0u32..).zip(&queries).zip(&scales) {
            sample.scores(query.codes(), from, to, |row, score| {
                // The row's own scale is in every score alike; the centroid's is not.
                let score = score * scale;
                if let Some(best) = best.get_mut(row).filter(|best| best.1 < score) {
                    *best = (number, score);
                }
            });
        }
    }
    best.into_iter().map(|(number, _)| number).collect()
}

fn query_of(sample: &Sample, row: usize) -> Query {
    Query::new(&sample.values(row).collect::<Vec<f32>>())
}

/// At most `count` middles of `sample`, each of unit length.
fn means(sample: &Sample, count: usize, random: &mut fastrand::Rng, wanted: &impl Fn() -> bool) -> Option<Sample> {
    let count = count.clamp(1, sample.len().max(1));
    let mut rows: Vec<usize> = (0..sample.len()).collect();
    for at in 0..count.min(rows.len()) {
        let other = random.usize(at..rows.len());
        rows.swap(at, other);
    }
    let mut means = Sample::default();
    rows.iter().take(count).for_each(|&row| means.push(sample.row(row), sample.scale(row)));
    for _ in 0..ROUNDS {
        if !wanted() {
            return None;
        }
        let nearest = nearest_of(sample, &means);
        let mut sums = vec![0.0f32; means.len() * sample.dims];
        for (row, &mean) in nearest.iter().enumerate() {
            let start = mean as usize * sample.dims;
            let Some(sum) = sums.get_mut(start..start + sample.dims) else { continue };
            sum.iter_mut().zip(sample.values(row)).for_each(|(sum, value)| *sum += value);
        }
        let mut moved = Sample::default();
        for sum in sums.chunks_exact(sample.dims) {
            let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
            if norm > f32::EPSILON {
                moved.push_values(&sum.iter().map(|value| value / norm).collect::<Vec<f32>>());
            } else {
                // Nobody's nearest: it is put where there are rows.
                let row = random.usize(..sample.len());
                moved.push(sample.row(row), sample.scale(row));
            }
        }
        means = moved;
    }
    Some(means)
}
