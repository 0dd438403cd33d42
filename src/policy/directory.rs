//! The policy directory of a running gateway: what lies in it, edits of it, and the versions that were in use.
//!
//! One at a time: a save holds the lock from its first look at the files until its set is in use, so what it was compared
//! with is what it replaced, and the history tells versions in the order in which they came into use. A set with any
//! problem is never written. An edit by hand of a moment ago is a conflict, not a loss: a save names the revision that it
//! was made from.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    PolicySet, PolicyWatch, Problem, file_name,
    history::{By, History, Signed, Version, VersionTexts},
    read_dir,
    save::{self, Texts, is_plain_name},
    short_digest,
    watch::off_thread,
};
use crate::clock::Timestamp;

/// Texts by the names of their files, to be laid over others; none removes the file.
pub type Edit = BTreeMap<String, Option<String>>;

/// What is to be saved.
#[derive(Debug, Clone)]
pub enum Order {
    /// These files, over those of the revision that they were made from.
    Edit {
        /// The files.
        files: Edit,
        /// The revision.
        base: String,
    },
    /// The files of this version, and no others.
    Restore(u64),
}

/// A save that was done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Saved {
    /// Revision of the set, which is in use now.
    pub revision: String,
    /// Number of the version; none when the history could not be written.
    pub version: Option<u64>,
}

/// Why nothing was saved. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    /// The files would not make a set, or do not now.
    #[error("nothing was changed: {} problem(s)", .0.len())]
    Problems(Vec<Problem>),
    /// The files changed since.
    #[error("the policies are at revision {revision} by now; look at what changed, and save again from there")]
    Conflict {
        /// Revision of the files as they are.
        revision: String,
    },
    /// No such version.
    #[error("no version {0} is kept; the history lists those that are")]
    NoVersion(u64),
    /// The disk said no.
    #[error("nothing was changed: {path} cannot be written: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The writing thread died.
    #[error("the save was interrupted; look at the files before trying again")]
    Interrupted,
}

/// What lies in the directory.
#[derive(Debug)]
pub struct OnDisk {
    /// Digest of the files.
    pub revision: String,
    /// The files.
    pub files: Texts,
    /// What they make.
    pub set: Result<PolicySet, Vec<Problem>>,
}

/// A directory of policy files and the history of what was in use. Cheap to share.
#[derive(Debug)]
pub struct PolicyDirectory {
    dir: PathBuf,
    history: History,
    alone: tokio::sync::Mutex<()>,
}

impl PolicyDirectory {
    /// The policy files in `dir`, with the history in `data_dir`.
    pub fn new(dir: &Path, data_dir: &Path) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_owned(), history: History::in_dir(data_dir), alone: tokio::sync::Mutex::default() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What lies in it now, whatever is in use.
    pub async fn look(&self) -> Result<OnDisk, Vec<Problem>> {
        let looked = off_thread(&self.dir, |dir| {
            let files = read(dir)?;
            Ok(OnDisk { revision: digest(&files), set: compile(&files, dir), files })
        });
        looked.await.unwrap_or_else(|| Err(vec![interrupted(&self.dir)]))
    }

    /// The files in it now.
    pub async fn texts(&self) -> Result<Texts, Vec<Problem>> {
        off_thread(&self.dir, read).await.unwrap_or_else(|| Err(vec![interrupted(&self.dir)]))
    }

    /// Writes what `order` says into the directory and puts it to use.
    pub async fn save(
        &self,
        watch: &PolicyWatch,
        order: Order,
        signed: Signed,
        now: Timestamp,
    ) -> Result<Saved, NotSaved> {
        let _alone = self.alone.lock().await;
        let (history, in_use) = (self.history.clone(), watch.current());
        let writing = off_thread(&self.dir, move |dir| write(dir, &history, (order, signed), &in_use, now));
        let (set, saved) = writing.await.ok_or(NotSaved::Interrupted)??;
        watch.replace(set);
        Ok(saved)
    }

    /// Puts to use what lies in the directory now.
    pub async fn reload(&self, watch: &PolicyWatch, now: Timestamp) -> Result<Arc<PolicySet>, Vec<Problem>> {
        let set = {
            let _alone = self.alone.lock().await;
            let loaded = off_thread(&self.dir, PolicySet::load).await;
            watch.replace(loaded.unwrap_or_else(|| Err(vec![interrupted(&self.dir)]))?)
        };
        self.noticed(watch, By::File, now).await;
        Ok(set)
    }

    /// Keeps the set in use as a version, unless it is the newest already. Failing to is logged: policies hold without
    /// their history.
    pub async fn noticed(&self, watch: &PolicyWatch, by: By, now: Timestamp) {
        let _alone = self.alone.lock().await;
        let (history, set) = (self.history.clone(), watch.current());
        let record = move |_: &Path| keep(&history, &set, by, Signed::default(), now);
        let _: Option<Option<Version>> = off_thread(&self.dir, record).await;
    }

    /// Every version without its files, the newest first.
    pub async fn versions(&self) -> io::Result<Vec<Version>> {
        let history = self.history.clone();
        off_thread(&self.dir, move |_| history.versions())
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
    }

    /// A version with its files, and the one before it.
    pub async fn version(&self, number: u64) -> io::Result<Option<(VersionTexts, Option<VersionTexts>)>> {
        let history = self.history.clone();
        let reading = off_thread(&self.dir, move |_| {
            let Some(version) = history.get(number)? else { return Ok(None) };
            Ok(Some((version, history.before(number)?)))
        });
        reading.await.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
    }
}

/// What `files` make with `edit` laid over them, and the files themselves. `place` is named when a file is missing.
pub fn propose(files: &Texts, edit: &Edit, place: &Path) -> Result<(PolicySet, Texts), Vec<Problem>> {
    let mut laid = files.clone();
    let mut problems = Vec::new();
    for (name, text) in edit {
        // What is there may be named however it is, as long as it stays.
        if text.is_some() && text.as_ref() == laid.get(name) {
            continue;
        }
        if !is_plain_name(name) {
            problems.push(no_name(name));
            continue;
        }
        match text {
            Some(text) => laid.insert(name.clone(), text.clone()),
            None => laid.remove(name),
        };
    }
    let compiled = compile(&laid, place);
    match compiled {
        Ok(set) if problems.is_empty() => Ok((set, laid)),
        compiled => {
            problems.extend(compiled.err().unwrap_or_default());
            problems.sort();
            Err(problems)
        }
    }
}

fn no_name(name: &str) -> Problem {
    let message =
        "is no name for a policy file; write letters, digits, - _ and ., ending in .toml, such as \"product-faq.toml\"";
    Problem { file: name.to_owned(), line: 1, key: String::new(), message: message.to_owned() }
}

fn interrupted(dir: &Path) -> Problem {
    let message = "could not be read to the end; try again".to_owned();
    Problem { file: dir.display().to_string(), line: 1, key: String::new(), message }
}

/// The files in `dir` under their plain names.
fn read(dir: &Path) -> Result<Texts, Vec<Problem>> {
    Ok(read_dir(dir)?.into_iter().map(|(path, text)| (file_name(&path).to_owned(), text)).collect())
}

fn digest(files: &Texts) -> String {
    short_digest(files.values().map(String::as_str))
}

fn compile(files: &Texts, place: &Path) -> Result<PolicySet, Vec<Problem>> {
    let texts: Vec<(String, String)> = files.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
    PolicySet::from_texts(&texts, &place.display().to_string())
}

fn keep(history: &History, set: &PolicySet, by: By, signed: Signed, now: Timestamp) -> Option<Version> {
    let kept = history.record((set.revision(), &set.texts()), by, signed, now);
    kept.inspect_err(|error| tracing::warn!(%error, "this version of the policies is not in their history")).ok()
}

/// Everything of a save but putting it to use.
fn write(
    dir: &Path,
    history: &History,
    (order, signed): (Order, Signed),
    in_use: &PolicySet,
    now: Timestamp,
) -> Result<(PolicySet, Saved), NotSaved> {
    let failed = |source| NotSaved::Io { path: dir.to_owned(), source };
    let before = read(dir).map_err(NotSaved::Problems)?;
    let today = digest(&before);
    let (edit, by) = match order {
        Order::Edit { base, .. } if base != today => return Err(NotSaved::Conflict { revision: today }),
        Order::Edit { files, .. } => (files, By::Dashboard),
        Order::Restore(number) => {
            let version = history.get(number).map_err(failed)?.ok_or(NotSaved::NoVersion(number))?;
            let gone = before.keys().filter(|name| !version.files.contains_key(*name)).map(|name| (name.clone(), None));
            let gone: Vec<(String, Option<String>)> = gone.collect();
            (version.files.into_iter().map(|(name, text)| (name, Some(text))).chain(gone).collect(), By::Restore)
        }
    };
    let (set, after) = propose(&before, &edit, dir).map_err(NotSaved::Problems)?;
    if in_use.revision() == today {
        // An edit by hand of a moment ago comes first.
        keep(history, in_use, By::File, Signed::default(), now);
    }
    save::write(dir, &before, &after).map_err(failed)?;
    let version = keep(history, &set, by, signed, now).map(|version| version.version);
    let saved = Saved { revision: set.revision().to_owned(), version };
    Ok((set, saved))
}
