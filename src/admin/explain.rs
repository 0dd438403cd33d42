//! Why a question would hit or miss, against another question or against what is cached.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared};
use crate::{
    explain::{self, Ask, Explanation},
    matcher::{Asked, Judgement, Terms},
    outcome::MissReason,
    policy::{Classification, Facts, PersonalData, PolicySet},
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
    /// Why its hit would not be served all the same: a tripped category, shadow mode.
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
        /// Category of the question, as far as its text tells.
        category: String,
        category_by: String,
        /// Revision of the policies.
        policy_revision: String,
        /// The worst personal data in the question: its kind alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        personal_data: Option<&'static str>,
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
    let policies = parts.policies.current();
    let (class, candidates) = neighbours(&control, &policies, &ask, category.as_deref()).await?;
    let hit = candidates.iter().any(Neighbour::is_served);
    Ok(Json(Explained::Cache {
        decision: if hit { "hit" } else { "miss" },
        category: class.policy.category.clone(),
        category_by: class.by.to_string(),
        policy_revision: policies.revision().to_owned(),
        personal_data: privacy::worst(&ask).map(Kind::as_str),
        candidates,
    }))
}

/// The nearest entries of all partitions: an operator has no partition of her own. Where a policy
/// does not allow personal data, it is masked in all that is embedded and judged.
async fn neighbours(
    control: &super::Control,
    policies: &PolicySet,
    ask: &str,
    category: Option<&str>,
) -> Result<(Classification, Vec<Neighbour>), AdminError> {
    let parts = control.gateway.parts();
    let matcher = &parts.matcher;
    let personal = privacy::worst(ask);
    let masked = privacy::masked(ask);
    let mut vector = parts.embedder.embed(&masked).await?;
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
        let withheld = judgement.accepted().then(|| control.gateway.auditor().withholds(&entry.category, None));
        let private = !allowed || policy.privacy.of_question(personal) != PersonalData::Allow;
        let withheld =
            if private { Some(MissReason::PersonalData) } else { withheld.flatten() }.map(MissReason::as_str);
        let category = entry.category.clone();
        shown.push(Neighbour { entry: entry.id.to_string(), query, category, judgement, withheld });
    }
    Ok((class, shown))
}
