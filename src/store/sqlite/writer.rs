//! The one thread that writes: group commit, repair of a failed group, and housekeeping while nothing comes.
//!
//! A group in which someone waits is committed with `synchronous = FULL`: the log file is synced before anyone is
//! answered, and with it all earlier groups. Other groups are committed with `NORMAL`: a killed process loses nothing
//! that was committed, a power cut at most the groups since the last sync, and never half of one.
//!
//! A group that fails is repeated item by item, so that one bad item fails alone; unless it never began, because another
//! program holds the lock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::{
    queue::{Next, Queue, Queued, Urgency},
    write,
};
use crate::store::StoreError;

/// Free pages above this many, and above an eighth of the file, are given back to the file system.
const FREE_PAGES_KEPT: i64 = 256;
/// Pages given back in one step, so that no write waits long behind it.
const VACUUM_STEP: u32 = 512;

/// A write that waits for its group. `apply` may run twice; only the outcome of the committed run counts.
pub(super) trait Job: Send {
    fn apply(&mut self, conn: &Connection) -> Result<(), StoreError>;
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

impl std::fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// The usual [`Job`]: a closure, its value, and whoever waits for it.
pub(super) struct Task<T, F> {
    run: F,
    value: Option<T>,
    reply: Option<oneshot::Sender<Result<T, StoreError>>>,
    failed: Arc<AtomicU64>,
}

impl<T, F> Task<T, F> {
    pub(super) fn new(run: F, reply: Option<oneshot::Sender<Result<T, StoreError>>>, failed: Arc<AtomicU64>) -> Self {
        Self { run, value: None, reply, failed }
    }
}

impl<T: Send, F: Fn(&Connection) -> Result<T, StoreError> + Send> Job for Task<T, F> {
    fn apply(&mut self, conn: &Connection) -> Result<(), StoreError> {
        self.value = Some((self.run)(conn)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = &outcome {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(reason = error.reason(), %error, "a write to the store failed");
        }
        let Self { value, reply, .. } = *self;
        if let Some(reply) = reply {
            // Nobody may wait any more; the write counts all the same.
            let _ = reply.send(outcome.and_then(|()| value.ok_or(StoreError::Closed)));
        }
    }
}

type Jobs = Queue<Box<dyn Job>>;

pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) queue: Arc<Jobs>,
    pub(super) next_id: Arc<AtomicU64>,
    pub(super) synced: bool,
    pub(super) scrub_owed: bool,
}

impl Writer {
    /// Writes until the queue is closed and empty, then leaves the database clean.
    pub(super) fn run(mut self, ended: oneshot::Sender<Result<(), StoreError>>) {
        let queue = AbandonOnDrop(Arc::clone(&self.queue));
        let mut housekeeping = true;
        loop {
            match queue.0.next(housekeeping) {
                Next::Batch(jobs) => {
                    self.commit(jobs);
                    housekeeping = true;
                }
                Next::Idle => housekeeping = self.tidy_up(),
                Next::End => break,
            }
        }
        let _ = ended.send(self.wind_down());
    }

    fn commit(&mut self, mut jobs: Vec<Queued<Box<dyn Job>>>) {
        let outcomes = match self.together(&mut jobs) {
            Ok(()) => jobs.iter().map(|_| Ok(())).collect(),
            Err(error) if jobs.len() == 1 => vec![Err(error)],
            // Each would wait as long again for the same lock.
            Err(StoreError::Busy) => jobs.iter().map(|_| Err(StoreError::Busy)).collect(),
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "a group of writes failed, trying them one by one");
                jobs.chunks_mut(1).map(|job| self.together(job)).collect::<Vec<_>>()
            }
        };
        if jobs.iter().zip(&outcomes).any(|(job, outcome)| job.urgency == Urgency::Scrub && outcome.is_ok()) {
            self.scrub();
        }
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            job.item.finish(outcome);
        }
    }

    /// All or none, in one transaction.
    fn together(&mut self, jobs: &mut [Queued<Box<dyn Job>>]) -> Result<(), StoreError> {
        self.set_synced(jobs.iter().any(|job| job.urgency.waits()))?;
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        for job in jobs {
            job.item.apply(&tx)?;
        }
        tx.commit()?;
        Ok(())
    }

    fn set_synced(&mut self, synced: bool) -> Result<(), StoreError> {
        if self.synced != synced {
            self.conn.execute_batch(if synced {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.synced = synced;
        }
        Ok(())
    }

    /// Empties the log file, which still holds deleted text. A reader may be in the way: then it is owed.
    fn scrub(&mut self) {
        let busy = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        self.scrub_owed = busy.unwrap_or(1) != 0;
    }

    /// One step of housekeeping; true when there may be more.
    pub(super) fn tidy_up(&mut self) -> bool {
        if self.scrub_owed {
            self.scrub();
        }
        let vacuuming = self.give_back_pages().unwrap_or_else(|error| {
            tracing::warn!(reason = error.reason(), %error, "the store could not shrink its file");
            false
        });
        self.scrub_owed || vacuuming
    }

    fn give_back_pages(&self) -> Result<bool, StoreError> {
        let pragma = |name| self.conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let free = pragma("freelist_count")?;
        if free <= FREE_PAGES_KEPT.max(pragma("page_count")? / 8) {
            return Ok(false);
        }
        self.conn.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_STEP})"))?;
        Ok(true)
    }

    // No `PRAGMA optimize`: plans that change with the data are not worth what they save here.
    fn wind_down(mut self) -> Result<(), StoreError> {
        self.set_synced(true)?;
        write::keep_next_id(&self.conn, self.next_id.load(Ordering::SeqCst))?;
        self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        self.conn.close().map_err(|(_, error)| error.into())
    }
}

/// However the thread ends, nobody waits for it for ever.
struct AbandonOnDrop(Arc<Jobs>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
