//! Purges by meaning, which are kept: an answer that was generated before one and arrives later is held against it (I6).
//!
//! A ban holds the operator's own words and their vector, nobody's question; so the erasure of a person does not touch it.

use std::fmt;

use futures_util::future::BoxFuture;

use super::{Hardness, Selector, StoreError};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::Scope,
    similarity::{Embedding, Similarity},
};

/// Bans kept at most; a further one is refused, for none of them may be dropped before its time.
pub const BANS_KEPT: usize = 1000;

/// Nearness to a text in meaning.
#[derive(Clone, PartialEq)]
pub struct Near {
    /// The text.
    pub text: String,
    /// Its vector.
    pub vector: Embedding,
    /// Which embedder made the vector: those of two never meet.
    pub embedder: String,
    /// Similarity from which on a question is near.
    pub radius: Similarity,
}

impl fmt::Debug for Near {
    /// Without the text: it may stand in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Near({})", self.radius)
    }
}

impl Near {
    /// How near a question is whose vector is known; `None` when it is another embedder's, or none.
    pub fn similarity(&self, embedder: Option<&str>, vector: Option<&Embedding>) -> Option<Similarity> {
        let vector = vector.filter(|_| embedder == Some(self.embedder.as_str()))?;
        self.vector.similarity(vector)
    }

    /// The same of an entry's.
    pub fn similarity_to(&self, entry: &Entry) -> Option<Similarity> {
        self.similarity(entry.embedder.as_deref(), entry.embedding.as_ref())
    }

    /// Whether a similarity is near enough.
    pub fn reaches(&self, similarity: Similarity) -> bool {
        similarity >= self.radius
    }
}

/// Identity of a ban, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BanId(pub u64);

/// A purge by meaning that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Ban {
    /// Which one; zero until the store has it.
    pub id: BanId,
    /// What is purged.
    pub near: Near,
    /// Of this category only.
    pub category: Option<String>,
    /// Of this scope only.
    pub scope: Option<Scope>,
    /// Answers generated before this moment.
    pub until: Timestamp,
    /// Refused, or stored stale.
    pub hardness: Hardness,
}

impl Ban {
    /// The ban of a purge by meaning; `None` for a purge of anything else, or one that names more than a category and a
    /// scope beside it. Without a bound in time it is about every answer until it is lifted.
    pub fn of(selector: &Selector, hardness: Hardness) -> Option<Self> {
        let Selector {
            entry: None,
            tag: None,
            category,
            scope,
            principals,
            generated_until,
            source: None,
            prefix: None,
            groups: None,
            near: Some(near),
        } = selector
        else {
            return None;
        };
        let until = generated_until.unwrap_or(Timestamp::from_millis(i64::MAX));
        let ban = Self { id: BanId(0), near: near.clone(), category: category.clone(), scope: *scope, until, hardness };
        principals.is_empty().then_some(ban)
    }

    /// What it purged.
    pub fn selector(&self) -> Selector {
        Selector {
            category: self.category.clone(),
            scope: self.scope,
            generated_until: Some(self.until),
            near: Some(self.near.clone()),
            ..Selector::default()
        }
    }

    /// Whether an answer that arrives now is covered. One whose meaning is not known is: it can be asked for anew.
    pub fn covers(&self, entry: &Entry) -> bool {
        // The moment itself is not: whatever was begun in it and stored before was purged, and what began after is good.
        entry.generated_at < self.until && self.selector_may_select(entry)
    }

    fn selector_may_select(&self, entry: &Entry) -> bool {
        self.category.as_ref().is_none_or(|category| *category == entry.category)
            && self.scope.is_none_or(|scope| scope == entry.scope)
            && self.near.similarity_to(entry).is_none_or(|similarity| self.near.reaches(similarity))
    }
}

/// The store's part in bans.
pub trait Bans: Send + Sync + fmt::Debug {
    /// Purges what the ban selects and keeps the ban, in one transaction and as durably as a purge. Returns its id and
    /// the entries, ascending.
    fn ban(&self, ban: Ban) -> BoxFuture<'_, Result<(BanId, Vec<EntryId>), StoreError>>;

    /// Every ban, oldest first. Unreadable ones are left out.
    fn bans(&self) -> BoxFuture<'_, Result<Vec<Ban>, StoreError>>;

    /// Forgets bans, durably. Returns those that were there.
    fn lift(&self, bans: Vec<BanId>) -> BoxFuture<'_, Result<Vec<BanId>, StoreError>>;
}
