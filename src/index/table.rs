//! Distinct vectors with their owners: what an exact scan needs, without a lock of its own.

use crate::{
    entry::EntryId,
    index::{
        Candidate,
        ids::{Owner, Owners},
        nearest::Nearest,
        vectors::Vectors,
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
    /// The rows of one cell of a large partition.
    pub(super) fn of_cell() -> Self {
        Self { vectors: Vectors::of_cell(), owners: Owners::of_cell() }
    }

    /// Distinct vectors.
    pub(super) fn rows(&self) -> usize {
        self.vectors.len()
    }

    /// Adds `id`, which is not in the table. The caller has checked the dimension.
    pub(super) fn add(&mut self, id: EntryId, values: &[f32]) {
        self.add_all(Owner::One(id), values);
    }

    /// Adds the ids of `owner`, none of which is in the table.
    pub(super) fn add_all(&mut self, owner: Owner, values: &[f32]) {
        let row = self.vectors.find(values).unwrap_or_else(|| self.vectors.push(values));
        self.owners.add_all(row, owner);
    }

    /// Removes `id`; whether it was there.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        let Some(row) = self.owners.remove(id) else { return false };
        if self.owners.ids(row).is_empty() {
            self.drop_row(row);
        }
        true
    }

    /// Takes the row that holds exactly `values` out, with all its owners; `row` is where it was a moment ago.
    pub(super) fn take(&mut self, row: u32, values: &[f32]) -> Option<Owner> {
        let row = if self.vectors.values(row) == values { row } else { self.vectors.find(values)? };
        let owner = self.owners.take(row);
        self.drop_row(row);
        Some(owner)
    }

    fn drop_row(&mut self, row: u32) {
        self.owners.swap_remove(row);
        self.vectors.swap_remove(row);
    }

    /// The closest entries, exactly.
    pub(super) fn search(&self, values: &[f32], k: usize, floor: Similarity) -> Vec<Candidate> {
        let mut nearest = Nearest::new(values, k, floor);
        nearest.look_into(self);
        nearest.finish()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.vectors.bytes() + self.owners.bytes()
    }
}

/// The `k` closest, closest first; the newest first among equals.
pub(super) fn rank(mut candidates: Vec<Candidate>, k: usize) -> Vec<Candidate> {
    candidates.sort_unstable_by(|a, b| b.similarity.total_cmp(&a.similarity).then(b.id.cmp(&a.id)));
    candidates.truncate(k);
    candidates
}
