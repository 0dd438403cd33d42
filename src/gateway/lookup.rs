//! Asking the cache: by fingerprint, then by meaning; every find is checked against today's policy.

use std::{sync::Arc, time::Duration};

use super::{Gateway, identity::Question};
use crate::{
    clock::Timestamp,
    entry::Entry,
    freshness::{self, Freshness, Verdict},
    key::Fingerprint,
    matcher::{Asked, Judgement, Terms, calibration::PSame},
    metrics,
    outcome::{HitKind, MissReason, Outcome, StaleWhy},
    policy::{Classification, Facts, Policy, PolicySet, Sharing},
    similarity::{Embedding, Similarity},
};

/// An entry about to be served.
#[derive(Debug, Clone)]
pub struct Served {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Hit or stale hit.
    pub outcome: Outcome,
    /// Whole seconds of freshness left; negative when stale.
    pub ttl_left: i64,
    /// Time since it was generated.
    pub age: Duration,
}

impl Served {
    /// Whether a background refresh should run.
    pub const fn needs_refresh(&self) -> bool {
        matches!(self.outcome, Outcome::StaleHit(_, StaleWhy::WhileRevalidate))
    }
}

/// What asking gave.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Serve this.
    Serve(Served),
    /// Go on; the entry may be served should the upstream fail.
    Miss(MissReason, Option<Served>),
}

/// The circumstances under which an entry is checked.
#[derive(Debug)]
struct Check<'a> {
    question: &'a Question,
    policies: &'a PolicySet,
    sharing: Sharing,
    /// The lifetimes of the question's own category, when it is known.
    own: Option<Freshness>,
    now: Timestamp,
}

/// A question on its way past its neighbours.
#[derive(Debug)]
struct Sought<'a> {
    check: Check<'a>,
    asked: Asked<'a>,
    terms: Terms,
    wording: Fingerprint,
}

impl Gateway {
    /// Asks by fingerprint, in every scope that some policy allows.
    pub(super) async fn look_up_exact(&self, question: &Question, facts: &Facts<'_>, now: Timestamp) -> Lookup {
        if question.directives.refresh() {
            return Lookup::Miss(MissReason::Refresh, None);
        }
        let policies = self.parts.policies.current();
        let mut miss = (MissReason::Empty, None);
        for sharing in policies.sharings() {
            let keys = self.keys(question, sharing);
            match self.parts.cache.find(keys.fingerprint).await {
                Ok(None) => {}
                Ok(Some(hit)) => {
                    let kind = if hit.via_alias { HitKind::Alias } else { HitKind::Exact };
                    let own = rules_if_changed(&policies, &hit.entry, facts);
                    let check = Check { question, policies: &policies, sharing, own, now };
                    match check.usable(&hit.entry, kind) {
                        Lookup::Miss(reason, fallback) => miss = (reason, fallback.or(miss.1)),
                        serve @ Lookup::Serve(_) => return serve,
                    }
                }
                Err(error) => {
                    tracing::warn!(reason = error.reason(), %error, "exact lookup failed");
                    miss.0 = MissReason::CacheError;
                }
            }
        }
        Lookup::Miss(miss.0, miss.1)
    }

    /// Asks the hot tier alone: what was admitted a moment ago is there.
    pub(super) fn look_up_hot(&self, question: &Question, facts: &Facts<'_>, now: Timestamp) -> Option<Served> {
        let policies = self.parts.policies.current();
        policies.sharings().into_iter().find_map(|sharing| {
            let keys = self.keys(question, sharing);
            let hit = self.parts.cache.find_hot(keys.fingerprint)?;
            let own = rules_if_changed(&policies, &hit.entry, facts);
            let check = Check { question, policies: &policies, sharing, own, now };
            match check.usable(&hit.entry, HitKind::Exact) {
                Lookup::Serve(served) => Some(served),
                Lookup::Miss(..) => None,
            }
        })
    }

    /// Asks by meaning, closest neighbour first; an accepted wording is remembered.
    pub(super) async fn look_up_semantic(
        &self,
        question: &Question,
        (query, vector): (&str, &Embedding),
        class: &Classification,
        now: Timestamp,
    ) -> Lookup {
        let settings = self.parts.matcher.settings();
        let policies = self.parts.policies.current();
        let sharing = class.policy.reuse.scope;
        let check = Check { question, policies: &policies, sharing, own: Some(class.freshness), now };
        let keys = self.keys(question, sharing);
        let terms = Terms::of(&class.policy, question.directives.threshold);
        let sought = Sought { check, asked: Asked::new(query), terms, wording: keys.fingerprint };
        let metrics = &self.parts.metrics;
        let (mut refusal, mut verified) = (MissReason::Empty, 0);
        for candidate in self.parts.cache.neighbours(&keys.partition, vector, settings.candidates, settings.floor) {
            let entry = match self.parts.cache.get(candidate.id).await {
                Ok(Some(entry)) if entry.partition == keys.partition => entry,
                // The index is derived: what the store no longer holds is forgotten here.
                Ok(_) => {
                    self.parts.cache.index().remove(candidate.id);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(reason = error.reason(), %error, "candidate not read");
                    return Lookup::Miss(MissReason::CacheError, None);
                }
            };
            let Some((judgement, outcome)) = self.consider(&sought, candidate.similarity, &entry).await else {
                continue;
            };
            match outcome {
                Lookup::Serve(served) => {
                    metrics.candidate(candidate.similarity, metrics::Verdict::Accepted);
                    self.parts.cache.alias(keys.fingerprint, &entry);
                    return Lookup::Serve(served);
                }
                Lookup::Miss(refused, _) => {
                    refusal = worthier(refusal, refused);
                    metrics.candidate(candidate.similarity, verdict(refused));
                    self.explain_refusal(&judgement, &entry);
                }
            }
            verified += usize::from(judgement.p_same.is_some());
            if verified >= settings.verified {
                break;
            }
        }
        Lookup::Miss(refusal, None)
    }

    /// Whether a neighbour is served: cheap checks first, the verifier last. `None` when it has no text to match.
    async fn consider(
        &self,
        sought: &Sought<'_>,
        similarity: Similarity,
        entry: &Arc<Entry>,
    ) -> Option<(Judgement, Lookup)> {
        let matcher = &self.parts.matcher;
        let cached = entry.query.as_deref()?;
        let terms = sought.terms.tightened(sought.check.policy(entry));
        let screened = matcher.screen(cached, &sought.asked, similarity, &terms);
        if let Some(refused) = screened.refused {
            return Some((screened, Lookup::Miss(refused, None)));
        }
        let served = match sought.check.usable(entry, HitKind::Semantic(similarity)) {
            Lookup::Serve(served) => served,
            miss @ Lookup::Miss(..) => return Some((screened, miss)),
        };
        let pairing = (entry.id, sought.wording);
        let judgement = matcher.verify(screened, cached, &sought.asked, Some(pairing)).await;
        let outcome = judgement.refused.map_or(Lookup::Serve(served), |refused| Lookup::Miss(refused, None));
        Some((judgement, outcome))
    }

    fn explain_refusal(&self, judgement: &Judgement, entry: &Entry) {
        tracing::debug!(
            entry = %entry.id,
            similarity = judgement.similarity.get(),
            slot = judgement.guard.slot,
            p = judgement.p_same.map(PSame::get),
            bar = judgement.bar,
            reason = judgement.reason,
            "candidate refused"
        );
    }
}

impl Check<'_> {
    /// Today's policy of an entry's category.
    fn policy(&self, entry: &Entry) -> &Policy {
        self.policies.get(&entry.category).unwrap_or_else(|| self.policies.default_policy())
    }

    /// Whether `entry` may be served to this question, now, under today's policy.
    fn usable(&self, entry: &Arc<Entry>, kind: HitKind) -> Lookup {
        let Self { question, sharing, own, now, .. } = *self;
        let policy = self.policy(entry);
        let Some(freshness) = self.lifetimes(policy.freshness, own) else {
            return Lookup::Miss(MissReason::Expired, None);
        };
        if policy.reuse.scope != sharing && sharing != Sharing::Credential {
            return Lookup::Miss(MissReason::Empty, None);
        }
        if !entry.answer.can_render(question.request.shape) {
            return Lookup::Miss(MissReason::OtherShape, None);
        }
        if over_token_limit(entry, question.request.max_tokens) {
            return Lookup::Miss(MissReason::TokenLimit, None);
        }
        let facts = freshness::Facts {
            generated_at: entry.generated_at,
            invalidated_at: entry.invalidated_at,
            ttl_limit: entry.ttl_limit_ms.map(Duration::from_millis),
        };
        let assessed = freshness::assess(&facts, &freshness, &question.bounds(), now);
        let served = |outcome| Served {
            entry: Arc::clone(entry),
            outcome,
            ttl_left: assessed.ttl_remaining_secs(),
            age: assessed.age,
        };
        match assessed.verdict {
            Verdict::Fresh { .. } => Lookup::Serve(served(Outcome::Hit(kind))),
            Verdict::StaleWhileRevalidate { .. } => {
                Lookup::Serve(served(Outcome::StaleHit(kind, StaleWhy::WhileRevalidate)))
            }
            Verdict::StaleAsked { .. } => Lookup::Serve(served(Outcome::StaleHit(kind, StaleWhy::Asked))),
            Verdict::StaleIfErrorOnly { .. } => {
                let fallback = served(Outcome::StaleHit(kind, StaleWhy::IfError));
                Lookup::Miss(MissReason::Expired, Some(fallback))
            }
            Verdict::Expired => Lookup::Miss(MissReason::Expired, None),
        }
    }

    /// The shortest of the lifetimes of the entry's category, of the question's and of the category the app named.
    fn lifetimes(&self, entry: Freshness, own: Option<Freshness>) -> Option<Freshness> {
        let named = self.question.directives.category.as_deref().and_then(|name| self.policies.get(name));
        let shortest = [own, named.map(|policy| policy.freshness)]
            .into_iter()
            .flatten()
            .fold(entry, |shortest, other| shortest.tightened(other));
        (!shortest.is_never()).then_some(shortest)
    }
}

/// An entry admitted under other policies may be of a kind that today's rules never cache.
fn rules_if_changed(policies: &PolicySet, entry: &Entry, facts: &Facts<'_>) -> Option<Freshness> {
    (entry.policy_revision != policies.revision()).then(|| policies.classify_by_rules(facts).freshness)
}

/// `max_tokens` is not part of the key: a whole answer serves any limit it fits in (wire.md 2.1, note 3). Without the
/// upstream's count it is not known to fit.
fn over_token_limit(entry: &Entry, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| entry.answer.usage.is_none_or(|usage| usage.output > limit))
}

const fn verdict(refused: MissReason) -> metrics::Verdict {
    match refused {
        MissReason::BelowThreshold => metrics::Verdict::BelowThreshold,
        MissReason::GuardRejected => metrics::Verdict::Guard,
        MissReason::VerifierRejected | MissReason::VerifierDown => metrics::Verdict::Verifier,
        _ => metrics::Verdict::Unusable,
    }
}

/// A refusal of the nearest neighbour says more than one of those behind it.
fn worthier(old: MissReason, new: MissReason) -> MissReason {
    if old == MissReason::Empty { new } else { old }
}
