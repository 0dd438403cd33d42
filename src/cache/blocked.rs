//! Pairs of questions that must not share an answer, in memory: each lookup by meaning asks here.

use std::collections::{HashSet, VecDeque};

use crate::store::verdicts::{PAIRS_KEPT, Pair};

/// The pairs, bounded as in the store: the oldest go first.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    pairs: HashSet<Pair>,
    order: VecDeque<Pair>,
}

impl Blocked {
    pub(super) fn contains(&self, pair: Pair) -> bool {
        self.pairs.contains(&pair)
    }

    /// Keeps these pairs and no others.
    pub(super) fn replace(&mut self, pairs: Vec<Pair>) {
        *self = Self::default();
        for pair in pairs {
            self.insert(pair);
        }
    }

    /// Adds a pair; false when it was there.
    pub(super) fn insert(&mut self, pair: Pair) -> bool {
        let new = self.pairs.insert(pair);
        if new {
            self.order.push_back(pair);
            if self.order.len() > PAIRS_KEPT
                && let Some(oldest) = self.order.pop_front()
            {
                self.pairs.remove(&oldest);
            }
        }
        new
    }
}
