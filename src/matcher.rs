//! The hit decision: whether a neighbour's answer is this question's answer.
//!
//! Two texts and their similarity in, a [`Judgement`] that explains itself out. Similarity alone never serves (I3): the
//! [`guard`] looks first and may only reject, then the [`verifier`] says how likely both have the same answer, and that
//! must reach the bar that the category's budget of wrong hits asks for. Where no verifier runs, a high similarity
//! takes its place. Finding the neighbours is the cache's work.

pub mod agreement;
pub mod audit;
pub mod calibration;
pub mod guard;
pub mod verifier;

use std::sync::Arc;

use quick_cache::sync::Cache as Bounded;
use serde::Serialize;

use crate::{entry::EntryId, key::Fingerprint, outcome::MissReason, policy::Policy, similarity::Similarity};
use calibration::PSame;
use guard::{Reading, Slot};
use verifier::{Verifier, VerifyError};

/// What a hit saves where the model's price is not known, in US dollars: a short answer of a small model. Low on
/// purpose, for it is held against the cost of a wrong answer.
const SAVED_USD: f64 = 0.002;
/// A slot that a sure verifier may overrule asks for this much smaller a share of wrong hits.
const DOUBTFUL: f64 = 4.0;
/// Refused pairings remembered.
const REFUSALS_REMEMBERED: usize = 16_384;

/// Bounds of the decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatcherSettings {
    /// Neighbours below this are not looked at.
    pub floor: Similarity,
    /// Inclusive lower bound of the similarity of a semantic hit where no verifier runs.
    pub min_similarity: Similarity,
    /// Neighbours looked at, closest first, until one is accepted.
    pub candidates: usize,
    /// Neighbours verified at most.
    pub verified: usize,
}

/// What the guard said, for explanations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardReport {
    /// `pass` or `reject`.
    pub verdict: &'static str,
    /// The slot that differs; on a pass, one that raised the bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<&'static str>,
    /// The words that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
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
    /// Calibrated probability that the two questions have the same answer; `None` when none was asked for.
    pub p_same: Option<PSame>,
    /// What had to be reached: by p, or by the similarity where no verifier runs.
    pub bar: f32,
    /// How far above the bar, or below it, that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
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

    fn settled(mut self, refused: Option<MissReason>) -> Self {
        self.decision = if refused.is_none() { "hit" } else { "miss" };
        self.reason = refused.map_or("semantic", MissReason::as_str);
        self.refused = refused;
        self
    }
}

/// How sure a hit must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// A least similarity that the request asks for; it can only raise what holds anyway (I9).
    pub threshold: Option<f32>,
    /// Share of served hits that may be wrong, 0 to 1.
    pub max_wrong_hits: f64,
    /// Cost of one wrong answer, where a policy gives it.
    pub cost_of_wrong_usd: Option<f64>,
}

impl Terms {
    /// The terms of a category for a request that asks for `threshold`.
    pub fn of(policy: &Policy, threshold: Option<f32>) -> Self {
        let reuse = &policy.reuse;
        Self { threshold, max_wrong_hits: reuse.max_wrong_hits, cost_of_wrong_usd: reuse.cost_of_wrong_usd }
    }

    /// These terms, and those of another category that has a say.
    #[must_use]
    pub fn tightened(self, policy: &Policy) -> Self {
        let costs = [self.cost_of_wrong_usd, policy.reuse.cost_of_wrong_usd];
        Self {
            max_wrong_hits: self.max_wrong_hits.min(policy.reuse.max_wrong_hits),
            cost_of_wrong_usd: costs.into_iter().flatten().reduce(f64::max),
            ..self
        }
    }

    /// Below this p a wrong answer is expected to cost more than the hit saves.
    fn cost_bar(&self) -> f32 {
        let worth = |cost: f64| (1.0 - SAVED_USD / cost).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "probabilities need no more than f32 holds")]
        self.cost_of_wrong_usd.filter(|cost| *cost > 0.0).map_or(0.0, |cost| worth(cost) as f32)
    }
}

/// The question asked, read once for all its neighbours.
#[derive(Debug)]
pub struct Asked<'a> {
    text: &'a str,
    reading: Reading,
}

impl<'a> Asked<'a> {
    /// Reads a question.
    pub fn new(text: &'a str) -> Self {
        Self { text, reading: Reading::of(text) }
    }
}

/// Whose wording was asked about whose answer: what a refusal is remembered under.
pub type Pairing = (EntryId, Fingerprint);

/// The matcher: guard, verifier and what they decided before.
#[derive(Debug)]
pub struct Matcher {
    settings: MatcherSettings,
    verifier: Option<Arc<dyn Verifier>>,
    refused: Bounded<Pairing, PSame>,
}

impl Matcher {
    /// A matcher; without a verifier it decides by guard and similarity.
    pub fn new(settings: MatcherSettings, verifier: Option<Arc<dyn Verifier>>) -> Self {
        Self { settings, verifier, refused: Bounded::new(REFUSALS_REMEMBERED) }
    }

    /// Bounds of the decision.
    pub const fn settings(&self) -> &MatcherSettings {
        &self.settings
    }

    /// The verifier, where one runs.
    pub const fn verifier(&self) -> Option<&Arc<dyn Verifier>> {
        self.verifier.as_ref()
    }

    /// Judges whether the answer to `cached` is the answer to `asked`: both steps in one.
    pub async fn judge(&self, cached: &str, asked: &Asked<'_>, similarity: Similarity, terms: &Terms) -> Judgement {
        let screened = self.screen(cached, asked, similarity, terms);
        if screened.accepted() { self.verify(screened, cached, asked, None).await } else { screened }
    }

    /// The first step, in microseconds: similarity and guard. What it accepts still has to be verified.
    pub fn screen(&self, cached: &str, asked: &Asked<'_>, similarity: Similarity, terms: &Terms) -> Judgement {
        let reading = Reading::of(cached);
        let differences = guard::differences(&reading, &asked.reading);
        let overrules = |slot: Slot| self.verifier.is_some() && slot.is_soft();
        let hard = differences.iter().find(|(slot, _)| !overrules(*slot));
        let told = hard.or_else(|| differences.first());
        let (least, bar) = self.bars(terms, told.is_some());
        // A slot that differs says more than a similarity that is too low.
        let refused = if hard.is_some() {
            Some(MissReason::GuardRejected)
        } else if similarity.get() < least {
            Some(MissReason::BelowThreshold)
        } else if bar.is_none() {
            Some(MissReason::ExactOnly)
        } else {
            None
        };
        // Nothing to weigh: the network learnt to tell apart what differs and has never seen the same text twice.
        let certain = refused.is_none() && self.verifier.is_some() && reading.same_words(&asked.reading);
        let judgement = Judgement {
            decision: "miss",
            similarity,
            guard: GuardReport {
                verdict: if hard.is_some() { "reject" } else { "pass" },
                slot: told.map(|(slot, _)| slot.as_str()),
                detail: told.map(|(_, detail)| detail.clone()),
            },
            p_same: certain.then(|| PSame::new(1.0)),
            bar: bar.unwrap_or(1.0),
            margin: self.verifier.is_none().then_some(similarity.get() - least),
            reason: "",
            refused: None,
        };
        judgement.settled(refused)
    }

    /// The second step: the verifier's word on a pair that passed the first. `pairing` lets a refusal be remembered, so
    /// that the same pair costs nothing the next time.
    pub async fn verify(
        &self,
        mut screened: Judgement,
        cached: &str,
        asked: &Asked<'_>,
        pairing: Option<Pairing>,
    ) -> Judgement {
        let Some(verifier) = &self.verifier else { return screened };
        let known = screened.p_same.or_else(|| pairing.and_then(|pairing| self.refused.get(&pairing)));
        let verified = match known {
            Some(p) => Ok(p),
            None => verifier.verify(cached, asked.text).await,
        };
        let refused = match verified {
            Ok(p) => {
                let margin = p.get() - screened.bar;
                (screened.p_same, screened.margin) = (Some(p), Some(margin));
                (margin < 0.0).then_some(MissReason::VerifierRejected)
            }
            Err(error) => {
                tracing::debug!(reason = error.reason(), %error, "pair not verified");
                let too_long = matches!(error, VerifyError::TooLong { .. });
                Some(if too_long { MissReason::VerifierRejected } else { MissReason::VerifierDown })
            }
        };
        if let (None, Some(pairing), Some(p), Some(_)) = (known, pairing, screened.p_same, refused) {
            self.refused.insert(pairing, p);
        }
        screened.settled(refused)
    }

    /// The least similarity, and what has to be reached behind it; `None` when nothing ever can.
    fn bars(&self, terms: &Terms, doubtful: bool) -> (f32, Option<f32>) {
        let raised = terms.threshold.unwrap_or(0.0);
        let Some(verifier) = &self.verifier else {
            let least = self.settings.min_similarity.get().max(raised);
            return (least, Some(least));
        };
        let table = verifier.calibration();
        let budget = if doubtful { terms.max_wrong_hits / DOUBTFUL } else { terms.max_wrong_hits };
        // A doubt below what was measured leaves the strictest bar there is.
        let bar = table.bar(terms.max_wrong_hits).and_then(|_| table.bar(budget).or_else(|| table.strictest()));
        (self.settings.floor.get().max(raised), bar.map(|bar| bar.get().max(terms.cost_bar())))
    }
}

#[cfg(test)]
mod tests;
