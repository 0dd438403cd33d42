//! What another budget of wrong hits would buy a category, as far as its fixtures can tell.
//!
//! Pure, and only a proposal: nothing is written here. A proposal is vouched for when the 95 % bound of its wrong share
//! keeps the budget; with few cases that takes a stricter bar than what was seen would.

use serde::Serialize;

use super::{Record, case::Expect};
use crate::{
    binomial::{share, upper_bound},
    matcher::calibration::PSame,
    policy::{PolicySet, Tier},
};

const CONFIDENCE: f64 = 0.95;

/// What a bar does to the cases of a category.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effect {
    /// The category's `max_wrong_hits`.
    pub max_wrong_hits: f64,
    /// The bar on p that it stands for; `None` when nothing is served by meaning.
    pub bar: Option<PSame>,
    /// Paraphrases served.
    pub paraphrases_hit: u64,
    /// Near misses served.
    pub near_misses_served: u64,
    /// Near misses among all served.
    pub wrong_hit_share: f64,
    /// Its largest believable value.
    pub wrong_hit_bound_95: f64,
}

/// A proposal for one category.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// The category.
    pub category: String,
    /// Paraphrases among its cases that reached the matcher.
    pub paraphrases: u64,
    /// Near misses among them.
    pub near_misses: u64,
    /// With today's budget.
    pub now: Effect,
    /// With the one proposed; `None` when no measured bar keeps the budget.
    pub proposed: Option<Effect>,
    /// Whether there are cases enough to be 95 % sure of it.
    pub is_vouched: bool,
}

/// A proposal for every category that matches by meaning and has cases: the loosest of `bars` that keeps `budget`.
pub fn propose(records: &[Record], bars: &[(f64, PSame)], policies: &PolicySet, budget: f64) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for policy in policies.policies() {
        if policy.is_never_cached() || policy.reuse.tier == Tier::Exact {
            continue;
        }
        let own: Vec<&Record> = records.iter().filter(|record| record.category == policy.category).collect();
        if own.is_empty() {
            continue;
        }
        let current = policy.reuse.max_wrong_hits;
        let bar = bars.iter().rev().find(|(measured, _)| *measured <= current).map(|(_, bar)| *bar);
        let effects = || bars.iter().rev().map(|(measured, bar)| effect(&own, *measured, Some(*bar)));
        let vouched = effects().find(|effect| effect.paraphrases_hit > 0 && effect.wrong_hit_bound_95 <= budget);
        let seen = effects().find(|effect| effect.paraphrases_hit > 0 && effect.wrong_hit_share <= budget);
        let paraphrases = own.iter().filter(|record| record.expect != Expect::Miss).count() as u64;
        proposals.push(Proposal {
            category: policy.category.clone(),
            paraphrases,
            near_misses: own.len() as u64 - paraphrases,
            now: effect(&own, current, bar),
            is_vouched: vouched.is_some(),
            proposed: vouched.or(seen),
        });
    }
    proposals
}

fn effect(records: &[&Record], max_wrong_hits: f64, bar: Option<PSame>) -> Effect {
    let served = |record: &&&Record| bar.is_some_and(|bar| record.p_same.is_some_and(|p| p >= bar));
    let (mut hit, mut wrong) = (0, 0);
    for record in records.iter().filter(served) {
        if record.expect == Expect::Miss { wrong += 1 } else { hit += 1 }
    }
    Effect {
        max_wrong_hits,
        bar,
        paraphrases_hit: hit,
        near_misses_served: wrong,
        wrong_hit_share: share(wrong, hit + wrong),
        wrong_hit_bound_95: upper_bound(wrong, hit + wrong, CONFIDENCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Seen;

    fn record(expect: Expect, p: f32) -> Record {
        Record {
            id: String::new(),
            kind: String::new(),
            category: "default".to_owned(),
            expect,
            outcome: Seen::Miss,
            why: String::new(),
            seed: String::new(),
            ask: String::new(),
            served_for: None,
            similarity: None,
            p_same: Some(PSame::new(p)),
            bar: None,
            cost: None,
            is_wrong_hit: false,
        }
    }

    fn policies() -> PolicySet {
        let text = "category = \"default\"\nsummary = \"All.\"\nowner = \"a@example.com\"\n[freshness]\nttl = \"1h\"\n\
                    [reuse]\ntier = \"semantic\"\nharm = \"annoying\"\nmax_wrong_hits = 0.01\n";
        PolicySet::from_texts(&[("default.toml".to_owned(), text.to_owned())], ".").unwrap()
    }

    fn bars() -> Vec<(f64, PSame)> {
        vec![(0.01, PSame::new(0.95)), (0.02, PSame::new(0.9)), (0.05, PSame::new(0.6))]
    }

    #[test]
    fn the_loosest_bar_that_keeps_the_budget_is_proposed() {
        let mut records = vec![record(Expect::Miss, 0.7), record(Expect::Miss, 0.1)];
        records.extend((0..400).map(|_| record(Expect::Hit, 0.92)));
        let proposals = propose(&records, &bars(), &policies(), 0.01);
        let proposal = proposals.first().unwrap();
        let proposed = proposal.proposed.unwrap();
        assert_eq!((proposal.now.max_wrong_hits, proposal.now.paraphrases_hit), (0.01, 0));
        assert_eq!((proposed.max_wrong_hits, proposed.paraphrases_hit, proposal.is_vouched), (0.02, 400, true));
    }

    #[test]
    fn few_cases_vouch_for_nothing() {
        let records = [record(Expect::Hit, 0.99), record(Expect::Miss, 0.1)];
        let proposals = propose(&records, &bars(), &policies(), 0.01);
        let proposal = proposals.first().unwrap();
        assert!(!proposal.is_vouched && proposal.proposed.is_some());
        assert!(propose(&[record(Expect::Miss, 0.99)], &bars(), &policies(), 0.01)[0].proposed.is_none());
    }
}
