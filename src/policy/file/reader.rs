//! Reads one TOML table key by key, notes what is wrong with the line it stands on, and goes on.

use std::{ops::Range, time::Duration};

use toml_edit::{Item, Table, TableLike, Value};

use super::{Located, Problem};

/// Byte offsets to line numbers.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// Where a section's problems go.
#[derive(Debug)]
struct Sink<'a> {
    file: &'a str,
    lines: &'a Lines,
    problems: &'a mut Vec<Problem>,
}

/// One table being read.
pub(super) struct Section<'a> {
    sink: Sink<'a>,
    table: &'a dyn TableLike,
    prefix: String,
    line: usize,
}

impl<'a> Section<'a> {
    pub(super) fn root(file: &'a str, lines: &'a Lines, table: &'a Table, problems: &'a mut Vec<Problem>) -> Self {
        Self { sink: Sink { file, lines, problems }, table, prefix: String::new(), line: 1 }
    }

    pub(super) fn file(&self) -> &str {
        self.sink.file
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.table.iter().map(|(key, _)| key.to_owned()).collect()
    }

    /// Notes each key outside `known`; `elsewhere` are keys with the section they belong to.
    pub(super) fn reject_unknown(&mut self, known: &[&str], elsewhere: &[(&str, &str)]) {
        for key in self.keys() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let hint = match (elsewhere.iter().find(|(k, _)| *k == key), nearest(&key, known)) {
                (Some((_, section)), _) => format!("it belongs in {section}"),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("known here: {}", known.join(", ")),
            };
            let line = self.line_of(&key);
            self.note(line, &key, format!("unknown key; {hint}"));
        }
    }

    pub(super) fn note(&mut self, line: usize, key: &str, message: String) {
        let key = format!("{}{key}", self.prefix);
        self.sink.problems.push(Problem { file: self.sink.file.to_owned(), line, key, message });
    }

    /// Reads a table under `key`, absent or not, with `read`.
    pub(super) fn table<T: Default>(&mut self, key: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let Some(item) = self.table.get(key) else { return T::default() };
        let line = self.line_of(key);
        match item.as_table_like() {
            Some(table) => read(&mut self.child(key, table, line)),
            None => {
                self.note(line, key, format!("is {}; it must be a section, [{}{key}]", kind(item), self.prefix));
                T::default()
            }
        }
    }

    /// Reads each table of the array of tables under `key` with `read`.
    pub(super) fn tables<T>(&mut self, key: &str, mut read: impl FnMut(&mut Section<'_>) -> T) -> Vec<T> {
        let Some(item) = self.table.get(key) else { return Vec::new() };
        let Some(array) = item.as_array_of_tables() else {
            let line = self.line_of(key);
            self.note(line, key, format!("is {}; it must be one or more sections, [[{key}]]", kind(item)));
            return Vec::new();
        };
        let mut out = Vec::new();
        for table in array {
            let line = self.sink.lines.at(table.span().map_or(0, |span| span.start));
            out.push(read(&mut self.child(key, table, line)));
        }
        out
    }

    pub(super) fn text(&mut self, key: &str) -> Option<Located<String>> {
        let item = self.table.get(key)?;
        let line = self.line_of(key);
        let Some(value) = item.as_str() else {
            self.note(line, key, format!("is {}; it must be text in quotes", kind(item)));
            return None;
        };
        if value.trim().is_empty() {
            self.note(line, key, "is empty; write something a reader can use, or leave the key out".to_owned());
            return None;
        }
        Some(Located { value: value.to_owned(), line })
    }

    /// A list of texts; duplicates and blanks are noted.
    pub(super) fn texts(&mut self, key: &str) -> Vec<Located<String>> {
        let Some(item) = self.table.get(key) else { return Vec::new() };
        let Some(array) = item.as_array() else {
            let line = self.line_of(key);
            self.note(line, key, format!("is {}; it must be a list of texts, [\"...\", \"...\"]", kind(item)));
            return Vec::new();
        };
        let mut out: Vec<Located<String>> = Vec::new();
        for value in array {
            let line = value.span().map_or_else(|| self.line_of(key), |span| self.sink.lines.at(span.start));
            match value.as_str() {
                Some(text) if text.trim().is_empty() => {
                    self.note(line, key, "holds an empty text; remove it".to_owned());
                }
                Some(text) if out.iter().any(|seen| seen.value == text) => {
                    self.note(line, key, format!("holds {text:?} twice; remove one"));
                }
                Some(text) => out.push(Located { value: text.to_owned(), line }),
                None => {
                    self.note(line, key, format!("holds {}; each member must be text in quotes", value_kind(value)));
                }
            }
        }
        out
    }

    /// A finite number in `range`, ends included.
    pub(super) fn number(&mut self, key: &str, range: Range<f64>) -> Option<Located<f64>> {
        let item = self.table.get(key)?;
        let line = self.line_of(key);
        let value = item.as_float().or_else(|| item.as_integer().and_then(|n| i32::try_from(n).ok()).map(f64::from));
        let Some(value) = value else {
            self.note(line, key, format!("is {}; it must be a number such as 0.02", kind(item)));
            return None;
        };
        if !value.is_finite() || value < range.start || value > range.end {
            let right = if range.end.is_finite() {
                format!("between {} and {}", range.start, range.end)
            } else {
                format!("{} or more", range.start)
            };
            self.note(line, key, format!("is {value}; it must be {right}"));
            return None;
        }
        Some(Located { value, line })
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<Located<bool>> {
        let item = self.table.get(key)?;
        let line = self.line_of(key);
        let Some(value) = item.as_bool() else {
            self.note(line, key, format!("is {}; it must be true or false, without quotes", kind(item)));
            return None;
        };
        Some(Located { value, line })
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Located<Duration>> {
        let item = self.table.get(key)?;
        let line = self.line_of(key);
        let Some(text) = item.as_str() else {
            let message = match item.as_integer() {
                Some(n) => format!("is the bare number {n}; it must be text with a unit, such as \"{}s\"", n.max(0)),
                None => format!("is {}; it must be text such as \"30s\", \"10m\", \"24h\" or \"7d\"", kind(item)),
            };
            self.note(line, key, message);
            return None;
        };
        if text.trim_start().starts_with('-') {
            self.note(line, key, format!("is {text:?}; a time cannot be negative, \"0s\" is the least"));
            return None;
        }
        match humantime::parse_duration(text) {
            Ok(value) => Some(Located { value, line }),
            Err(_) => {
                let message = format!("{text:?} is not a time; write \"30s\", \"10m\", \"24h\" or \"7d\"");
                self.note(line, key, message);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<Located<T>> {
        let item = self.table.get(key)?;
        let line = self.line_of(key);
        let found = item.as_str().and_then(|text| choices.iter().find(|(word, _)| *word == text));
        if let Some((_, value)) = found {
            return Some(Located { value: *value, line });
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let shown = item.as_str().map_or_else(|| kind(item).to_owned(), |text| format!("{text:?}"));
        self.note(line, key, format!("is {shown}; it must be {}", or_list(&words)));
        None
    }

    fn child<'b>(&'b mut self, key: &str, table: &'b dyn TableLike, line: usize) -> Section<'b> {
        let sink = Sink { file: self.sink.file, lines: self.sink.lines, problems: &mut *self.sink.problems };
        Section { sink, table, prefix: format!("{}{key}.", self.prefix), line }
    }

    fn line_of(&self, key: &str) -> usize {
        let span = self.table.get_key_value(key).and_then(|(k, item)| k.span().or_else(|| item.span()));
        span.map_or(self.line, |span| self.sink.lines.at(span.start))
    }
}

fn or_list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::None => "nothing",
        Item::Value(value) => value_kind(value),
        Item::Table(_) => "a section",
        Item::ArrayOfTables(_) => "a list of sections",
    }
}

fn value_kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a section",
    }
}

/// The known word that `typed` most likely meant: at most two typing errors away, fewer for a short word.
pub(in crate::policy) fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let typed = typed.replace(['-', ' '], "_").to_lowercase();
    let near = |word: &str| {
        let distance = typing_errors(&typed, &word.replace('-', "_"));
        (distance <= 2 && distance * 3 <= word.chars().count()).then_some(distance)
    };
    known.iter().filter_map(|word| near(word).map(|d| (d, *word))).min_by_key(|(d, _)| *d).map(|(_, word)| word)
}

/// Damerau-Levenshtein distance: letters added, lost, changed, or swapped with their neighbour.
pub(in crate::policy) fn typing_errors(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut grid = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..width {
            grid[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = grid[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = changed.min(grid[(i - 1) * width + j] + 1).min(grid[i * width + j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(grid[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    grid.last().copied().unwrap_or(0)
}
