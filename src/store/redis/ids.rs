//! Identities: a counter of the engine, handed out in blocks, with the entry's part in it.
//!
//! Taking one asks nobody, so the next block is reserved before the last one is used up. When the engine has not answered
//! for so long that none is left, ids are given out that no entry can be stored under.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::EntryId;

/// Ids reserved at a time.
pub(super) const BLOCK: u64 = 1 << 16;
/// The engine's scripts count in doubles: beyond this they would miscount.
pub(super) const LARGEST: u64 = (1 << 53) - 1;

/// Ids that may be given away.
#[derive(Debug)]
pub(super) struct Ids {
    parts: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    end: u64,
    spare: Option<u64>,
    /// Counts down where no entry is stored.
    none: u64,
}

impl Ids {
    pub(super) fn new(parts: u16) -> Self {
        Self { parts, state: Mutex::default() }
    }

    pub(super) const fn parts(&self) -> u16 {
        self.parts
    }

    #[expect(clippy::cast_possible_truncation, reason = "reduced to the number of parts")]
    pub(super) const fn part(&self, number: u64) -> u16 {
        (number % self.parts as u64) as u16
    }

    /// The next id in `part`.
    pub(super) fn take(&self, part: u16) -> EntryId {
        let mut state = self.state();
        if state.next == state.end
            && let Some(first) = state.spare.take()
        {
            (state.next, state.end) = (first, first + BLOCK);
        }
        if state.next == state.end {
            state.none += 1;
            return EntryId(u64::MAX - state.none);
        }
        state.next += 1;
        EntryId((state.next - 1) * u64::from(self.parts) + u64::from(part))
    }

    /// Whether another block should be reserved.
    pub(super) fn wants_block(&self) -> bool {
        let state = self.state();
        state.spare.is_none() && state.end - state.next < BLOCK / 2
    }

    /// Takes a block that begins with `first`.
    pub(super) fn give(&self, first: u64) {
        let mut state = self.state();
        if state.next == state.end {
            (state.next, state.end) = (first, first + BLOCK);
        } else {
            state.spare = Some(first);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_carry_their_part_and_run_out_harmlessly() {
        let ids = Ids::new(16);
        assert!(ids.take(3).0 > LARGEST && ids.take(3) != ids.take(3), "none was reserved");
        ids.give(BLOCK);
        let (first, second) = (ids.take(3), ids.take(7));
        assert!(first.0 > 0 && second > first);
        assert_eq!((ids.part(first.0), ids.part(second.0)), (3, 7));
        assert!(!ids.wants_block());
        for _ in 0..BLOCK / 2 {
            ids.take(0);
        }
        assert!(ids.wants_block());
        ids.give(5 * BLOCK);
        for _ in 0..BLOCK / 2 {
            assert!(ids.take(0).0 <= LARGEST);
        }
        assert!(ids.take(0).0 >= 5 * BLOCK * 16);
    }
}
