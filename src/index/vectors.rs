//! Rows of distinct vectors: f32 values, and int8 codes to preselect with.
//!
//! Invariants: no vector is held twice; all have one dimension. The codes only rule rows out: for a row `v = v' + e` and a
//! query `q = q' + f` (codes plus error), `q·v - q'·v' = q·e + f·v'`, so with unit vectors the estimate is off by at most
//! `|e| + |f|·(1 + |e|)`. Both norms are measured, not assumed.
//!
//! A table of few rows has no codes and no map: most partitions are one conversation, and looking at sixteen rows is as
//! fast. The rows of a cell have codes from the first on and never a map: there are some hundred of them, and hash maps
//! would cost more than they save.

use std::mem::size_of;

use crate::{
    index::{ids::IdMap, kernel},
    similarity::{Similarity, dot},
};

/// Up to this many rows a search through them is as fast as a hash map, and much smaller.
pub(super) const SMALL: usize = 16;

/// Rows whose codes are multiplied in one go.
pub(super) const BLOCK: usize = 256;

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

    pub(super) fn codes(&self) -> &[i16] {
        &self.codes
    }

    pub(super) const fn scale(&self) -> f32 {
        self.scale
    }
}

/// How a row's codes relate to its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Code {
    pub(super) scale: f32,
    /// `|e|`: what the codes lose.
    error: f32,
}

/// Appends the codes of a vector to `codes`.
pub(super) fn encode(values: &[f32], codes: &mut Vec<i8>) -> Code {
    let max = values.iter().fold(f32::EPSILON, |max, v| max.max(v.abs()));
    let (scale, levels) = (max / 127.0, 127.0 / max);
    let start = codes.len();
    #[expect(clippy::cast_possible_truncation, reason = "v * levels is at most 127")]
    codes.extend(values.iter().map(|v| nearest_integer(v * levels) as i8));
    let codes = codes.get(start..).unwrap_or_default();
    let error = error_norm(values.iter().zip(codes).map(|(v, &c)| v - f32::from(c) * scale));
    Code { scale, error }
}

/// What is held of each row beside its values.
#[derive(Debug, Default)]
struct Coded {
    codes: Vec<i8>,
    code: Vec<Code>,
    /// Row by hash of its values; `None` in a cell.
    by_hash: Option<IdMap>,
}

/// Distinct vectors of one dimension, numbered from zero.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    dims: u32,
    /// These are the rows of a cell.
    cell: bool,
    values: Vec<f32>,
    /// `None` while there are few rows.
    coded: Option<Box<Coded>>,
}

impl Vectors {
    /// Rows of a cell.
    pub(super) fn of_cell() -> Self {
        Self { cell: true, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.dims().max(1)
    }

    /// Zero until the first row.
    pub(super) fn dims(&self) -> usize {
        self.dims as usize
    }

    pub(super) fn values(&self, row: u32) -> &[f32] {
        self.values.get(self.range(row)).unwrap_or_default()
    }

    fn range(&self, row: u32) -> std::ops::Range<usize> {
        let start = row as usize * self.dims();
        start..start + self.dims()
    }

    /// Codes of `row`, and their scale; `None` where there are no codes.
    pub(super) fn code_of(&self, row: u32) -> Option<(&[i8], Code)> {
        let coded = self.coded.as_ref()?;
        Some((coded.codes.get(self.range(row))?, *coded.code.get(row as usize)?))
    }

    /// The row that holds exactly `values`.
    pub(super) fn find(&self, values: &[f32]) -> Option<u32> {
        if values.len() != self.dims() {
            return None;
        }
        let same = |row: &u32| self.values(*row) == values;
        let Some(coded) = &self.coded else { return (0..row_number(self.len())).find(same) };
        if let Some(map) = &coded.by_hash {
            return map.get(&hash(values)).copied().filter(same);
        }
        // Equal vectors have equal scales and errors, and hardly any others do.
        let mut codes = Vec::with_capacity(values.len());
        let wanted = encode(values, &mut codes);
        let alike = (0..).zip(&coded.code).filter(|(_, code)| **code == wanted).map(|(row, _)| row);
        alike.into_iter().find(same)
    }

    /// Adds a vector that [`Vectors::find`] does not know. The first one sets the dimension.
    pub(super) fn push(&mut self, values: &[f32]) -> u32 {
        if self.values.is_empty() {
            self.dims = row_number(values.len());
        }
        let row = row_number(self.len());
        self.grow();
        self.values.extend_from_slice(values);
        if self.coded.is_none() && (self.cell || self.len() > SMALL) {
            self.code_all();
        } else if let Some(coded) = &mut self.coded {
            coded.push(values, row);
        }
        row
    }

    /// Codes for all rows, however few.
    pub(super) fn coded(mut self) -> Self {
        if self.coded.is_none() {
            self.code_all();
        }
        self
    }

    fn code_all(&mut self) {
        let rows = self.values.capacity() / self.dims().max(1);
        let mut coded = Coded {
            codes: Vec::with_capacity(rows * self.dims()),
            code: Vec::with_capacity(rows),
            by_hash: (!self.cell).then(IdMap::default),
        };
        for (row, values) in (0..).zip(self.values.chunks_exact(self.dims().max(1))) {
            coded.push(values, row);
        }
        self.coded = Some(Box::new(coded));
    }

    /// Removes `row`; the last row takes its number.
    pub(super) fn swap_remove(&mut self, row: u32) {
        let Some(last) = self.len().checked_sub(1).map(row_number).filter(|&last| row <= last) else { return };
        let (gone, moved) = (self.range(row), self.range(last));
        if let Some(coded) = &mut self.coded {
            if let Some(map) = &mut coded.by_hash {
                let key = |range: std::ops::Range<usize>| self.values.get(range).map(hash);
                if let Some(key) = key(gone.clone()).filter(|key| map.get(key) == Some(&row)) {
                    map.remove(&key);
                }
                if let Some(key) = key(moved.clone()).filter(|key| map.get(key) == Some(&last)) {
                    map.insert(key, row);
                }
            }
            coded.codes.copy_within(moved.clone(), gone.start);
            coded.codes.truncate(moved.start);
            coded.code.swap_remove(row as usize);
        }
        self.values.copy_within(moved.clone(), gone.start);
        self.values.truncate(moved.start);
        self.shrink();
    }

    /// Doubling wastes half of a small partition's memory, so growth is by a quarter, in a large table by an eighth.
    fn grow(&mut self) {
        if self.values.len() < self.values.capacity() {
            return;
        }
        let rows = self.len();
        let more = if rows < 64 { rows / 4 } else { rows / 8 }.max(1);
        self.values.reserve_exact(more * self.dims());
        if let Some(coded) = &mut self.coded {
            coded.code.reserve_exact(more);
            coded.codes.reserve_exact(more * self.dims as usize);
        }
    }

    /// Rows come and go; what they leave must not stay for ever.
    fn shrink(&mut self) {
        let rows = self.len();
        if self.values.len() * 2 >= self.values.capacity() {
            return;
        }
        let keep = rows + rows / 8;
        self.values.shrink_to(keep * self.dims());
        if let Some(coded) = &mut self.coded {
            coded.code.shrink_to(keep);
            coded.codes.shrink_to(keep * self.dims as usize);
            if let Some(map) = &mut coded.by_hash {
                map.shrink_to(keep);
            }
        }
    }

    /// Exact cosine of `values` and `row`.
    pub(super) fn similarity(&self, values: &[f32], row: u32) -> Option<Similarity> {
        Similarity::new(dot(values, self.values(row)))
    }

    /// Estimated cosine from the codes; always finite, and -1 where there are none.
    pub(super) fn estimate(&self, query: &Query, row: u32) -> f32 {
        self.code_of(row).map_or(-1.0, |(codes, code)| {
            let mut product = [0];
            kernel::scan(&query.codes, codes, &mut product);
            as_score(product[0]) * query.scale * code.scale
        })
    }

    /// Estimated cosine of two rows; always finite, and -1 where there are no codes.
    pub(super) fn estimate_pair(&self, a: u32, b: u32) -> f32 {
        let (Some((a, of_a)), Some((b, of_b))) = (self.code_of(a), self.code_of(b)) else { return -1.0 };
        as_score(kernel::pair(a, b)) * of_a.scale * of_b.scale
    }

    /// Calls `found` with each row whose upper bound is not below the bar that it returned last, and with both bounds.
    pub(super) fn bound_all(&self, query: &Query, mut bar: f32, mut found: impl FnMut(u32, f32, f32) -> f32) {
        let Some(coded) = &self.coded else { return };
        // What f32 rounding can add: eight lanes, then their sum.
        let rounding = (as_f32(self.dims()) / 8.0 + 16.0) * f32::EPSILON;
        let mut products = [0i32; BLOCK];
        let mut row = 0u32;
        for (codes, code) in coded.codes.chunks(BLOCK * self.dims().max(1)).zip(coded.code.chunks(BLOCK)) {
            let products = products.get_mut(..code.len()).unwrap_or_default();
            kernel::scan(&query.codes, codes, products);
            for (&product, code) in products.iter().zip(code) {
                let estimate = as_score(product) * query.scale * code.scale;
                let error = (code.error + query.error * (1.0 + code.error)) * 1.001 + rounding;
                if estimate + error >= bar {
                    bar = found(row, estimate - error, estimate + error);
                }
                row += 1;
            }
        }
    }

    /// Whether rows have codes; where they have none there are few.
    pub(super) const fn is_coded(&self) -> bool {
        self.coded.is_some()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>() + self.coded.as_ref().map_or(0, |coded| coded.bytes())
    }
}

impl Coded {
    fn push(&mut self, values: &[f32], row: u32) {
        let code = encode(values, &mut self.codes);
        self.code.push(code);
        if let Some(map) = &mut self.by_hash {
            // Two vectors of one hash: the second is merely not recognised when it comes again.
            map.entry(hash(values)).or_insert(row);
        }
    }

    fn bytes(&self) -> usize {
        let map = self.by_hash.as_ref().map_or(0, map_bytes);
        size_of::<Self>() + self.codes.capacity() + self.code.capacity() * size_of::<Code>() + map
    }
}

/// Bytes of a map's table.
pub(super) fn map_bytes(map: &IdMap) -> usize {
    map.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1)
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
pub(super) fn as_score(product: i32) -> f32 {
    product as f32
}
