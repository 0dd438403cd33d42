//! The directory of fixtures that a running gateway shows and runs, and the one file in it that it adds cases to.
//!
//! Invariants: nothing outside the directory is read or written, whatever a name says: only plain files that a walk of
//! the directory finds are run, links are left alone, and cases are added to [`DESK_FILE`] only.

use std::{
    io,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use super::{
    Record,
    case::{self, Case, Expect, Problem},
};

/// Where fixtures lie inside a data directory.
pub const DIRECTORY: &str = "fixtures";
/// The file that cases are added to.
pub const DESK_FILE: &str = "desk.jsonl";
/// Directories below each other that are looked into.
const DEPTH: usize = 8;
/// The longest case, in bytes of JSON.
const LONGEST_CASE: usize = 256 << 10;

/// Runs cases through a gateway of their own, with today's policies; `done` is called after each.
pub trait Runs: Send + Sync + std::fmt::Debug {
    /// The error says in words why nothing was run.
    fn run(
        &self,
        cases: Vec<Case>,
        pool: bool,
        done: Box<dyn Fn() + Send + Sync>,
    ) -> BoxFuture<'static, Result<Vec<Record>, String>>;
}

/// A fixture file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its path below the directory.
    pub file: String,
    /// Cases in it.
    pub cases: usize,
    /// Those that must not be served.
    pub near_misses: usize,
    /// The others.
    pub paraphrases: usize,
    /// Lines that are no case.
    pub problems: usize,
    /// Whether cases can be added to it.
    pub writable: bool,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Fixtures {
    directory: PathBuf,
    may_add: bool,
}

impl Fixtures {
    /// The fixtures of `directory`, which may not be there yet; with `may_add` cases can be added.
    pub const fn of(directory: PathBuf, may_add: bool) -> Self {
        Self { directory, may_add }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that cases are added to, where they may be.
    pub fn desk_file(&self) -> Option<PathBuf> {
        self.may_add.then(|| self.directory.join(DESK_FILE))
    }

    /// Every file, by name. Reads all of them.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let files = self.files()?;
        Ok(files.into_iter().map(|(file, path)| self.listed(file, &path)).collect())
    }

    fn listed(&self, file: String, path: &Path) -> Listed {
        let (mut cases, mut problems) = (Vec::new(), Vec::new());
        case::read_file(path, &mut cases, &mut problems);
        let near_misses = cases.iter().filter(|case| case.expect == Expect::Miss).count();
        let writable = self.may_add && file == DESK_FILE;
        let (cases, problems) = (cases.len(), problems.len());
        Listed { file, cases, near_misses, paraphrases: cases - near_misses, problems, writable }
    }

    /// The cases of the files with these names; all files when none is named. The error tells every problem.
    pub fn cases(&self, names: &[String]) -> Result<Vec<Case>, Vec<String>> {
        let files = self.files().map_err(|error| vec![format!("{}: {error}", self.directory.display())])?;
        let unknown = names.iter().filter(|name| !files.iter().any(|(file, _)| file == *name));
        let unknown: Vec<String> = unknown.map(|name| format!("no fixture file is called {name:?}")).collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let (mut cases, mut problems) = (Vec::new(), Vec::new());
        for (_, path) in files.iter().filter(|(file, _)| names.is_empty() || names.contains(file)) {
            case::read_file(path, &mut cases, &mut problems);
        }
        if cases.is_empty() && problems.is_empty() {
            return Err(vec!["there is no case to run".to_owned()]);
        }
        let in_words = |Problem { file, line, what }: &Problem| {
            format!("{}:{line}: {what}", file.strip_prefix(&self.directory).unwrap_or(file).display())
        };
        if problems.is_empty() { Ok(cases) } else { Err(problems.iter().map(in_words).collect()) }
    }

    /// Name and path of every plain `*.jsonl` file below the directory, sorted. None when there is no directory.
    fn files(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        match walk(&self.directory, "", DEPTH, &mut found) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            walked => walked?,
        }
        found.sort();
        Ok(found)
    }
}

fn walk(dir: &Path, prefix: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // A name that is not UTF-8 could not be asked for; hidden files are an editor's or a volume's own.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (kind, path) = (entry.file_type()?, entry.path());
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if kind.is_dir() && depth > 0 {
            walk(&path, &format!("{name}/"), depth - 1, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push((name, path));
        }
    }
    Ok(())
}

/// A case as the line that is added for it, checked as a replay reads it; the error says in words what is wrong.
pub fn line_of(case: &Value) -> Result<String, String> {
    let line = case.to_string();
    if line.len() > LONGEST_CASE {
        return Err(format!("case: it is longer than {LONGEST_CASE} bytes"));
    }
    case::parse(&line, String::new).map(|_| line).map_err(|error| format!("case: {error}"))
}

/// Whether `text`, a file of cases, holds one of the name that `case` has.
pub fn is_named_in(case: &Value, text: &str) -> bool {
    let Some(id) = case["id"].as_str() else { return false };
    let named = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|other| other["id"] == id);
    text.lines().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = r#"{"seed":"a","ask":"b","expect":"miss"}"#;

    #[test]
    fn only_plain_files_inside_the_directory_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("fixtures"), dir.path().join("outside.jsonl"));
        std::fs::create_dir_all(inside.join("more")).unwrap();
        for file in [
            inside.join("a.jsonl"),
            inside.join("more/b.jsonl"),
            inside.join(".c.jsonl"),
            inside.join("d.txt"),
            outside.clone(),
        ] {
            std::fs::write(file, format!("{CASE}\nnonsense\n")).unwrap();
        }
        std::os::unix::fs::symlink(&outside, inside.join("link.jsonl")).unwrap();
        std::os::unix::fs::symlink(dir.path(), inside.join("up")).unwrap();
        let fixtures = Fixtures::of(inside, true);
        let listed = fixtures.list().unwrap();
        let names: Vec<&str> = listed.iter().map(|file| file.file.as_str()).collect();
        assert_eq!(names, ["a.jsonl", "more/b.jsonl"]);
        assert_eq!((listed[0].cases, listed[0].near_misses, listed[0].problems, listed[0].writable), (1, 1, 1, false));
        for name in ["../outside.jsonl", "link.jsonl", "up/outside.jsonl", "more/../a.jsonl", "/etc/passwd", ""] {
            let problems = fixtures.cases(&[name.to_owned()]).unwrap_err();
            assert!(problems[0].contains("no fixture file is called"), "{name}: {problems:?}");
        }
        assert_eq!(fixtures.cases(&["more/b.jsonl".to_owned()]).unwrap_err().len(), 1, "a line of it is no case");
        assert!(fixtures.cases(&[]).unwrap_err()[0].starts_with("a.jsonl:2: "));
    }

    #[test]
    fn a_directory_that_is_not_there_holds_nothing() {
        let fixtures = Fixtures::of("/nowhere/at/all".into(), false);
        assert_eq!(fixtures.list().unwrap(), []);
        assert!(fixtures.cases(&[]).is_err() && fixtures.desk_file().is_none());
    }

    #[test]
    fn a_case_is_checked_as_a_replay_reads_it() {
        let case = serde_json::json!({"id": "x", "seed": "a\nb", "ask": "b", "expect": "hit", "of": []});
        let line = line_of(&case).unwrap();
        assert!(!line.contains('\n') && is_named_in(&case, &line) && !is_named_in(&case, CASE));
        assert!(line_of(&serde_json::json!({"seed": "a", "ask": "b"})).unwrap_err().contains("expect"));
        assert!(line_of(&serde_json::json!(["a"])).is_err());
    }
}
