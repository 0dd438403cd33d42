//! A settings file: TOML, unknown keys refused, every problem with its line.

use std::path::Path;

use toml_edit::{Document, Item, Key, TableLike};

pub use super::args::ConfigFile;
use super::{
    DEFAULT_FILE,
    problem::{Origin, Problem},
    table::{SECTION, UpstreamTable},
};

impl ConfigFile {
    /// Reads the file that is named, or the default one when it exists.
    pub(super) fn find(named: Option<&Path>) -> (Self, Vec<Problem>) {
        let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&path.display().to_string(), &text),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Default::default(),
            Err(error) => {
                let what = format!("cannot be read: {error}; name a file that exists with --config");
                let place = path.display().to_string();
                (Self::default(), vec![Problem { place, key: String::new(), what }])
            }
        }
    }

    /// Reads `text`, the content of the file called `name`. What is usable comes back beside all that is wrong.
    pub fn parse(name: &str, text: &str) -> (Self, Vec<Problem>) {
        let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let at = |offset: Option<usize>| Origin::Line { file: name.to_owned(), line: line(offset.unwrap_or(0)) };
        let mut reader = Reader { file: Self::default(), problems: Vec::new(), at: &at };
        match Document::parse(text) {
            Ok(document) => reader.table(document.as_table(), ""),
            Err(error) => {
                let origin = at(error.span().map(|span| span.start));
                reader.problems.push(origin.problem("", format!("not TOML: {}", error.message().replace('\n', ", "))));
            }
        }
        (reader.file, reader.problems)
    }
}

struct Reader<'a> {
    file: ConfigFile,
    problems: Vec<Problem>,
    at: &'a dyn Fn(Option<usize>) -> Origin,
}

impl Reader<'_> {
    /// Reads a table; `prefix` is empty for the file, `section.` inside one.
    fn table(&mut self, table: &dyn TableLike, prefix: &str) {
        for (name, item) in table.iter() {
            let key = format!("{prefix}{name}");
            let start = table.key(name).and_then(Key::span).or_else(|| item.span()).map(|span| span.start);
            self.item(&key, item, (self.at)(start));
        }
    }

    fn item(&mut self, key: &str, item: &Item, origin: Origin) {
        let section = format!("{key}.");
        let is_section = ConfigFile::KEYS.iter().any(|known| known.starts_with(&section));
        if key == SECTION {
            self.upstreams(item, &origin);
        } else if let Some(table) = item.as_table_like().filter(|_| is_section) {
            self.table(table, &section);
        } else if is_section {
            self.problems.push(origin.problem(key, format!("is a section; write [{key}] and its keys below")));
        } else if !ConfigFile::KEYS.contains(&key) {
            let sections =
                ConfigFile::KEYS.iter().filter_map(|known| known.split_once('.')).map(|(section, _)| section);
            let known: Vec<&str> = ConfigFile::KEYS.iter().copied().chain(sections).chain([SECTION]).collect();
            self.problems.push(origin.problem(key, unknown(key, &known)));
        } else if let Some(value) = item.as_value() {
            self.problems.extend(self.file.take(key, value, origin).err());
        } else {
            self.problems.push(origin.problem(key, "is one value and not a section"));
        }
    }

    /// Reads the tables of named upstreams, in the order in which they stand.
    fn upstreams(&mut self, item: &Item, origin: &Origin) {
        const WANTED: &str = "is a section of tables; write [upstreams.NAME] and the keys of each below";
        let Some(tables) = item.as_table_like() else {
            return self.problems.push(origin.problem(SECTION, WANTED));
        };
        for (name, item) in tables.iter() {
            let start = tables.key(name).and_then(Key::span).or_else(|| item.span()).map(|span| span.start);
            let origin = (self.at)(start);
            match item.as_table_like() {
                Some(table) => {
                    let read = self.upstream(table, UpstreamTable::new(name.to_owned(), origin));
                    self.file.upstreams.push(read);
                }
                None => self.problems.push(origin.problem(&format!("{SECTION}.{name}"), WANTED)),
            }
        }
    }

    fn upstream(&mut self, table: &dyn TableLike, mut read: UpstreamTable) -> UpstreamTable {
        for (key, item) in table.iter() {
            let start = table.key(key).and_then(Key::span).or_else(|| item.span()).map(|span| span.start);
            let (origin, full) = ((self.at)(start), read.key(key));
            if !UpstreamTable::KEYS.contains(&key) {
                let what = unknown(key, UpstreamTable::KEYS);
                self.problems.push(origin.problem(&full, what));
            } else if let Some(value) = item.as_value() {
                self.problems.extend(read.take(key, value, origin).err());
            } else {
                self.problems.push(origin.problem(&full, "is one value and not a section"));
            }
        }
        read
    }
}

/// What to say about an unknown key: the nearest of the `known` ones, when one is near.
fn unknown(key: &str, known: &[&str]) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let near = known
        .iter()
        .map(|known| (distance(key, known), *known))
        .min()
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4));
    let moved = || known.iter().copied().find(|known| last(known) == last(key));
    match near.map(|(_, known)| known).or_else(moved) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None => "unknown key; remove it (semblance serve --help lists all settings)".to_owned(),
    }
}

/// Edits between two keys (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (slot, right) in row.iter_mut().skip(1).zip(&b) {
            let cost = diagonal + usize::from(left != *right);
            diagonal = *slot;
            before = cost.min(before + 1).min(diagonal + 1);
            *slot = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
