//! The threads that read, each with its own read-only connection, so that no disk access blocks a request's thread.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema;
use crate::store::StoreError;

/// Reads that may wait; more are refused.
const WAITING: usize = 4096;

type Read = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Debug)]
pub(super) struct Readers {
    line: Arc<Line>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    closed: bool,
}

impl Readers {
    pub(super) fn start(path: &Path, count: usize) -> Result<Self, StoreError> {
        let readers = Self { line: Arc::default(), threads: Mutex::default() };
        for _ in 0..count.max(1) {
            let conn = schema::open_reader(path)?;
            let line = Arc::clone(&readers.line);
            let thread = std::thread::Builder::new().name("store-reader".to_owned());
            let thread = thread.spawn(move || line.serve(&conn)).map_err(StoreError::Thread)?;
            readers.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(readers)
    }

    /// Runs `read` on a reader's thread. Not run when nobody waits for it any more.
    pub(super) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.line.push(Box::new(move |conn| {
            if !reply.is_closed() {
                let _ = reply.send(read(conn));
            }
        }))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Lets the reads that wait finish and ends the threads.
    pub(super) fn close(&self) {
        self.line.state().closed = true;
        self.line.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A reader that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Line {
    fn push(&self, read: Read) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.reads.len() >= WAITING {
            return Err(StoreError::Full);
        }
        state.reads.push_back(read);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn serve(&self, conn: &Connection) {
        loop {
            let idle = |state: &mut State| state.reads.is_empty() && !state.closed;
            let waited = self.changed.wait_while(self.state(), idle);
            let read = waited.unwrap_or_else(PoisonError::into_inner).reads.pop_front();
            let Some(read) = read else { return };
            // A read that panics answers nobody, but must not leave the others without a thread.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(conn))).is_err() {
                tracing::error!("a read of the store panicked");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
