//! Two policy sets, setting by setting, with what each change does in plain words. Pure but for [`diff_paths`].
//!
//! What holds is compared, not what is typed: a default that is written down is no change, and neither is another order.
//! A setting that is added to a [`Policy`] does not compile here until it is compared.

mod effect;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use super::{
    MatchSection, Policy, PolicyFile, PolicySet, Privacy, Problem, Reuse, SpellingSection, VolatileSection,
    compile::compile,
    file::Located,
    in_words, plain,
    plain::{answers_with, count, dollars, questions_with, records_of, sharing, written},
    read_dir, short_digest, whole,
};
use crate::freshness::Freshness;

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// The category.
    pub category: String,
    /// The setting, such as `freshness.ttl`; `category` when the whole policy came or went.
    pub key: String,
    /// What held before; none for what was not there.
    pub from: Option<String>,
    /// What holds now; none for what is gone.
    pub to: Option<String>,
    /// What the change does.
    pub plain: String,
}

/// A policy with its file.
type Whole<'a> = (&'a Policy, &'a PolicyFile);

/// What differs from `before` to `after`, by category, each in the order of the settings.
pub fn diff(before: &PolicySet, after: &PolicySet) -> Vec<Change> {
    let wholes = |set| PolicySet::with_sources(set).map(|(policy, source)| (policy, &source.typed));
    compare(&wholes(before).collect::<Vec<_>>(), &wholes(after).collect::<Vec<_>>())
}

/// As [`diff`], for what two paths hold: directories, or a file each, whose policies are compared whatever they are named.
///
/// # Errors
/// Every problem of either.
pub fn diff_paths(before: &Path, after: &Path) -> Result<Vec<Change>, Vec<Problem>> {
    let are_files = before.is_file() && after.is_file();
    let (before, after) = match (load(before), load(after)) {
        (Ok(before), Ok(after)) => (before, after),
        (before, after) => return Err([before.err(), after.err()].into_iter().flatten().flatten().collect()),
    };
    if let (true, [before], [after]) = (are_files, before.as_slice(), after.as_slice()) {
        let mut changes = Changes { category: &after.0.category, found: Vec::new() };
        changes.settings((&before.0, &before.1), (&after.0, &after.1));
        return Ok(changes.found);
    }
    let before: Vec<Whole<'_>> = before.iter().map(|(policy, file)| (policy, file)).collect();
    let after: Vec<Whole<'_>> = after.iter().map(|(policy, file)| (policy, file)).collect();
    Ok(compare(&before, &after))
}

/// The policies at `path`, a directory or a file; a default among them is not asked for.
fn load(path: &Path) -> Result<Vec<(Policy, PolicyFile)>, Vec<Problem>> {
    let place = path.display().to_string();
    let texts = if path.is_file() {
        let text = std::fs::read_to_string(path);
        vec![(place.clone(), text.map_err(|error| vec![whole(&place, &format!("cannot be read: {error}"))])?)]
    } else {
        read_dir(path)?
    };
    let mut problems = Vec::new();
    let files: Vec<(PolicyFile, String)> = texts
        .iter()
        .map(|(name, text)| (PolicyFile::parse(name, text, &mut problems), short_digest([text.as_str()])))
        .collect();
    match compile(&files, &mut problems) {
        Some(compiled) if problems.is_empty() => {
            let policies = compiled.policies.iter().map(|policy| policy.as_ref().clone());
            Ok(policies.zip(files.into_iter().map(|(file, _)| file)).collect())
        }
        _ => {
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

fn compare(before: &[Whole<'_>], after: &[Whole<'_>]) -> Vec<Change> {
    let named = |wholes: &[Whole<'_>]| -> BTreeSet<String> { wholes.iter().map(|(p, _)| p.category.clone()).collect() };
    let mut all = Vec::new();
    for category in named(before).union(&named(after)) {
        let of = |wholes: &[Whole<'_>]| wholes.iter().position(|(policy, _)| policy.category == *category);
        let (old, new) = (of(before).and_then(|at| before.get(at)), of(after).and_then(|at| after.get(at)));
        let mut changes = Changes { category, found: Vec::new() };
        match (old, new) {
            (Some(old), Some(new)) => changes.settings(*old, *new),
            (Some(_), None) => {
                let gone = "The policy is gone: its questions fall to the other policies.".to_owned();
                changes.note("category", Some(category.clone()), None, gone);
            }
            (None, Some((policy, file))) => {
                let promise = plain(policy, file).into_iter().next().unwrap_or_default();
                changes.note("category", None, Some(category.clone()), format!("A new policy. {promise}"));
            }
            (None, None) => {}
        }
        all.append(&mut changes.found);
    }
    all
}

/// The changes of one category.
struct Changes<'c> {
    category: &'c str,
    found: Vec<Change>,
}

impl Changes<'_> {
    fn note(&mut self, key: &str, from: Option<String>, to: Option<String>, plain: String) {
        self.found.push(Change { category: self.category.to_owned(), key: key.to_owned(), from, to, plain });
    }

    /// Notes `key` where the two differ, as `shown`.
    fn value<T: PartialEq + Copy>(&mut self, key: &str, from: T, to: T, shown: impl Fn(&T) -> String, plain: String) {
        if from != to {
            self.note(key, Some(shown(&from)), Some(shown(&to)), plain);
        }
    }

    /// The same for what need not be there.
    fn optional<T: PartialEq>(
        &mut self,
        key: &str,
        from: Option<&T>,
        to: Option<&T>,
        shown: impl Fn(&T) -> String,
        plain: String,
    ) {
        if from != to {
            self.note(key, from.map(&shown), to.map(&shown), plain);
        }
    }

    fn settings(&mut self, (old, old_file): Whole<'_>, (new, new_file): Whole<'_>) {
        let Policy { category, summary, owner, freshness, reuse, privacy, min_similarity, revision: _ } = new;
        self.value("category", &old.category, category, |name| (*name).clone(), effect::category(category));
        self.text("summary", &old.summary, summary);
        self.text("owner", &old.owner, owner);
        self.matching(&old_file.matching, &new_file.matching);
        let (from, to) = (old.min_similarity, *min_similarity);
        self.value("match.min_similarity", from, to, f64::to_string, effect::nearness(from, to));
        self.freshness(old.freshness, *freshness);
        self.reuse(&old.reuse, reuse);
        let Privacy { questions, answers, traffic_text: text } = *privacy;
        self.value("privacy.questions", old.privacy.questions, questions, typed, questions_with(questions).to_owned());
        self.value("privacy.answers", old.privacy.answers, answers, typed, answers_with(answers).to_owned());
        self.value(
            "privacy.traffic_text",
            old.privacy.traffic_text,
            text,
            bool::to_string,
            records_of(text).to_owned(),
        );
        self.volatile(&old_file.volatile, &new_file.volatile);
        self.spelling(old_file.spelling.as_ref(), new_file.spelling.as_ref());
    }

    /// What only people read.
    fn text(&mut self, key: &str, from: &String, to: &String) {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        self.optional(
            key,
            given(from).as_ref(),
            given(to).as_ref(),
            String::clone,
            "For people to read; answers stay the same.".into(),
        );
    }

    fn freshness(&mut self, old: Freshness, new: Freshness) {
        let Freshness { ttl, stale_while_revalidate: refresh, stale_if_error: failing } = new;
        let shown = |time: &Duration| in_words(*time);
        self.value("freshness.ttl", old.ttl, ttl, shown, effect::ttl(old.ttl, ttl));
        let from = old.stale_while_revalidate;
        self.value("freshness.stale_while_revalidate", from, refresh, shown, effect::while_refreshing(from, refresh));
        let from = old.stale_if_error;
        self.value("freshness.stale_if_error", from, failing, shown, effect::while_failing(from, failing));
    }

    fn reuse(&mut self, old: &Reuse, new: &Reuse) {
        let Reuse { tier, harm, max_wrong_hits, scope, writers, write, audit, cost_of_wrong_usd } = new;
        self.value("reuse.tier", old.tier, *tier, typed, effect::tier(*tier).to_owned());
        self.value("reuse.harm", old.harm, *harm, typed, format!("{}.", plain::harm(*harm)));
        let (from, to) = (old.max_wrong_hits, *max_wrong_hits);
        self.value("reuse.max_wrong_hits", from, to, f64::to_string, effect::budget(from, to));
        self.value("reuse.scope", old.scope, *scope, typed, sharing(new));
        self.optional("reuse.writers", old.writers.as_ref(), writers.as_ref(), |names| names.join(", "), sharing(new));
        self.value("reuse.write", old.write, *write, typed, written(*write).to_owned());
        self.value("reuse.audit", old.audit, *audit, f64::to_string, effect::audit(old.audit, *audit));
        let (from, to) = (old.cost_of_wrong_usd, *cost_of_wrong_usd);
        self.optional(
            "reuse.cost_of_wrong_usd",
            from.as_ref(),
            to.as_ref(),
            |cost| dollars(*cost),
            effect::cost(from, to),
        );
    }

    fn matching(&mut self, old: &MatchSection, new: &MatchSection) {
        let MatchSection { line: _, paths, models, system, phrases, patterns, except, examples, min_similarity: _ } =
            new;
        let lists = [
            ("match.paths", "path", &old.paths, paths),
            ("match.models", "model", &old.models, models),
            ("match.system", "phrase", &old.system, system),
            ("match.phrases", "phrase", &old.phrases, phrases),
            ("match.patterns", "pattern", &old.patterns, patterns),
            ("match.except", "pattern", &old.except, except),
            ("match.examples", "example", &old.examples, examples),
        ];
        for (key, of, old, new) in lists {
            let (old_texts, new_texts) = (texts(old), texts(new));
            let (added, removed) = (beyond(&new_texts, &old_texts), beyond(&old_texts, &new_texts));
            if !added.is_empty() || !removed.is_empty() {
                let counted = |list: &BTreeSet<&str>| (!list.is_empty()).then(|| count(list.len(), of));
                self.note(key, counted(&old_texts), counted(&new_texts), effect::recognised(key, &added, &removed));
            }
        }
    }

    fn volatile(&mut self, old: &[Located<VolatileSection>], new: &[Located<VolatileSection>]) {
        let (old, new) = (caps(old), caps(new));
        if old != new {
            let counted = |caps: &BTreeMap<&str, Duration>| (!caps.is_empty()).then(|| count(caps.len(), "wording"));
            self.note("volatile", counted(&old), counted(&new), effect::volatile(&old, &new));
        }
    }

    fn spelling(&mut self, old: Option<&Located<SpellingSection>>, new: Option<&Located<SpellingSection>>) {
        let (old, new) = (readings(old), readings(new));
        let (added, removed) = (beyond(&new, &old), beyond(&old, &new));
        if !added.is_empty() || !removed.is_empty() {
            let counted =
                |list: &BTreeSet<String>| (!list.is_empty()).then(|| format!("{} read", count(list.len(), "word")));
            let (from, to) = (counted(&old), counted(&new));
            self.note("spelling", from, to, effect::spelling(&added, &removed));
        }
    }
}

fn texts(list: &[Located<String>]) -> BTreeSet<&str> {
    list.iter().map(|text| text.value.as_str()).collect()
}

/// What `list` holds and `other` does not.
fn beyond<'l, T: AsRef<str> + Ord>(list: &'l BTreeSet<T>, other: &'l BTreeSet<T>) -> Vec<&'l str> {
    list.difference(other).map(AsRef::as_ref).collect()
}

/// Volatile wording with the cap that it sets.
fn caps(sections: &[Located<VolatileSection>]) -> BTreeMap<&str, Duration> {
    let mut caps: BTreeMap<&str, Duration> = BTreeMap::new();
    for VolatileSection { phrases, patterns, ttl } in sections.iter().map(|section| &section.value) {
        let Some(ttl) = ttl else { continue };
        for text in phrases.iter().chain(patterns) {
            let cap = caps.entry(&text.value).or_insert(ttl.value);
            *cap = (*cap).min(ttl.value);
        }
    }
    caps
}

/// How hurried writing is read, an entry each.
fn readings(section: Option<&Located<SpellingSection>>) -> BTreeSet<String> {
    let Some(Located { value: SpellingSection { shorthand, words }, .. }) = section else { return BTreeSet::new() };
    let short = shorthand.iter().map(|(short, full)| format!("{short} = {}", full.value));
    short.chain(words.iter().map(|word| word.value.clone())).collect()
}

/// A word as it is typed in a file.
fn typed<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
