//! Why two questions do, or do not, share an answer: the request path's own pieces, asked without a request.

use serde::Serialize;

use crate::{
    embed::{EmbedError, Embedder},
    matcher::{self, Asked, GuardReport, Judgement, Matcher, Terms, calibration::PSame},
    outcome::{BypassReason, MissReason},
    policy::{Classification, Examples, Facts, PolicySet, Tier},
    similarity::Similarity,
};

/// What is asked, against what.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The question whose answer is cached.
    pub cached: &'a str,
    /// The question asked now.
    pub asked: &'a str,
    /// A category named by the app.
    pub category: Option<&'a str>,
}

/// The whole explanation.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `hit` or `miss`.
    pub decision: &'static str,
    /// Cosine of the two questions.
    pub similarity: Similarity,
    /// What the contrast guard said.
    pub guard: GuardReport,
    /// Calibrated probability of the same answer; `null` when it was not asked for.
    pub p_same: Option<PSame>,
    /// What had to be reached.
    pub bar: f32,
    /// How far above the bar, or below it, that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
    /// Stable reason.
    pub reason: &'static str,
    /// The category of the question asked.
    pub category: String,
    /// How the category was found.
    pub category_by: String,
    /// Revision of the policies.
    pub policy_revision: String,
}

/// Explains what the gateway would do with `ask.asked` if `ask.cached` were the only entry, and fresh.
pub async fn explain(
    ask: Ask<'_>,
    embedder: &dyn Embedder,
    policies: &PolicySet,
    examples: Option<&Examples>,
    matcher: &Matcher,
) -> Result<Explanation, EmbedError> {
    let cached = embedder.embed(ask.cached).await?;
    let asked = embedder.embed(ask.asked).await?;
    let similarity = cached
        .similarity(&asked)
        .ok_or_else(|| EmbedError::Failed("two vectors of one model differ in length".into()))?;
    let facts = Facts { path: "", model: "", system: "", query: ask.asked, header_category: ask.category };
    let class = policies.classify(&facts, Some(&asked), examples);
    let cached_facts = Facts { query: ask.cached, ..facts };
    let cached_class = policies.classify(&cached_facts, Some(&cached), examples);
    let terms = Terms::of(&class.policy, None).tightened(&cached_class.policy);
    let judgement = matcher.judge(ask.cached, &Asked::new(ask.asked), similarity, &terms).await;
    Ok(assemble(judgement, [&class, &cached_class], ask.asked, policies.revision()))
}

fn assemble(judgement: Judgement, classes: [&Classification; 2], asked: &str, revision: &str) -> Explanation {
    let [class, cached_class] = classes;
    let barred = if class.freshness.is_never() || cached_class.freshness.is_never() {
        Some(BypassReason::ZeroTtl.as_str())
    } else if class.policy.reuse.tier == Tier::Exact
        || cached_class.policy.reuse.tier == Tier::Exact
        || matcher::guard::leans_on_context(asked)
    {
        Some(MissReason::ExactOnly.as_str())
    } else {
        None
    };
    Explanation {
        decision: if barred.is_some() { "miss" } else { judgement.decision },
        similarity: judgement.similarity,
        guard: judgement.guard,
        p_same: judgement.p_same,
        bar: judgement.bar,
        margin: judgement.margin,
        reason: barred.unwrap_or(judgement.reason),
        category: class.policy.category.clone(),
        category_by: class.by.to_string(),
        policy_revision: revision.to_owned(),
    }
}
