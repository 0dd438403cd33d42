//! Background work: every task is named, counted, bounded where asked, and drained before the process ends.
//!
//! Invariants: a panic inside a task is logged and counted, never lost; [`Tasks::drain`] returns only when every task
//! has ended or the deadline has passed, and then says which are still alive. A task that may be spawned while the
//! drain runs (a flight that ends stores its answer) is waited for as well.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The handle through which all background work is started. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tracker: TaskTracker,
    cancel: CancellationToken,
    counts: Mutex<BTreeMap<&'static str, Count>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    alive: usize,
    panics: u64,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` under `name`. Must be called inside a tokio runtime.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.counts().entry(name).or_default().alive += 1;
        self.start(name, future);
    }

    /// Starts `future` unless `max` tasks of this name are alive already; says whether it did.
    pub fn spawn_limited(
        &self,
        name: &'static str,
        max: usize,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        {
            let mut counts = self.counts();
            let count = counts.entry(name).or_default();
            if count.alive >= max {
                return false;
            }
            count.alive += 1;
        }
        self.start(name, future);
        true
    }

    /// Runs `work` on the blocking pool under `name`.
    pub fn spawn_blocking(&self, name: &'static str, work: impl FnOnce() + Send + 'static) {
        self.counts().entry(name).or_default().alive += 1;
        let alive = Alive { tasks: self.clone(), name };
        self.0.tracker.spawn_blocking(move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(work));
            alive.ended(result);
        });
    }

    fn start(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let alive = Alive { tasks: self.clone(), name };
        // A block that awaits `future` would take its room twice.
        self.0.tracker.spawn(AssertUnwindSafe(future).catch_unwind().map(move |result| alive.ended(result)));
    }

    /// The token that is cancelled when the drain begins; long-running tasks end at their next step after that.
    pub fn token(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Returns when the drain begins.
    pub async fn draining(&self) {
        self.0.cancel.cancelled().await;
    }

    /// Tasks of this name alive now.
    pub fn count(&self, name: &str) -> usize {
        self.counts().get(name).map_or(0, |count| count.alive)
    }

    /// Names with tasks alive, and how many.
    pub fn alive(&self) -> Vec<(&'static str, usize)> {
        self.counts().iter().filter(|(_, count)| count.alive > 0).map(|(name, count)| (*name, count.alive)).collect()
    }

    /// Every name ever used, with its tasks alive and its panics so far.
    pub fn counted(&self) -> Vec<(&'static str, usize, u64)> {
        self.counts().iter().map(|(name, count)| (*name, count.alive, count.panics)).collect()
    }

    /// Tells tasks to end and waits until all have, at most `deadline`. Returns the names still alive then.
    pub async fn drain(&self, deadline: Duration) -> Vec<&'static str> {
        self.0.cancel.cancel();
        self.0.tracker.close();
        // Whether it timed out shows in the names below.
        let _ = tokio::time::timeout(deadline, self.0.tracker.wait()).await;
        self.alive().into_iter().map(|(name, _)| name).collect()
    }

    // Held for map operations only, so a plain lock will do.
    fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Count>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a task counted until it ends, also when the runtime drops it unfinished.
struct Alive {
    tasks: Tasks,
    name: &'static str,
}

impl Alive {
    /// Takes itself, so that the count falls after the panic is counted.
    fn ended(self, result: Result<(), Box<dyn Any + Send>>) {
        if let Err(panic) = result {
            tracing::error!(task = self.name, panic = panic_text(&*panic), "a background task panicked");
            self.tasks.counts().entry(self.name).or_default().panics += 1;
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(count) = self.tasks.counts().get_mut(self.name) {
            count.alive = count.alive.saturating_sub(1);
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_work_that_ends_in_time() {
        let tasks = Tasks::new();
        let (done, finished) = oneshot::channel();
        let inside = tasks.clone();
        tasks.spawn("refresh", async move {
            inside.draining().await;
            done.send(()).unwrap();
        });
        assert_eq!(tasks.alive(), [("refresh", 1)]);
        assert!(tasks.drain(Duration::from_secs(60)).await.is_empty());
        finished.await.unwrap();
        assert!(tasks.alive().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_names_what_is_still_alive_at_its_deadline() {
        let tasks = Tasks::new();
        tasks.spawn("stuck", std::future::pending());
        tasks.spawn("stuck", std::future::pending());
        tasks.spawn("quick", async {});
        assert_eq!(tasks.drain(Duration::from_secs(5)).await, ["stuck"]);
    }

    #[tokio::test]
    async fn work_started_by_draining_work_is_waited_for() {
        let tasks = Tasks::new();
        let (stored, was_stored) = oneshot::channel();
        let inside = tasks.clone();
        tasks.spawn("flight", async move {
            inside.draining().await;
            inside.spawn("admission", async move { stored.send(()).unwrap() });
        });
        assert!(tasks.drain(Duration::from_secs(60)).await.is_empty());
        was_stored.await.unwrap();
    }

    #[tokio::test]
    async fn a_limit_counts_only_tasks_of_its_name_that_are_alive() {
        let tasks = Tasks::new();
        tasks.spawn("other", std::future::pending());
        let (open, gate) = oneshot::channel::<()>();
        assert!(tasks.spawn_limited("audit", 1, async move { gate.await.unwrap() }));
        assert!(!tasks.spawn_limited("audit", 1, async {}));
        open.send(()).unwrap();
        while tasks.alive().contains(&("audit", 1)) {
            tokio::task::yield_now().await;
        }
        assert!(tasks.spawn_limited("audit", 1, async {}));
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_harms_no_other_task() {
        let tasks = Tasks::new();
        tasks.spawn("bad", async { panic!("on purpose") });
        tasks.spawn_blocking("bad", || panic!("{}", "on purpose"));
        let (done, finished) = oneshot::channel();
        tasks.spawn("good", async move { done.send(()).unwrap() });
        finished.await.unwrap();
        assert!(tasks.drain(Duration::from_secs(60)).await.is_empty());
        assert_eq!(tasks.counted(), [("bad", 0, 2), ("good", 0, 0)]);
    }
}
