//! What a store that several nodes write to asks of each of them, and what it tells them.
//!
//! Every change that decides what may be served (a purge, an update of a source, a ban, a blocked pair) has a number in an
//! order that all nodes share. An entry is admitted only by a node that has applied every change there is; a node that has
//! not is told so, catches up and judges the entry again. A read is held against every change too. So no change can be
//! overtaken by a late writer or a lagging reader, whichever node they are on (I6).
//!
//! What a node derives from the store (hot tier, index, memory of purges) follows through [`Derived`]. The hot tier is
//! looked at without asking the engine, so it counts only for a short lease after the node last knew that it had missed
//! nothing; a purge is acknowledged when every node has applied it or that lease has run out.

use std::sync::Weak;

use futures_util::future::BoxFuture;

use super::{
    Hardness, Selector, StoreError, StoredVector,
    bans::{Ban, BanId},
    sources::{SourceSelector, SourceUpdate, Versions},
    verdicts::Pair,
};
use crate::{
    entry::{Entry, EntryId},
    key::{Fingerprint, PrincipalKey},
};

/// A change that decides what may be served.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A purge.
    Purged {
        /// Of what.
        selector: Selector,
        /// Gone, or stale.
        hardness: Hardness,
    },
    /// A document has another version.
    Updated {
        /// The update.
        update: SourceUpdate,
        /// Its versions that are old from now on.
        replaced: Vec<String>,
        /// Of two updates of one document the higher one counts.
        revision: u64,
    },
    /// A document is forgotten, and what was built from it is gone.
    Forgotten {
        /// The document.
        name: String,
        /// As of an update.
        revision: u64,
    },
    /// A purge by meaning that is kept.
    Banned(Ban),
    /// Bans that are kept no longer.
    Lifted(Vec<BanId>),
    /// Two questions that must not share an answer.
    Blocked(Pair),
}

impl Change {
    /// What of the entries before it is purged, and how; `None` when nothing is.
    pub fn purge(&self) -> Option<(Selector, Hardness)> {
        let of_source = |source| Selector { source: Some(source), ..Selector::default() };
        match self {
            Self::Purged { selector, hardness } => Some((selector.clone(), *hardness)),
            Self::Updated { update, .. } => Some((of_source(update.outdated()), update.hardness)),
            Self::Forgotten { name, .. } => {
                let source = SourceSelector { name: name.clone(), versions: Versions::Any };
                Some((of_source(source), Hardness::Hard))
            }
            Self::Banned(ban) => Some((ban.selector(), ban.hardness)),
            Self::Lifted(_) | Self::Blocked(_) => None,
        }
    }
}

/// How far in the order of changes an entry was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The order: each part of the store has its own.
    pub part: u16,
    /// The last change that was heeded.
    pub sequence: u64,
}

/// What became of an entry that asked to be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is stored.
    Admitted,
    /// There were changes beyond its position; they are applied now, and it has to be judged anew.
    Behind,
}

/// What a node derives from the store.
pub trait Derived: Send + Sync + std::fmt::Debug {
    /// Heeds a change. When it returns, nothing that the change selects is in the hot tier, and what was begun before it is
    /// judged against it.
    fn apply(&self, change: &Change);

    /// Changes were missed that nobody can tell any more. When it returns the hot tier is empty, and whatever was begun
    /// before is refused.
    fn lost(&self);

    /// Entries of other nodes.
    fn index(&self, vectors: &[StoredVector]);

    /// Entries that are gone.
    fn unindex(&self, ids: &[EntryId]);
}

/// How it stands with following the other nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    /// News of entries that were not read yet.
    pub behind: u64,
    /// News were cut off before they were read: the index has to be filled anew.
    pub resync: bool,
    /// Bans, versions and blocked pairs have to be read anew, and [`Shared::reloaded`] told.
    pub reload: Option<u64>,
}

/// A question that one node fetches the answer of for all, under the terms that it is asked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlightName {
    /// The question.
    pub fingerprint: Fingerprint,
    /// Digest of the terms.
    pub terms: u64,
}

/// One node's claim to fetch an answer: another one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseToken(pub u64);

/// Who fetches an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Who asked.
    Ours,
    /// Another node does already.
    Theirs,
    /// Each node its own: such answers are not kept.
    Nobody,
}

/// What makes vectors and verdicts comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models {
    /// The embedder's fingerprint.
    pub embedder: String,
    /// The verifier's; `none` where there is none.
    pub verifier: String,
}

/// A store that other nodes write to as well.
pub trait Shared: Send + Sync + std::fmt::Debug {
    /// From now on changes and news go to `derived`.
    fn attach(&self, derived: Weak<dyn Derived>);

    /// How far this node has come where an entry of `fingerprint` belongs. To be taken before the entry is judged.
    fn position(&self, fingerprint: Fingerprint) -> Position;

    /// As [`super::Store::admit`], if there is no change beyond `judged`.
    fn admit_at(&self, entry: Entry, judged: Position) -> BoxFuture<'_, Result<Admission, StoreError>>;

    /// Whether the hot tier may be served from: this node knew less than a lease ago that it had missed no change.
    fn trusts_hot(&self) -> bool;

    /// Whether the engine answered when it was last asked.
    fn is_reachable(&self) -> bool;

    /// Reads what other nodes did, applies it, and tells them how far this node has come.
    fn follow(&self) -> BoxFuture<'_, Result<Followed, StoreError>>;

    /// What [`Followed::reload`] asked for is done. Until then nothing is read or admitted.
    fn reloaded(&self, reload: u64);

    /// How long [`Shared::follow`] may rest between two calls.
    fn pace(&self) -> std::time::Duration;

    /// Finishes what nodes that died left half done. One node at a time does it.
    fn tidy(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Joins the other nodes, or says in what this one differs from them.
    fn agree(&self, models: Models) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The secret that all nodes turn credentials into principals with; `own` is proposed where there is none yet.
    fn principal_key(&self, own: PrincipalKey) -> BoxFuture<'_, Result<PrincipalKey, StoreError>>;

    /// Takes the lead of a flight, or says who has it. It lasts for seconds unless it is kept.
    fn lead(&self, flight: FlightName, token: LeaseToken) -> BoxFuture<'_, Result<Lead, StoreError>>;

    /// Goes on leading, where nobody else does.
    fn keep_lead(&self, flight: FlightName, token: LeaseToken) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The flight is over, and its answer was `kept`; where it was not, nobody waits for another one for a while.
    fn end_lead(&self, flight: FlightName, token: LeaseToken, kept: bool) -> BoxFuture<'_, Result<(), StoreError>>;

    /// This node's name among the others.
    fn node(&self) -> &str;

    /// Tells the others not to wait for this node any more.
    fn leave(&self) -> BoxFuture<'_, ()>;
}
