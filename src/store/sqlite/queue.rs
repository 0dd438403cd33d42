//! The writer's bounded queue: first in, first out, bounded by number and by bytes.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::store::{Hardness, StoreError};

/// Room kept for purges and flushes when admissions have filled the queue.
const RESERVE: usize = 256;

/// When a write must be committed and what must be done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// With the next group; nobody waits.
    Behind,
    /// Now, and on disk before it is answered.
    Through,
    /// As `Through`, let in when admissions have filled the queue.
    Command,
    /// As `Command`, and what it deleted must be out of the log file too.
    Scrub,
}

impl Urgency {
    /// A purge's: what was removed must be out of the log file too.
    pub(super) fn of(hardness: Hardness) -> Self {
        if hardness == Hardness::Hard { Self::Scrub } else { Self::Command }
    }

    pub(super) fn waits(self) -> bool {
        self != Self::Behind
    }
}

/// A queued item.
#[derive(Debug)]
pub(super) struct Queued<T> {
    pub(super) item: T,
    pub(super) urgency: Urgency,
    pub(super) bytes: usize,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Commit these.
    Batch(Vec<Queued<T>>),
    /// Nothing came for a while: time for housekeeping.
    Idle,
    /// Closed and empty.
    End,
}

/// Bounds of the queue and of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) items: usize,
    pub(super) bytes: usize,
    pub(super) batch: usize,
    /// How long a group may gather while nobody waits.
    pub(super) gather: Duration,
    /// How long nothing must come for [`Next::Idle`].
    pub(super) idle: Duration,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    bounds: Bounds,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<Queued<T>>,
    bytes: usize,
    waiting: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, waiting: 0, closed: false };
        Self { bounds, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes the item in, or says why not.
    pub(super) fn push(&self, item: Queued<T>) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let full = match item.urgency {
            Urgency::Behind | Urgency::Through => {
                state.items.len() >= self.bounds.items
                    || (state.bytes > 0 && state.bytes + item.bytes > self.bounds.bytes)
            }
            Urgency::Command | Urgency::Scrub => state.items.len() >= self.bounds.items + RESERVE,
        };
        if full {
            return Err(StoreError::Full);
        }
        state.bytes += item.bytes;
        state.waiting += usize::from(item.urgency.waits());
        state.items.push_back(item);
        let wake = state.items.len() == 1 || state.waiting > 0 || state.items.len() >= self.bounds.batch;
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for work. `housekeeping`: return [`Next::Idle`] when none comes.
    pub(super) fn next(&self, housekeeping: bool) -> Next<T> {
        let mut state = self.state();
        let empty = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        if housekeeping {
            let waited = self.changed.wait_timeout_while(state, self.bounds.idle, empty);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            state = self.changed.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner);
        }
        if state.items.is_empty() {
            return if state.closed { Next::End } else { Next::Idle };
        }
        let gathering =
            |state: &mut State<T>| state.waiting == 0 && state.items.len() < self.bounds.batch && !state.closed;
        let gathered = self.changed.wait_timeout_while(state, self.bounds.gather, gathering);
        state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        let take = state.items.len().min(self.bounds.batch);
        let batch: Vec<_> = state.items.drain(..take).collect();
        for item in &batch {
            state.bytes -= item.bytes;
            state.waiting -= usize::from(item.urgency.waits());
        }
        Next::Batch(batch)
    }

    /// Nothing more is taken in; what is in is still given out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Drops what is left, when nobody will take it any more.
    pub(super) fn abandon(&self) {
        self.close();
        let left = std::mem::take(&mut self.state().items);
        drop(left);
    }

    /// Items that wait.
    pub(super) fn len(&self) -> usize {
        self.state().items.len()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(items: usize, batch: usize, gather: Duration) -> Queue<u32> {
        Queue::new(Bounds { items, bytes: 100, batch, gather, idle: Duration::ZERO })
    }

    fn queued(item: u32, urgency: Urgency) -> Queued<u32> {
        Queued { item, urgency, bytes: 10 }
    }

    fn batch(queue: &Queue<u32>) -> Vec<u32> {
        match queue.next(true) {
            Next::Batch(items) => items.into_iter().map(|queued| queued.item).collect(),
            Next::Idle | Next::End => Vec::new(),
        }
    }

    #[test]
    fn admissions_are_bounded_and_a_purge_still_gets_in() {
        let queue = queue(2, 8, Duration::ZERO);
        for item in 0..2 {
            queue.push(queued(item, Urgency::Behind)).unwrap();
        }
        assert!(matches!(queue.push(queued(2, Urgency::Through)), Err(StoreError::Full)));
        queue.push(queued(3, Urgency::Scrub)).unwrap();
        assert_eq!(batch(&queue), [0, 1, 3]);
    }

    #[test]
    fn bytes_are_bounded_but_one_large_item_gets_in() {
        let queue = queue(8, 8, Duration::ZERO);
        queue.push(Queued { item: 0, urgency: Urgency::Behind, bytes: 500 }).unwrap();
        assert!(matches!(queue.push(queued(1, Urgency::Behind)), Err(StoreError::Full)));
        assert_eq!(batch(&queue), [0]);
        queue.push(queued(1, Urgency::Behind)).unwrap();
    }

    #[test]
    fn a_waiting_item_ends_the_gathering() {
        // The gathering time is longer than any test run: only the waiting item can end it.
        let queue = queue(8, 8, Duration::from_secs(3600));
        queue.push(queued(0, Urgency::Behind)).unwrap();
        queue.push(queued(1, Urgency::Through)).unwrap();
        assert_eq!(batch(&queue), [0, 1]);
    }

    #[test]
    fn a_full_batch_ends_the_gathering_and_leaves_the_rest() {
        let queue = queue(8, 2, Duration::from_secs(3600));
        for item in 0..3 {
            queue.push(queued(item, Urgency::Behind)).unwrap();
        }
        assert_eq!(batch(&queue), [0, 1]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn what_was_taken_in_before_the_close_is_given_out() {
        let queue = queue(8, 8, Duration::from_secs(3600));
        queue.push(queued(0, Urgency::Behind)).unwrap();
        queue.close();
        assert!(matches!(queue.push(queued(1, Urgency::Command)), Err(StoreError::Closed)));
        assert_eq!(batch(&queue), [0]);
        assert!(matches!(queue.next(false), Next::End));
    }
}
