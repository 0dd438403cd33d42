//! A policy file as typed: TOML text in, typed fields with their lines out, and every problem at once.
//!
//! This is the low level of two: it knows keys, types and the values one key may have. What makes sense together is
//! the business of [`compile`](super::compile). A file with problems still yields every field that could be read, so
//! that one pass reports all of them.

mod reader;
mod sections;

use std::{fmt, time::Duration};

use toml_edit::Document;

pub(super) use self::reader::typing_errors;
use self::reader::{Lines, Section};

/// Something wrong in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// Path of the file, as given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Dotted key, such as `freshness.ttl`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A value and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its line, from 1.
    pub line: usize,
}

/// Whether an answer may be reused for other wordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Also for a question of the same meaning.
    Semantic,
    /// For the same question only.
    Exact,
}

/// What a wrong or stale answer costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Harm {
    /// The reader asks again.
    Annoying,
    /// The reader loses time or money.
    Harmful,
    /// The company answers for it; exact reuse only.
    Liable,
}

/// Who may be served an entry; the later, the wider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// The credential whose request made it.
    Credential,
    /// Everyone in the tenant.
    Tenant,
    /// Everyone.
    Shared,
}

/// When an answer is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Write {
    /// Group commit shortly after.
    Behind,
    /// Before the last byte is sent.
    Through,
    /// Never stored by this node.
    Around,
}

/// What becomes of a question or an answer that holds personal data; the later, the looser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PersonalData {
    /// Not looked up, not stored.
    KeepOut,
    /// Found by the same question of the same credential only. What anyone could use is kept out all the same.
    Exact,
    /// As any other.
    Allow,
}

/// `[match]`: how questions of this category are recognised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MatchSection {
    /// The line of `[match]`; zero when absent.
    pub line: usize,
    /// Request paths; a trailing `*` matches any rest.
    pub paths: Vec<Located<String>>,
    /// Model names; a trailing `*` matches any rest.
    pub models: Vec<Located<String>>,
    /// Phrases of the system prompt.
    pub system: Vec<Located<String>>,
    /// Phrases of the question: whole words, any case.
    pub phrases: Vec<Located<String>>,
    /// Regular expressions over the question.
    pub patterns: Vec<Located<String>>,
    /// Regular expressions over questions that only look alike: for these the examples are not asked.
    pub except: Vec<Located<String>>,
    /// Example questions, matched by meaning.
    pub examples: Vec<Located<String>>,
    /// How near an example must be.
    pub min_similarity: Option<Located<f64>>,
}

/// `[freshness]` as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FreshnessSection {
    /// The line of `[freshness]`; zero when absent.
    pub line: usize,
    /// How long an answer is fresh.
    pub ttl: Option<Located<Duration>>,
    /// How long it may be served past that while a refresh runs.
    pub stale_while_revalidate: Option<Located<Duration>>,
    /// How long it may be served past that when the upstream fails.
    pub stale_if_error: Option<Located<Duration>>,
}

/// `[reuse]` as typed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReuseSection {
    /// Other wordings too, or the same question only.
    pub tier: Option<Located<Tier>>,
    /// What a wrong answer costs.
    pub harm: Option<Located<Harm>>,
    /// Share of served semantic hits that may be wrong.
    pub max_wrong_hits: Option<Located<f64>>,
    /// Who may be served.
    pub scope: Option<Located<Sharing>>,
    /// Names of the keys whose answers others may be served.
    pub writers: Option<Vec<Located<String>>>,
    /// When an answer is on disk.
    pub write: Option<Located<Write>>,
    /// Share of semantic hits asked again upstream.
    pub audit: Option<Located<f64>>,
    /// Cost of one wrong answer in US dollars.
    pub cost_of_wrong_usd: Option<Located<f64>>,
}

/// `[privacy]` as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrivacySection {
    /// Personal data in what users say.
    pub questions: Option<Located<PersonalData>>,
    /// Personal data in what the model says.
    pub answers: Option<Located<PersonalData>>,
    /// Whether records of traffic may hold questions' words.
    pub traffic_text: Option<Located<bool>>,
}

/// Wording that makes an answer short-lived in any category: one list with its cap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolatileSection {
    /// Phrases: whole words, any case.
    pub phrases: Vec<Located<String>>,
    /// Regular expressions.
    pub patterns: Vec<Located<String>>,
    /// No answer to such a question lives longer.
    pub ttl: Option<Located<Duration>>,
}

/// `[spelling]`: how hurried writing is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpellingSection {
    /// Shorthand and what it stands for.
    pub shorthand: Vec<(String, Located<String>)>,
    /// Words to recognise although misspelt.
    pub words: Vec<Located<String>>,
}

/// One policy file as typed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyFile {
    /// Its path, as shown in problems.
    pub name: String,
    /// The category's name.
    pub category: Option<Located<String>>,
    /// What the category is, in one sentence.
    pub summary: Option<Located<String>>,
    /// Who answers for it.
    pub owner: Option<Located<String>>,
    /// How it is recognised.
    pub matching: MatchSection,
    /// How fresh answers must be.
    pub freshness: FreshnessSection,
    /// How answers may be reused.
    pub reuse: ReuseSection,
    /// What becomes of personal data.
    pub privacy: PrivacySection,
    /// `[[volatile]]`, in the default file only: short-lived wording.
    pub volatile: Vec<Located<VolatileSection>>,
    /// `[spelling]`, in the default file only.
    pub spelling: Option<Located<SpellingSection>>,
}

impl PolicyFile {
    /// Reads `text`. `name` is the path shown in problems, which are appended to `problems`.
    pub fn parse(name: &str, text: &str, problems: &mut Vec<Problem>) -> Self {
        let lines = Lines::new(text);
        match Document::parse(text) {
            Ok(document) => {
                let mut root = Section::root(name, &lines, document.as_table(), problems);
                sections::file(&mut root)
            }
            Err(error) => {
                let line = error.span().map_or(1, |span| lines.at(span.start));
                let message = format!("not valid TOML: {}", error.message().trim().replace('\n', ", "));
                problems.push(Problem { file: name.to_owned(), line, key: String::new(), message });
                Self { name: name.to_owned(), ..Self::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests;
