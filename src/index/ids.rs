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
    index::vectors::{SMALL, row_number},
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
#[derive(Debug, Default, Clone)]
pub(super) enum Owner {
    #[default]
    None,
    One(EntryId),
    Many(Vec<EntryId>),
}

impl Owner {
    /// Oldest first.
    pub(super) fn ids(&self) -> &[EntryId] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn add(&mut self, id: EntryId) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(first) if *first == id => {}
            Self::One(first) => *self = Self::Many(vec![id.min(*first), id.max(*first)]),
            Self::Many(ids) => {
                if let Err(at) = ids.binary_search(&id) {
                    ids.insert(at, id);
                }
            }
        }
    }

    fn remove(&mut self, id: EntryId) {
        match self {
            Self::One(first) if *first == id => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(ids) => {
                if let Ok(at) = ids.binary_search(&id) {
                    ids.remove(at);
                }
                if ids.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }
}

/// The owners of all rows, both ways.
#[derive(Debug, Default)]
pub(super) struct Owners {
    rows: Vec<Owner>,
    /// Row by id, once there are more than [`SMALL`] rows.
    by_id: Option<Box<IdMap>>,
    /// Ids. Counts are as wide as row numbers: there may be a hundred thousand of these tables.
    ids: u32,
    /// Rows with at least one id.
    live: u32,
}

impl Owners {
    /// Owners of rows `0..`, as given.
    pub(super) fn from_rows(rows: Vec<Owner>) -> Self {
        let ids = row_number(rows.iter().map(|owner| owner.ids().len()).sum());
        let live = row_number(rows.iter().filter(|owner| !owner.ids().is_empty()).count());
        let mut owners = Self { rows, by_id: None, ids, live };
        owners.index_if_large();
        owners
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        self.ids as usize
    }

    /// Rows with an owner.
    pub(super) fn live_rows(&self) -> usize {
        self.live as usize
    }

    /// Rows without an owner.
    pub(super) fn dead_rows(&self) -> usize {
        self.rows.len() - self.live_rows()
    }

    /// Whether anyone owns `row`.
    pub(super) fn is_live(&self, row: u32) -> bool {
        !self.ids(row).is_empty()
    }

    /// Ids of `row`, oldest first.
    pub(super) fn ids(&self, row: u32) -> &[EntryId] {
        self.rows.get(row as usize).map_or(&[], Owner::ids)
    }

    /// The rows that live.
    pub(super) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        (0..row_number(self.rows.len())).filter(|&row| self.is_live(row))
    }

    fn row_of(&self, id: EntryId) -> Option<u32> {
        match &self.by_id {
            Some(map) => map.get(&id.0).copied(),
            None => (0..row_number(self.rows.len())).find(|&row| self.ids(row).binary_search(&id).is_ok()),
        }
    }

    /// Makes `id`, which owns nothing, an owner of `row`: a row there is, or the next one.
    pub(super) fn add(&mut self, row: u32, id: EntryId) {
        if row as usize == self.rows.len() {
            if self.rows.len() == self.rows.capacity() {
                self.rows.reserve_exact((self.rows.len() / 4).max(1));
            }
            self.rows.push(Owner::None);
        }
        let Some(owner) = self.rows.get_mut(row as usize) else { return };
        self.live += u32::from(owner.ids().is_empty());
        self.ids += 1;
        owner.add(id);
        if let Some(map) = &mut self.by_id {
            map.insert(id.0, row);
        } else {
            self.index_if_large();
        }
    }

    /// Ends what `id` owns; the row it owned.
    pub(super) fn remove(&mut self, id: EntryId) -> Option<u32> {
        let row = self.row_of(id)?;
        let owner = self.rows.get_mut(row as usize)?;
        owner.remove(id);
        self.ids -= 1;
        self.live -= u32::from(owner.ids().is_empty());
        if let Some(map) = &mut self.by_id {
            map.remove(&id.0);
        }
        Some(row)
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
    }

    /// Takes the owners of `row` away; the ids stay registered, so only for a table about to be dropped.
    pub(super) fn take(&mut self, row: u32) -> Owner {
        self.rows.get_mut(row as usize).map(std::mem::take).unwrap_or_default()
    }

    fn index_if_large(&mut self) {
        if self.by_id.is_none() && self.rows.len() > SMALL {
            let mut map = IdMap::with_capacity_and_hasher(self.len(), BuildHasherDefault::default());
            for (row, owner) in self.rows.iter().enumerate() {
                map.extend(owner.ids().iter().map(|id| (id.0, row_number(row))));
            }
            self.by_id = Some(Box::new(map));
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let shared: usize = self
            .rows
            .iter()
            .map(|owner| match owner {
                Owner::Many(ids) => ids.capacity() * size_of::<EntryId>(),
                Owner::None | Owner::One(_) => 0,
            })
            .sum();
        self.rows.capacity() * size_of::<Owner>()
            + shared
            + self.by_id.as_ref().map_or(0, |map| size_of::<IdMap>() + map.capacity() * 8 / 7 * 17)
    }
}
