//! Recent purges in order, so that a generation they overtook is recognised at admission (I6).

use std::collections::VecDeque;

use crate::{entry::Entry, store::Selector};

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
    recent: VecDeque<Selector>,
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

    /// Whether a purge that selects `entry` arrived after `began`.
    pub(super) fn overtook(&self, began: Epoch, entry: &Entry) -> bool {
        let since = usize::try_from(self.count.saturating_sub(began.0)).unwrap_or(usize::MAX);
        if since > self.recent.len() {
            return true;
        }
        self.recent.iter().rev().take(since).any(|selector| selector.selects(entry))
    }
}
