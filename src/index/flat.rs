//! The exact index: every search looks at every vector.
//!
//! Invariants: the result is that of an f32 scan, to the bit; identical vectors are held once, whoever owns them;
//! removal is immediate, so there are no tombstones; a vector of another dimension than the living ones is ignored.

use std::{mem::size_of, sync::RwLock};

use crate::{
    entry::EntryId,
    index::{Candidate, VectorIndex, read, table::Table, write},
    similarity::{Embedding, Similarity},
};

/// Exact scan over int8 codes with f32 rescoring.
#[derive(Debug, Default)]
pub struct Flat {
    table: RwLock<Table>,
}

impl Flat {
    /// An empty index; the first vector sets its dimension.
    pub fn new() -> Self {
        Self::default()
    }

    /// Estimated bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + read(&self.table).bytes()
    }
}

impl VectorIndex for Flat {
    fn insert(&self, id: EntryId, embedding: &Embedding) {
        let mut table = write(&self.table);
        if table.owners.len() > 0 && table.vectors.dims() != embedding.dimensions() {
            return;
        }
        table.remove(id);
        table.add(id, embedding.values());
    }

    fn remove(&self, id: EntryId) {
        write(&self.table).remove(id);
    }

    fn search(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        read(&self.table).search(query.values(), k, floor)
    }

    fn len(&self) -> usize {
        read(&self.table).owners.len()
    }
}
