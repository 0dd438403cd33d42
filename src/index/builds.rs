//! Background builds: one thread at a time for the whole process, gone when there is nothing to build.
//!
//! Invariants: jobs run one after another in the order submitted; a job that panics ends alone; nobody waits for a
//! build but tests. Cells for a million vectors take a core for a minute, so more than one build at a time would starve
//! the requests, and none may run on a caller's thread.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

type Job = Box<dyn FnOnce() + Send>;

/// The queue of builds. Shared by all partitions.
#[derive(Debug, Default)]
pub struct Builds {
    queue: Mutex<Queue>,
    idle: Condvar,
    closed: AtomicBool,
    by_hand: bool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.jobs.len()).field("running", &self.running).finish()
    }
}

impl Builds {
    /// Builds run on a thread of their own, started when there is something to do.
    pub fn background() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Builds run when [`Builds::run_next`] is called, on the caller's thread: for tests and tools.
    pub fn by_hand() -> Arc<Self> {
        Arc::new(Self { by_hand: true, ..Self::default() })
    }

    /// Runs the oldest waiting build; false when there is none.
    pub fn run_next(&self) -> bool {
        let Some(job) = self.lock().jobs.pop_front() else { return false };
        run(job);
        true
    }

    /// Builds that wait.
    pub fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Blocks until no build waits or runs.
    pub fn wait_idle(&self) {
        let mut queue = self.lock();
        while queue.running {
            queue = self.idle.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives up what runs and what waits: the process is about to end, and cells are made again after a start.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lock().jobs.clear();
    }

    /// Whether [`Builds::close`] was called; long builds look from time to time.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Queues `job`. When no thread can be had it waits for the next one to be submitted.
    pub(super) fn submit(self: &Arc<Self>, job: Job) {
        if self.is_closed() {
            return;
        }
        let mut queue = self.lock();
        queue.jobs.push_back(job);
        if self.by_hand || queue.running {
            return;
        }
        let builds = Arc::clone(self);
        let thread = std::thread::Builder::new().name("index-build".to_owned());
        match thread.spawn(move || builds.work()) {
            Ok(_) => queue.running = true,
            Err(error) => tracing::warn!(%error, "no thread for an index build; searches stay exact"),
        }
    }

    fn work(&self) {
        loop {
            let mut queue = self.lock();
            let Some(job) = queue.jobs.pop_front() else {
                queue.running = false;
                self.idle.notify_all();
                return;
            };
            drop(queue);
            run(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("an index build failed; searches of that partition stay exact");
    }
}

/// Does `work` on a thread of its own. When none can be had the work is dropped, not done.
pub(super) fn elsewhere(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        tracing::debug!(%error, name, "no thread for index housekeeping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_panics_does_not_stop_the_next() {
        let builds = Builds::background();
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        builds.submit(Box::new(|| panic!("a broken build")));
        builds.submit(Box::new(move || seen.store(true, Ordering::SeqCst)));
        builds.wait_idle();
        assert!(done.load(Ordering::SeqCst));
    }

    #[test]
    fn closing_forgets_what_waits_and_takes_no_more() {
        let builds = Builds::by_hand();
        builds.submit(Box::new(|| {}));
        builds.close();
        builds.submit(Box::new(|| {}));
        assert_eq!(builds.waiting(), 0);
        assert!(!builds.run_next());
    }
}
