//! Telling a question's category: rules over all user turns, then meaning. Uncertain means strictest.
//!
//! An answer rests on every turn before it, so a never-cached question among the earlier ones counts as much as the
//! last. Without a vector, what no rule decides is neither served by meaning nor stored (I5).

use std::sync::Arc;

use super::{Gateway, identity::Question, lead::Head, personal};
use crate::{
    embed::EmbedError,
    metrics::Stage,
    otel::Trace,
    outcome::BypassReason,
    policy::{Classification, Examples, Facts, PersonalData, PolicySet, Tier},
    similarity::Embedding,
};

/// Bytes of a text too long for the embedder, at each end, from which its category is still told.
const CATEGORY_END: usize = 600;
/// Earlier user turns whose category is asked by meaning, the latest ones.
const EARLIER_TURNS: usize = 3;

/// What is known of a question before its neighbours are asked.
#[derive(Debug)]
pub(super) struct Told {
    /// Its category.
    pub(super) class: Classification,
    /// Its vector, when one stands for all of it.
    pub(super) vector: Option<Embedding>,
    /// The embedder failed.
    pub(super) embedder_down: bool,
    /// False when the category could not be told for want of a vector: then nothing is kept.
    pub(super) may_store: bool,
    /// Revision of the policies that told it.
    pub(super) revision: String,
}

impl Gateway {
    /// Tells the category. `Err` sends everybody on without the cache.
    pub(super) async fn tell_category(&self, question: &Question, facts: &Facts<'_>) -> Result<Told, Head> {
        let policies = self.parts.policies.current();
        let rules = policies.classify_by_rules(facts);
        let examples = match rules.decided {
            true => self.examples_of(policies.revision()),
            false => self.examples_when_warm(policies.revision()).await,
        };
        if !rules.decided && examples.is_none() {
            return Err(Head::Bypass(BypassReason::Warming, rules.policy.category.clone()));
        }
        let by_meaning = rules.policy.reuse.tier == Tier::Semantic
            && personal::treatment(question, &rules.policy) == PersonalData::Allow;
        let wants_meaning = question.query().is_some() && by_meaning;
        let needs_vector = !rules.decided || wants_meaning;
        let mut told = Told {
            may_store: rules.decided,
            class: rules,
            vector: None,
            embedder_down: false,
            revision: policies.revision().to_owned(),
        };
        if needs_vector {
            let whole = self.vector(question.last_words(), &question.trace).await;
            self.by_meaning(question, facts, (&policies, examples.as_ref()), whole, &mut told).await?;
        }
        if told.class.freshness.is_never() {
            return Err(never(&told.class));
        }
        self.heed_personal_data(question, &mut told).await?;
        Ok(told)
    }

    /// The category is told from masked words; a vector of what may be matched by meaning is made of the real ones.
    async fn heed_personal_data(&self, question: &Question, told: &mut Told) -> Result<(), Head> {
        match personal::treatment(question, &told.class.policy) {
            PersonalData::KeepOut => {
                let category = told.class.policy.category.clone();
                return Err(Head::Bypass(BypassReason::PersonalData, category));
            }
            PersonalData::Exact => told.vector = None,
            PersonalData::Allow if question.personal.is_none() || told.vector.is_none() => {}
            PersonalData::Allow => {
                let whole = match question.query() {
                    Some(query) => self.vector(query, &question.trace).await,
                    None => Ok(None),
                };
                told.embedder_down |= whole.as_ref().is_err_and(|error| !matches!(error, EmbedError::TooLong { .. }));
                told.vector = whole.unwrap_or_default();
            }
        }
        Ok(())
    }

    async fn by_meaning(
        &self,
        question: &Question,
        facts: &Facts<'_>,
        (policies, examples): (&PolicySet, Option<&Arc<Examples>>),
        whole: Result<Option<Embedding>, EmbedError>,
        told: &mut Told,
    ) -> Result<(), Head> {
        let classify = |vector: &Embedding| policies.classify(facts, Some(vector), examples.map(Arc::as_ref));
        match whole {
            Ok(None) => {}
            Ok(Some(vector)) => {
                told.class = classify(&vector);
                told.may_store = true;
                told.vector = Some(vector);
            }
            Err(EmbedError::TooLong { .. }) => {}
            Err(_) => {
                told.embedder_down = true;
                return Ok(());
            }
        }
        for (text, is_last) in further_texts(question, told.vector.is_none()) {
            match self.vector(text, &question.trace).await {
                Ok(Some(vector)) => {
                    let class = classify(&vector);
                    if class.freshness.is_never() {
                        return Err(never(&class));
                    }
                    if is_last {
                        told.may_store = true;
                        told.class = strictest(told.class.clone(), class);
                    }
                }
                Ok(None) => {}
                Err(_) => {
                    told.embedder_down = true;
                    told.may_store = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn vector(&self, text: &str, trace: &Trace) -> Result<Option<Embedding>, EmbedError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let started = tokio::time::Instant::now();
        let step = trace.embedding(self.parts.embedder.fingerprint());
        let made = self.parts.embedder.embed(text).await;
        step.embedded(&made);
        self.parts.metrics.stage(Stage::Embed, started.elapsed());
        self.parts.metrics.embedding(made.as_ref().map(|_| ()));
        if let Err(error) = &made
            && !matches!(error, EmbedError::TooLong { .. })
        {
            tracing::warn!(reason = error.reason(), %error, "no embedding");
        }
        made.map(Some)
    }
}

/// Texts beside the last turn itself whose category counts: both ends of it when it has no vector of its own, and the
/// latest earlier turns. True marks a part of the last turn.
fn further_texts(question: &Question, ends_of_last: bool) -> Vec<(&str, bool)> {
    let mut texts = Vec::new();
    if ends_of_last {
        let last = question.last_words();
        texts.push((head(last), true));
        if last.len() > CATEGORY_END {
            texts.push((tail(last), true));
        }
    }
    let turns = question.user_turns();
    let earlier = turns.len().saturating_sub(1);
    let latest = turns.iter().take(earlier).skip(earlier.saturating_sub(EARLIER_TURNS));
    texts.extend(latest.flat_map(|turn| match turn.len() > CATEGORY_END {
        true => vec![(head(turn), false), (tail(turn), false)],
        false => vec![(turn.as_str(), false)],
    }));
    texts
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(CATEGORY_END)]
}

fn tail(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(CATEGORY_END))..]
}

fn strictest(a: Classification, b: Classification) -> Classification {
    if b.freshness.ttl < a.freshness.ttl { b } else { a }
}

fn never(class: &Classification) -> Head {
    Head::Bypass(BypassReason::ZeroTtl, class.policy.category.clone())
}
