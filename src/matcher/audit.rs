//! Whether a category's semantic hits keep to their budget of wrong ones: counts in, a trip or a recovery out. Pure.
//!
//! # The rule
//! A category trips when the evidence that its share of wrong hits is *above* its budget is strong, and recovers when
//! the evidence that it is *below* is strong. Evidence is looked at after every audit, and a test made for one look
//! would sooner or later trip a good category. So the evidence is an e-process: the likelihood of the counts under a
//! mixture of shares beyond the budget, divided by their likelihood at the budget. While the budget is kept it is a
//! non-negative supermartingale that starts at one, so by Ville's inequality it *ever* reaches `1 / alpha` with
//! probability at most `alpha`, however often it is looked at. It depends on the counts alone.
//!
//! Counts start anew after [`ROUND`] audits, so that a long good past does not hide a bad present. Hence:
//! - a category at its budget trips with probability at most [`FALSE_TRIP`] in each round; one well below it hardly
//!   ever does;
//! - one with 5 % wrong at a budget of 2 % trips after some 360 audits on average;
//! - a tripped one that is still at its budget or above recovers with probability at most [`FALSE_RECOVERY`] in each
//!   round; one without wrong hits recovers after about `3.6 / budget` comparisons.
//!
//! Reports by people are counted apart: nobody reports what was right, so their denominator is the hits served. A report
//! is a wrong hit, so while the budget is kept reports over hits are below it too, and the same rule holds for them.

use serde::{Deserialize, Serialize};

use super::agreement::Agreement;
use crate::binomial::{as_f64, clopper_pearson};

/// Audits after which the counts start anew.
pub const ROUND: u64 = 1000;
/// Probability that a category at its budget trips by audits within a round, and by reports within theirs.
pub const FALSE_TRIP: f64 = 0.01;
/// Probability that a tripped category at its budget recovers within a round of comparisons.
pub const FALSE_RECOVERY: f64 = 0.05;
/// Probability that a shown bound is missed.
pub const BOUND_ALPHA: f64 = 0.05;
/// Hits after which the counts of reports start anew.
const REPORT_ROUND: u64 = 50_000;
/// Comparisons after which a recovery's evidence starts anew.
const RECOVERY_ROUND: u64 = 5000;
/// Shares tested against the budget, as multiples of it.
const WORSE: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 25.0];
/// The same for a recovery.
const BETTER: [f64; 4] = [0.5, 0.25, 0.1, 0.01];

/// How many were looked at, and how many of them were wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Looked at.
    pub seen: u64,
    /// Wrong.
    pub wrong: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { seen: self.seen + other.seen, wrong: self.wrong + other.wrong }
    }

    /// One-sided 95 % bounds on the share wrong: (lower, upper).
    pub fn bounds(self) -> (f64, f64) {
        clopper_pearson(self.wrong, self.seen, BOUND_ALPHA)
    }

    const fn count(&mut self, wrong: bool) {
        self.seen += 1;
        self.wrong += wrong as u64;
    }

    /// Logarithm of the evidence that the share is one of `budget` times `multiples` and not `budget`.
    fn evidence(self, budget: f64, multiples: &[f64]) -> f64 {
        // At zero every wrong hit is infinitely surprising; a millionth is as good and stays finite.
        let budget = budget.clamp(1e-6, 1.0 - 1e-6);
        let (wrong, right) = (as_f64(self.wrong), as_f64(self.seen.saturating_sub(self.wrong)));
        let likelihood = |multiple: f64| {
            let share = (budget * multiple).min(f64::midpoint(budget, 1.0));
            wrong * (share / budget).ln() + right * ((1.0 - share) / (1.0 - budget)).ln()
        };
        let terms: Vec<f64> = multiples.iter().map(|multiple| likelihood(*multiple)).collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
        largest + sum.ln() - as_f64(multiples.len() as u64).ln()
    }
}

/// What tripped a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrippedBy {
    /// Audits.
    Audits,
    /// Reports by people.
    Reports,
}

/// A category that serves the same question only, until evidence or a person lets it go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// What tripped it.
    pub by: TrippedBy,
    /// Comparisons since then, of what would have been served with what the upstream said.
    pub since: Tally,
}

/// What an observation changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Exact only from now on.
    Tripped,
    /// By meaning again.
    Recovered,
}

/// The books of one category.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Audits of the running round: what trips.
    pub round: Tally,
    /// Audits of the round before: shown together with the running one.
    pub before: Tally,
    /// Comparisons that said neither.
    pub unsure: u64,
    /// Semantic hits served, and reported wrong.
    pub reports: Tally,
    /// Set while the category is tripped.
    pub trip: Option<Trip>,
}

impl Ledger {
    /// Audits shown: those of the running round and of the one before.
    pub const fn audited(&self) -> Tally {
        self.round.plus(self.before)
    }

    /// True while nothing is served by meaning.
    pub const fn is_tripped(&self) -> bool {
        self.trip.is_some()
    }

    /// Books a comparison of a cached answer with a fresh one.
    pub fn compared(&mut self, agreement: Agreement, budget: f64, now_ms: i64) -> Option<Change> {
        let wrong = match agreement {
            Agreement::Same => false,
            Agreement::Different => true,
            Agreement::Unsure => {
                self.unsure += 1;
                return None;
            }
        };
        if let Some(trip) = &mut self.trip {
            trip.since.count(wrong);
            if trip.since.evidence(budget, &BETTER) >= -FALSE_RECOVERY.ln() {
                self.reset();
                return Some(Change::Recovered);
            }
            if trip.since.seen >= RECOVERY_ROUND {
                trip.since = Tally::default();
            }
            return None;
        }
        self.round.count(wrong);
        if wrong && self.round.evidence(budget, &WORSE) >= -FALSE_TRIP.ln() {
            return self.trip_by(TrippedBy::Audits, now_ms);
        }
        if self.round.seen >= ROUND {
            self.before = std::mem::take(&mut self.round);
        }
        None
    }

    /// Books a semantic hit that was served.
    pub const fn served(&mut self) {
        if self.reports.seen >= REPORT_ROUND {
            self.reports = Tally { seen: 0, wrong: 0 };
        }
        self.reports.seen += 1;
    }

    /// Books a report that a served hit was wrong.
    pub fn reported(&mut self, budget: f64, now_ms: i64) -> Option<Change> {
        self.reports.wrong += 1;
        // A hit of the round before may be reported in this one.
        self.reports.seen = self.reports.seen.max(self.reports.wrong);
        let strong = self.reports.evidence(budget, &WORSE) >= -FALSE_TRIP.ln();
        if strong && self.trip.is_none() { self.trip_by(TrippedBy::Reports, now_ms) } else { None }
    }

    /// Closes the books and begins new ones: after a recovery, and when a person says so.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    const fn trip_by(&mut self, by: TrippedBy, at_ms: i64) -> Option<Change> {
        self.trip = Some(Trip { at_ms, by, since: Tally { seen: 0, wrong: 0 } });
        Some(Change::Tripped)
    }
}

#[cfg(test)]
mod tests;
