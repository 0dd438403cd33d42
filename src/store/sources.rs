//! What answers are built from: the documents that entries name, and which version of each is today's.
//!
//! A version is a name without an order: an update says which one is today's, and everything built on any other is old.
//! Who names a document without its version, in a tag or as a source, is built on an unknown one, which counts as old.

use futures_util::future::BoxFuture;

use super::{Hardness, StoreError};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::Scope,
    wire::directives::SourceRef,
};

/// Replaced versions kept; beyond that the oldest are forgotten.
pub const REPLACED_KEPT: usize = 100_000;

/// Entries built from a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSelector {
    /// Which document.
    pub name: String,
    /// In which of its versions.
    pub versions: Versions,
}

/// Which versions of a document are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Versions {
    /// All, an unknown one included.
    Any,
    /// This one.
    Only(String),
    /// All but this one, an unknown one included.
    Except(String),
}

impl SourceSelector {
    /// As a purge names it: `doc:42` in any version, `doc:42@v7` in that one.
    pub fn of(source: SourceRef) -> Self {
        let SourceRef { name, version } = source;
        Self { name, versions: version.map_or(Versions::Any, Versions::Only) }
    }

    /// Whether `entry` is built from it. The store's own query must agree.
    pub fn selects(&self, entry: &Entry) -> bool {
        let mut named = entry.sources.iter().filter(|source| source.name == self.name).peekable();
        // A tag names no version.
        let tagged = named.peek().is_none() && entry.tags.contains(&self.name);
        match &self.versions {
            Versions::Any => tagged || named.next().is_some(),
            Versions::Only(version) => named.any(|source| source.version.as_ref() == Some(version)),
            Versions::Except(version) => tagged || named.any(|source| source.version.as_ref() != Some(version)),
        }
    }
}

/// Entries of some scopes that carry one of these tags: what an upstream calls out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// One of these.
    pub tags: Vec<String>,
    /// In one of these.
    pub scopes: Vec<Scope>,
}

impl Groups {
    /// Whether `entry` is one of them. The store's own query must agree.
    pub fn selects(&self, entry: &Entry) -> bool {
        self.scopes.contains(&entry.scope) && self.tags.iter().any(|tag| entry.tags.contains(tag))
    }
}

/// Today's version of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUpdate {
    /// Which document.
    pub name: String,
    /// Its version from now on; `None` where only that it changed is known.
    pub version: Option<String>,
    /// What becomes of the entries built on others.
    pub hardness: Hardness,
    /// When.
    pub at: Timestamp,
}

impl SourceUpdate {
    /// What it makes old.
    pub fn outdated(&self) -> SourceSelector {
        let versions = self.version.clone().map_or(Versions::Any, Versions::Except);
        SourceSelector { name: self.name.clone(), versions }
    }
}

/// What an update came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updated {
    /// Entries made stale or removed, ascending.
    pub entries: Vec<EntryId>,
    /// Versions of the document that are known to be old now.
    pub replaced: Vec<String>,
}

/// A document as listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SourceSummary {
    /// Which document.
    pub source: String,
    /// Today's version; `None` when nobody has said.
    pub version: Option<String>,
    /// Unix milliseconds, when it was said.
    pub updated_at_ms: Option<i64>,
    /// Live entries built from it, in any version.
    pub entries: u64,
}

/// The store's part in sources.
pub trait Sources: Send + Sync + std::fmt::Debug {
    /// Records today's version and makes stale, or removes, what is built on others: one transaction, durable when it
    /// returns, and written to the audit trail as a purge is.
    fn update_source(&self, update: SourceUpdate) -> BoxFuture<'_, Result<Updated, StoreError>>;

    /// Forgets a document and removes what is built from it, as durably. Returns the entries, ascending; `None` when it
    /// was neither recorded nor named by any.
    fn forget_source(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<EntryId>>, StoreError>>;

    /// Documents that are recorded or named by a live entry's sources, by name, and how many there are in all. `text`:
    /// only names that hold it, in any case.
    fn sources(
        &self,
        text: Option<String>,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<(Vec<SourceSummary>, u64), StoreError>>;

    /// One document, when it is recorded or some live entry is built from it.
    fn source(&self, name: String) -> BoxFuture<'_, Result<Option<SourceSummary>, StoreError>>;

    /// Every version that an update has replaced.
    fn replaced(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>>;
}
