//! The model file: a JSON header that says where each block lies, then the blocks. `models/export.py` is its writer and
//! describes the layout.
//!
//! Every offset is checked: a damaged file is an error, never a panic or a wrong model.

use ndarray::Array2;

use semblance_encoder::{Layer, Linear, Norm};

use super::ModelError;

const MAGIC: &[u8; 8] = b"SMBLBERT";
const VERSION: u32 = 1;
const ALIGN: usize = 64;
const F32: usize = size_of::<f32>();
/// Weights of the normalisation before the first layer.
const OUTSIDE: usize = 2;
/// Weights of a head.
const OF_HEAD: usize = 2;
/// Weights of a layer: six products with a weight and a bias each, two normalisations.
const OF_LAYER: usize = 16;

/// What the model gives.
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
    pub(super) hidden: usize,
    window: usize,
    words: Coded,
    positions: Plain,
    types: Plain,
    weights: Vec<Weight>,
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

/// A weight: `codes` and `scales` (one a column), or `values`.
#[derive(Debug, serde::Deserialize)]
struct Weight {
    name: String,
    rows: usize,
    cols: usize,
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

    /// How many layers there are, when every weight belongs to one of them or to what every model has.
    pub(super) fn layers(&self) -> Result<usize, ModelError> {
        let others = match self.header.head {
            Head::Hidden => OUTSIDE,
            Head::Logit => OUTSIDE + OF_HEAD,
        };
        let inside = self.header.weights.len().checked_sub(others).filter(|inside| inside.is_multiple_of(OF_LAYER));
        present(inside, "it has too many weights or too few").map(|inside| inside / OF_LAYER)
    }

    /// Every weight of one layer.
    pub(super) fn layer(&self, number: usize) -> Result<Layer, ModelError> {
        let linear = |name: &str| self.linear(&layer(number, name));
        let norm = |name: &str| self.norm(&layer(number, name));
        Ok(Layer {
            query: linear("query")?,
            key: linear("key")?,
            value: linear("value")?,
            attended: linear("attended")?,
            attended_norm: norm("attended.norm")?,
            inner: linear("inner")?,
            outer: linear("outer")?,
            norm: norm("norm")?,
        })
    }

    /// A normalisation: `name.gain` and `name.shift`.
    pub(super) fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        Ok(Norm { gain: self.plain(&format!("{name}.gain"))?, shift: self.plain(&format!("{name}.shift"))? })
    }

    fn linear(&self, name: &str) -> Result<Linear, ModelError> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let Stored::Coded { codes, scales } = weight.stored else {
            return Err(ModelError::Malformed { what: "a matrix has no codes" });
        };
        let codes = self.block(codes, product(weight.rows, weight.cols)?)?;
        let scales = self.floats(scales, weight.cols)?;
        present(Linear::new(codes, scales, self.plain(&format!("{name}.bias"))?), "a layer's sizes do not fit")
    }

    /// A weight that is stored as it is.
    pub(super) fn plain(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let weight = self.weight(name)?;
        let Stored::Plain { values } = weight.stored else {
            return Err(ModelError::Malformed { what: "a vector is coded" });
        };
        self.floats(values, product(weight.rows, weight.cols)?)
    }

    fn weight(&self, name: &str) -> Result<&Weight, ModelError> {
        present(self.header.weights.iter().find(|weight| weight.name == name), "a weight is missing")
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

fn layer(number: usize, name: &str) -> String {
    format!("encoder.layer.{number}.{name}")
}
