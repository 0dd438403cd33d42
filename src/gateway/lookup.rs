//! Asking the cache: by fingerprint, then by meaning; every find is checked against today's policy.

use std::{sync::Arc, time::Duration};

use super::{
    Gateway,
    audit::Pairing,
    identity::{self, Question},
    personal,
};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    freshness::{self, Bounds, Freshness, Verdict},
    key::{Fingerprint, Partition},
    matcher::{Asked, Judgement, Terms, calibration::PSame},
    metrics,
    outcome::{HitKind, MissReason, Outcome, StaleWhy},
    policy::{Classification, Facts, Policy, PolicySet, Sharing, Tier},
    similarity::{Embedding, Similarity},
    traffic::Weighed,
};

/// An entry about to be served.
#[derive(Debug, Clone)]
pub struct Served {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Hit or stale hit.
    pub outcome: Outcome,
    /// Freshness left; `None` when stale.
    pub fresh_for: Option<Duration>,
    /// Whole seconds of it; negative when stale.
    pub ttl_left: i64,
    /// Time since it was generated.
    pub age: Duration,
    /// The question asked; the entry's own unless it was found by meaning.
    pub asked: Fingerprint,
    /// How it was weighed, when it was found by meaning.
    pub weighed: Option<Arc<Weighed>>,
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
    /// Go on; this would have been served by meaning, and the reason says why it is not.
    Withheld(MissReason, Pairing),
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
    asked: Fingerprint,
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
                Ok(Some(hit)) if hit.via_alias && !alias_allowed(question) => {}
                Ok(Some(hit)) => {
                    let kind = if hit.via_alias { HitKind::Alias } else { HitKind::Exact };
                    let own = by_rules(&policies, facts);
                    let check = Check { question, policies: &policies, sharing, own, now, asked: keys.fingerprint };
                    match check.usable(&hit.entry, kind) {
                        Lookup::Miss(reason, fallback) => miss = (reason, fallback.or(miss.1)),
                        Lookup::Serve(served) => match self.withholds(question, &hit.entry, kind) {
                            Some(why) => miss.0 = why,
                            None => return Lookup::Serve(served),
                        },
                        withheld @ Lookup::Withheld(..) => return withheld,
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
            let kind = if hit.via_alias { HitKind::Alias } else { HitKind::Exact };
            if hit.via_alias && !alias_allowed(question) {
                return None;
            }
            let own = by_rules(&policies, facts);
            let check = Check { question, policies: &policies, sharing, own, now, asked: keys.fingerprint };
            match check.usable(&hit.entry, kind) {
                Lookup::Serve(served) if self.withholds(question, &hit.entry, kind).is_none() => Some(served),
                Lookup::Serve(_) | Lookup::Miss(..) | Lookup::Withheld(..) => None,
            }
        })
    }

    /// Asks by meaning, where the category lets others be served from and, of who is not trusted to write there, where its
    /// own answers are kept. Also says how the nearest of the neighbours was weighed that were refused.
    pub(super) async fn look_up_semantic(
        &self,
        question: &Question,
        text: (&str, &Embedding),
        class: &Classification,
        now: Timestamp,
    ) -> (Lookup, Option<Arc<Weighed>>) {
        let step = question.trace.lookup();
        let found = self.look_up_where_kept(question, text, class, now).await;
        match &found.0 {
            Lookup::Serve(served) => step.found(served.outcome),
            Lookup::Miss(reason, _) | Lookup::Withheld(reason, _) => step.missed(*reason),
        }
        found
    }

    async fn look_up_where_kept(
        &self,
        question: &Question,
        text: (&str, &Embedding),
        class: &Classification,
        now: Timestamp,
    ) -> (Lookup, Option<Arc<Weighed>>) {
        let reuse = &class.policy.reuse;
        let mut nearest = None;
        let found = self.look_up_neighbours(question, text, (class, reuse.scope), now, &mut nearest).await;
        let Lookup::Miss(refusal, stale) = found else { return (found, nearest) };
        if question.is_trusted_by(reuse) {
            return (Lookup::Miss(refusal, stale), nearest);
        }
        let own = (class, Sharing::Credential);
        let found = match self.look_up_neighbours(question, text, own, now, &mut nearest).await {
            Lookup::Miss(own, own_stale) => Lookup::Miss(worthier(refusal, own), stale.or(own_stale)),
            found => found,
        };
        (found, nearest)
    }

    /// Asks by meaning in one scope, closest neighbour first; an accepted wording is remembered.
    async fn look_up_neighbours(
        &self,
        question: &Question,
        (query, vector): (&str, &Embedding),
        (class, sharing): (&Classification, Sharing),
        now: Timestamp,
        nearest: &mut Option<Arc<Weighed>>,
    ) -> Lookup {
        let settings = self.parts.matcher.settings();
        let policies = self.parts.policies.current();
        let may_write = question.may_write(sharing, &class.policy.reuse);
        let keys = self.keys(question, sharing);
        let asked = keys.fingerprint;
        let check = Check { question, policies: &policies, sharing, own: Some(class.freshness), now, asked };
        let terms = Terms::of(&class.policy, question.directives.threshold);
        let sought = Sought { check, asked: Asked::new(query), terms, wording: asked };
        let metrics = &self.parts.metrics;
        let (mut refusal, mut verified, mut stale) = (MissReason::Empty, 0, None);
        for candidate in self.parts.cache.neighbours(&keys.partition, vector, settings.candidates, settings.floor) {
            let entry = match self.candidate(candidate.id, keys.partition).await {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(why) => return Lookup::Miss(why, None),
            };
            if self.parts.cache.is_blocked(entry.fingerprint, asked) {
                refusal = worthier(refusal, MissReason::Blocked);
                continue;
            }
            let Some((judgement, outcome)) = self.consider(&sought, candidate.similarity, &entry).await else {
                continue;
            };
            match outcome {
                Lookup::Serve(mut served) => {
                    metrics.candidate(candidate.similarity, metrics::Verdict::Accepted);
                    served.weighed = Some(Arc::new(weighed(&entry, &judgement)));
                    if let Some(why) = self.withholds(question, &entry, HitKind::Semantic(candidate.similarity)) {
                        nearest.clone_from(&served.weighed);
                        return self.withhold(why, Pairing { entry, asked }, candidate.similarity);
                    }
                    // An alias is found without asking for its category again, so it must not lose anything by that.
                    let parents = sought.check.policy(&entry).freshness;
                    if may_write && parents.tightened(class.freshness) == parents {
                        self.parts.cache.alias(keys.fingerprint, &entry);
                    }
                    return Lookup::Serve(served);
                }
                Lookup::Miss(refused, fallback) => {
                    if may_write && question.directives.threshold.is_none() {
                        self.judge_behind(&entry, (asked, query), &judgement);
                    }
                    stale = stale.or(fallback);
                    refusal = worthier(refusal, refused);
                    nearest.get_or_insert_with(|| Arc::new(weighed(&entry, &judgement)));
                    metrics.candidate(candidate.similarity, verdict(refused));
                    self.explain_refusal(&judgement, &entry);
                }
                withheld @ Lookup::Withheld(..) => return withheld,
            }
            verified += usize::from(judgement.p_same.is_some());
            if verified >= settings.verified {
                break;
            }
        }
        Lookup::Miss(refusal, stale)
    }

    /// A neighbour's entry, if it still lives in this partition.
    async fn candidate(&self, id: EntryId, partition: Partition) -> Result<Option<Arc<Entry>>, MissReason> {
        match self.parts.cache.get(id).await {
            Ok(Some(entry)) if entry.partition == partition => Ok(Some(entry)),
            // The index is derived: what the store no longer holds is forgotten here.
            Ok(_) => {
                self.parts.cache.index().remove(id);
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "candidate not read");
                Err(MissReason::CacheError)
            }
        }
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
        let usable = sought.check.usable(entry, HitKind::Semantic(similarity));
        if matches!(usable, Lookup::Miss(_, None)) {
            return Some((screened, usable));
        }
        let pairing = (entry.id, sought.wording);
        let judgement = matcher.verify(screened, cached, &sought.asked, Some(pairing)).await;
        let outcome = judgement.refused.map_or(usable, |refused| Lookup::Miss(refused, None));
        Some((judgement, outcome))
    }

    /// Why a hit may not be served although entry and policy allow it: found by meaning, in a category that serves the
    /// same question only, or in shadow mode.
    fn withholds(&self, question: &Question, entry: &Entry, kind: HitKind) -> Option<MissReason> {
        match kind {
            HitKind::Exact => None,
            HitKind::Alias | HitKind::Semantic(_) => self.auditor.withholds(&entry.category, question.directives.mode),
        }
    }

    fn withhold(&self, why: MissReason, pairing: Pairing, similarity: Similarity) -> Lookup {
        let Pairing { entry, .. } = &pairing;
        self.parts.metrics.withheld(why, &entry.category);
        tracing::info!(
            entry = %entry.id,
            category = entry.category,
            similarity = similarity.get(),
            reason = why.as_str(),
            "semantic hit withheld"
        );
        Lookup::Withheld(why, pairing)
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
        let Self { question, sharing, own, now, asked, .. } = *self;
        let policy = self.policy(entry);
        let Some(freshness) = self.lifetimes(policy.freshness, own) else {
            return Lookup::Miss(MissReason::Expired, None);
        };
        if policy.reuse.scope != sharing && sharing != Sharing::Credential {
            return Lookup::Miss(MissReason::Empty, None);
        }
        if kind != HitKind::Exact && policy.reuse.tier == Tier::Exact {
            return Lookup::Miss(MissReason::ExactOnly, None);
        }
        if !personal::may_serve(question, entry, (policy, self.policies.revision()), (kind, sharing)) {
            return Lookup::Miss(MissReason::PersonalData, None);
        }
        if !entry.answer.can_render(question.request.shape) {
            return Lookup::Miss(MissReason::OtherShape, None);
        }
        if over_token_limit(entry, question.request.max_tokens) {
            return Lookup::Miss(MissReason::TokenLimit, None);
        }
        if question.request.handles.is_some_and(|lifetime| now.since(entry.generated_at) > lifetime) {
            return Lookup::Miss(MissReason::Expired, None);
        }
        assess(entry, &freshness, &identity::bounds(&question.directives), (kind, asked), now)
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

/// What may be done with an entry of these lifetimes now, found in this way for this question.
pub(super) fn assess(
    entry: &Arc<Entry>,
    freshness: &Freshness,
    bounds: &Bounds,
    (kind, asked): (HitKind, Fingerprint),
    now: Timestamp,
) -> Lookup {
    let facts = freshness::Facts {
        generated_at: entry.generated_at,
        invalidated_at: entry.invalidated_at,
        ttl_limit: entry.ttl_limit_ms.map(Duration::from_millis),
    };
    let assessed = freshness::assess(&facts, freshness, bounds, now);
    let fresh_for = match assessed.verdict {
        Verdict::Fresh { remaining } => Some(remaining),
        _ => None,
    };
    let served = |outcome| Served {
        entry: Arc::clone(entry),
        outcome,
        fresh_for,
        ttl_left: assessed.ttl_remaining_secs(),
        age: assessed.age,
        asked,
        weighed: None,
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

/// What today's rules say of a question's lifetimes, where they say anything; microseconds, so asked on every hit: an
/// entry of a long-lived category must not answer a question of a short-lived one, whatever was true when it was stored.
fn by_rules(policies: &PolicySet, facts: &Facts<'_>) -> Option<Freshness> {
    let class = policies.classify_by_rules(facts);
    (class.decided || class.volatile.is_some()).then_some(class.freshness)
}

/// A wording accepted earlier answers only requests that meaning may still answer, without a bar of their own.
fn alias_allowed(question: &Question) -> bool {
    question.query().is_some() && question.directives.threshold.is_none()
}

/// `max_tokens` is not part of the key: a whole answer serves any limit it fits in (wire.md 2.1, note 3). Without the
/// upstream's count it is not known to fit.
fn over_token_limit(entry: &Entry, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| entry.answer.usage.is_none_or(|usage| usage.output > limit))
}

fn weighed(entry: &Entry, judgement: &Judgement) -> Weighed {
    Weighed {
        candidate: entry.id.to_string(),
        similarity: judgement.similarity.get(),
        p: judgement.p_same.map(PSame::get),
        bar: judgement.bar,
        slot: judgement.guard.slot.map(Into::into),
        detail: judgement.guard.detail.clone(),
    }
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
