//! All files' routes, phrases and patterns as one matcher, compiled once and asked once a question.

use std::time::Duration;

use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

use super::{
    file::{MatchSection, Problem},
    words::{Phrases, Spelling, fold, words},
};
use crate::glob;

/// What a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The policy at this place in the set.
    Policy(usize),
    /// The examples of the policy at this place are not asked.
    NoExamples(usize),
    /// Volatile wording, with its cap on the ttl.
    Volatile(Duration),
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// A phrase, as typed in its file.
    Phrase(String),
    /// A pattern, as typed in its file.
    Pattern(String),
}

impl Rule {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Phrase(text) | Self::Pattern(text) => text,
        }
    }
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPattern {
    #[error("is not a regular expression: {0}; check brackets and backslashes, and write it in single quotes")]
    Syntax(String),
    #[error("matches every question; it must need at least one character")]
    MatchesAll,
}

#[derive(Debug, Default)]
struct Route {
    policy: usize,
    paths: Vec<String>,
    models: Vec<String>,
    system: bool,
}

/// The compiled rules of a set.
#[derive(Debug)]
pub(super) struct Rules {
    phrases: Phrases<(Target, Rule)>,
    patterns: RegexSet,
    pattern_rules: Vec<(Target, Rule)>,
    routes: Vec<Route>,
    system: Phrases<usize>,
    spelling: Spelling,
}

impl Rules {
    /// Calls `found` with each rule that matches `query`, as typed or as meant.
    pub(super) fn find<'r>(&'r self, query: &str, mut found: impl FnMut(Target, &'r Rule)) {
        let folded = fold(query);
        let typed = words(&folded);
        self.find_in(&folded, &typed, &mut found);
        if let Some(meant) = self.spelling.read(&typed) {
            self.find_in(&meant, &words(&meant), &mut found);
        }
    }

    fn find_in<'r>(&'r self, folded: &str, words: &[&str], found: &mut impl FnMut(Target, &'r Rule)) {
        self.phrases.find(words, |(target, rule)| found(*target, rule));
        for matched in &self.patterns.matches(folded.as_bytes()) {
            if let Some((target, rule)) = self.pattern_rules.get(matched) {
                found(*target, rule);
            }
        }
    }

    /// The policies whose routes match. Every kind of route that a file names must match, any one of each kind.
    pub(super) fn routes<'r>(&'r self, path: &str, model: &str, system: &str) -> impl Iterator<Item = usize> + 'r {
        let mut by_system = Vec::new();
        if !self.system.is_empty() && !system.is_empty() {
            let folded = fold(system);
            self.system.find(&words(&folded), |policy| by_system.push(*policy));
        }
        let (path, model) = (path.to_owned(), model.to_owned());
        self.routes.iter().filter_map(move |route| {
            let fits = (route.paths.is_empty() || route.paths.iter().any(|p| glob::matches(p, &path)))
                && (route.models.is_empty() || route.models.iter().any(|m| glob::matches(m, &model)))
                && (!route.system || by_system.contains(&route.policy));
            fits.then_some(route.policy)
        })
    }
}

/// Collects rules until the set is whole.
#[derive(Debug, Default)]
pub(super) struct RulesBuilder {
    phrases: Phrases<(Target, Rule)>,
    patterns: Vec<String>,
    pattern_rules: Vec<(Target, Rule)>,
    routes: Vec<Route>,
    system: Phrases<usize>,
    pub(super) spelling: Spelling,
}

impl RulesBuilder {
    /// False when the phrase holds no word.
    pub(super) fn add_phrase(&mut self, phrase: &str, target: Target) -> bool {
        self.spelling.add_correct(phrase);
        self.phrases.add(phrase, (target, Rule::Phrase(phrase.to_owned())))
    }

    pub(super) fn add_pattern(&mut self, pattern: &str, target: Target) -> Result<(), BadPattern> {
        // Without Unicode classes and word boundaries the automaton is smaller and never falls back to a slower engine.
        let build = |unicode| RegexBuilder::new(pattern).unicode(unicode).case_insensitive(true).build();
        let (built, flags) = match build(false) {
            Ok(ascii) if pattern.is_ascii() => (Ok(ascii), "i-u"),
            _ => (build(true), "i"),
        };
        if built.map_err(|error| BadPattern::Syntax(last_line(&error.to_string())))?.is_match(b"") {
            return Err(BadPattern::MatchesAll);
        }
        let usable = format!("(?{flags}:{pattern})");
        self.patterns.push(usable);
        self.pattern_rules.push((target, Rule::Pattern(pattern.to_owned())));
        Ok(())
    }

    /// Adds the routes of one file; the lines of system phrases without a word come back.
    pub(super) fn add_route(&mut self, policy: usize, section: &MatchSection) -> Vec<usize> {
        if section.paths.is_empty() && section.models.is_empty() && section.system.is_empty() {
            return Vec::new();
        }
        let values = |list: &[super::file::Located<String>]| list.iter().map(|l| l.value.clone()).collect();
        self.routes.push(Route {
            policy,
            paths: values(&section.paths),
            models: values(&section.models),
            system: !section.system.is_empty(),
        });
        section
            .system
            .iter()
            .filter(|phrase| !self.system.add(&phrase.value, policy))
            .map(|phrase| phrase.line)
            .collect()
    }

    /// Compiles. Patterns that are good one by one can still be too large together.
    pub(super) fn build(self, file: &str, problems: &mut Vec<Problem>) -> Option<Rules> {
        let set = RegexSetBuilder::new(&self.patterns).size_limit(64 << 20).dfa_size_limit(16 << 20).build();
        match set {
            Ok(patterns) => Some(Rules {
                phrases: self.phrases,
                patterns,
                pattern_rules: self.pattern_rules,
                routes: self.routes,
                system: self.system,
                spelling: self.spelling,
            }),
            Err(error) => {
                let message = format!(
                    "all files' patterns together: {}; use fewer or smaller ones",
                    last_line(&error.to_string())
                );
                problems.push(Problem { file: file.to_owned(), line: 1, key: "match.patterns".to_owned(), message });
                None
            }
        }
    }
}

/// The regex crate draws the pattern first and says what is wrong last.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or_default().trim_start_matches("error: ").trim().to_owned()
}
