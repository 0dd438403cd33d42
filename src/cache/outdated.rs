//! Updates of documents, and purges by meaning: purges that are remembered beyond those who run beside them.
//!
//! The memory's own copy of both is what admissions are held against; it is changed under the lock that orders them, before
//! the store has it, and a restart reads it back.

use super::Cache;
use crate::{
    entry::EntryId,
    store::{
        Hardness, Selector, StoreError,
        bans::{Ban, BanId},
        sources::{SourceSelector, SourceUpdate, Versions},
    },
};

impl Cache {
    /// Reads the bans and the replaced versions; before that none is known.
    pub async fn load_outdated(&self) -> Result<(), StoreError> {
        let (bans, replaced) = (self.store.bans().await?, self.store.replaced().await?);
        self.purges().load(bans, replaced);
        Ok(())
    }

    /// Records a document's version. When it returns nothing built on another one is served as fresh any more.
    pub async fn update_source(&self, update: SourceUpdate) -> Result<Vec<EntryId>, StoreError> {
        if self.store.shared().is_some() {
            let gone = update.hardness == Hardness::Hard;
            let updated = self.store.update_source(update).await?;
            self.forget(&updated.entries, gone);
            return Ok(updated.entries);
        }
        let (outdated, name) = (update.outdated(), update.name.clone());
        let gone = update.hardness == Hardness::Hard;
        let (at, written) = {
            let mut purges = self.purges();
            self.hot.remove_where(|entry| outdated.selects(entry));
            (purges.begin_update(outdated), self.store.update_source(update))
        };
        let written = written.await;
        let updated = {
            let mut purges = self.purges();
            purges.end_update(at);
            let updated = written?;
            purges.replace(&name, updated.replaced.clone(), at);
            updated
        };
        self.forget(&updated.entries, gone);
        Ok(updated.entries)
    }

    /// Forgets a document and removes what is built from it. `None` when there was neither.
    pub async fn forget_source(&self, name: String) -> Result<Option<Vec<EntryId>>, StoreError> {
        if self.store.shared().is_some() {
            let removed = self.store.forget_source(name).await?;
            self.forget(removed.as_deref().unwrap_or_default(), true);
            return Ok(removed);
        }
        let source = SourceSelector { name: name.clone(), versions: Versions::Any };
        let selector = Selector { source: Some(source), ..Selector::default() };
        let (at, written) = {
            let mut purges = self.purges();
            self.hot.remove_where(|entry| selector.selects(entry));
            purges.push(selector);
            (purges.epoch(), self.store.forget_source(name.clone()))
        };
        let removed = written.await?;
        self.purges().replace(&name, Vec::new(), at);
        self.forget(removed.as_deref().unwrap_or_default(), true);
        Ok(removed)
    }

    /// Purges by meaning, now and whatever arrives later that was generated before.
    pub(super) async fn ban(&self, ban: Ban) -> Result<Vec<EntryId>, StoreError> {
        let gone = ban.hardness == Hardness::Hard;
        if self.store.shared().is_some() {
            let (_, ids) = self.store.ban(ban).await?;
            self.forget(&ids, gone);
            return Ok(ids);
        }
        let (held, written) = {
            let mut purges = self.purges();
            let selector = ban.selector();
            self.hot.remove_where(|entry| selector.selects(entry));
            purges.push(selector);
            (purges.add_ban(ban.clone()), self.store.ban(ban))
        };
        let written = written.await;
        self.purges().settle_ban(held, written.as_ref().ok().map(|(id, _)| *id));
        let (_, ids) = written?;
        self.forget(&ids, gone);
        Ok(ids)
    }

    /// Every ban, oldest first.
    pub fn bans(&self) -> Vec<Ban> {
        self.purges().bans().to_vec()
    }

    /// Forgets bans. Returns those that were there.
    pub async fn lift_bans(&self, bans: Vec<BanId>) -> Result<Vec<BanId>, StoreError> {
        let lifted = self.store.lift(bans.clone()).await?;
        self.purges().lift(&bans);
        Ok(lifted)
    }
}
