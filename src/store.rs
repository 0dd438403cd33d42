//! The truth: entries, aliases, purges (I10). Index and hot tier are derived from it.
//!
//! Two implementations, [`sqlite`] for one node and [`redis`] for many; the contract is the traits' docs and their conformance suite. [`Store`] is what a
//! request and an operator need, [`Upkeep`] what start-up and the background jobs need, [`verdicts::Verdicts`] what
//! audits and feedback found out, [`sources::Sources`] and [`bans::Bans`] what a document's update and a purge by meaning
//! leave behind.
//! Writes are ordered: what is submitted first is applied first, so a purge submitted after an admission removes it.
//! A write is submitted when the method is called, not when its future is first polled, and dropping the future does
//! not take it back.

pub mod bans;
mod codec;
#[cfg(test)]
pub(crate) mod conformance;
pub mod encryption;
pub mod failing;
pub mod redis;
pub mod shared;
pub mod sources;
pub mod sqlite;
pub mod traffic;
pub mod transfer;
mod vault;
pub mod verdicts;

use futures_util::future::BoxFuture;

use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope},
    similarity::{Embedding, Similarity},
};
use bans::Near;
use sources::{Groups, SourceSelector};

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
    /// Entries that answer one of these, and those of which it is not known whom they answer: an erasure must be sure.
    /// A hard purge of these also removes the blocked pairs that their entries are part of. Any when empty.
    pub principals: Vec<Principal>,
    /// Entries generated at or before this moment.
    pub generated_until: Option<Timestamp>,
    /// Entries built from this document.
    pub source: Option<SourceSelector>,
    /// Entries with a tag, or a source written `doc:42@v7`, that begins so.
    pub prefix: Option<String>,
    /// Entries of these groups.
    pub groups: Option<Groups>,
    /// Entries whose question is near to a text in meaning. One that is found by its own wording only has no vector and
    /// is near to nothing.
    pub near: Option<Near>,
}

impl Selector {
    /// Whether `entry` is selected. The store's own query must agree; the conformance suite compares them.
    pub fn selects(&self, entry: &Entry) -> bool {
        let near = |near: &Near| near.similarity_to(entry).is_some_and(|similarity| near.reaches(similarity));
        self.selects_by_facts(entry) && self.near.as_ref().is_none_or(near)
    }

    /// Whether `entry`, which is about to arrive, may be meant: as [`Self::selects`], but an unknown meaning counts as
    /// near. What is refused for that is only asked for again.
    pub fn may_mean(&self, entry: &Entry) -> bool {
        let near = |near: &Near| near.similarity_to(entry).is_none_or(|similarity| near.reaches(similarity));
        self.selects_by_facts(entry) && self.near.as_ref().is_none_or(near)
    }

    fn selects_by_facts(&self, entry: &Entry) -> bool {
        let Self { entry: id, tag, category, scope, principals, generated_until, source, prefix, groups, near: _ } =
            self;
        id.is_none_or(|id| id == entry.id)
            && tag.as_ref().is_none_or(|tag| entry.tags.contains(tag))
            && category.as_ref().is_none_or(|category| *category == entry.category)
            && scope.is_none_or(|scope| scope == entry.scope)
            && (principals.is_empty() || entry.principal.is_none_or(|of| principals.contains(&of)))
            && generated_until.is_none_or(|until| entry.generated_at <= until)
            && source.as_ref().is_none_or(|source| source.selects(entry))
            && prefix.as_ref().is_none_or(|prefix| begins_so(entry, prefix))
            && groups.as_ref().is_none_or(|groups| groups.selects(entry))
    }
}

/// Whether a tag or a source of `entry` begins with `prefix`.
fn begins_so(entry: &Entry, prefix: &str) -> bool {
    entry.tags.iter().any(|tag| tag.starts_with(prefix))
        || entry.sources.iter().any(|source| source.to_string().starts_with(prefix))
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
    /// Written by an older version, and only to be looked at.
    #[error(
        "database {path} has schema {found}, older than this version's {supported}; start the gateway once or run doctor with --repair, which brings it up to date"
    )]
    TooOld {
        /// The file.
        path: String,
        /// Its schema version.
        found: u32,
        /// The one this program reads.
        supported: u32,
    },
    /// The file is something else, or its header is destroyed.
    #[error("{path} is not a semblance database; move it away or choose another directory with --data-dir")]
    NotADatabase {
        /// The file.
        path: String,
    },
    /// The texts are sealed and no key was given.
    #[error("database {path} is encrypted; set SEMBLANCE_ENCRYPTION_KEY to the key it was made with")]
    KeyMissing {
        /// The file.
        path: String,
    },
    /// The texts are sealed under another key.
    #[error(
        "database {path} is encrypted with another key; set SEMBLANCE_ENCRYPTION_KEY to the one it was made with, or move the file away and let the cache start empty"
    )]
    WrongKey {
        /// The file.
        path: String,
    },
    /// A key was given, and the texts in the file are not sealed.
    #[error(
        "database {path} is not encrypted and a key was given; move the file away so that an encrypted one is made, or unset SEMBLANCE_ENCRYPTION_KEY"
    )]
    KeyNotWanted {
        /// The file.
        path: String,
    },
    /// The system gives no random bytes, without which nothing is sealed.
    #[error("the system gives no random bytes: {0}")]
    Randomness(getrandom::Error),
    /// No room for the write; the store works again when there is.
    #[error("no space left for the database; free some on the disk of --data-dir, or lower the store's size limit")]
    NoSpace,
    /// A thread of the store could not be started.
    #[error("a thread of the store could not be started")]
    Thread(#[source] std::io::Error),
    /// The file's pages are damaged.
    #[error("the database file is damaged ({0}); stop the gateway and run `semblance doctor --repair`")]
    Corrupt(rusqlite::Error),
    /// Another program holds the database's lock.
    #[error("another program holds the database's lock; end what has the file open")]
    Busy,
    /// The database said no.
    #[error("database error: {0}")]
    Database(rusqlite::Error),
    /// The engine does not answer; the cache works again when it does.
    #[error("the engine cannot be reached: {0}")]
    Unreachable(String),
    /// The engine answered with an error.
    #[error("the engine refused: {0}")]
    Engine(String),
    /// The engine has no room left.
    #[error(
        "the engine has no memory left; raise its maxmemory, or set maxmemory-policy to volatile-lfu so that it makes room"
    )]
    EngineFull,
    /// The engine cannot be used as it is.
    #[error("the engine cannot be used: {0}")]
    EngineUnusable(String),
    /// The other nodes use another model.
    #[error(
        "the other nodes use {what} {theirs} and this one {ours}; start all nodes with the same version, or stop all of them before the first one of the new version starts"
    )]
    Mixed {
        /// What differs.
        what: &'static str,
        /// What the others have.
        theirs: String,
        /// What this node has.
        ours: String,
    },
    /// A purge is in force, and too few replicas have it.
    #[error("the purge is in force, but only {got} of {wanted} replicas have it: purge again when they are back")]
    NotReplicated {
        /// Replicas that were to have it.
        wanted: u32,
        /// Replicas that have it.
        got: u32,
    },
    /// A value that no store can hold.
    #[error("an entry cannot be stored: {0}")]
    Unfit(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    /// True for what a disk, another program on it, or a network does to a store; false for what an operator has to set right.
    pub const fn is_the_disks(&self) -> bool {
        matches!(
            self,
            Self::NoSpace | Self::Corrupt(_) | Self::Busy | Self::Database(_) | Self::Unfit(_) | Self::Unreachable(_)
        )
    }

    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "store-directory",
            Self::Locked { .. } => "store-locked",
            Self::TooNew { .. } => "store-too-new",
            Self::TooOld { .. } => "store-too-old",
            Self::NotADatabase { .. } => "store-not-a-database",
            Self::KeyMissing { .. } => "store-key-missing",
            Self::WrongKey { .. } => "store-wrong-key",
            Self::KeyNotWanted { .. } => "store-key-not-wanted",
            Self::Randomness(_) => "store-randomness",
            Self::NoSpace => "store-no-space",
            Self::Thread(_) => "store-thread",
            Self::Corrupt(_) => "store-corrupt",
            Self::Busy => "store-busy",
            Self::Database(_) => "store-database",
            Self::Unreachable(_) => "store-unreachable",
            Self::Engine(_) => "store-engine",
            Self::EngineFull => "store-engine-full",
            Self::EngineUnusable(_) => "store-engine-unusable",
            Self::Mixed { .. } => "store-mixed",
            Self::NotReplicated { .. } => "store-not-replicated",
            Self::Unfit(_) => "store-unfit",
            Self::Damaged { .. } => "store-damaged",
            Self::Full => "store-full",
            Self::Closed => "store-closed",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::NoSpace,
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => Self::Corrupt(error),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Database(error),
        }
    }
}

/// An entry as listed: everything but vector and answer body.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EntrySummary {
    /// `e1f`.
    pub id: String,
    /// All 64 hex digits of the scope, as a purge by scope takes it.
    pub scope: String,
    /// All 64 hex digits of whose question it answers, as an erasure takes it; `None` when that is not known.
    pub principal: Option<String>,
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
    /// The app's own upper bound on the ttl, in milliseconds.
    #[serde(skip)]
    pub ttl_limit_ms: Option<u64>,
    /// Group labels.
    pub tags: Vec<String>,
    /// What it was built from, `doc:42@v7`.
    pub sources: Vec<String>,
    /// Accepted other wordings.
    pub aliases: u64,
}

/// What to list, and how much of it.
#[derive(Debug, Clone, Default)]
pub struct Browse {
    /// Entries that it selects; nearest first when it says near to what.
    pub selector: Selector,
    /// Of them those whose question holds this text, in any case.
    pub text: Option<String>,
    /// Leave out so many.
    pub offset: u64,
    /// No more than so many.
    pub limit: u64,
}

/// A part of what [`Store::browse`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Browsed {
    /// Entries in order, and how near each is when that was asked.
    pub entries: Vec<(EntrySummary, Option<Similarity>)>,
    /// How many there are in all.
    pub total: u64,
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
    /// A new identity for an entry of this fingerprint: larger than any that this process was given before, and never given
    /// to anybody else, over restarts and nodes too.
    fn next_id(&self, fingerprint: Fingerprint) -> EntryId;

    /// Adds `entry`, replacing any entry and any alias of the same fingerprint (a replaced entry's aliases go with it).
    /// One transaction. Tags and sources come back sorted and without repeats.
    fn admit(&self, entry: Entry, durability: Durability) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Remembers `alias` as another wording of `entry`, if that entry still lives and `alias` has no entry of its own.
    /// The newest of two aliases of one fingerprint counts. Behind: returns at once.
    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError>;

    /// The live entry of this fingerprint, or of the alias of this fingerprint. A damaged entry is an error once, and
    /// removed.
    fn find(&self, fingerprint: Fingerprint) -> BoxFuture<'_, Result<Option<Found>, StoreError>>;

    /// The live entry of this id. A damaged entry is an error once, and removed.
    fn get(&self, id: EntryId) -> BoxFuture<'_, Result<Option<Entry>, StoreError>>;

    /// Removes or invalidates what `selector` selects, durably, and returns the ids in ascending order. `dry_run` only
    /// counts. An entry that was invalidated earlier keeps the earlier moment.
    fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>>;

    /// Entries that `selector` selects, newest (largest id) first.
    fn list(&self, selector: Selector, offset: u64, limit: u64)
    -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>>;

    /// As [`Store::list`], searched for words and meaning, with the total. Nearest first where a meaning is given.
    fn browse(&self, browse: Browse) -> BoxFuture<'_, Result<Browsed, StoreError>>;

    /// Totals.
    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>>;

    /// Returns when everything submitted before is on disk.
    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// A stored vector: what an index is rebuilt from.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVector {
    /// The entry.
    pub id: EntryId,
    /// Where similarity may find it.
    pub partition: Partition,
    /// Which embedder made it; empty when unknown.
    pub embedder: String,
    /// The vector.
    pub embedding: Embedding,
    /// The question it stands for.
    pub query: Option<String>,
}

/// A part of a walk in id order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items, ids ascending.
    pub items: Vec<T>,
    /// Where the next part starts after; `None` at the end.
    pub next: Option<EntryId>,
}

/// A question whose vector was made by another embedder than today's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unembedded {
    /// The entry.
    pub id: EntryId,
    /// The question.
    pub query: String,
}

/// What no request can be served from any more, in one category and under today's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The category.
    pub category: String,
    /// Entries generated before this moment are past the ttl and every stale window.
    pub generated_before: Timestamp,
    /// Entries generated after this moment were made under a clock that has been set back: nobody knows their age.
    pub generated_after: Timestamp,
    /// Entries invalidated before this moment are past every stale window.
    pub invalidated_before: Timestamp,
}

/// What start-up and the background jobs ask of a store. Whatever removes entries returns their ids, so that index and
/// hot tier can follow.
pub trait Upkeep: Store + verdicts::Verdicts + sources::Sources + bans::Bans + transfer::Transfer {
    /// What it asks of a node where others write to it too; `None` where this process is the only one.
    fn shared(&self) -> Option<&dyn shared::Shared> {
        None
    }

    /// Up to `limit` vectors after `after`, for a rebuild of the index. Unreadable vectors are left out.
    fn vectors(&self, after: Option<EntryId>, limit: u32) -> BoxFuture<'_, Result<Page<StoredVector>, StoreError>>;

    /// Up to `limit` entries after `after` that have a question and a vector of another embedder than `embedder`.
    fn unembedded(
        &self,
        embedder: String,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<Unembedded>, StoreError>>;

    /// Replaces the vector of `id`, if that entry still lives. Behind: returns at once.
    fn set_embedding(&self, id: EntryId, embedder: String, embedding: Embedding) -> Result<(), StoreError>;

    /// Notes that these entries were used at `now`, for [`Upkeep::evict_to`]. Behind, and no finer than
    /// [`USE_RESOLUTION_MS`].
    fn touch(&self, ids: Vec<EntryId>, now: Timestamp) -> Result<(), StoreError>;

    /// Live entries by category.
    fn categories(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>>;

    /// Removes up to `limit` expired entries, oldest first.
    fn reap(&self, expired: Expired, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>>;

    /// Removes up to `limit` entries, least recently used first, until the live data is within `bytes`.
    fn evict_to(&self, bytes: u64, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>>;

    /// Vectors kept for these example texts, in their order; `None` where none is kept.
    fn example_vectors(
        &self,
        embedder: String,
        texts: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Embedding>>, StoreError>>;

    /// Keeps vectors of example texts for the next start. Behind: returns at once.
    fn keep_example_vectors(&self, embedder: String, vectors: Vec<(String, Embedding)>) -> Result<(), StoreError>;
}

/// Uses nearer to each other than this are one use, so that reads do not become writes.
pub const USE_RESOLUTION_MS: i64 = 5 * 60 * 1000;
