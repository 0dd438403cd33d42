//! The hit decision: whether a neighbour's answer is this question's answer.
//!
//! Pure: two texts and their similarity in, a [`Judgement`] that explains itself out. Similarity alone never serves
//! (I3): the [`guard`] must pass and the similarity must reach the bar. Finding the neighbours is the cache's work.

pub mod agreement;
pub mod audit;
pub mod guard;

use serde::Serialize;

use crate::{outcome::MissReason, similarity::Similarity};
use guard::{Reading, Verdict};

/// Bounds of the decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatcherSettings {
    /// Neighbours below this are not looked at.
    pub floor: Similarity,
    /// Inclusive lower bound of the similarity of a semantic hit.
    pub min_similarity: Similarity,
    /// Neighbours judged, closest first, until one is accepted.
    pub candidates: usize,
}

/// What the guard said, for explanations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardReport {
    /// `pass` or `reject`.
    pub verdict: &'static str,
    /// The slot that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<&'static str>,
    /// The words that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<&Verdict> for GuardReport {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self { verdict: "pass", slot: None, detail: None },
            Verdict::Reject { slot, detail } => {
                Self { verdict: "reject", slot: Some(slot.as_str()), detail: Some(detail.clone()) }
            }
        }
    }
}

/// One neighbour, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// `hit` or `miss`.
    pub decision: &'static str,
    /// Cosine of the two questions.
    pub similarity: Similarity,
    /// What the contrast guard said.
    pub guard: GuardReport,
    /// Calibrated probability that the two questions have the same answer; `None` without a verifier.
    pub p_same: Option<f32>,
    /// What had to be reached: the similarity, while no verifier runs.
    pub bar: f32,
    /// Stable reason.
    pub reason: &'static str,
    /// Why it is no hit; `None` when it is one.
    #[serde(skip)]
    pub refused: Option<MissReason>,
}

impl Judgement {
    /// Whether the cached answer may be served.
    pub const fn accepted(&self) -> bool {
        self.refused.is_none()
    }
}

/// Judges whether the answer to `cached` is the answer to `asked`. `bar` can only raise the settings' own (I9).
pub fn judge(
    cached: &Reading,
    asked: &Reading,
    similarity: Similarity,
    bar: Option<f32>,
    settings: &MatcherSettings,
) -> Judgement {
    let bar = bar.map_or(settings.min_similarity.get(), |raised| raised.max(settings.min_similarity.get()));
    let verdict = guard::compare(cached, asked);
    // A slot that differs says more than a similarity that is too low.
    let refused = if matches!(verdict, Verdict::Reject { .. }) {
        Some(MissReason::GuardRejected)
    } else if similarity.get() < bar {
        Some(MissReason::BelowThreshold)
    } else {
        None
    };
    Judgement {
        decision: if refused.is_none() { "hit" } else { "miss" },
        similarity,
        guard: GuardReport::from(&verdict),
        p_same: None,
        bar,
        reason: refused.map_or("semantic", MissReason::as_str),
        refused,
    }
}
