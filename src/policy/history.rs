//! Every set of policies that came into use in a gateway, with its files: `policies-history.jsonl` in the data directory.
//!
//! One version a line, each whole, appended and flushed; a line that a kill cut off is dropped by the next append, and
//! one that cannot be read costs only itself. Bounded by count and size: beyond either the older half goes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Seek, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::save::{Texts, absent};
use crate::clock::Timestamp;

const FILE: &str = "policies-history.jsonl";
/// Versions kept at most.
const MOST: usize = 500;
/// Bytes kept at most, unless a single version is larger.
const MOST_BYTES: u64 = 32 << 20;

/// What brought a version into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A save through the admin listener.
    Dashboard,
    /// An edit of the files.
    File,
    /// A return to an older version.
    Restore,
    /// The gateway started with it.
    Start,
}

/// A version, without its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub version: u64,
    /// Digest of the set.
    pub revision: String,
    /// When it came into use, in Unix milliseconds.
    pub at_ms: i64,
    /// Who made it, as they said; empty when nobody did.
    pub who: String,
    /// Why, as they said.
    pub note: String,
    /// How it came.
    pub by: By,
    /// Names of the files that differ from the version before.
    pub changed: Vec<String>,
}

/// A version with its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionTexts {
    /// What it is.
    #[serde(flatten)]
    pub version: Version,
    /// Texts by the names of their files.
    pub files: BTreeMap<String, String>,
}

/// Who wants a change, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    /// Their name.
    pub who: String,
    /// Their reason.
    pub note: String,
}

/// The file of versions. Not for several writers at a time.
#[derive(Debug, Clone)]
pub(super) struct History {
    path: PathBuf,
}

impl History {
    pub(super) fn in_dir(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE) }
    }

    /// Every version without its files, the newest first.
    pub(super) fn versions(&self) -> io::Result<Vec<Version>> {
        let bytes = self.bytes()?;
        Ok(lines(&bytes).rev().filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// One version with its files.
    pub(super) fn get(&self, number: u64) -> io::Result<Option<VersionTexts>> {
        self.newest(|version| version.version == number)
    }

    /// The newest version before `number`.
    pub(super) fn before(&self, number: u64) -> io::Result<Option<VersionTexts>> {
        self.newest(|version| version.version < number)
    }

    /// The newest version that `fits`.
    fn newest(&self, fits: impl Fn(&Version) -> bool) -> io::Result<Option<VersionTexts>> {
        let bytes = self.bytes()?;
        let is_it = |line: &&[u8]| serde_json::from_slice::<Version>(line).is_ok_and(|version| fits(&version));
        Ok(lines(&bytes).rev().filter(is_it).find_map(|line| serde_json::from_slice(line).ok()))
    }

    /// Keeps a version, unless it is the newest already, and returns it.
    pub(super) fn record(
        &self,
        (revision, files): (&str, &Texts),
        by: By,
        signed: Signed,
        now: Timestamp,
    ) -> io::Result<Version> {
        let last = self.newest(|_| true)?;
        let (number, before) = match last {
            Some(last) if last.version.revision == revision => return Ok(last.version),
            Some(last) => (last.version.version, last.files),
            None => (0, Texts::new()),
        };
        let Signed { who, note } = signed;
        let version = Version {
            version: number + 1,
            revision: revision.to_owned(),
            at_ms: now.as_millis(),
            who,
            note,
            by,
            changed: changed(&before, files),
        };
        let kept = VersionTexts { version: version.clone(), files: files.clone() };
        self.append(&serde_json::to_string(&kept)?)?;
        Ok(version)
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let bytes = self.bytes()?;
        let whole = whole(&bytes);
        if lines(&bytes).count() >= MOST || (whole.len() + line.len()) as u64 > MOST_BYTES {
            return self.rewrite(dir, &bytes, line);
        }
        let mut file = private().create(true).open(&self.path)?;
        // What a kill left of a line is no line.
        file.set_len(whole.len() as u64)?;
        file.seek(io::SeekFrom::End(0))?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()?;
        if bytes.is_empty() { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    /// The newer half and `line`, under the old name once it is whole.
    fn rewrite(&self, dir: &Path, bytes: &[u8], line: &str) -> io::Result<()> {
        let lines: Vec<&[u8]> = lines(bytes).collect();
        let newer = lines.get(lines.len().div_ceil(2)..).unwrap_or_default();
        let kept = newer.iter().copied().chain([line.as_bytes()]).flat_map(|line| [line, b"\n"]);
        let new = self.path.with_extension("new");
        let mut file = private().create(true).truncate(true).open(&new)?;
        file.write_all(&kept.collect::<Vec<_>>().concat())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(dir)?.sync_all()
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        Ok(absent(fs::read(&self.path))?.unwrap_or_default())
    }
}

/// What was written to the end of a line.
fn whole(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    whole(bytes).split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Writable, and when made, for its owner only.
fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Names of the files that differ.
pub(super) fn changed(before: &Texts, after: &Texts) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Texts {
        Texts::from([("default.toml".to_owned(), text.to_owned())])
    }

    fn keep(history: &History, revision: &str) -> Version {
        let signed = Signed { who: "Ann".to_owned(), note: String::new() };
        let now = Timestamp::from_millis(5);
        history.record((revision, &texts(revision)), By::Dashboard, signed, now).unwrap()
    }

    fn numbers(history: &History) -> Vec<u64> {
        history.versions().unwrap().iter().map(|version| version.version).collect()
    }

    #[test]
    fn versions_are_kept_newest_first_with_who_when_and_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(&dir.path().join("data"));
        assert!(history.versions().unwrap().is_empty());
        for revision in ["a", "b"] {
            keep(&history, revision);
        }
        assert_eq!(keep(&history, "b").version, 2, "the same set is no new version");
        assert_eq!(numbers(&history), [2, 1]);
        let kept = history.get(1).unwrap().unwrap();
        assert_eq!((kept.version.who.as_str(), kept.version.at_ms, kept.files), ("Ann", 5, texts("a")));
        assert_eq!(kept.version.changed, ["default.toml"]);
        assert_eq!(history.before(2).unwrap().unwrap().files, texts("a"));
        assert_eq!((history.before(1).unwrap(), history.get(3).unwrap()), (None, None));
    }

    #[test]
    fn a_line_cut_off_by_a_kill_is_dropped_and_the_next_version_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        keep(&history, "a");
        keep(&history, "b");
        let whole = fs::read_to_string(&history.path).unwrap();
        let first = whole.find('\n').unwrap() + 1;
        for cut in first..whole.len() {
            fs::write(&history.path, &whole.as_bytes()[..cut]).unwrap();
            assert_eq!(numbers(&history), [1], "cut at {cut}");
        }
        keep(&history, "c");
        assert_eq!(numbers(&history), [2, 1]);
        assert_eq!(fs::read_to_string(&history.path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        for revision in ["a", "b", "c"] {
            keep(&history, revision);
        }
        let text = fs::read(&history.path).unwrap();
        let second = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut damaged = text;
        damaged[second] = 0xff;
        fs::write(&history.path, damaged).unwrap();
        assert_eq!(numbers(&history), [3, 1]);
        assert_eq!(history.before(3).unwrap().unwrap().version.version, 1);
    }

    #[test]
    fn the_older_half_goes_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        let lines: String = (1..=MOST)
            .map(|number| {
                let version = Version {
                    version: number as u64,
                    revision: number.to_string(),
                    at_ms: 0,
                    who: String::new(),
                    note: String::new(),
                    by: By::File,
                    changed: Vec::new(),
                };
                serde_json::to_string(&VersionTexts { version, files: texts("x") }).unwrap() + "\n"
            })
            .collect();
        fs::write(&history.path, lines).unwrap();
        keep(&history, "new");
        let numbers = numbers(&history);
        assert_eq!((numbers.len(), numbers[0], *numbers.last().unwrap()), (251, 501, 251));
    }
}
