//! Where records of traffic and the ledger are kept: apart from the cache, so that neither waits for the other.

use futures_util::future::BoxFuture;

use super::StoreError;
use crate::{
    clock::Timestamp,
    key::Principal,
    traffic::{
        Record, Wanted,
        ledger::{Key, Sums},
    },
};

/// What may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Records that came before this moment go.
    pub since: Timestamp,
    /// At most this many records stay, the newest.
    pub rows: u64,
    /// Sums of hours before this moment go.
    pub sums_since: Timestamp,
}

/// Records and sums. Reads see what was written before a [`TrafficLog::flush`] that returned.
pub trait TrafficLog: Send + Sync + std::fmt::Debug {
    /// Keeps a record. Behind: returns at once, and fails when too many wait.
    fn record(&self, record: Record) -> Result<(), StoreError>;

    /// Adds to the ledger, durably, in one transaction.
    fn add(&self, sums: Vec<(Key, Sums)>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The records wanted, newest first.
    fn records(&self, wanted: Wanted) -> BoxFuture<'_, Result<Vec<Record>, StoreError>>;

    /// Up to `limit` records numbered above `after` that came at `since` or later, oldest first.
    fn walk(&self, after: i64, since: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StoreError>>;

    /// The record of a request.
    fn of_request(&self, request_id: String) -> BoxFuture<'_, Result<Option<Record>, StoreError>>;

    /// The ledger's lines of the hours that begin in `since..until`, in the order of their keys.
    fn sums(&self, since: Timestamp, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Key, Sums)>, StoreError>>;

    /// Removes every record of these, and of nobody known, so that nothing of them is in the files any more.
    fn forget(&self, principals: Vec<Principal>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Removes what may be kept no longer; returns how many records.
    fn prune(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Returns when everything recorded before is on disk.
    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
