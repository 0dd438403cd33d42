//! Closeness of two questions: one unit everywhere, cosine in [-1, 1], larger is closer.

use std::fmt;

/// Cosine similarity of two embeddings, in [-1, 1]; always finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, serde::Serialize)]
#[serde(transparent)]
pub struct Similarity(f32);

impl Similarity {
    /// The cosine of a vector with itself.
    pub const IDENTICAL: Self = Self(1.0);

    /// The cosine of a vector with its opposite: nothing is farther.
    pub const OPPOSITE: Self = Self(-1.0);

    /// Clamps `value` into [-1, 1]. `None` when it is not finite: a NaN must never rank as a neighbour.
    pub fn new(value: f32) -> Option<Self> {
        value.is_finite().then(|| Self(value.clamp(-1.0, 1.0)))
    }

    /// The raw cosine.
    pub const fn get(self) -> f32 {
        self.0
    }

    /// Total order, closest last. Values are finite by construction.
    pub fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// A finite, L2-normalised vector. The only way to make one checks both, so a zero or NaN vector never reaches an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Normalises `values`. `None` when any value is not finite or the norm is zero.
    pub fn normalised(mut values: Vec<f32>) -> Option<Self> {
        let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        if !norm.is_finite() || norm <= f32::EPSILON {
            return None;
        }
        for v in &mut values {
            *v /= norm;
        }
        Some(Self(values.into_boxed_slice()))
    }

    /// Takes a unit vector as it was stored, bit for bit. `None` when it is not finite or not of unit length.
    pub fn from_unit(values: Vec<f32>) -> Option<Self> {
        let norm = values.iter().map(|v| v * v).sum::<f32>();
        ((norm - 1.0).abs() < 1e-3).then(|| Self(values.into_boxed_slice()))
    }

    /// The unit vector's components.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }

    /// Cosine with `other`; `None` when the dimensions differ.
    pub fn similarity(&self, other: &Self) -> Option<Similarity> {
        if self.0.len() != other.0.len() {
            return None;
        }
        Similarity::new(dot(&self.0, &other.0))
    }
}

/// Dot product in eight independent lanes, a shape the compiler vectorises.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((lane, p), q) in lanes.iter_mut().zip(x).zip(y) {
            *lane += p * q;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(p, q)| p * q).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_nan_vectors_are_refused() {
        assert!(Embedding::normalised(vec![0.0; 4]).is_none());
        assert!(Embedding::normalised(vec![1.0, f32::NAN]).is_none());
        assert!(Similarity::new(f32::NAN).is_none());
    }

    #[test]
    fn similarity_of_a_vector_with_itself_is_one() {
        let v = Embedding::normalised((1..20u8).map(f32::from).collect()).unwrap();
        assert!((v.similarity(&v).unwrap().get() - 1.0).abs() < 1e-6);
    }
}
