//! Purges, and what a purge of a person reaches beyond the cache: hits remembered for feedback, and the file of cases.
//!
//! Invariant: when an erasure returns, no file and no tier holds a question or an answer of that person any more. What is
//! being generated for them is refused at admission by the cache itself.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Gateway,
    feedback::{private_file, write_through},
};
use crate::{
    entry::EntryId,
    key::Principal,
    store::{Hardness, Selector, StoreError},
};

/// Why a purge is not complete.
#[derive(Debug, thiserror::Error)]
pub enum NotPurged {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// The entries are gone, the cases in the file are not.
    #[error("entries are purged, but {path} still holds cases: {source}; delete the file")]
    FeedbackFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl NotPurged {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::FeedbackFile { .. } => "feedback-file",
        }
    }
}

impl Gateway {
    /// Takes out of circulation what `selector` selects; when it is about people and hard, everything else that holds
    /// their texts as well.
    pub async fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> Result<Vec<EntryId>, NotPurged> {
        let erased = if hardness == Hardness::Hard && !dry_run { selector.principals.clone() } else { Vec::new() };
        let ids = self.parts.cache.purge(selector, hardness, dry_run).await?;
        if !erased.is_empty() {
            self.recent.forget(&erased);
            self.parts.traffic.forget(erased.clone()).await?;
            if let Some(path) = &self.parts.oversight.feedback_file {
                let _alone = self.feedback_file.lock().await;
                let done = drop_cases(path, &erased).await;
                done.map_err(|source| NotPurged::FeedbackFile { path: path.clone(), source })?;
            }
        }
        Ok(ids)
    }
}

/// Rewrites the file without the cases of these people, and without those that do not say whose they are.
async fn drop_cases(path: &Path, erased: &[Principal]) -> io::Result<()> {
    let new = path.with_extension("new");
    // Of an erasure that was cut off: it holds what was to stay then.
    absent(tokio::fs::remove_file(&new).await)?;
    let Some(text) = absent(tokio::fs::read_to_string(path).await)? else { return Ok(()) };
    let kept: String = text.lines().filter(|line| is_others(line, erased)).flat_map(|line| [line, "\n"]).collect();
    if kept == text {
        return Ok(());
    }
    let mut file =
        private_file(tokio::fs::OpenOptions::new().create(true).write(true).truncate(true)).open(&new).await?;
    write_through(&mut file, &kept).await?;
    tokio::fs::rename(&new, path).await
}

/// `None` for a file that is not there.
fn absent<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

fn is_others(line: &str, erased: &[Principal]) -> bool {
    let case: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let of = case["of"].as_array().map(Vec::as_slice).unwrap_or_default();
    let erased = |hex: &serde_json::Value| {
        hex.as_str().and_then(Principal::from_hex).is_none_or(|principal| erased.contains(&principal))
    };
    !of.is_empty() && !of.iter().any(erased)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_cases_that_are_surely_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feedback.jsonl");
        let [ann, bob] = [Principal::from_bytes([1; 32]), Principal::from_bytes([2; 32])];
        let line = |seed: &str, of: &[Principal]| {
            let of: Vec<String> = of.iter().map(Principal::to_hex).collect();
            format!("{}\n", serde_json::json!({"seed": seed, "of": of}))
        };
        let bobs = line("bob's", &[bob]);
        let all =
            [line("ann's", &[ann]), bobs.clone(), line("both", &[bob, ann]), "{\"seed\":\"old\"}\nnoise\n".into()];
        std::fs::write(&path, all.concat()).unwrap();
        drop_cases(&path, &[ann]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bobs);
        drop_cases(&dir.path().join("none"), &[ann]).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
