//! The truth: entries, aliases, purges (I10). Index and hot tier are derived from it.
//!
//! One implementation, [`sqlite`]; the contract is the trait's docs and its conformance suite.
//! Writes are ordered: what is submitted first is applied first, so a purge submitted after an admission removes it.

pub mod sqlite;

use futures_util::future::BoxFuture;

use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Scope},
};

/// What a purge removes. Fields given together must all hold; an empty selector selects everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    /// These entries only.
    pub entry: Option<EntryId>,
    /// Entries that carry this tag.
    pub tag: Option<String>,
    /// Entries of this category.
    pub category: Option<String>,
    /// Entries of this scope.
    pub scope: Option<Scope>,
    /// Entries generated at or before this moment.
    pub generated_until: Option<Timestamp>,
}

impl Selector {
    /// Whether `entry` is selected. The store's own query must agree; the conformance suite compares them.
    pub fn selects(&self, entry: &Entry) -> bool {
        let Self { entry: id, tag, category, scope, generated_until } = self;
        id.is_none_or(|id| id == entry.id)
            && tag.as_ref().is_none_or(|tag| entry.tags.contains(tag))
            && category.as_ref().is_none_or(|category| *category == entry.category)
            && scope.is_none_or(|scope| scope == entry.scope)
            && generated_until.is_none_or(|until| entry.generated_at <= until)
    }
}

/// How hard a purge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardness {
    /// Stale from now on: may be served inside the policy's stale windows.
    Soft(Timestamp),
    /// Gone.
    Hard,
}

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Group commit, within 50 ms; the call returns at once.
    Behind,
    /// The call returns when the write is on disk.
    Through,
}

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or written.
    #[error("data directory {path} is not usable: {source}; choose another with --data-dir or fix its permissions")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("data directory {path} is in use by another semblance; stop that one or choose another with --data-dir")]
    Locked {
        /// The directory.
        path: String,
    },
    /// Written by a newer version.
    #[error(
        "database {path} has schema {found}, newer than this version's {supported}; use the newer semblance or another --data-dir"
    )]
    TooNew {
        /// The file.
        path: String,
        /// Its schema version.
        found: u32,
        /// The newest this program knows.
        supported: u32,
    },
    /// The database said no.
    #[error("database error")]
    Database(#[from] rusqlite::Error),
    /// A row does not decode.
    #[error("entry {id} is damaged: {what}")]
    Damaged {
        /// The entry.
        id: EntryId,
        /// Which part.
        what: &'static str,
    },
    /// The writer's queue is full.
    #[error("write queue is full")]
    Full,
    /// The store is closing.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "store-directory",
            Self::Locked { .. } => "store-locked",
            Self::TooNew { .. } => "store-too-new",
            Self::Database(_) => "store-database",
            Self::Damaged { .. } => "store-damaged",
            Self::Full => "store-full",
            Self::Closed => "store-closed",
        }
    }
}

/// An entry as listed: everything but vector and answer body.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EntrySummary {
    /// `e1f`.
    pub id: String,
    /// Short form of the scope.
    pub scope: String,
    /// Category at admission.
    pub category: String,
    /// The question, when it has one.
    pub query: Option<String>,
    /// Model returned.
    pub model: String,
    /// Unix milliseconds.
    pub generated_at_ms: i64,
    /// Unix milliseconds, when it was made stale.
    pub invalidated_at_ms: Option<i64>,
    /// Size on disk in bytes (compressed).
    pub bytes: u64,
    /// Group labels.
    pub tags: Vec<String>,
    /// Accepted other wordings.
    pub aliases: u64,
}

/// Totals over the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreStats {
    /// Live entries.
    pub entries: u64,
    /// Accepted other wordings.
    pub aliases: u64,
    /// Bytes of the stored answers (compressed).
    pub answer_bytes: u64,
    /// Bytes of the database files.
    pub file_bytes: u64,
}

/// An entry found by fingerprint.
#[derive(Debug, Clone)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// Found through an alias: another wording accepted earlier.
    pub via_alias: bool,
}

/// The store's contract. All calls are ordered after the writes submitted before them *by acknowledgement*: a read sees
/// at least every write whose call returned under [`Durability::Through`] or after [`Store::flush`].
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Adds `entry`, replacing any entry of the same fingerprint (its aliases go with it). One transaction.
    fn admit(&self, entry: Entry, durability: Durability) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Remembers `alias` as another wording of `entry`, if that entry still lives.
    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError>;

    /// The live entry of this fingerprint, or of the alias of this fingerprint.
    fn find(&self, fingerprint: Fingerprint) -> BoxFuture<'_, Result<Option<Found>, StoreError>>;

    /// The live entry of this id.
    fn get(&self, id: EntryId) -> BoxFuture<'_, Result<Option<Entry>, StoreError>>;

    /// Removes or invalidates what `selector` selects, durably, and returns the ids. `dry_run` only counts.
    fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>>;

    /// Entries that `selector` selects, newest first.
    fn list(&self, selector: Selector, offset: u64, limit: u64)
    -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>>;

    /// Totals.
    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>>;

    /// Returns when everything submitted before is on disk.
    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
