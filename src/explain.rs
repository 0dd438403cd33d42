//! Why two questions do, or do not, share an answer: the request path's own pieces, asked without a request.

use serde::Serialize;

use crate::{
    embed::{EmbedError, Embedder},
    matcher::{self, Asked, Judgement, Matcher, Terms},
    outcome::{BypassReason, MissReason},
    policy::{Classification, Examples, Facts, PersonalData, PolicySet, Tier},
    privacy::{self, Kind},
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
    /// The worst personal data in either question: its kind alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personal_data: Option<&'static str>,
    /// Revision of the policies.
    pub policy_revision: String,
}

/// Explains what the gateway would do with `ask.asked` if `ask.cached` were the only entry, and fresh. Where a policy does
/// not allow personal data, it is masked in all that is embedded, judged and shown.
pub async fn explain(
    ask: Ask<'_>,
    embedder: &dyn Embedder,
    policies: &PolicySet,
    examples: Option<&Examples>,
    matcher: &Matcher,
) -> Result<Explanation, EmbedError> {
    let found = [privacy::worst(ask.asked), privacy::worst(ask.cached)];
    let (mut cached_text, mut asked_text) = (privacy::masked(ask.cached), privacy::masked(ask.asked));
    let mut cached = embedder.embed(&cached_text).await?;
    let mut asked = embedder.embed(&asked_text).await?;
    let facts = Facts { path: "", model: "", system: "", query: ask.asked, header_category: ask.category };
    let class = policies.classify(&facts, Some(&asked), examples);
    let cached_facts = Facts { query: ask.cached, ..facts };
    let cached_class = policies.classify(&cached_facts, Some(&cached), examples);
    let told = [(&class, found[0]), (&cached_class, found[1])];
    if found.iter().any(Option::is_some) && !told.iter().any(is_private) {
        (cached_text, asked_text) = (ask.cached.to_owned(), ask.asked.to_owned());
        (cached, asked) = (embedder.embed(&cached_text).await?, embedder.embed(&asked_text).await?);
    }
    let similarity = cached
        .similarity(&asked)
        .ok_or_else(|| EmbedError::Failed("two vectors of one model differ in length".into()))?;
    let terms = Terms::of(&class.policy, None).tightened(&cached_class.policy);
    let judgement = matcher.judge(&cached_text, &Asked::new(&asked_text), similarity, &terms).await;
    Ok(assemble(judgement, told, ask.asked, policies.revision()))
}

/// Whether personal data keeps a question from being matched by meaning.
fn is_private((class, found): &(&Classification, Option<Kind>)) -> bool {
    class.policy.privacy.of_question(*found) != PersonalData::Allow
}

/// `told` is what is known of the question asked and of the cached one.
fn assemble(
    mut judgement: Judgement,
    told: [(&Classification, Option<Kind>); 2],
    asked: &str,
    revision: &str,
) -> Explanation {
    let [(class, _), (cached_class, _)] = told;
    let barred = if class.freshness.is_never() || cached_class.freshness.is_never() {
        Some(BypassReason::ZeroTtl.as_str())
    } else if told.iter().any(is_private) {
        Some(MissReason::PersonalData.as_str())
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
        personal_data: told.iter().filter_map(|(_, found)| *found).min().map(Kind::as_str),
        policy_revision: revision.to_owned(),
    }
}
