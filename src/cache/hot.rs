//! The hot tier: recently used entries in memory, bounded in bytes.
//!
//! Fingerprints point at ids and ids at entries, so removing an id silences all its wordings at once.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache as Bounded};

use super::Hit;
use crate::{
    entry::{Entry, EntryId},
    key::Fingerprint,
};

/// Mean weight assumed when sizing the tables; a wrong guess costs memory for empty slots only.
const TYPICAL_ENTRY: u64 = 4096;

#[derive(Debug, Clone)]
struct ByWeight;

impl Weighter<EntryId, Arc<Entry>> for ByWeight {
    fn weight(&self, _: &EntryId, entry: &Arc<Entry>) -> u64 {
        entry.weight() as u64
    }
}

#[derive(Debug, Clone, Copy)]
struct Pointer {
    id: EntryId,
    alias: bool,
}

/// Fingerprint -> id -> entry.
#[derive(Debug)]
pub struct Hot {
    entries: Bounded<EntryId, Arc<Entry>, ByWeight>,
    fingerprints: Bounded<Fingerprint, Pointer>,
}

impl Hot {
    /// An empty tier that holds at most `bytes`.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / TYPICAL_ENTRY).unwrap_or(usize::MAX).clamp(16, 4_000_000);
        Self { entries: Bounded::with_weighter(items, bytes, ByWeight), fingerprints: Bounded::new(items * 2) }
    }

    /// The entry of a fingerprint.
    pub fn find(&self, fingerprint: Fingerprint) -> Option<Hit> {
        let pointer = self.fingerprints.get(&fingerprint)?;
        let entry = self.entries.get(&pointer.id)?;
        Some(Hit { entry, via_alias: pointer.alias })
    }

    /// The entry of an id.
    pub fn get(&self, id: EntryId) -> Option<Arc<Entry>> {
        self.entries.get(&id)
    }

    /// Adds an entry under its own fingerprint, in place of an older one, whose id is returned.
    pub fn insert(&self, entry: &Arc<Entry>) -> Option<EntryId> {
        let old = self.fingerprints.get(&entry.fingerprint).filter(|old| old.id != entry.id && !old.alias);
        if let Some(old) = old {
            self.entries.remove(&old.id);
        }
        self.entries.insert(entry.id, Arc::clone(entry));
        self.fingerprints.insert(entry.fingerprint, Pointer { id: entry.id, alias: false });
        old.map(|old| old.id)
    }

    /// Adds another wording of an entry.
    pub fn alias(&self, fingerprint: Fingerprint, id: EntryId) {
        self.fingerprints.insert(fingerprint, Pointer { id, alias: true });
    }

    /// Forgets what `fingerprint` is another wording of; an entry of its own stays.
    pub fn forget_alias(&self, fingerprint: Fingerprint) {
        if self.fingerprints.get(&fingerprint).is_some_and(|pointer| pointer.alias) {
            self.fingerprints.remove(&fingerprint);
        }
    }

    /// Removes an entry and with it all its wordings.
    pub fn remove(&self, id: EntryId) {
        self.entries.remove(&id);
    }

    /// Removes all entries that `selected` selects.
    pub fn remove_where(&self, selected: impl Fn(&Entry) -> bool) {
        self.entries.retain(|_, entry| !selected(entry));
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}
