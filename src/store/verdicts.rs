//! What was found out about hits: pairs of questions that must not share an answer, and the books of each category.

use futures_util::future::BoxFuture;

use super::StoreError;
use crate::{clock::Timestamp, entry::EntryId, key::Fingerprint};

/// Pairs kept; beyond that the oldest go.
pub const PAIRS_KEPT: usize = 200_000;

/// Two questions of one partition that have different answers. Without order: what one is to the other, that is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    first: Fingerprint,
    second: Fingerprint,
}

impl Pair {
    /// The pair of two questions, in either order.
    pub fn of(a: Fingerprint, b: Fingerprint) -> Self {
        Self { first: a.min(b), second: a.max(b) }
    }

    /// Its two questions.
    pub const fn questions(&self) -> (Fingerprint, Fingerprint) {
        (self.first, self.second)
    }
}

/// The books of one category, in the words of whoever keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLedger {
    /// The category.
    pub category: String,
    /// JSON.
    pub ledger: String,
}

/// The store's part in audits and feedback.
pub trait Verdicts: Send + Sync + std::fmt::Debug {
    /// Remembers a pair and forgets the aliases it makes wrong, in one transaction, durably. False when it was known.
    /// `why` is a stable token.
    fn block(&self, pair: Pair, why: &'static str, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Every pair, oldest first.
    fn blocked(&self) -> BoxFuture<'_, Result<Vec<Pair>, StoreError>>;

    /// Other wordings that lead to `entry`, those still queued included.
    fn wordings(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>>;

    /// Replaces a category's books. Behind: returns at once.
    fn keep_ledger(&self, ledger: KeptLedger, now: Timestamp) -> Result<(), StoreError>;

    /// The books of every category that has some.
    fn ledgers(&self) -> BoxFuture<'_, Result<Vec<KeptLedger>, StoreError>>;
}
