//! The stored answer and its metadata.
//!
//! An entry is immutable once admitted, but for the two facts a purge or a feedback changes: when it was invalidated,
//! and whether it still lives. Its age is computed on read from [`Entry::generated_at`] and today's policy (I4).

use std::{fmt, str::FromStr};

use crate::{
    clock::Timestamp,
    key::{Fingerprint, Partition, Principal, Scope},
    similarity::Embedding,
    wire::{Answer, directives::SourceRef},
};

/// Identity of an entry in one store; grows with each admission, never reused for another answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{:x}", self.0)
    }
}

/// The text was not an entry id such as `e1f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entry id (they look like e1f)")]
pub struct NotAnEntryId;

impl FromStr for EntryId {
    type Err = NotAnEntryId;

    fn from_str(s: &str) -> Result<Self, NotAnEntryId> {
        let digits = s.strip_prefix('e').ok_or(NotAnEntryId)?;
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| NotAnEntryId)
    }
}

/// A stored answer with everything that decides whether, when and to whom it may be served.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Identity in this store.
    pub id: EntryId,
    /// Isolation boundary.
    pub scope: Scope,
    /// Whose question it answers; whoever asks the same in a shared scope is not named. `None` when that is not known.
    pub principal: Option<Principal>,
    /// Where similarity may find it.
    pub partition: Partition,
    /// Exact identity; one live entry per fingerprint, a newer one replaces it.
    pub fingerprint: Fingerprint,
    /// The category it was admitted under; looked up in today's policies on each read.
    pub category: String,
    /// Revision of the policy set that admitted it.
    pub policy_revision: String,
    /// The question as matched by meaning; `None` when it can only be found by fingerprint.
    pub query: Option<String>,
    /// The query's vector; `None` when it has no query or none could be made.
    pub embedding: Option<Embedding>,
    /// Which embedder made the vector: model and weights, so that vectors of two models never meet.
    pub embedder: Option<String>,
    /// The answer in its family's canonical form.
    pub answer: Answer,
    /// When the upstream call that made the answer began.
    pub generated_at: Timestamp,
    /// When a soft purge or a source update made it stale.
    pub invalidated_at: Option<Timestamp>,
    /// The app's own upper bound on the ttl (`x-semblance-ttl`), in milliseconds.
    pub ttl_limit_ms: Option<u64>,
    /// Group labels for purge: the app's and the upstream's.
    pub tags: Vec<String>,
    /// What it was built from; its key holds them too.
    pub sources: Vec<SourceRef>,
}

impl Entry {
    /// Approximate bytes in memory, the unit of the hot tier's bound.
    pub fn weight(&self) -> usize {
        let text = self.query.as_ref().map_or(0, String::len) + self.category.len() + self.policy_revision.len();
        let vector = self.embedding.as_ref().map_or(0, |e| e.dimensions() * 4);
        let tags: usize = self.tags.iter().map(|t| t.len() + 24).sum();
        let sources: usize =
            self.sources.iter().map(|s| s.name.len() + s.version.as_ref().map_or(0, String::len) + 48).sum();
        320 + text + vector + tags + sources + self.answer.weight()
    }
}
