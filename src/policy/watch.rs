//! Follows the policy directory: a good edit takes effect on the next request, a bad one is reported and changes
//! nothing.
//!
//! Content is compared, not modification times or notifications: that sees an editor that renames, a volume that swaps
//! a symbolic link, and a network share alike.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{PolicySet, Problem, read_dir, revision_of, short_digest};

/// How often the directory is read.
const EVERY: Duration = Duration::from_millis(500);

/// What an edit led to.
#[derive(Debug, Clone)]
pub enum PolicyEvent {
    /// A new set is in use.
    Reloaded(Arc<PolicySet>),
    /// The edit has problems; the set in use stays.
    Refused(Vec<Problem>),
}

/// The set in use, which can be replaced while it is read.
#[derive(Debug)]
pub struct PolicyWatch(ArcSwap<PolicySet>);

impl PolicyWatch {
    /// Starts with `set`.
    pub fn new(set: PolicySet) -> Self {
        Self(ArcSwap::from_pointee(set))
    }

    /// The set in use. A request takes it once and keeps it to its end.
    pub fn current(&self) -> Arc<PolicySet> {
        self.0.load_full()
    }

    /// Replaces the set in use.
    pub(super) fn replace(&self, set: PolicySet) -> Arc<PolicySet> {
        let set = Arc::new(set);
        self.0.store(Arc::clone(&set));
        set
    }

    /// Looks at `dir` twice a second until `cancel`, and says what each edit led to. An edit is taken up once two looks
    /// in a row saw the same content, so that a half-written file is not read as a bad one.
    pub async fn watch(&self, dir: &Path, cancel: CancellationToken, mut on_event: impl FnMut(PolicyEvent)) {
        let mut settled = self.current().revision().to_owned();
        let mut last_seen = settled.clone();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // A panic in the reading thread leaves the set as it is, like a look that never was.
            let Some(look) = off_thread(dir, Look::at).await else { continue };
            let stable = look.digest == last_seen;
            last_seen.clone_from(&look.digest);
            if !stable || look.digest == settled {
                continue;
            }
            let Some(event) = self.take_up(dir, look.texts).await else { continue };
            settled = last_seen.clone();
            on_event(event);
        }
    }

    /// `None` when the reading thread died.
    async fn take_up(&self, dir: &Path, texts: Result<Vec<(String, String)>, Vec<Problem>>) -> Option<PolicyEvent> {
        let compiled = match texts {
            Ok(texts) => off_thread(dir, move |dir| PolicySet::from_texts(&texts, &dir.display().to_string())).await?,
            Err(problems) => Err(problems),
        };
        Some(match compiled {
            Ok(set) if set.revision() == self.current().revision() => PolicyEvent::Reloaded(self.current()),
            Ok(set) => PolicyEvent::Reloaded(self.replace(set)),
            Err(problems) => PolicyEvent::Refused(problems),
        })
    }
}

/// Runs `work` where it may block.
pub(super) async fn off_thread<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce(&Path) -> T + Send + 'static,
) -> Option<T> {
    let dir: PathBuf = dir.to_owned();
    tokio::task::spawn_blocking(move || work(&dir)).await.ok()
}

/// What one look at the directory saw.
struct Look {
    /// Digest of the content, or of the trouble with reading it.
    digest: String,
    texts: Result<Vec<(String, String)>, Vec<Problem>>,
}

impl Look {
    fn at(dir: &Path) -> Self {
        let texts = read_dir(dir);
        let digest = match &texts {
            Ok(texts) => revision_of(texts),
            Err(problems) => short_digest(problems.iter().map(|problem| problem.message.as_str())),
        };
        Self { digest, texts }
    }
}

#[cfg(test)]
mod tests;
