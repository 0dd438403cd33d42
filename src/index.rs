//! Nearest neighbours by meaning, one structure a partition.
//!
//! The index is derived from the store and can be lost: ids it returns are candidates, and the caller rechecks each
//! against the store. Similarities are always exact f32 cosines, whatever found the candidate.

pub mod builds;
mod cells;
mod centroids;
pub mod clustered;
pub mod flat;
pub mod graph;
mod ids;
mod kernel;
mod nearest;
pub mod partitions;
mod table;
mod vectors;

#[cfg(test)]
mod tests;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    entry::EntryId,
    similarity::{Embedding, Similarity},
};

/// A neighbour, not yet judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The entry.
    pub id: EntryId,
    /// Exact cosine between query and entry.
    pub similarity: Similarity,
}

/// The index contract: after any sequence of inserts and removes every live id finds itself, no dead id is returned,
/// and results are ordered by similarity, closest first, ids breaking ties (newest first).
pub trait VectorIndex: Send + Sync + std::fmt::Debug {
    /// Adds or replaces the vector of `id`. A vector of another dimension than the first is ignored.
    fn insert(&self, id: EntryId, embedding: &Embedding);

    /// Removes `id`; unknown ids are ignored.
    fn remove(&self, id: EntryId);

    /// Up to `k` live neighbours at or above `floor`.
    fn search(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate>;

    /// Live vectors.
    fn len(&self) -> usize;

    /// True when nothing lives.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A panic elsewhere must not end the index: what is behind the lock is derived, and every candidate is rechecked.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
