//! Who owns which row: several entries may share one vector.
//!
//! Invariants: an id owns at most one row; the ids of a row ascend, and ids grow with admission, so the newest is last.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    mem::size_of,
};

use crate::{
    entry::EntryId,
    index::vectors::{SMALL, map_bytes, row_number},
};

/// Spreads numbers that are already distinct; ids are the store's own, so nobody can choose them to collide.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// A map keyed by a number.
pub(super) type NumberMap<V> = HashMap<u64, V, BuildHasherDefault<NumberHasher>>;
/// Row by number.
pub(super) type IdMap = NumberMap<u32>;

/// The entries of one row.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    One(EntryId),
    /// Ascending. Boxed, because nearly every row has one owner and pays for the width of this.
    #[expect(clippy::box_collection, reason = "two words narrower in every row that has one owner")]
    Many(Box<Vec<EntryId>>),
}

impl Owner {
    /// Oldest first.
    pub(super) fn ids(&self) -> &[EntryId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn nobody() -> Self {
        Self::Many(Box::default())
    }

    fn add(&mut self, id: EntryId) {
        match self {
            Self::One(first) if *first == id => {}
            Self::One(first) => *self = Self::Many(Box::new(vec![id.min(*first), id.max(*first)])),
            Self::Many(ids) if ids.is_empty() => *self = Self::One(id),
            Self::Many(ids) => {
                if let Err(at) = ids.binary_search(&id) {
                    ids.insert(at, id);
                }
            }
        }
    }

    fn remove(&mut self, id: EntryId) {
        match self {
            Self::One(first) if *first == id => *self = Self::nobody(),
            Self::One(_) => {}
            Self::Many(ids) => {
                if let Ok(at) = ids.binary_search(&id) {
                    ids.remove(at);
                }
                if let [only] = ids[..] {
                    *self = Self::One(only);
                }
            }
        }
    }
}

/// The owners of all rows, both ways.
#[derive(Debug, Default)]
pub(super) struct Owners {
    rows: Vec<Owner>,
    /// Row by id, once there are more than [`SMALL`] rows; never in a cell.
    by_id: Option<Box<IdMap>>,
    /// Ids. Counts are as wide as row numbers: there may be a hundred thousand of these tables.
    ids: u32,
    /// These are the rows of a cell: some hundred, and who asks knows which cell.
    cell: bool,
}

impl Owners {
    /// Owners of the rows of a cell.
    pub(super) fn of_cell() -> Self {
        Self { cell: true, ..Self::default() }
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        self.ids as usize
    }

    /// Ids of `row`, oldest first.
    pub(super) fn ids(&self, row: u32) -> &[EntryId] {
        self.rows.get(row as usize).map_or(&[], Owner::ids)
    }

    /// Whether `id` owns a row.
    pub(super) fn has(&self, id: EntryId) -> bool {
        self.row_of(id).is_some()
    }

    fn row_of(&self, id: EntryId) -> Option<u32> {
        match &self.by_id {
            Some(map) => map.get(&id.0).copied(),
            None => (0..).zip(&self.rows).find(|(_, owner)| owner.ids().binary_search(&id).is_ok()).map(|(row, _)| row),
        }
    }

    /// Makes the ids of `owner`, which own nothing, owners of `row`: a row there is, or the next one.
    pub(super) fn add_all(&mut self, row: u32, owner: Owner) {
        self.ids += row_number(owner.ids().len());
        if let Some(map) = &mut self.by_id {
            map.extend(owner.ids().iter().map(|id| (id.0, row)));
        }
        match self.rows.get_mut(row as usize) {
            Some(there) => owner.ids().iter().for_each(|&id| there.add(id)),
            None => {
                if self.rows.len() == self.rows.capacity() {
                    let more = if self.rows.len() < 64 { self.rows.len() / 4 } else { self.rows.len() / 8 };
                    self.rows.reserve_exact(more.max(1));
                }
                self.rows.push(owner);
                self.index_if_large();
            }
        }
    }

    /// Ends what `id` owns; the row it owned.
    pub(super) fn remove(&mut self, id: EntryId) -> Option<u32> {
        let row = self.row_of(id)?;
        self.rows.get_mut(row as usize)?.remove(id);
        self.ids -= 1;
        if let Some(map) = &mut self.by_id {
            map.remove(&id.0);
        }
        Some(row)
    }

    /// Takes the owners of `row` away; the row is left without any.
    pub(super) fn take(&mut self, row: u32) -> Owner {
        let Some(owner) = self.rows.get_mut(row as usize) else { return Owner::nobody() };
        let owner = std::mem::replace(owner, Owner::nobody());
        self.ids -= row_number(owner.ids().len());
        if let Some(map) = &mut self.by_id {
            owner.ids().iter().for_each(|id| _ = map.remove(&id.0));
        }
        owner
    }

    /// Drops `row`, which nobody owns; the last row takes its number.
    pub(super) fn swap_remove(&mut self, row: u32) {
        if row as usize >= self.rows.len() {
            return;
        }
        self.rows.swap_remove(row as usize);
        if let (Some(map), Some(moved)) = (&mut self.by_id, self.rows.get(row as usize)) {
            for id in moved.ids() {
                map.insert(id.0, row);
            }
        }
        if self.rows.len() * 2 < self.rows.capacity() {
            let keep = self.rows.len() + self.rows.len() / 8;
            self.rows.shrink_to(keep);
            if let Some(map) = &mut self.by_id {
                map.shrink_to(self.ids as usize);
            }
        }
    }

    fn index_if_large(&mut self) {
        if self.by_id.is_none() && !self.cell && self.rows.len() > SMALL {
            let mut map = IdMap::with_capacity_and_hasher(self.len(), BuildHasherDefault::default());
            for (row, owner) in (0..).zip(&self.rows) {
                map.extend(owner.ids().iter().map(|id| (id.0, row)));
            }
            self.by_id = Some(Box::new(map));
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let shared = |owner: &Owner| match owner {
            Owner::Many(ids) => size_of::<Vec<EntryId>>() + ids.capacity() * size_of::<EntryId>(),
            Owner::One(_) => 0,
        };
        self.rows.capacity() * size_of::<Owner>()
            + self.rows.iter().map(shared).sum::<usize>()
            + self.by_id.as_ref().map_or(0, |map| size_of::<IdMap>() + map_bytes(map))
    }
}
