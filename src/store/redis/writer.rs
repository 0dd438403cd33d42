//! Writes in the order in which they were submitted, as far as it matters.
//!
//! Writes that cannot disturb each other run side by side. A barrier waits for them: a purge is told to the other nodes
//! only when every write before it is through, and what it then does beside later writes is fenced by its number.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;

use super::core::Core;

/// Writes on their way to the engine at the same time.
const ABREAST: usize = 128;

type Rest = BoxFuture<'static, ()>;

/// A write.
pub(super) enum Job {
    /// May run beside others.
    Free(Box<dyn FnOnce(Arc<Core>) -> BoxFuture<'static, ()> + Send>),
    /// Runs before the next is looked at.
    Serial(Box<dyn FnOnce(Arc<Core>) -> BoxFuture<'static, ()> + Send>),
    /// Runs when everything before it is done; what it returns runs beside what comes after it.
    Barrier(Box<dyn FnOnce(Arc<Core>) -> BoxFuture<'static, Rest> + Send>),
    /// As [`Job::Barrier`], and waits for the rests of earlier barriers too.
    Flush(Box<dyn FnOnce(Arc<Core>) -> BoxFuture<'static, Rest> + Send>),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// Runs jobs until nobody can submit any more, and all of them are done.
pub(super) async fn run(core: Arc<Core>, mut jobs: mpsc::Receiver<Job>) {
    let mut running: FuturesUnordered<Rest> = FuturesUnordered::new();
    let mut rests: FuturesUnordered<Rest> = FuturesUnordered::new();
    loop {
        let job = tokio::select! {
            biased;
            job = jobs.recv(), if running.len() < ABREAST => job,
            Some(()) = running.next(), if !running.is_empty() => continue,
            Some(()) = rests.next(), if !rests.is_empty() => continue,
        };
        let Some(job) = job else { break };
        let barrier = match job {
            Job::Free(run) => {
                running.push(run(Arc::clone(&core)));
                // Polled at once: what is submitted first is sent first.
                let _ = running.next().now_or_never();
                continue;
            }
            Job::Serial(run) => {
                let serial = run(Arc::clone(&core));
                serial.await;
                continue;
            }
            Job::Barrier(run) => run,
            Job::Flush(run) => {
                while running.next().await.is_some() {}
                while rests.next().await.is_some() {}
                run
            }
        };
        while running.next().await.is_some() {}
        let begun = barrier(Arc::clone(&core));
        let rest = begun.await;
        rests.push(rest);
    }
    while running.next().await.is_some() {}
    while rests.next().await.is_some() {}
}
