//! What may be cached, for how long, and how sure a hit must be: the decisions of a product manager, as files.
//!
//! [`file`](PolicyFile) is a file as typed, [`Policy`] is what the gateway uses, [`PolicySet`] is all of them with
//! their rules compiled. Invariants: a set exists only when every file is free of problems; a category with a ttl of
//! zero is never looked up and never stored; among several categories that could be meant the strictest wins.

mod built_in;
mod check;
mod classify;
mod compile;
mod diff;
mod directory;
mod file;
mod history;
mod leaning;
mod plain;
mod prior;
mod privacy;
mod rules;
mod save;
mod shipped;
mod watch;
mod words;

use std::{cmp::Reverse, collections::HashMap, path::Path, sync::Arc, time::Duration};

pub use self::{
    built_in::EMBEDDINGS,
    check::{CheckReport, Explained, Summary, check},
    classify::{Classification, ClassifiedBy, Examples, Facts, HeaderRefused, RunnerUp},
    compile::{DEFAULT_CATEGORY, MIN_SIMILARITY},
    diff::{Change, diff, diff_paths},
    directory::{Edit, NotSaved, OnDisk, Order, PolicyDirectory, Saved, propose},
    file::{
        FreshnessSection, Harm, Located, MatchSection, PersonalData, PolicyFile, PrivacySection, Problem, ReuseSection,
        Sharing, SpellingSection, Tier, VolatileSection, Write,
    },
    history::{By, Signed, Version, VersionTexts},
    plain::{SMALLEST_BUDGET, plain},
    privacy::Privacy,
    save::{Finished, Texts, finish},
    watch::{PolicyEvent, PolicyWatch},
};
use self::{compile::Compiled, rules::Rules};
use crate::freshness::Freshness;

/// How answers of a category may be reused.
#[derive(Debug, Clone, PartialEq)]
pub struct Reuse {
    /// Other wordings too, or the same question only.
    pub tier: Tier,
    /// What a wrong or stale answer costs.
    pub harm: Harm,
    /// Share of served semantic hits that may be wrong, 0 to 1.
    pub max_wrong_hits: f64,
    /// Who may be served.
    pub scope: Sharing,
    /// Names of the keys whose answers others may be served, where not everybody's are.
    pub writers: Option<Vec<String>>,
    /// When an answer is on disk.
    pub write: Write,
    /// Share of semantic hits asked again upstream in the background, 0 to 1.
    pub audit: f64,
    /// Cost of one wrong answer in US dollars, where the product manager gave one.
    pub cost_of_wrong_usd: Option<f64>,
}

impl Reuse {
    /// Whether others may be served what the holder of this name, or somebody without one, has led to.
    pub fn trusts(&self, writer: Option<&str>) -> bool {
        let named = |writers: &Vec<String>| writer.is_some_and(|writer| writers.iter().any(|known| known == writer));
        self.writers.as_ref().is_none_or(named)
    }

    /// Whether it trusts nobody whom `other` does not.
    fn trusts_no_more_than(&self, other: &Self) -> bool {
        let Some(theirs) = &other.writers else { return true };
        let few = |own: &Vec<String>| own.iter().all(|name| theirs.contains(name));
        self.scope == Sharing::Credential || self.writers.as_ref().is_some_and(few)
    }
}

/// One category's policy, ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Name of the category.
    pub category: String,
    /// What it is, in one sentence; empty when the file does not say.
    pub summary: String,
    /// Who answers for it; empty when the file does not say.
    pub owner: String,
    /// How fresh answers must be.
    pub freshness: Freshness,
    /// How answers may be reused.
    pub reuse: Reuse,
    /// What becomes of personal data.
    pub privacy: Privacy,
    /// How near an example must be, as a cosine.
    pub min_similarity: f64,
    /// Short digest of the file's content.
    pub revision: String,
}

impl Policy {
    /// Whether answers of this category are never cached.
    pub const fn is_never_cached(&self) -> bool {
        self.freshness.is_never()
    }

    /// Orders policies, strictest first: shorter ttl, then exact over semantic, then higher harm, then the lower
    /// budget, narrower sharing, shorter stale time and less personal data. The name settles the rest, so that the
    /// order is total.
    pub fn by_strictness(&self, other: &Self) -> std::cmp::Ordering {
        let key = |p: &Self| (p.freshness.ttl, Reverse(p.reuse.tier), Reverse(p.reuse.harm));
        let then = |p: &Self| (p.reuse.scope, p.freshness.longest_stale(), p.privacy.questions, p.privacy.answers);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.reuse.max_wrong_hits.total_cmp(&other.reuse.max_wrong_hits))
            .then_with(|| then(self).cmp(&then(other)))
            .then_with(|| self.category.cmp(&other.category))
    }

    /// Whether using this policy in place of `other` loosens nothing: not the ttl, the time stale, the tier, the
    /// budget of wrong hits, who may be served, whose answers are, nor what becomes of personal data (I9).
    pub fn is_at_least_as_strict_as(&self, other: &Self) -> bool {
        let (own, its) = (&self.reuse, &other.reuse);
        let oldest = |p: &Self| p.freshness.ttl.saturating_add(p.freshness.longest_stale());
        self.is_never_cached()
            || (self.freshness.ttl <= other.freshness.ttl
                && oldest(self) <= oldest(other)
                && own.tier >= its.tier
                && (own.tier == Tier::Exact || own.max_wrong_hits <= its.max_wrong_hits)
                && own.scope <= its.scope
                && own.trusts_no_more_than(its)
                && self.privacy.is_at_least_as_strict_as(other.privacy))
    }
}

/// A file of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name, without the directory.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Its keys as typed.
    pub typed: PolicyFile,
}

/// All policies of a gateway, with their rules compiled. Immutable; an edit makes a new one.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
    /// One for each policy, in the same order.
    sources: Vec<Source>,
    by_category: HashMap<String, usize>,
    default: Arc<Policy>,
    embeddings: Arc<Policy>,
    rules: Rules,
    examples: Vec<(String, String)>,
    revision: String,
}

impl PolicySet {
    /// Reads every `*.toml` file of `dir`. All problems of all files come back at once, sorted.
    pub fn load(dir: &Path) -> Result<Self, Vec<Problem>> {
        Self::from_texts(&read_dir(dir)?, &dir.display().to_string())
    }

    /// The policies that come with the program, used when no directory is given.
    ///
    /// # Errors
    /// Never, in a build that passed its tests: the shipped files are checked there.
    pub fn shipped() -> Result<Self, Vec<Problem>> {
        let texts: Vec<(String, String)> =
            shipped::FILES.iter().map(|(name, text)| (format!("policies/{name}"), (*text).to_owned())).collect();
        Self::from_texts(&texts, "policies")
    }

    /// Makes a set of files given as (name, text). `place` is named when a file is missing.
    pub fn from_texts(texts: &[(String, String)], place: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let files: Vec<(PolicyFile, String)> = texts
            .iter()
            .map(|(name, text)| (PolicyFile::parse(name, text, &mut problems), short_digest([text.as_str()])))
            .collect();
        let compiled = compile::compile(&files, &mut problems);
        let unread = files.iter().any(|(file, _)| file.category.is_none());
        let is_default = |(file, _): &(PolicyFile, String)| {
            file.category.as_ref().is_some_and(|category| category.value == DEFAULT_CATEGORY)
        };
        if !unread && !files.iter().any(is_default) {
            let message =
                "no file has category = \"default\"; one must catch every question that no other file matches";
            problems.push(whole(place, message));
        }
        problems.sort();
        problems.dedup();
        match compiled {
            Some(compiled) if problems.is_empty() => {
                let sources = texts.iter().zip(files).map(|((name, text), (typed, _))| Source {
                    file: file_name(name).to_owned(),
                    text: text.clone(),
                    typed,
                });
                let revision = revision_of(texts);
                Self::assemble(compiled, sources.collect(), revision)
                    .ok_or_else(|| vec![whole(place, "no default category")])
            }
            _ => Err(problems),
        }
    }

    fn assemble(compiled: Compiled, sources: Vec<Source>, revision: String) -> Option<Self> {
        let Compiled { policies, rules, examples } = compiled;
        let by_category: HashMap<String, usize> =
            policies.iter().enumerate().map(|(at, policy)| (policy.category.clone(), at)).collect();
        let default = Arc::clone(policies.get(*by_category.get(DEFAULT_CATEGORY)?)?);
        let embeddings = Arc::new(built_in::embeddings());
        Some(Self { policies, sources, by_category, default, embeddings, rules, examples, revision })
    }

    /// The policy of `category`.
    pub fn get(&self, category: &str) -> Option<&Arc<Policy>> {
        match self.by_category.get(category) {
            Some(at) => self.policies.get(*at),
            None => (category == EMBEDDINGS).then_some(&self.embeddings),
        }
    }

    /// The policy of embeddings: its own file's, or the built-in one.
    pub fn embeddings(&self) -> &Arc<Policy> {
        self.get(EMBEDDINGS).unwrap_or(&self.embeddings)
    }

    /// The policy that catches the rest.
    pub const fn default_policy(&self) -> &Arc<Policy> {
        &self.default
    }

    /// Every policy, in the order of the files' names.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Every policy with its file, in the order of the files' names.
    pub fn with_sources(&self) -> impl ExactSizeIterator<Item = (&Policy, &Source)> {
        self.policies.iter().map(AsRef::as_ref).zip(&self.sources)
    }

    /// The files it was made of.
    pub fn texts(&self) -> Texts {
        self.sources.iter().map(|source| (source.file.clone(), source.text.clone())).collect()
    }

    /// Short digest of all files' contents.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Every sharing that some policy allows, the narrowest first; each is looked up in.
    pub fn sharings(&self) -> Vec<Sharing> {
        let mut sharings: Vec<Sharing> = self.policies.iter().map(|policy| policy.reuse.scope).collect();
        sharings.push(Sharing::Credential);
        sharings.sort_unstable();
        sharings.dedup();
        sharings
    }

    /// Every example question with its category, to be embedded into [`Examples`] by the caller.
    pub fn example_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.examples.iter().map(|(category, text)| (category.as_str(), text.as_str()))
    }

    /// The stricter of two policies; the first when they are alike.
    pub fn stricter<'p>(&self, a: &'p Arc<Policy>, b: &'p Arc<Policy>) -> &'p Arc<Policy> {
        if b.by_strictness(a).is_lt() { b } else { a }
    }
}

fn whole(place: &str, message: &str) -> Problem {
    Problem { file: place.to_owned(), line: 1, key: String::new(), message: message.to_owned() }
}

/// The `*.toml` files of `dir` as (path, text), sorted by name. Hidden files are an editor's or a volume's own.
fn read_dir(dir: &Path) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let place = dir.display().to_string();
    let unreadable = |path: &str, error: &std::io::Error| whole(path, &format!("cannot be read: {error}"));
    let listing = std::fs::read_dir(dir).map_err(|error| vec![unreadable(&place, &error)])?;
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for entry in listing {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                problems.push(unreadable(&place, &error));
                continue;
            }
        };
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.extension().is_none_or(|extension| extension != "toml") || path.is_dir() {
            continue;
        }
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push((name, text)),
            Err(error) => problems.push(unreadable(&name, &error)),
        }
    }
    if texts.is_empty() && problems.is_empty() {
        problems.push(whole(&place, "holds no *.toml file; give the directory that holds the policies"));
    }
    texts.sort();
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

/// The name at the end of a path.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or(path)
}

/// Short digest of a set of files.
fn revision_of(texts: &[(String, String)]) -> String {
    short_digest(texts.iter().map(|(_, text)| text.as_str()))
}

/// Twelve hex digits over length-prefixed parts.
fn short_digest<'t>(parts: impl IntoIterator<Item = &'t str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(12).collect()
}

/// A duration as a product manager writes it: `0s`, `1m`, `24h`, `7d`.
fn in_words(duration: Duration) -> String {
    let secs = duration.as_secs();
    // A single day is a matter of hours.
    let units = [(86_400, "d", 2), (3600, "h", 1), (60, "m", 1)];
    let whole = units.iter().find(|(unit, _, least)| secs >= unit * least && secs.is_multiple_of(*unit));
    match whole {
        Some((unit, letter, _)) if duration.subsec_nanos() == 0 => format!("{}{letter}", secs / unit),
        _ => humantime::format_duration(duration).to_string(),
    }
}
