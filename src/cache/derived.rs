//! The cache among others: what nodes do to a store that they share reaches hot tier, index and memory of purges here.
//!
//! Invariant: what is judged or served is held against every change up to the position that the store said first; an admission
//! that was judged at an older one comes back and is judged again.

use std::sync::{Arc, PoisonError, Weak, atomic::Ordering};

use super::{Arrival, Cache, Epoch};
use crate::{
    entry::{Entry, EntryId},
    outcome::NotStored,
    store::{
        Hardness, Selector, StoreError, StoredVector,
        shared::{Admission, Change, Derived, Followed, Shared},
    },
};

/// How often an entry is judged before it is given up: only a storm of purges takes more.
const JUDGED_AT_MOST: usize = 16;

impl Cache {
    /// From now on what other nodes do is followed; their vectors are taken that `embedder` made. Reads what has to be known
    /// before anything is served.
    pub async fn join(self: &Arc<Self>, embedder: &str) -> Result<(), StoreError> {
        let Some(shared) = self.store.shared() else { return Ok(()) };
        // A second call finds the first one's.
        let _ = self.embedder.set(embedder.to_owned());
        let derived: Arc<dyn Derived> = Arc::<Self>::clone(self);
        shared.attach(Arc::downgrade(&derived) as Weak<dyn Derived>);
        self.follow().await.map(drop)
    }

    /// Takes up what other nodes did since the last call.
    pub async fn follow(&self) -> Result<Followed, StoreError> {
        let Some(shared) = self.store.shared() else { return Ok(Followed::default()) };
        let followed = shared.follow().await?;
        if let Some(reload) = followed.reload {
            self.reload().await?;
            shared.reloaded(reload);
        } else if self.pairs_are_old.swap(false, Ordering::SeqCst) {
            let left = self.store.blocked().await?;
            self.blocked().replace(left);
        }
        Ok(followed)
    }

    /// Reads bans, replaced versions and blocked pairs anew.
    async fn reload(&self) -> Result<(), StoreError> {
        loop {
            let told = self.purges().told();
            let (bans, replaced) = (self.store.bans().await?, self.store.replaced().await?);
            let pairs = self.store.blocked().await?;
            let mut purges = self.purges();
            // A change that came meanwhile may not be in what was read.
            if purges.told() == told {
                purges.load(bans, replaced);
                self.blocked().replace(pairs);
                return Ok(());
            }
        }
    }

    /// Whether the hot tier may be served from.
    pub(super) fn trusts_hot(&self) -> bool {
        self.store.shared().is_none_or(Shared::trusts_hot)
    }

    pub(super) async fn admit_among_nodes(
        &self,
        shared: &dyn Shared,
        arriving: Entry,
        began: Epoch,
    ) -> Result<Arc<Entry>, NotStored> {
        for _ in 0..JUDGED_AT_MOST {
            // Before it is judged: what is applied in between is judged too, and asked for once more.
            let position = shared.position(arriving.fingerprint);
            let (entry, displaced, written) = {
                let mut purges = self.purges();
                let mut entry = arriving.clone();
                match purges.judge(began, &entry) {
                    Arrival::Welcome => {}
                    Arrival::Stale(at) => {
                        entry.invalidated_at = Some(entry.invalidated_at.map_or(at, |earlier| earlier.min(at)));
                    }
                    Arrival::Refused(why) => return Err(why),
                }
                purges.changed();
                let entry = Arc::new(entry);
                let displaced = self.hot.insert(&entry);
                (Arc::clone(&entry), displaced, shared.admit_at(Entry::clone(&entry), position))
            };
            match written.await {
                Ok(Admission::Admitted) => {
                    if let Some(old) = displaced {
                        self.index.remove(old);
                    }
                    if let Some(embedding) = &entry.embedding {
                        self.index.insert(entry.partition, entry.id, embedding);
                    }
                    return Ok(entry);
                }
                Ok(Admission::Behind) => self.hot.remove(entry.id),
                Err(error) => {
                    tracing::warn!(reason = error.reason(), %error, "answer not stored");
                    self.hot.remove(entry.id);
                    return Err(NotStored::CacheError);
                }
            }
        }
        Err(NotStored::CacheError)
    }

    /// The store tells every node, this one included, before it returns.
    pub(super) async fn purge_among_nodes(
        &self,
        selector: Selector,
        hardness: Hardness,
    ) -> Result<Vec<EntryId>, StoreError> {
        let erases = hardness == Hardness::Hard && !selector.principals.is_empty();
        let ids = self.store.purge(selector, hardness, false).await?;
        self.forget(&ids, hardness == Hardness::Hard);
        if erases {
            let left = self.store.blocked().await?;
            self.blocked().replace(left);
        }
        Ok(ids)
    }
}

impl Derived for Cache {
    fn apply(&self, change: &Change) {
        let mut purges = self.purges();
        purges.heed(change);
        if let Some((selector, _)) = change.purge() {
            self.hot.remove_where(|entry| selector.selects(entry));
        }
        match change {
            Change::Blocked(pair) => {
                let (first, second) = pair.questions();
                self.blocked.lock().unwrap_or_else(PoisonError::into_inner).insert(*pair);
                self.hot.forget_alias(first);
                self.hot.forget_alias(second);
            }
            Change::Purged { selector, hardness: Hardness::Hard } if !selector.principals.is_empty() => {
                self.pairs_are_old.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
    }

    fn lost(&self) {
        let mut purges = self.purges();
        purges.lose();
        self.hot.remove_where(|_| true);
    }

    fn index(&self, vectors: &[StoredVector]) {
        let Some(embedder) = self.embedder.get() else { return };
        for vector in vectors.iter().filter(|vector| vector.embedder == *embedder) {
            self.index.insert(vector.partition, vector.id, &vector.embedding);
        }
    }

    fn unindex(&self, ids: &[EntryId]) {
        if !ids.is_empty() {
            self.forget(ids, true);
        }
    }
}
