//! A small network that tells personal and live questions from general ones, for the three never-cached categories that
//! ship.
//!
//! A policy's own examples are too few to draw that line sharply: alone they took a quarter of ordinary support
//! questions for personal ones. The prior was fitted to some 750 personal and 15,000 general questions
//! (`models/never-cached/CARD.md`); it is bound to the embedder whose vectors it was fitted to, and other never-cached
//! categories are told by their examples as before.

use crate::similarity::{Embedding, dot};

/// Numbers in a vector, and units of the one hidden layer.
const WIDTH: usize = 384;
const HIDDEN: usize = 64;
/// Little-endian: a row of weights for each unit, the units' biases, their weights in the sum, its bias; zero is the
/// threshold.
static FILE: &[u8; (WIDTH * HIDDEN + HIDDEN + HIDDEN + 1) * 4] =
    include_bytes!("../../models/never-cached/weights.bin");
/// Embedders whose fingerprint begins so made the vectors it was fitted to.
const EMBEDDER: &str = "all-MiniLM-L6-v2:";
/// The categories it knows.
const CATEGORIES: [&str; 3] = ["account-balance", "live-inventory", "personal-health"];

/// The prior, unpacked.
#[derive(Debug)]
pub(super) struct Prior {
    rows: Vec<f32>,
    biases: Vec<f32>,
    sum: Vec<f32>,
    bias: f32,
}

impl Prior {
    /// The prior for vectors of `embedder`; `None` for another model's.
    pub(super) fn of(embedder: &str) -> Option<Self> {
        let (numbers, _) = FILE.as_chunks::<4>();
        let mut rows: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let bias = rows.pop()?;
        let sum = rows.split_off(rows.len() - HIDDEN);
        let biases = rows.split_off(rows.len() - HIDDEN);
        embedder.starts_with(EMBEDDER).then_some(Self { rows, biases, sum, bias })
    }

    /// Whether it knows this never-cached category.
    pub(super) fn knows(category: &str) -> bool {
        CATEGORIES.contains(&category)
    }

    /// Whether a question is to be taken as personal or live; uncertain ones are.
    pub(super) fn is_personal(&self, query: &Embedding) -> bool {
        let units = self.rows.chunks_exact(WIDTH).zip(&self.biases);
        let active: Vec<f32> = units.map(|(row, bias)| (dot(row, query.values()) + bias).max(0.0)).collect();
        dot(&self.sum, &active) + self.bias >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_belongs_to_one_embedder() {
        assert!(Prior::of("all-MiniLM-L6-v2:0123").is_some());
        assert!(Prior::of("text-embedding-3-small:0123").is_none());
    }
}
