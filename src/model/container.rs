//! The model file: a JSON header that says where each block lies, then the blocks. `models/export.py` is its writer and
//! describes the layout.
//!
//! Every offset is checked: a damaged file is an error, never a panic or a wrong model.

use ndarray::Array2;

use super::ModelError;

const MAGIC: &[u8; 8] = b"SMBLBERT";
const VERSION: u32 = 1;
const ALIGN: usize = 64;
const F32: usize = size_of::<f32>();

/// What the graph gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Head {
    /// One vector a token.
    Hidden,
    /// One number.
    Logit,
}

/// The header as written.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) head: Head,
    pub(super) digest: String,
    hidden: usize,
    window: usize,
    graph: Span,
    unpacked: usize,
    words: Coded,
    positions: Plain,
    types: Plain,
    weights: Vec<Weight>,
}

#[derive(Debug, serde::Deserialize)]
struct Span {
    at: usize,
    len: usize,
}

/// int8 rows with one scale a row.
#[derive(Debug, serde::Deserialize)]
struct Coded {
    rows: usize,
    codes: usize,
    scales: usize,
}

/// fp32 rows.
#[derive(Debug, serde::Deserialize)]
struct Plain {
    rows: usize,
    values: usize,
}

/// A weight of the graph: `codes` and `scales` (one a column), or `values`.
#[derive(Debug, serde::Deserialize)]
struct Weight {
    rows: usize,
    cols: usize,
    to: usize,
    #[serde(flatten)]
    stored: Stored,
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum Stored {
    Coded { codes: usize, scales: usize },
    Plain { values: usize },
}

/// A table of int8 rows that stays packed.
#[derive(Debug)]
pub(super) struct Table {
    codes: &'static [u8],
    scales: Vec<f32>,
    width: usize,
}

impl Table {
    /// The codes of row `index` (two's complement) and their scale.
    pub(super) fn row(&self, index: usize) -> Option<(&'static [u8], f32)> {
        let scale = *self.scales.get(index)?;
        let codes = self.codes.get(index * self.width..(index + 1) * self.width)?;
        Some((codes, scale))
    }
}

/// A parsed file.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) header: Header,
    payload: &'static [u8],
}

impl Container {
    pub(super) fn parse(bytes: &'static [u8]) -> Result<Self, ModelError> {
        let rest = present(bytes.strip_prefix(MAGIC), "it does not begin with the magic")?;
        let (version, rest) = present(rest.split_first_chunk::<4>(), "it ends early")?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(ModelError::Malformed { what: "its version is another" });
        }
        let (length, rest) = present(rest.split_first_chunk::<4>(), "it ends early")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let text = present(rest.get(..length), "its header ends early")?;
        let header = serde_json::from_slice(text).map_err(ModelError::Header)?;
        let start = (MAGIC.len() + 8 + length).next_multiple_of(ALIGN);
        let payload = present(bytes.get(start..), "it has no payload")?;
        Ok(Self { header, payload })
    }

    /// The ONNX graph.
    pub(super) fn graph(&self) -> Result<&'static [u8], ModelError> {
        self.block(self.header.graph.at, self.header.graph.len)
    }

    /// The word table.
    pub(super) fn words(&self) -> Result<Table, ModelError> {
        let Coded { rows, codes, scales } = self.header.words;
        let width = self.header.hidden;
        Ok(Table { codes: self.block(codes, product(rows, width)?)?, scales: self.floats(scales, rows)?, width })
    }

    /// The position table, one row for each place in the window.
    pub(super) fn positions(&self) -> Result<Array2<f32>, ModelError> {
        let table = self.table(&self.header.positions)?;
        if table.nrows() != self.header.window {
            return Err(ModelError::Malformed { what: "its positions and its window differ" });
        }
        Ok(table)
    }

    /// The type table: which of two texts a token belongs to.
    pub(super) fn types(&self) -> Result<Array2<f32>, ModelError> {
        self.table(&self.header.types)
    }

    /// The fp32 weights of the graph in one buffer, placed as its external data says.
    pub(super) fn unpacked_weights(&self) -> Result<Vec<u8>, ModelError> {
        let mut buffer = vec![0u8; self.header.unpacked];
        for weight in &self.header.weights {
            let count = product(weight.rows, weight.cols)?;
            let end = weight.to.checked_add(product(count, F32)?);
            let target = end.and_then(|end| buffer.get_mut(weight.to..end));
            let target = present(target, "a weight lies outside the buffer")?;
            match weight.stored {
                Stored::Plain { values } => target.copy_from_slice(self.block(values, product(count, F32)?)?),
                Stored::Coded { codes, scales } => {
                    let scales = self.floats(scales, weight.cols)?;
                    unpack(self.block(codes, count)?, &scales, target);
                }
            }
        }
        Ok(buffer)
    }

    fn table(&self, plain: &Plain) -> Result<Array2<f32>, ModelError> {
        let width = self.header.hidden;
        let values = self.floats(plain.values, product(plain.rows, width)?)?;
        Array2::from_shape_vec((plain.rows, width), values)
            .map_err(|_| ModelError::Malformed { what: "a table has the wrong size" })
    }

    fn floats(&self, at: usize, count: usize) -> Result<Vec<f32>, ModelError> {
        let (values, _) = self.block(at, product(count, F32)?)?.as_chunks::<F32>();
        Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn block(&self, at: usize, len: usize) -> Result<&'static [u8], ModelError> {
        let block = at.checked_add(len).and_then(|end| self.payload.get(at..end));
        present(block, "a block lies outside the file")
    }
}

fn present<T>(value: Option<T>, what: &'static str) -> Result<T, ModelError> {
    value.ok_or(ModelError::Malformed { what })
}

fn product(a: usize, b: usize) -> Result<usize, ModelError> {
    present(a.checked_mul(b), "a size overflows")
}

/// Writes code times its column's scale, for each code, as fp32 bytes.
fn unpack(codes: &[u8], scales: &[f32], target: &mut [u8]) {
    let (target, _) = target.as_chunks_mut::<F32>();
    for (codes, target) in codes.chunks_exact(scales.len().max(1)).zip(target.chunks_exact_mut(scales.len().max(1))) {
        for ((code, scale), value) in codes.iter().zip(scales).zip(target) {
            *value = (f32::from(code.cast_signed()) * scale).to_ne_bytes();
        }
    }
}
