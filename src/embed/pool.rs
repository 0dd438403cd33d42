//! Blocking work off the async threads: named worker threads behind a bounded queue, a deadline and a breaker.
//!
//! The embedder and the verifier run on it. Invariants: a caller gets an answer or an error within the deadline; a job
//! whose caller is gone is never begun and does not hold a place in a full queue; a panicking worker costs one job.

use std::{
    collections::VecDeque,
    error::Error,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use super::breaker::{Breaker, BreakerSettings};

/// What went wrong inside a worker.
pub type Fault = Box<dyn Error + Send + Sync>;

/// How large a pool is and how patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Worker threads, and so jobs at a time; at least one.
    pub workers: usize,
    /// Jobs that may wait; more are refused. At least one.
    pub queue: usize,
    /// From call to answer, waiting included.
    pub deadline: Duration,
    /// When to stop trying.
    pub breaker: BreakerSettings,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            queue: 256,
            deadline: Duration::from_secs(1),
            breaker: BreakerSettings::default(),
        }
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The queue is full.
    #[error("queue is full")]
    Busy,
    /// No answer within the deadline.
    #[error("no answer within the deadline")]
    Timeout,
    /// Too many failures in a row; not tried for a while.
    #[error("resting after repeated failures")]
    BreakerOpen,
    /// The pool was dropped while the job waited.
    #[error("pool is closed")]
    Closed,
    /// The work failed.
    #[error("work failed")]
    Failed(#[source] Fault),
}

impl PoolError {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Busy => "pool-busy",
            Self::Timeout => "pool-timeout",
            Self::BreakerOpen => "pool-breaker-open",
            Self::Closed => "pool-closed",
            Self::Failed(_) => "pool-failed",
        }
    }
}

/// The work panicked; the worker goes on with fresh state.
#[derive(Debug, thiserror::Error)]
#[error("worker panicked")]
struct Panicked;

/// A pool of workers that turn an `In` into an `Out`.
pub struct Pool<In, Out> {
    queue: Arc<Queue<In, Out>>,
    breaker: Breaker,
    deadline: Duration,
    name: &'static str,
    threads: Vec<JoinHandle<()>>,
}

impl<In, Out> fmt::Debug for Pool<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl<In, Out> Pool<In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
{
    /// Starts the workers, threads named `name` and a number. Each makes its own work with `make`, so that work may
    /// keep state of its own; it is made anew after a panic.
    ///
    /// An `Err` of the work counts as a failure of whatever does it. An answer that only says the input was no good
    /// belongs into `Out`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start<Make, Work>(name: &'static str, settings: PoolSettings, make: Make) -> std::io::Result<Self>
    where
        Make: Fn() -> Work + Send + Sync + 'static,
        Work: FnMut(In) -> Result<Out, Fault>,
    {
        let mut pool = Self {
            queue: Arc::new(Queue::new(settings.queue.max(1))),
            breaker: Breaker::new(settings.breaker),
            deadline: settings.deadline,
            name,
            threads: Vec::new(),
        };
        let make = Arc::new(make);
        for number in 0..settings.workers.max(1) {
            let (queue, make) = (Arc::clone(&pool.queue), Arc::clone(&make));
            let thread = thread::Builder::new().name(format!("{name}-{number}"));
            pool.threads.push(thread.spawn(move || work_off(&queue, &*make))?);
        }
        Ok(pool)
    }

    /// The answer to `input`, within the deadline. Dropping the future takes the job back unless it has begun.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn call(&self, input: In) -> Result<Out, PoolError> {
        let permit = self.breaker.admit().ok_or(PoolError::BreakerOpen)?;
        let (answer, answered) = oneshot::channel();
        self.queue.push(Job { input, answer })?;
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(Ok(out))) => {
                permit.success();
                Ok(out)
            }
            Ok(Ok(Err(fault))) => {
                permit.failure();
                Err(PoolError::Failed(fault))
            }
            Ok(Err(_)) => Err(PoolError::Closed),
            Err(_) => {
                permit.failure();
                Err(PoolError::Timeout)
            }
        }
    }

    /// True while calls are refused after repeated failures.
    pub fn is_resting(&self) -> bool {
        self.breaker.is_open()
    }
}

impl<In, Out> Drop for Pool<In, Out> {
    fn drop(&mut self) {
        self.queue.close();
        let threads = mem::take(&mut self.threads);
        // A worker may be deep in a run, and this may be an async thread: another one waits for it. Should that one
        // not start, the workers still end by themselves.
        let waiter = thread::Builder::new().name(format!("{}-join", self.name));
        let _ = waiter.spawn(move || threads.into_iter().for_each(|thread| drop(thread.join())));
    }
}

fn work_off<In, Out, Work>(queue: &Queue<In, Out>, make: &impl Fn() -> Work)
where
    Work: FnMut(In) -> Result<Out, Fault>,
{
    let mut work = make();
    while let Some(Job { input, answer }) = queue.pop() {
        let result = catch_unwind(AssertUnwindSafe(|| work(input))).unwrap_or_else(|_| {
            work = make();
            Err(Panicked.into())
        });
        // The caller may have given up meanwhile.
        let _ = answer.send(result);
    }
}

struct Job<In, Out> {
    input: In,
    answer: oneshot::Sender<Result<Out, Fault>>,
}

struct Queue<In, Out> {
    waiting: Mutex<Waiting<In, Out>>,
    ready: Condvar,
    capacity: usize,
}

struct Waiting<In, Out> {
    jobs: VecDeque<Job<In, Out>>,
    closed: bool,
}

impl<In, Out> Queue<In, Out> {
    fn new(capacity: usize) -> Self {
        let waiting = Waiting { jobs: VecDeque::new(), closed: false };
        Self { waiting: Mutex::new(waiting), ready: Condvar::new(), capacity }
    }

    fn push(&self, job: Job<In, Out>) -> Result<(), PoolError> {
        let mut waiting = self.waiting();
        if waiting.jobs.len() >= self.capacity {
            waiting.jobs.retain(|job| !job.answer.is_closed());
        }
        if waiting.jobs.len() >= self.capacity {
            return Err(PoolError::Busy);
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// The next job somebody still waits for; `None` once the queue is closed.
    fn pop(&self) -> Option<Job<In, Out>> {
        let mut waiting = self.waiting();
        loop {
            while let Some(job) = waiting.jobs.pop_front() {
                if !job.answer.is_closed() {
                    return Some(job);
                }
            }
            if waiting.closed {
                return None;
            }
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends every worker home and every waiting caller away.
    fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.ready.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<In, Out>> {
        // No foreign code runs while it is held, so what a panic could leave behind is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
