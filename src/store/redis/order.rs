//! How far this node has come in the changes of one part, and the changes that it still holds entries against.
//!
//! Invariant: a change is applied to what the node derives before the position moves past it, so that an entry judged after
//! the position was read was judged against everything up to it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::changes::ChangeId;
use crate::{
    clock::Timestamp,
    entry::Entry,
    store::{Hardness, Selector, shared::Change},
};

/// Changes that a node remembers, for reads and for a failover that lost them.
const REMEMBERED: usize = 4096;

/// A change with its number.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) id: ChangeId,
    /// `None` when it cannot be read: it may purge everything before it.
    pub(super) change: Option<Change>,
    pub(super) written: Vec<u8>,
}

impl Record {
    fn purge(&self) -> Option<(Selector, Hardness)> {
        self.change.as_ref().map_or_else(|| Some((Selector::default(), Hardness::Hard)), Change::purge)
    }
}

/// What the changes of a part say about an entry that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Stale(Timestamp),
    Gone,
}

/// One part's order of changes.
#[derive(Debug, Default)]
pub(super) struct Order {
    state: Mutex<State>,
    /// Held while the position moves.
    pub(super) moving: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    applied: u64,
    /// The last of the news that were read.
    news: u64,
    records: VecDeque<Record>,
    reported: Option<(Instant, u64)>,
}

impl Order {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn applied(&self) -> u64 {
        self.state().applied
    }

    /// Where the order begins for this node, with the changes that are not swept yet.
    pub(super) fn begin(&self, applied: u64, records: Vec<Record>) {
        let mut state = self.state();
        state.applied = applied;
        state.records = records.into();
    }

    /// Moves past a change that has been applied.
    pub(super) fn pass(&self, record: Record) {
        let mut state = self.state();
        state.applied = record.sequence;
        state.records.push_back(record);
        if state.records.len() > REMEMBERED {
            state.records.pop_front();
        }
    }

    /// Changes beyond `sequence` that this node remembers, oldest first.
    pub(super) fn beyond(&self, sequence: u64) -> Vec<Record> {
        self.state().records.iter().filter(|record| record.sequence > sequence).cloned().collect()
    }

    /// Whether every change from `sequence` on is remembered here.
    pub(super) fn remembers(&self, sequence: u64) -> bool {
        let state = self.state();
        sequence > state.applied || state.records.front().is_some_and(|first| first.sequence <= sequence)
    }

    /// How an entry stands that was admitted after change `admitted`, where everything before change `from` is swept.
    pub(super) fn standing(&self, entry: &Entry, admitted: u64, from: u64) -> Standing {
        let state = self.state();
        let mut standing = Standing::Good;
        for record in state.records.iter().rev() {
            if record.sequence < from || record.sequence <= admitted {
                break;
            }
            let purge = record.purge().filter(|(selector, _)| selector.selects(entry));
            match (purge, standing) {
                (Some((_, Hardness::Hard)), _) => return Standing::Gone,
                (Some((_, Hardness::Soft(at))), Standing::Stale(earlier)) => {
                    standing = Standing::Stale(at.min(earlier));
                }
                (Some((_, Hardness::Soft(at))), _) => standing = Standing::Stale(at),
                (None, _) => {}
            }
        }
        standing
    }

    pub(super) fn news(&self) -> u64 {
        self.state().news
    }

    pub(super) fn set_news(&self, number: u64) {
        self.state().news = number;
    }

    /// Whether the others have to be told how far this node is: what they know is old, or wrong.
    pub(super) fn must_report(&self, every: std::time::Duration) -> bool {
        let state = self.state();
        state.reported.is_none_or(|(at, applied)| applied != state.applied || at.elapsed() >= every)
    }

    pub(super) fn reported(&self, applied: u64) {
        self.state().reported = Some((Instant::now(), applied));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryId;
    use crate::store::conformance::entry;

    fn purged(sequence: u64, tag: &str, hardness: Hardness) -> Record {
        let selector = Selector { tag: Some(tag.to_owned()), ..Selector::default() };
        Record { sequence, id: sequence, change: Some(Change::Purged { selector, hardness }), written: Vec::new() }
    }

    #[test]
    fn an_entry_stands_as_the_purges_after_its_admission_leave_it() {
        let order = Order::default();
        let soft = |at| Hardness::Soft(Timestamp::from_millis(at));
        order.begin(2, Vec::new());
        for record in [purged(3, "docs", soft(30)), purged(4, "eu", soft(20)), purged(5, "us", Hardness::Hard)] {
            order.pass(record);
        }
        let entry = entry(EntryId(1), "q");
        for (admitted, from, standing) in [
            (2, 3, Standing::Stale(Timestamp::from_millis(20))),
            (3, 3, Standing::Stale(Timestamp::from_millis(20))),
            (4, 3, Standing::Good),
            (2, 5, Standing::Good),
        ] {
            assert_eq!(order.standing(&entry, admitted, from), standing, "{admitted} {from}");
        }
        order.pass(Record { change: None, ..purged(6, "", Hardness::Hard) });
        assert_eq!(order.standing(&entry, 2, 3), Standing::Gone, "what cannot be read may mean anything");
        assert!(order.remembers(3) && !order.remembers(2) && order.remembers(7));
    }
}
