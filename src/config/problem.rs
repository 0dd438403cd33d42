//! What is wrong with a setting, and where it stands.

use std::fmt;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of a file.
    Line {
        /// The file, as named.
        file: String,
        /// From 1.
        line: usize,
    },
    /// A flag, or its variable.
    Flag,
    /// Nobody set it.
    Default,
}

impl Origin {
    /// The problem with `key` that came from here.
    pub(super) fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        let name = key.replace(['.', '_'], "-");
        let place = match self {
            Self::Line { file, line } => format!("{file}:{line}"),
            Self::Flag => format!("--{name} or SEMBLANCE_{}", name.replace('-', "_").to_uppercase()),
            Self::Default => "settings".to_owned(),
        };
        Problem { place, key: key.to_owned(), what: what.into() }
    }
}

/// One thing that is wrong, as `place: key: what is wrong, what would be right`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// `file:line`, or the flag and variable.
    pub place: String,
    /// The setting, as the file spells it; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, what } = self;
        if key.is_empty() { write!(f, "{place}: {what}") } else { write!(f, "{place}: {key}: {what}") }
    }
}

impl std::error::Error for Problem {}
