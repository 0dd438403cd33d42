//! A replay case as an evaluator writes it: one JSON object a line.
//!
//! Every problem of every file is told at once, each with its file and line; keys that are not known are left alone, so
//! that a case may carry notes.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// What asking must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// Served from the cache, fresh.
    Hit,
    /// Served from the cache past its ttl.
    Stale,
    /// Not served from the cache.
    Miss,
}

impl Expect {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// An earlier turn: with its role, or as bare text in the alternation of user and assistant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Turn {
    /// Its role is told by its place.
    Text(String),
    /// A message as clients send it.
    Message {
        /// `user` or `assistant`.
        role: String,
        /// What was said.
        content: String,
    },
}

impl Turn {
    /// Role and text of the turn at `place`.
    pub fn at(&self, place: usize) -> (&str, &str) {
        match self {
            Self::Text(text) => (if place.is_multiple_of(2) { "user" } else { "assistant" }, text),
            Self::Message { role, content } => (role, content),
        }
    }
}

/// One side of a case: everything that makes the request besides its question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Side {
    /// The question.
    pub text: String,
    /// System prompt.
    pub system: Option<String>,
    /// Earlier turns, as role and text.
    pub turns: Vec<(String, String)>,
    /// Model asked for.
    pub model: String,
    /// Who asks.
    pub principal: String,
    /// What the answer comes from.
    pub sources: Vec<String>,
    /// Category named by the app.
    pub category: Option<String>,
}

/// A list of sources: as JSON strings, or as the header writes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Sources {
    Line(String),
    List(Vec<String>),
}

impl Sources {
    fn list(self) -> Vec<String> {
        match self {
            Self::Line(line) => line.split_whitespace().map(str::to_owned).collect(),
            Self::List(list) => list,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Line {
    id: Option<String>,
    seed: String,
    ask: String,
    expect: Expect,
    kind: Option<String>,
    category: Option<String>,
    answer: Option<String>,
    system: Option<String>,
    ask_system: Option<String>,
    turns: Option<Vec<Turn>>,
    ask_turns: Option<Vec<Turn>>,
    model: Option<String>,
    ask_model: Option<String>,
    principal: Option<String>,
    ask_principal: Option<String>,
    sources: Option<Sources>,
    ask_sources: Option<Sources>,
    advance: Option<String>,
    cost: Option<f64>,
}

/// A case, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name; `file:line` when it has none.
    pub id: String,
    /// Kind of the difference between the two questions.
    pub kind: String,
    /// What asking must come to.
    pub expect: Expect,
    /// The question whose answer is cached.
    pub seed: Side,
    /// The question asked then.
    pub ask: Side,
    /// The cached answer, where it matters.
    pub answer: Option<String>,
    /// Time between the two.
    pub advance: Duration,
    /// What a wrong hit would cost here, in US dollars.
    pub cost: Option<f64>,
}

/// What is wrong with a line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 when the file itself cannot be read.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Reads every case of `paths`; a directory means all `*.jsonl` files under it.
///
/// # Errors
/// Every problem of every file.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Case>, Vec<Problem>> {
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match files(path) {
            Ok(files) => files.iter().for_each(|file| read_file(file, &mut cases, &mut problems)),
            Err(error) => problems.push(unreadable(path, &error)),
        }
    }
    if problems.is_empty() && cases.is_empty() {
        let file = paths.first().cloned().unwrap_or_default();
        problems.push(Problem { file, line: 0, what: "holds no case".to_owned() });
    }
    if problems.is_empty() { Ok(cases) } else { Err(problems) }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem { file: path.to_owned(), line: 0, what: format!("cannot be read: {error}") }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if entry.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(entry);
        }
    }
    Ok(found)
}

pub(super) fn read_file(file: &Path, cases: &mut Vec<Case>, problems: &mut Vec<Problem>) {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return problems.push(unreadable(file, &error)),
    };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}:{}", file.display(), number + 1);
        match parse(line, place) {
            Ok(case) => cases.push(case),
            Err(what) => problems.push(Problem { file: file.to_owned(), line: number + 1, what }),
        }
    }
}

/// Reads a line; the error says in words what is wrong.
pub(super) fn parse(line: &str, place: impl Fn() -> String) -> Result<Case, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let advance = match line.advance.as_deref().map(humantime::parse_duration).transpose() {
        Ok(advance) => advance.unwrap_or_default(),
        Err(error) => return Err(format!("advance: {error}; write it like 25h or 90s")),
    };
    if line.seed.trim().is_empty() || line.ask.trim().is_empty() {
        return Err("seed and ask must not be empty".to_owned());
    }
    let model = line.model.unwrap_or_else(|| "replay".to_owned());
    let principal = line.principal.unwrap_or_else(|| "replay".to_owned());
    let sources = line.sources.map(Sources::list).unwrap_or_default();
    let turns = line.turns.unwrap_or_default();
    let ask = Side {
        text: line.ask,
        system: line.ask_system.or_else(|| line.system.clone()),
        turns: placed(line.ask_turns.as_deref().unwrap_or(&turns)),
        model: line.ask_model.unwrap_or_else(|| model.clone()),
        principal: line.ask_principal.unwrap_or_else(|| principal.clone()),
        sources: line.ask_sources.map_or_else(|| sources.clone(), Sources::list),
        category: line.category.clone(),
    };
    let seed = Side {
        text: line.seed,
        system: line.system,
        turns: placed(&turns),
        model,
        principal,
        sources,
        category: line.category,
    };
    Ok(Case {
        id: line.id.unwrap_or_else(place),
        kind: line.kind.unwrap_or_else(|| "unlabelled".to_owned()),
        expect: line.expect,
        seed,
        ask,
        answer: line.answer,
        advance,
        cost: line.cost,
    })
}

fn placed(turns: &[Turn]) -> Vec<(String, String)> {
    let at = |(place, turn): (usize, &Turn)| {
        let (role, text) = turn.at(place);
        (role.to_owned(), text.to_owned())
    };
    turns.iter().enumerate().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<Case, String> {
        parse(line, || "f:1".to_owned())
    }

    #[test]
    fn what_the_ask_does_not_say_is_as_for_the_seed() {
        let case = one(
            r#"{"seed":"a","ask":"b","expect":"miss","turns":["x","y"],"sources":"doc:1@v1 doc:2","ask_model":"m2","advance":"25h","note":"?"}"#,
        )
        .unwrap();
        assert_eq!((case.id.as_str(), case.kind.as_str()), ("f:1", "unlabelled"));
        assert_eq!(case.ask.turns, case.seed.turns);
        assert_eq!(case.seed.turns[1], ("assistant".to_owned(), "y".to_owned()));
        assert_eq!(case.ask.sources, ["doc:1@v1", "doc:2"]);
        assert_eq!((case.seed.model.as_str(), case.ask.model.as_str()), ("replay", "m2"));
        assert_eq!(case.advance, Duration::from_secs(25 * 3600));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        assert!(one(r#"{"seed":"a","ask":"b"}"#).unwrap_err().contains("expect"));
        assert!(one(r#"{"seed":"a","ask":"b","expect":"perhaps"}"#).unwrap_err().contains("perhaps"));
        assert!(one(r#"{"seed":"a","ask":" ","expect":"hit"}"#).unwrap_err().contains("empty"));
        assert!(one(r#"{"seed":"a","ask":"b","expect":"hit","advance":"soon"}"#).unwrap_err().contains("25h"));
    }

    #[test]
    fn every_bad_line_of_every_file_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let good = r#"{"seed":"a","ask":"b","expect":"hit"}"#;
        fs::write(dir.path().join("a.jsonl"), format!("{good}\n\nnonsense\n")).unwrap();
        fs::create_dir(dir.path().join("more")).unwrap();
        fs::write(dir.path().join("more/b.jsonl"), "{}\n").unwrap();
        let problems = read(&[dir.path().to_owned(), dir.path().join("absent.jsonl")]).unwrap_err();
        let places: Vec<_> = problems.iter().map(|p| (p.file.file_name().unwrap().to_str().unwrap(), p.line)).collect();
        assert_eq!(places, [("a.jsonl", 3), ("b.jsonl", 1), ("absent.jsonl", 0)]);
    }
}
