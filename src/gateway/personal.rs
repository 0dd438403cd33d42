//! Personal data on the request path: what a policy says of it, applied to questions, answers and stored entries.
//!
//! Invariants: what a policy keeps out is neither embedded, nor looked up by meaning, nor stored; what it keeps for the
//! same question only is found by fingerprint, in the scope of the credential, and no vector and no text of the question
//! is stored with it; today's policy decides about entries of yesterday's as well.
//!
//! A category that no rule decides is told by meaning from the question with its personal data masked, so that the data
//! itself never gets to an embedder.
//!
//! # Decisions
//! - Only what users and the model say is looked at: a system prompt holds the company's own addresses, and an answer
//!   that repeats them tells nobody anything new, for it is found under the same system prompt only.
//! - The detectors run once on a question and once on an answer about to be stored. A stored answer is searched again
//!   only where other policies than today's let it in.

use super::{Gateway, identity::Question};
use crate::{
    entry::Entry,
    outcome::{HitKind, NotStored},
    policy::{Facts, PersonalData, Policy, Sharing},
    privacy::{self, Kind},
    wire::Answer,
};

/// What users said, with the personal data in it masked.
#[derive(Debug, Clone)]
pub(super) struct Personal {
    /// The worst of it.
    pub(super) kind: Kind,
    /// The last words.
    pub(super) last_words: String,
    /// All user turns.
    pub(super) user_turns: Vec<String>,
}

impl Personal {
    /// What stands in `user_text`, which is all `user_turns`, `last_words` among them.
    pub(super) fn of(last_words: &str, user_turns: &[String], user_text: &str) -> Option<Self> {
        let kind = privacy::worst(user_text)?;
        let user_turns = user_turns.iter().map(|turn| privacy::masked(turn)).collect();
        Some(Self { kind, last_words: privacy::masked(last_words), user_turns })
    }
}

impl Gateway {
    /// The category whose policy keeps the question out, where that can be told without a vector.
    pub(super) fn keeps_out(&self, question: &Question, facts: &Facts<'_>) -> Option<String> {
        question.personal.as_ref()?;
        let policies = self.parts.policies.current();
        let class = policies.classify_by_rules(facts);
        let keeps_out = |policy: &Policy| treatment(question, policy) == PersonalData::KeepOut;
        let told = match class.decided {
            // Zero means zero has its own reason.
            true => keeps_out(&class.policy) && !class.is_never_cached(),
            false => policies.policies().iter().all(|policy| keeps_out(policy)),
        };
        told.then(|| class.policy.category.clone())
    }
}

/// What `policy` says of the question's personal data.
pub(super) fn treatment(question: &Question, policy: &Policy) -> PersonalData {
    policy.privacy.of_question(question.personal.as_ref().map(|personal| personal.kind))
}

/// Whether an answer may be kept only for the same question of the same credential; `Err` when not at all.
pub(super) fn exact_only(question: &Question, answer: &Answer, policy: &Policy) -> Result<bool, NotStored> {
    match treatment(question, policy).min(of_answer(question, answer, policy)) {
        PersonalData::KeepOut => Err(NotStored::PersonalData),
        PersonalData::Exact => Ok(true),
        PersonalData::Allow => Ok(false),
    }
}

/// Whether `entry`, found in this way among what is shared like this, may be served under `policy` of `revision`.
pub(super) fn may_serve(
    question: &Question,
    entry: &Entry,
    (policy, revision): (&Policy, &str),
    (kind, sharing): (HitKind, Sharing),
) -> bool {
    let mut strictest = treatment(question, policy);
    if entry.policy_revision != revision {
        strictest = strictest.min(of_answer(question, &entry.answer, policy));
        let cached = entry.query.as_deref().filter(|_| kind != HitKind::Exact);
        strictest = strictest.min(policy.privacy.of_question(cached.and_then(privacy::worst)));
    }
    match strictest {
        PersonalData::KeepOut => false,
        PersonalData::Exact => kind == HitKind::Exact && sharing == Sharing::Credential,
        PersonalData::Allow => true,
    }
}

fn of_answer(question: &Question, answer: &Answer, policy: &Policy) -> PersonalData {
    let worst = |text: &str| match policy.privacy.answers {
        PersonalData::Allow => None,
        PersonalData::Exact => privacy::worst_beyond(text, &question.request.system),
        PersonalData::KeepOut => privacy::worst(text),
    };
    // A call's arguments stand in the body only.
    let calls = std::str::from_utf8(&answer.body).ok().filter(|_| answer.calls_tools());
    policy.privacy.of_answer(worst(&answer.text).into_iter().chain(calls.and_then(worst)).min())
}
