//! Why a question would hit or miss, against another question or against what is cached.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared};
use crate::{
    clock::Timestamp,
    entry::Entry,
    explain::{self, Ask, Explanation},
    freshness::{self, Assessment, Bounds, Freshness, Verdict},
    matcher::{Asked, Judgement, Terms, guard},
    outcome::{BypassReason, MissReason},
    policy::{Classification, Facts, PersonalData, Tier},
    privacy::{self, Kind},
};

/// Candidates shown.
const SHOWN: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainRequest {
    ask: String,
    cached: Option<String>,
    category: Option<String>,
}

/// A neighbour in the cache, judged.
#[derive(Debug, Serialize)]
pub(super) struct Neighbour {
    entry: String,
    query: String,
    category: String,
    #[serde(flatten)]
    judgement: Judgement,
    /// Time since it was generated.
    age_ms: u64,
    /// What its age means for this question: fresh, stale or expired, in words with the arithmetic.
    freshness: String,
    /// Why its hit would not be served all the same: its age, a tripped category, shadow mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<&'static str>,
}

impl Neighbour {
    const fn is_served(&self) -> bool {
        self.judgement.accepted() && self.withheld.is_none()
    }
}

/// Either form of the answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Explained {
    Pair(Box<Explanation>),
    Cache {
        decision: &'static str,
        /// The worst personal data in the question: its kind alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        personal_data: Option<&'static str>,
        /// Category of the question.
        category: String,
        /// How it was found.
        category_by: String,
        /// How long its answers live, in words.
        freshness: String,
        policy_revision: String,
        candidates: Vec<Neighbour>,
    },
}

pub(super) async fn explain(
    State(control): Shared,
    Json(request): Json<ExplainRequest>,
) -> Result<Json<Explained>, AdminError> {
    let gateway = &control.gateway;
    let parts = gateway.parts();
    let ExplainRequest { ask, cached, category } = request;
    if let Some(cached) = cached {
        let ask = Ask { cached: &cached, asked: &ask, category: category.as_deref() };
        let policies = parts.policies.current();
        let examples = gateway.examples_of(policies.revision());
        let explained =
            explain::explain(ask, parts.embedder.as_ref(), &policies, examples.as_deref(), &parts.matcher).await?;
        return Ok(Json(Explained::Pair(Box::new(explained))));
    }
    let personal = privacy::worst(&ask);
    let (class, revision, candidates) = neighbours(&control, &ask, category.as_deref(), personal).await?;
    let hit = candidates.iter().any(Neighbour::is_served);
    Ok(Json(Explained::Cache {
        decision: if hit { "hit" } else { "miss" },
        personal_data: personal.map(Kind::as_str),
        category: class.policy.category.clone(),
        category_by: class.by.to_string(),
        freshness: lifetimes(&class.freshness),
        policy_revision: revision,
        candidates,
    }))
}

/// The nearest entries of all partitions: an operator has no partition of her own. Where a policy
/// does not allow personal data, it is masked in all that is embedded and judged.
async fn neighbours(
    control: &super::Control,
    ask: &str,
    category: Option<&str>,
    personal: Option<Kind>,
) -> Result<(Classification, String, Vec<Neighbour>), AdminError> {
    let parts = control.gateway.parts();
    let (matcher, now) = (&parts.matcher, parts.clock.now());
    let masked = privacy::masked(ask);
    let mut vector = parts.embedder.embed(&masked).await?;
    let policies = parts.policies.current();
    let facts = Facts { query: ask, header_category: category, ..Facts::default() };
    let class = policies.classify(&facts, Some(&vector), control.gateway.examples_of(policies.revision()).as_deref());
    let allowed = class.policy.privacy.of_question(personal) == PersonalData::Allow;
    if allowed && personal.is_some() {
        vector = parts.embedder.embed(ask).await?;
    }
    let (asked, terms) = (Asked::new(if allowed { ask } else { &masked }), Terms::of(&class.policy, None));
    let mut shown = Vec::new();
    for candidate in parts.cache.index().search_all(&vector, SHOWN, matcher.settings().floor) {
        let Some(entry) = parts.cache.get(candidate.id).await? else { continue };
        let Some(query) = entry.query.clone() else { continue };
        let policy = policies.get(&entry.category).unwrap_or_else(|| policies.default_policy());
        let judgement = matcher.judge(&query, &asked, candidate.similarity, &terms.tightened(policy)).await;
        let aged = assess(&entry, &policy.freshness.tightened(class.freshness), now);
        let private = !allowed || policy.privacy.of_question(personal) != PersonalData::Allow;
        let exact = [&class.policy.reuse, &policy.reuse].iter().any(|reuse| reuse.tier == Tier::Exact);
        let withheld = if class.freshness.is_never() || policy.is_never_cached() {
            Some(BypassReason::ZeroTtl.as_str())
        } else if private {
            Some(MissReason::PersonalData.as_str())
        } else if exact || guard::leans_on_context(ask) {
            Some(MissReason::ExactOnly.as_str())
        } else if matches!(aged.verdict, Verdict::Expired | Verdict::StaleIfErrorOnly { .. }) {
            Some(MissReason::Expired.as_str())
        } else {
            let withheld = judgement.accepted().then(|| control.gateway.auditor().withholds(&entry.category, None));
            withheld.flatten().map(MissReason::as_str)
        };
        shown.push(Neighbour {
            entry: entry.id.to_string(),
            query,
            category: entry.category.clone(),
            judgement,
            age_ms: u64::try_from(aged.age.as_millis()).unwrap_or(u64::MAX),
            freshness: in_words(&aged.verdict),
            withheld,
        });
    }
    Ok((class, policies.revision().to_owned(), shown))
}

/// What may be done with `entry` now, for a request without wishes of its own.
fn assess(entry: &Entry, freshness: &Freshness, now: Timestamp) -> Assessment {
    let facts = freshness::Facts {
        generated_at: entry.generated_at,
        invalidated_at: entry.invalidated_at,
        ttl_limit: entry.ttl_limit_ms.map(Duration::from_millis),
    };
    freshness::assess(&facts, freshness, &Bounds::default(), now)
}

fn lifetimes(freshness: &Freshness) -> String {
    if freshness.is_never() {
        return "never cached".to_owned();
    }
    let Freshness { ttl, stale_while_revalidate, stale_if_error } = *freshness;
    let mut words = format!("fresh for {}", humantime::format_duration(ttl));
    for (window, when) in
        [(stale_while_revalidate, "while a new one is fetched"), (stale_if_error, "if the model fails")]
    {
        if !window.is_zero() {
            words.push_str(&format!(", {} more {when}", humantime::format_duration(window)));
        }
    }
    words
}

fn in_words(verdict: &Verdict) -> String {
    let time = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    match *verdict {
        Verdict::Fresh { remaining } => format!("fresh for {} more", time(remaining)),
        Verdict::StaleWhileRevalidate { past } | Verdict::StaleAsked { past } => {
            format!("stale for {}: served while a new one is fetched", time(past))
        }
        Verdict::StaleIfErrorOnly { past } => format!("stale for {}: served only if the model fails", time(past)),
        Verdict::Expired => "expired".to_owned(),
    }
}
