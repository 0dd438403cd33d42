//! What an arriving answer is held against (I6): recent purges in order, by which a generation that they overtook is
//! recognised; versions of documents that an update has replaced; and bans, by which an answer is recognised that was
//! generated before a purge by meaning, however late it comes.

use std::collections::{HashMap, VecDeque};

use crate::{
    clock::Timestamp,
    entry::Entry,
    outcome::NotStored,
    store::{
        Hardness, Selector,
        bans::{Ban, BanId},
        shared::Change,
        sources::{REPLACED_KEPT, SourceSelector},
    },
    wire::directives::SourceRef,
};

/// How many purges are remembered; a generation older than all of them is refused, which is always safe.
const REMEMBERED: usize = 4096;

/// A position in purge order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// Purges in order of arrival.
#[derive(Debug, Default)]
pub(super) struct PurgeLog {
    count: u64,
    /// Grows with every change that makes an earlier read of the store old.
    changes: u64,
    /// Grows with every change that other nodes know of too.
    told: u64,
    recent: VecDeque<Selector>,
    bans: Vec<Ban>,
    /// Old versions by document, as of which update.
    replaced: HashMap<String, (Epoch, Vec<String>)>,
    /// What updates make old of which the store has not yet told which versions those are.
    updating: Vec<(Epoch, SourceSelector)>,
}

/// How an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// As it is.
    Welcome,
    /// As one that was made stale at this moment.
    Stale(Timestamp),
    /// Not at all.
    Refused(NotStored),
}

impl PurgeLog {
    pub(super) const fn epoch(&self) -> Epoch {
        Epoch(self.count)
    }

    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) const fn changed(&mut self) {
        self.changes += 1;
    }

    pub(super) fn push(&mut self, selector: Selector) {
        self.changed();
        self.count += 1;
        self.recent.push_back(selector);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// How `entry` may be kept, whose generation began at `began`.
    pub(super) fn judge(&self, began: Epoch, entry: &Entry) -> Arrival {
        if self.overtook(began, entry) {
            return Arrival::Refused(NotStored::Purged);
        }
        let old =
            |source: &SourceRef| source.version.as_ref().is_some_and(|version| self.is_old(&source.name, version));
        if entry.sources.iter().any(old) || self.updating.iter().any(|(_, outdated)| outdated.selects(entry)) {
            return Arrival::Refused(NotStored::OldSource);
        }
        let covering = self.bans.iter().filter(|ban| ban.covers(entry));
        let stale = covering.map(|ban| match ban.hardness {
            Hardness::Hard => None,
            Hardness::Soft(at) => Some(at),
        });
        match stale.reduce(|one, other| Some(one?.min(other?))) {
            None => Arrival::Welcome,
            Some(Some(at)) => Arrival::Stale(at),
            Some(None) => Arrival::Refused(NotStored::Purged),
        }
    }

    /// Whether a purge that may mean `entry` arrived after `began`.
    fn overtook(&self, began: Epoch, entry: &Entry) -> bool {
        let since = usize::try_from(self.count.saturating_sub(began.0)).unwrap_or(usize::MAX);
        if since > self.recent.len() {
            return true;
        }
        self.recent.iter().rev().take(since).any(|selector| selector.may_mean(entry))
    }

    fn is_old(&self, name: &str, version: &String) -> bool {
        self.replaced.get(name).is_some_and(|(_, old)| old.contains(version))
    }

    /// From now on these are the old versions of a document, unless a later update than the one at `at` has told others.
    pub(super) fn replace(&mut self, name: &str, old: Vec<String>, at: Epoch) {
        let room = self.replaced.len() < REPLACED_KEPT;
        match self.replaced.get_mut(name) {
            Some(known) if known.0 < at => *known = (at, old),
            None if room => drop(self.replaced.insert(name.to_owned(), (at, old))),
            _ => {}
        }
    }

    /// Notes that an update begins; it is known by the returned until it ends.
    pub(super) fn begin_update(&mut self, outdated: SourceSelector) -> Epoch {
        self.push(Selector { source: Some(outdated.clone()), ..Selector::default() });
        let at = self.epoch();
        self.updating.push((at, outdated));
        at
    }

    pub(super) fn end_update(&mut self, at: Epoch) {
        self.updating.retain(|(begun, _)| *begun != at);
    }

    /// What the store holds of earlier runs.
    pub(super) fn load(&mut self, bans: Vec<Ban>, replaced: Vec<(String, String)>) {
        self.bans = bans;
        self.replaced.clear();
        for (name, version) in replaced {
            self.replaced.entry(name).or_insert((Epoch(0), Vec::new())).1.push(version);
        }
    }

    pub(super) const fn told(&self) -> u64 {
        self.told
    }

    /// Heeds a change of some node.
    pub(super) fn heed(&mut self, change: &Change) {
        self.changed();
        self.told += 1;
        if let Some((selector, _)) = change.purge() {
            self.push(selector);
        }
        match change {
            Change::Updated { update, replaced, revision } => {
                self.replace(&update.name, replaced.clone(), Epoch(*revision));
            }
            Change::Forgotten { name, revision } => self.replace(name, Vec::new(), Epoch(*revision)),
            Change::Banned(ban) if self.bans.iter().all(|known| known.id != ban.id) => self.bans.push(ban.clone()),
            Change::Lifted(bans) => self.lift(bans),
            Change::Purged { .. } | Change::Banned(_) | Change::Blocked(_) => {}
        }
    }

    /// Whatever began before may be meant by a change that nobody can tell.
    pub(super) fn lose(&mut self) {
        self.told += 1;
        self.push(Selector::default());
    }

    pub(super) fn bans(&self) -> &[Ban] {
        &self.bans
    }

    /// Adds a ban that the store does not have yet, under an id for so long.
    pub(super) fn add_ban(&mut self, ban: Ban) -> BanId {
        // No store gives ids of the upper half, and no two bans come with the same count.
        let id = BanId(1 << 63 | self.count);
        self.bans.push(Ban { id, ..ban });
        id
    }

    /// Gives the ban that was added as `held` the id under which it is kept, or takes it back.
    pub(super) fn settle_ban(&mut self, held: BanId, kept: Option<BanId>) {
        match kept {
            Some(id) => self.bans.iter_mut().filter(|ban| ban.id == held).for_each(|ban| ban.id = id),
            None => self.bans.retain(|ban| ban.id != held),
        }
    }

    pub(super) fn lift(&mut self, bans: &[BanId]) {
        self.bans.retain(|ban| !bans.contains(&ban.id));
    }
}
