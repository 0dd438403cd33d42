//! Which category a question belongs to, and why.
//!
//! Pure: facts and vectors in, a [`Classification`] that explains itself out. The order is header, routes, phrases and
//! patterns, nearest example, default; but **uncertain means strictest**. Rules of every file are asked, and a
//! never-cached category that matches wins over everything else; of two categories whose examples are about equally
//! near the stricter wins; volatile wording caps the lifetime in any category; a header may only tighten.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Policy, PolicySet,
    leaning::{Leaning, leans},
    prior::Prior,
    rules::{Rule, Target},
};
use crate::{
    freshness::Freshness,
    similarity::{Embedding, Similarity},
};

/// Two categories whose nearest examples differ by no more than this are equally likely.
const MARGIN: f32 = 0.05;
/// The same when the stricter one is never cached: leaving out an answer costs one call, serving it may cost a customer.
const NEVER_CACHED_MARGIN: f32 = 0.08;

/// Two questions this similar are the same one, for the purpose of telling a category.
const SAME_QUESTION: f64 = 0.85;

/// What is known of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Path of the request.
    pub path: &'a str,
    /// Model asked for.
    pub model: &'a str,
    /// System prompt.
    pub system: &'a str,
    /// Text of the last user turn.
    pub query: &'a str,
    /// `x-semblance-category`.
    pub header_category: Option<&'a str>,
}

/// What decided.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassifiedBy {
    /// The request's own header.
    Header,
    /// A path, model or system prompt rule.
    Route,
    /// This phrase.
    Phrase(String),
    /// This pattern.
    Pattern(String),
    /// The nearest example.
    Example {
        /// The example.
        text: String,
        /// How near it is.
        similarity: Similarity,
    },
    /// Nothing matched.
    Default,
}

impl fmt::Display for ClassifiedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("named by the app"),
            Self::Route => f.write_str("route rule"),
            Self::Phrase(phrase) => write!(f, "phrase \"{phrase}\""),
            Self::Pattern(pattern) => write!(f, "pattern {pattern}"),
            Self::Example { text, similarity } => write!(f, "example \"{text}\" at {similarity}"),
            Self::Default => f.write_str("nothing matched"),
        }
    }
}

/// Why the request's own category was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderRefused {
    /// No policy has that name.
    Unknown,
    /// It is looser than what was detected.
    Looser,
}

impl HeaderRefused {
    /// Stable token for logs and explanations.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "category-unknown",
            Self::Looser => "category-looser",
        }
    }
}

/// The second nearest category.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerUp {
    /// Its name.
    pub category: String,
    /// How near its nearest example is.
    pub similarity: Similarity,
}

/// A category with the lifetimes that hold for this question, and the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The policy's lifetimes, capped where the wording is volatile.
    pub freshness: Freshness,
    /// What decided.
    pub by: ClassifiedBy,
    /// The volatile wording that capped the lifetimes.
    pub volatile: Option<String>,
    /// The second nearest category, when examples were asked.
    pub runner_up: Option<RunnerUp>,
    /// Why the request's own category was not used.
    pub header_refused: Option<HeaderRefused>,
    /// False when only rules were asked and none matched: ask again with a vector. Until then the answer may turn out
    /// to be one that is never cached, so it must be neither served nor stored.
    pub decided: bool,
}

impl Classification {
    /// Whether the answer is neither looked up nor stored.
    pub const fn is_never_cached(&self) -> bool {
        self.freshness.is_never()
    }
}

/// The example questions of one set with their vectors.
#[derive(Debug, Default)]
pub struct Examples {
    all: Vec<Example>,
    leaning: Option<Leaning>,
    /// In the place of `leaning`, where every never-cached category is one that it knows.
    prior: Option<Prior>,
}

#[derive(Debug)]
struct Example {
    category: String,
    text: String,
    embedding: Embedding,
}

impl Examples {
    /// Takes (category, text, vector) of each of `set`'s [`example_texts`](PolicySet::example_texts). A vector that
    /// could not be made may be left out.
    pub fn new(set: &PolicySet, embedder: &str, examples: Vec<(String, String, Embedding)>) -> Self {
        let of = |(category, text, embedding)| Example { category, text, embedding };
        let all: Vec<Example> = examples.into_iter().map(of).collect();
        let never = |example: &Example| set.get(&example.category).is_some_and(|policy| policy.is_never_cached());
        let labelled: Vec<(&Embedding, bool)> = all.iter().map(|e| (&e.embedding, never(e))).collect();
        let only_known = all.iter().filter(|e| never(e)).all(|e| Prior::knows(&e.category));
        let prior = Prior::of(embedder).filter(|_| only_known);
        let leaning = if prior.is_some() { None } else { Leaning::fit(&labelled) };
        Self { all, leaning, prior }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// A category's nearest example.
struct Near<'a> {
    policy: &'a Arc<Policy>,
    text: &'a str,
    similarity: Similarity,
}

/// What the rules said.
struct ByRules<'s> {
    found: Option<(&'s Arc<Policy>, ClassifiedBy)>,
    /// Places of the policies whose examples are not asked.
    no_examples: Vec<usize>,
    volatile: Option<(Duration, String)>,
}

impl PolicySet {
    /// Classifies by header, routes, phrases and patterns alone: microseconds, no vector.
    pub fn classify_by_rules(&self, facts: &Facts<'_>) -> Classification {
        self.classify(facts, None, None)
    }

    /// Classifies with everything there is. Without a vector or without examples this is
    /// [`classify_by_rules`](Self::classify_by_rules).
    pub fn classify(
        &self,
        facts: &Facts<'_>,
        query: Option<&Embedding>,
        examples: Option<&Examples>,
    ) -> Classification {
        let ByRules { found, no_examples, volatile } = self.by_rules(facts);
        let asked = query.zip(examples).map(|(query, examples)| self.nearest(query, examples, &no_examples));
        let decided = asked.is_some() || found.is_some();
        let (by_example, runner_up) = asked.map(Asked::pick).unwrap_or_default();
        let (policy, by) = self.combine(found, by_example);
        let mut classification = Classification {
            policy: Arc::clone(policy),
            freshness: policy.freshness,
            by,
            volatile: None,
            runner_up,
            header_refused: None,
            decided,
        };
        self.apply_header(facts.header_category, &mut classification);
        if let Some((cap, wording)) = volatile {
            classification.freshness = classification.freshness.capped(cap);
            classification.volatile = Some(wording);
        }
        // Nothing that an example could add is stricter than never, unless only the absence of any rule said so.
        let told = classification.by != ClassifiedBy::Default || classification.volatile.is_some();
        classification.decided |= told && classification.is_never_cached();
        classification
    }

    /// A rule outranks an example, unless the example's category is never cached and the rule's is not. A route is the
    /// operator's own word about its traffic, which examples do not overrule.
    fn combine<'s>(
        &'s self,
        found: Option<(&'s Arc<Policy>, ClassifiedBy)>,
        example: Option<Near<'s>>,
    ) -> (&'s Arc<Policy>, ClassifiedBy) {
        match (found, example) {
            (Some((policy, by)), Some(near))
                if near.policy.is_never_cached() && !policy.is_never_cached() && by != ClassifiedBy::Route =>
            {
                near.explain()
            }
            (Some(found), _) => found,
            (None, Some(near)) => near.explain(),
            (None, None) => (&self.default, ClassifiedBy::Default),
        }
    }

    fn by_rules(&self, facts: &Facts<'_>) -> ByRules<'_> {
        let mut found: Option<(&Arc<Policy>, &Rule)> = None;
        let mut volatile: Option<(Duration, &Rule)> = None;
        let mut no_examples = Vec::new();
        let mut each = |target: Target, rule| match target {
            Target::NoExamples(at) => no_examples.push(at),
            Target::Volatile(cap) if volatile.is_none_or(|(least, _)| cap < least) => volatile = Some((cap, rule)),
            Target::Volatile(_) => {}
            Target::Policy(at) => {
                let Some(policy) = self.policies.get(at) else { return };
                if found.is_none_or(|(best, _)| policy.by_strictness(best).is_lt()) {
                    found = Some((policy, rule));
                }
            }
        };
        self.rules.find(facts.query, &mut each);
        let routed = self.rules.routes(facts.path, facts.model, facts.system).filter_map(|at| self.policies.get(at));
        let routed = routed.min_by(|a, b| a.by_strictness(b));
        let found = match (routed, found) {
            (Some(policy), Some((strict, rule))) if strict.is_never_cached() && !policy.is_never_cached() => {
                Some((strict, rule.explain()))
            }
            (Some(policy), _) => Some((policy, ClassifiedBy::Route)),
            (None, Some((policy, rule))) => Some((policy, rule.explain())),
            (None, None) => None,
        };
        ByRules { found, no_examples, volatile: volatile.map(|(cap, rule)| (cap, rule.text().to_owned())) }
    }

    /// The nearest example of each category but those at `without`.
    fn nearest<'s>(&'s self, query: &Embedding, examples: &'s Examples, without: &[usize]) -> Asked<'s> {
        let mut best: Vec<Option<Near<'s>>> = self.policies.iter().map(|_| None).collect();
        let mut similarities = Vec::with_capacity(examples.all.len());
        for example in &examples.all {
            let similarity = query.similarity(&example.embedding);
            similarities.push(similarity.map_or(0.0, Similarity::get));
            let Some(&at) = self.by_category.get(&example.category).filter(|at| !without.contains(at)) else {
                continue;
            };
            let (Some(policy), Some(slot)) = (self.policies.get(at), best.get_mut(at)) else { continue };
            let Some(similarity) = similarity else { continue };
            if slot.as_ref().is_none_or(|near| similarity > near.similarity) {
                *slot = Some(Near { policy, text: &example.text, similarity });
            }
        }
        let leaning = examples.leaning.as_ref().map(|leaning| leaning.of(similarities.into_iter()));
        let personal = examples.prior.as_ref().map(|prior| prior.is_personal(query));
        Asked { near: best.into_iter().flatten().collect(), leaning, personal }
    }

    fn apply_header(&self, header: Option<&str>, detected: &mut Classification) {
        let Some(name) = header.map(str::trim).filter(|name| !name.is_empty()) else { return };
        let Some(wanted) = self.get(name) else {
            detected.header_refused = Some(HeaderRefused::Unknown);
            return;
        };
        if wanted.category == detected.policy.category {
            return;
        }
        if !wanted.is_at_least_as_strict_as(&detected.policy) {
            detected.header_refused = Some(HeaderRefused::Looser);
            return;
        }
        detected.policy = Arc::clone(wanted);
        detected.freshness = wanted.freshness;
        detected.by = ClassifiedBy::Header;
    }
}

impl Rule {
    fn explain(&self) -> ClassifiedBy {
        match self {
            Self::Phrase(text) => ClassifiedBy::Phrase(text.clone()),
            Self::Pattern(text) => ClassifiedBy::Pattern(text.clone()),
        }
    }
}

impl<'a> Near<'a> {
    fn explain(self) -> (&'a Arc<Policy>, ClassifiedBy) {
        (self.policy, ClassifiedBy::Example { text: self.text.to_owned(), similarity: self.similarity })
    }
}

/// What the examples said.
struct Asked<'s> {
    /// The nearest example of each category.
    near: Vec<Near<'s>>,
    /// How far the question leans towards never cached.
    leaning: Option<f64>,
    /// Whether the shipped prior, where it applies, takes it for a personal or live question.
    personal: Option<bool>,
}

impl<'s> Asked<'s> {
    /// The category meant, and the nearest of the others. Of those near enough and about as near as the nearest the
    /// strictest is meant; a question that leans towards never cached is, however far its nearest example.
    fn pick(mut self) -> (Option<Near<'s>>, Option<RunnerUp>) {
        let meant = self.strictest_of_nearest();
        let settled = meant.and_then(|at| self.near.get(at)).is_some_and(|near| near.policy.is_never_cached());
        let meant = if settled { meant } else { self.leaned_to().or(meant) };
        let meant = meant.map(|at| self.near.remove(at));
        let others = self.near.iter().max_by(|a, b| a.similarity.total_cmp(&b.similarity));
        let runner_up =
            others.map(|near| RunnerUp { category: near.policy.category.clone(), similarity: near.similarity });
        (meant, runner_up)
    }

    fn strictest_of_nearest(&self) -> Option<usize> {
        // Where the prior knows a category, an example of it must be as good as the question itself to overrule it.
        let least = |near: &Near<'_>| match self.personal {
            Some(false) if near.policy.is_never_cached() => near.policy.min_similarity.max(SAME_QUESTION),
            _ => near.policy.min_similarity,
        };
        let enough = |near: &Near<'_>| f64::from(near.similarity.get()) >= least(near);
        let top = self.near.iter().filter(|n| enough(n)).map(|n| n.similarity.get()).max_by(f32::total_cmp)?;
        let likely = |near: &Near<'_>| {
            let margin = if near.policy.is_never_cached() { NEVER_CACHED_MARGIN } else { MARGIN };
            enough(near) && top - near.similarity.get() <= margin
        };
        let likely = self.near.iter().enumerate().filter(|(_, near)| likely(near));
        let strictest = likely.min_by(|(_, a), (_, b)| {
            let nearer = b.similarity.total_cmp(&a.similarity);
            // Among the never cached it makes no difference which one; the nearest explains best.
            if a.policy.is_never_cached() && b.policy.is_never_cached() {
                return nearer;
            }
            a.policy.by_strictness(b.policy)
        });
        strictest.map(|(at, _)| at)
    }

    /// The nearest never-cached category, when the question leans that way.
    fn leaned_to(&self) -> Option<usize> {
        let never = self.near.iter().enumerate().filter(|(_, near)| near.policy.is_never_cached());
        let (at, nearest) = never.max_by(|(_, a), (_, b)| a.similarity.total_cmp(&b.similarity))?;
        let leaning = self.leaning.is_some_and(|leaning| leans(leaning, nearest.similarity.get()));
        (leaning || self.personal == Some(true)).then_some(at)
    }
}

#[cfg(test)]
mod tests;
