//! Why two questions do, or do not, share an answer: the request path's own pieces, asked without a request.

use serde::Serialize;

use crate::{
    embed::{EmbedError, Embedder},
    matcher::{self, Asked, Judgement, Matcher, Terms},
    outcome::{BypassReason, MissReason},
    policy::{Classification, Examples, Facts, PolicySet, Tier},
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
    /// What matcher and policies say of the pair; a policy's refusal comes before the matcher's.
    #[serde(flatten)]
    pub judgement: Judgement,
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

fn assemble(mut judgement: Judgement, classes: [&Classification; 2], asked: &str, revision: &str) -> Explanation {
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
    if let Some(reason) = barred {
        (judgement.decision, judgement.reason) = ("miss", reason);
    }
    Explanation {
        judgement,
        category: class.policy.category.clone(),
        category_by: class.by.to_string(),
        policy_revision: revision.to_owned(),
    }
}
