//! What a replay came to, in numbers and by case.
//!
//! Pure. A case that expects `hit` or `stale` is a paraphrase, one that expects `miss` a near miss. The share that
//! matters is the wrong hits among all that was served, with its 95 % bound.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Record, Seen, case::Expect};
use crate::{
    binomial::{share, upper_bound},
    matcher::calibration::PSame,
};

/// Confidence of every bound.
const CONFIDENCE: f64 = 0.95;
/// Bins of the reliability diagram.
const BINS: u8 = 10;

/// Counts of a group of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub cases: u64,
    /// Those that expect to be served.
    pub paraphrases: u64,
    /// Those of them that were, with the right answer.
    pub paraphrases_hit: u64,
    /// Those that expect not to be served.
    pub near_misses: u64,
    /// Those of them that were.
    pub near_misses_served: u64,
}

impl Tally {
    fn count(&mut self, record: &Record) {
        self.cases += 1;
        if record.expect == Expect::Miss {
            self.near_misses += 1;
            self.near_misses_served += u64::from(record.is_wrong_hit);
        } else {
            self.paraphrases += 1;
            self.paraphrases_hit += u64::from(is_right(record));
        }
    }

    /// Share of paraphrases that were hit.
    pub fn hit_rate(&self) -> f64 {
        share(self.paraphrases_hit, self.paraphrases)
    }

    /// Share of near misses that were served.
    pub fn served_rate(&self) -> f64 {
        share(self.near_misses_served, self.near_misses)
    }
}

/// One bin of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Pairs in it.
    pub pairs: u64,
    /// Mean p that the verifier gave them.
    pub mean_p: f64,
    /// Share of them that do have the same answer.
    pub same: f64,
}

/// What changed against another run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// Change of the share of paraphrases hit.
    pub paraphrases_hit: f64,
    /// Change of the share of near misses served.
    pub near_misses_served: f64,
    /// Cases that get a wrong answer now and did not.
    pub newly_served: Vec<String>,
    /// Cases that are refused now and were not.
    pub newly_refused: Vec<String>,
    /// Cases that were wrong in either way and are right now.
    pub mended: Vec<String>,
}

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Counts of all cases.
    #[serde(flatten)]
    pub total: Tally,
    /// True when all seeds sat in one cache.
    pub pool: bool,
    /// Counts by kind.
    pub by_kind: BTreeMap<String, Tally>,
    /// Counts by category.
    pub by_category: BTreeMap<String, Tally>,
    /// Wrong hits, those on paraphrases that got another question's answer included.
    pub wrong_hits: u64,
    /// Wrong hits among all that was served.
    pub wrong_hit_share: f64,
    /// The largest true share that is still believable (Clopper-Pearson, one-sided, 95 %).
    pub wrong_hit_bound_95: f64,
    /// The same for the share of near misses that are served.
    pub near_misses_served_bound_95: f64,
    /// What the wrong hits cost, where cases say so, in US dollars.
    pub cost_of_wrong_usd: f64,
    /// What the verifier said against what is true.
    pub reliability: Vec<Bin>,
    /// Paraphrases that were not served as expected, the surest first.
    pub refused: Vec<Record>,
    /// Wrong hits, the surest first.
    pub served: Vec<Record>,
    /// Bounds that were missed, in words.
    pub missed: Vec<String>,
    /// What changed against the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Diff>,
}

/// Bounds that a report is held to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Largest share of near misses that may be served.
    pub max_near_misses_served: Option<f64>,
    /// Smallest share of paraphrases that must be hit.
    pub min_paraphrases_hit: Option<f64>,
}

/// What of another report a diff needs.
#[derive(Debug, Clone, Deserialize)]
pub struct Baseline {
    #[serde(flatten)]
    total: Tally,
    refused: Vec<Named>,
    served: Vec<Named>,
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    id: String,
}

impl Report {
    /// Counts `records`.
    pub fn of(records: &[Record], pool: bool, bounds: &Bounds) -> Self {
        let (mut total, mut by_kind, mut by_category) = (Tally::default(), BTreeMap::new(), BTreeMap::new());
        for record in records {
            total.count(record);
            let kind: &mut Tally = by_kind.entry(record.kind.clone()).or_default();
            kind.count(record);
            let category: &mut Tally = by_category.entry(record.category.clone()).or_default();
            category.count(record);
        }
        let served = surest(records.iter().filter(|record| record.is_wrong_hit));
        let wrong_hits = served.len() as u64;
        let all_served = wrong_hits + total.paraphrases_hit;
        Self {
            total,
            pool,
            by_kind,
            by_category,
            wrong_hits,
            wrong_hit_share: share(wrong_hits, all_served),
            wrong_hit_bound_95: upper_bound(wrong_hits, all_served, CONFIDENCE),
            near_misses_served_bound_95: upper_bound(total.near_misses_served, total.near_misses, CONFIDENCE),
            cost_of_wrong_usd: served.iter().filter_map(|record| record.cost).sum(),
            reliability: reliability(records),
            refused: surest(records.iter().filter(|r| r.expect != Expect::Miss && !is_right(r) && !r.is_wrong_hit)),
            served,
            missed: bounds.missed(&total),
            baseline: None,
        }
    }

    /// Adds what changed since `before`.
    pub fn compare(&mut self, before: &Baseline) {
        let ids = |named: &[Named]| named.iter().map(|named| named.id.clone()).collect::<BTreeSet<_>>();
        let own = |records: &[Record]| records.iter().map(|record| record.id.clone()).collect::<BTreeSet<_>>();
        let (was_refused, was_served) = (ids(&before.refused), ids(&before.served));
        let (refused, served) = (own(&self.refused), own(&self.served));
        let was_wrong: BTreeSet<_> = was_refused.union(&was_served).cloned().collect();
        let is_wrong: BTreeSet<_> = refused.union(&served).cloned().collect();
        self.baseline = Some(Diff {
            paraphrases_hit: self.total.hit_rate() - before.total.hit_rate(),
            near_misses_served: self.total.served_rate() - before.total.served_rate(),
            newly_served: served.difference(&was_served).cloned().collect(),
            newly_refused: refused.difference(&was_refused).cloned().collect(),
            mended: was_wrong.difference(&is_wrong).cloned().collect(),
        });
    }
}

impl Bounds {
    fn missed(&self, total: &Tally) -> Vec<String> {
        let mut missed = Vec::new();
        let (served, hit) = (total.served_rate(), total.hit_rate());
        if let Some(most) = self.max_near_misses_served.filter(|most| served > *most) {
            missed.push(format!("near misses served: {served:.4}, at most {most} allowed"));
        }
        if let Some(least) = self.min_paraphrases_hit.filter(|least| hit < *least) {
            missed.push(format!("paraphrases hit: {hit:.4}, at least {least} wanted"));
        }
        missed
    }
}

/// Whether a paraphrase was served as expected, with the right answer.
fn is_right(record: &Record) -> bool {
    let as_expected = match record.expect {
        Expect::Hit => record.outcome == Seen::Hit,
        Expect::Stale => record.outcome == Seen::Stale,
        Expect::Miss => record.outcome == Seen::Miss,
    };
    as_expected && !record.is_wrong_hit
}

fn surest<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<Record> {
    let mut records: Vec<Record> = records.cloned().collect();
    let sureness = |record: &Record| record.p_same.map_or(-1.0, PSame::get);
    records.sort_by(|a, b| sureness(b).total_cmp(&sureness(a)).then_with(|| a.id.cmp(&b.id)));
    records
}

fn reliability(records: &[Record]) -> Vec<Bin> {
    let mut bins = Vec::new();
    let judged = || records.iter().filter_map(|r| Some((f64::from(r.p_same?.get()), r.expect != Expect::Miss)));
    for number in 0..BINS {
        let (low, high) = (f64::from(number) / f64::from(BINS), f64::from(number + 1) / f64::from(BINS));
        let last = number + 1 == BINS;
        let (mut pairs, mut sum, mut same) = (0, 0.0, 0);
        for (p, is_same) in judged().filter(|(p, _)| *p >= low && (*p < high || last)) {
            pairs += 1;
            sum += p;
            same += u64::from(is_same);
        }
        if pairs > 0 {
            bins.push(Bin { pairs, mean_p: sum * share(1, pairs), same: share(same, pairs) });
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, expect: Expect, outcome: Seen, p: f32) -> Record {
        Record {
            id: id.to_owned(),
            kind: "number".to_owned(),
            category: "default".to_owned(),
            expect,
            outcome,
            why: String::new(),
            seed: "a".to_owned(),
            ask: "b".to_owned(),
            served_for: None,
            similarity: None,
            p_same: Some(PSame::new(p)),
            bar: None,
            cost: Some(0.5),
            is_wrong_hit: expect == Expect::Miss && outcome != Seen::Miss,
        }
    }

    fn records() -> Vec<Record> {
        vec![
            record("right", Expect::Hit, Seen::Hit, 0.95),
            record("refused", Expect::Hit, Seen::Miss, 0.55),
            record("fresh", Expect::Stale, Seen::Hit, 0.91),
            record("near", Expect::Miss, Seen::Miss, 0.05),
            record("wrong", Expect::Miss, Seen::Hit, 0.97),
        ]
    }

    #[test]
    fn wrong_hits_are_counted_against_all_that_was_served() {
        let report = Report::of(&records(), false, &Bounds::default());
        assert_eq!(
            report.total,
            Tally { cases: 5, paraphrases: 3, paraphrases_hit: 1, near_misses: 2, near_misses_served: 1 }
        );
        assert_eq!((report.wrong_hits, report.wrong_hit_share), (1, 0.5));
        assert!(report.wrong_hit_bound_95 > 0.9);
        assert!((report.cost_of_wrong_usd - 0.5).abs() < 1e-9);
        let ids = |records: &[Record]| records.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&report.refused), ids(&report.served)),
            (vec!["fresh".into(), "refused".into()], vec!["wrong".into()])
        );
        let top = report.reliability.last().unwrap();
        assert_eq!((top.pairs, top.same), (3, 2.0 / 3.0));
    }

    #[test]
    fn a_missed_bound_is_told_in_words() {
        let bounds = Bounds { max_near_misses_served: Some(0.01), min_paraphrases_hit: Some(0.2) };
        let report = Report::of(&records(), false, &bounds);
        assert_eq!(report.missed, ["near misses served: 0.5000, at most 0.01 allowed"]);
    }

    #[test]
    fn a_baseline_names_what_changed() {
        let before = serde_json::to_string(&Report::of(&records(), false, &Bounds::default())).unwrap();
        let before: Baseline = serde_json::from_str(&before).unwrap();
        let mut now = records();
        now[1].outcome = Seen::Hit;
        now[0].outcome = Seen::Miss;
        let mut report = Report::of(&now, false, &Bounds::default());
        report.compare(&before);
        let diff = report.baseline.unwrap();
        assert_eq!((diff.newly_refused, diff.mended), (vec!["right".to_owned()], vec!["refused".to_owned()]));
        assert!(diff.newly_served.is_empty() && diff.paraphrases_hit.abs() < 1e-9);
    }
}
