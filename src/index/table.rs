//! Distinct vectors with their owners: what an exact scan needs, without a lock of its own.

use crate::{
    entry::EntryId,
    index::{
        Candidate,
        ids::Owners,
        vectors::{Near, Vectors},
    },
    similarity::Similarity,
};

/// A growing set of vectors, scanned exactly. A row nobody owns is removed at once.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) vectors: Vectors,
    pub(super) owners: Owners,
}

impl Table {
    /// Adds `id`, which is not in the table. The caller has checked the dimension.
    pub(super) fn add(&mut self, id: EntryId, values: &[f32]) {
        let row = self.vectors.find(values).unwrap_or_else(|| self.vectors.push(values));
        self.owners.add(row, id);
    }

    /// Removes `id`; whether it was there.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        let Some(row) = self.owners.remove(id) else { return false };
        if !self.owners.is_live(row) {
            self.owners.swap_remove(row);
            self.vectors.swap_remove(row);
        }
        true
    }

    /// The closest entries, exactly.
    pub(super) fn search(&self, values: &[f32], k: usize, floor: Similarity) -> Vec<Candidate> {
        rank(expand(&self.vectors.nearest(values, k, floor.get(), |_| true), &self.owners, k), k)
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.vectors.bytes() + self.owners.bytes()
    }
}

/// Rows to entries: of each row the `k` newest, since no more can be asked for.
pub(super) fn expand(rows: &[Near], owners: &Owners, k: usize) -> Vec<Candidate> {
    let newest = |near: &Near| {
        let similarity = near.similarity;
        owners.ids(near.row).iter().rev().take(k).map(move |&id| Candidate { id, similarity })
    };
    rows.iter().flat_map(newest).collect()
}

/// The `k` closest, closest first; the newest first among equals.
pub(super) fn rank(mut candidates: Vec<Candidate>, k: usize) -> Vec<Candidate> {
    candidates.sort_unstable_by(|a, b| b.similarity.total_cmp(&a.similarity).then(b.id.cmp(&a.id)));
    candidates.truncate(k);
    candidates
}
