//! A person's word on a served answer: wrong for the question, stale, or unsafe (design.md 4.7).
//!
//! It takes effect before the call returns, and survives a restart. A wrong pairing is blocked and its entry stays for
//! its own question; where the answer was wrong for its own question, the entry goes.

use std::path::Path;

use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt,
};

use super::{
    Gateway,
    erase::{absent, replace},
    recent::Recalled,
};
use crate::{
    entry::EntryId,
    key::Principal,
    store::{Hardness, Selector, StoreError},
};

/// What was wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Complaint {
    /// It answers another question.
    Wrong,
    /// It was right once.
    Stale,
    /// Nobody may see it.
    Unsafe,
}

impl Complaint {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Stale => "stale",
            Self::Unsafe => "unsafe",
        }
    }
}

/// What a complaint is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The hit that answered this request.
    Request(String),
    /// An entry, and every other wording it was served for.
    Entry(EntryId),
}

/// What a complaint did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Remedy {
    /// The entry.
    pub entry: String,
    /// Its category; empty when it is gone already.
    pub category: String,
    /// Pairings blocked by this complaint.
    pub blocked: usize,
    /// Entries removed or made stale by it.
    pub purged: usize,
    /// Whether the category now serves the same question only.
    pub tripped: bool,
}

/// Why a complaint cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum NoRemedy {
    /// The request is not among the hits served lately.
    #[error("no hit of this request id is remembered: it was a miss, or too long ago; give entry_id instead")]
    NoRequest,
    /// The entry is gone.
    #[error("no such entry: it expired, was purged or replaced")]
    NoEntry,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl NoRemedy {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoRequest => "no-request",
            Self::NoEntry => "no-entry",
            Self::Store(error) => error.reason(),
        }
    }
}

impl Gateway {
    /// Follows a complaint about a served answer.
    pub async fn feedback(&self, about: About, complaint: Complaint) -> Result<Remedy, NoRemedy> {
        let hits = match &about {
            About::Request(id) => vec![(id.clone(), self.recent.of_request(id).ok_or(NoRemedy::NoRequest)?)],
            About::Entry(id) => self.recent.of_entry(*id),
        };
        let entry = match (&about, hits.first()) {
            (About::Entry(id), _) => *id,
            (About::Request(_), Some((_, hit))) => hit.entry,
            (About::Request(_), None) => return Err(NoRemedy::NoRequest),
        };
        let remedy = match complaint {
            Complaint::Wrong => self.wrong(&about, entry, hits).await?,
            Complaint::Stale => self.take_out(entry, Hardness::Soft(self.parts.clock.now())).await?,
            Complaint::Unsafe => {
                self.recent.forget_texts(entry);
                self.take_out(entry, Hardness::Hard).await?
            }
        };
        self.parts.metrics.feedback(complaint.as_str());
        let Remedy { blocked, purged, tripped, ref category, .. } = remedy;
        tracing::info!(entry = %entry, category, verdict = complaint.as_str(), blocked, purged, tripped, "feedback");
        Ok(remedy)
    }

    async fn wrong(&self, about: &About, entry: EntryId, hits: Vec<(String, Recalled)>) -> Result<Remedy, NoRemedy> {
        if let (About::Request(_), [(_, hit)]) = (about, hits.as_slice())
            && hit.asked == hit.cached
        {
            return self.take_out(entry, Hardness::Hard).await;
        }
        let stored = self.parts.cache.get(entry).await?;
        let (cached, category) = match (&stored, hits.first()) {
            (Some(entry), _) => (entry.fingerprint, entry.category.clone()),
            // It was replaced since; the pairing is as wrong for the answer that took its place.
            (None, Some((_, hit))) => (hit.cached, hit.category.clone()),
            (None, None) => return Err(NoRemedy::NoEntry),
        };
        let mut asked: Vec<_> = hits.iter().map(|(_, hit)| hit.asked).collect();
        if matches!(about, About::Entry(_)) {
            asked.extend(self.parts.cache.store().wordings(entry).await?);
        }
        let mut blocked = 0;
        for asked in asked {
            let now = self.parts.clock.now();
            blocked += usize::from(self.parts.cache.block(cached, asked, "feedback", now).await?);
        }
        if blocked > 0 {
            // Once a complaint, however many wordings it meets: one person saw one wrong hit.
            self.auditor.reported(&category);
            self.write_cases(&hits).await;
        }
        let tripped = self.auditor.is_tripped(&category);
        Ok(Remedy { entry: entry.to_string(), category, blocked, purged: 0, tripped })
    }

    async fn take_out(&self, entry: EntryId, hardness: Hardness) -> Result<Remedy, NoRemedy> {
        let category = self.parts.cache.get(entry).await?.map(|entry| entry.category.clone()).unwrap_or_default();
        let selector = Selector { entry: Some(entry), ..Selector::default() };
        let purged = self.parts.cache.purge(selector, hardness, false).await?.len();
        if purged == 0 {
            return Err(NoRemedy::NoEntry);
        }
        let tripped = self.auditor.is_tripped(&category);
        Ok(Remedy { entry: entry.to_string(), category, blocked: 0, purged, tripped })
    }

    /// Appends `line` to the file of the desk's cases, unless what it holds makes it known; says whether it did. The file is
    /// replaced, so that nobody ever reads a part of a line, and what is no plain file is left alone.
    pub async fn add_case(&self, path: &Path, line: &str, is_known: impl Fn(&str) -> bool) -> std::io::Result<bool> {
        let _alone = self.feedback_file.lock().await;
        if absent(tokio::fs::symlink_metadata(path).await)?.is_some_and(|found| !found.is_file()) {
            return Err(std::io::Error::other(format!("{} is no plain file", path.display())));
        }
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await?;
        }
        let mut text = absent(tokio::fs::read_to_string(path).await)?.unwrap_or_default();
        if is_known(&text) {
            return Ok(false);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        replace(path, &text).await?;
        Ok(true)
    }

    /// Appends the pairs as replay cases, where their text is known and may be written down.
    async fn write_cases(&self, hits: &[(String, Recalled)]) {
        let Some(path) = &self.parts.oversight.feedback_file else { return };
        let policies = self.parts.policies.current();
        let mut lines = String::new();
        for (request, hit) in hits.iter().filter(|(_, hit)| hit.asked != hit.cached) {
            let never = policies.get(&hit.category).is_some_and(|policy| policy.is_never_cached());
            let (Some(seed), Some(ask), false) = (&hit.cached_text, &hit.asked_text, never) else { continue };
            let case = serde_json::json!({
                "id": format!("feedback-{request}"), "seed": seed, "ask": ask, "expect": "miss",
                "kind": "feedback", "category": hit.category,
                "of": hit.of.iter().map(Principal::to_hex).collect::<Vec<_>>(),
            });
            lines.push_str(&case.to_string());
            lines.push('\n');
        }
        if lines.is_empty() {
            return;
        }
        let _alone = self.feedback_file.lock().await;
        if let Err(error) = append(path, &lines).await {
            tracing::warn!(path = %path.display(), %error, "feedback case not written");
        }
    }
}

/// Appends to a file that only its owner may read.
async fn append(path: &Path, lines: &str) -> std::io::Result<()> {
    let mut file = private_file(OpenOptions::new().create(true).append(true)).open(path).await?;
    write_through(&mut file, lines).await
}

/// These options, and when the file is made, only its owner may read it.
pub(super) fn private_file(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    options.mode(0o600);
    options
}

/// Writes `text` to the disk.
pub(super) async fn write_through(file: &mut File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    file.sync_data().await
}
