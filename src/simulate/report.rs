//! What a simulation found: both sides in sum and by category, and the decisions that would change.

use std::collections::BTreeMap;

use serde::Serialize;

use super::request::{Event, Traffic};
use crate::{
    binomial::as_f64,
    outcome::{HitKind, Outcome},
    prices::Prices,
    wire::Usage,
};

/// What a hit by fingerprint takes, in milliseconds, and one that has to be embedded and verified: for waits only.
const EXACT_MS: u32 = 1;
const SEMANTIC_MS: u32 = 20;
/// Points of the plots.
pub(super) const POINTS: usize = 60;

/// What one world decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decided {
    pub(super) outcome: &'static str,
    pub(super) reason: &'static str,
    kind: Kind,
    pub(super) category: String,
    pub(super) age_ms: Option<u64>,
    /// How likely the served answer is wrong.
    pub(super) wrong: f64,
    /// It began a refresh in the background.
    pub(super) refreshes: bool,
    waited_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Semantic,
    Stale,
    Miss,
    Collapsed,
    Bypass,
}

impl Decided {
    pub(super) fn new(outcome: Outcome, category: &str, waited_ms: u32) -> Self {
        let (kind, waited_ms) = match outcome {
            Outcome::Hit(HitKind::Exact | HitKind::Alias) => (Kind::Exact, EXACT_MS),
            Outcome::Hit(HitKind::Semantic(_)) => (Kind::Semantic, SEMANTIC_MS),
            Outcome::StaleHit(HitKind::Semantic(_), _) => (Kind::Stale, SEMANTIC_MS),
            Outcome::StaleHit(..) => (Kind::Stale, EXACT_MS),
            Outcome::Miss(_) | Outcome::Unsatisfied => (Kind::Miss, waited_ms),
            Outcome::Collapsed(_) => (Kind::Collapsed, waited_ms),
            Outcome::Bypass(_) => (Kind::Bypass, waited_ms),
        };
        let (outcome, reason) = (outcome.label(), outcome.reason());
        Self {
            outcome,
            reason,
            kind,
            category: category.to_owned(),
            age_ms: None,
            wrong: 0.0,
            refreshes: false,
            waited_ms,
        }
    }

    pub(super) const fn told(&self) -> Told {
        Told { outcome: self.outcome, reason: self.reason, age_ms: self.age_ms }
    }
}

/// One side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Label of the outcome.
    pub outcome: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// Age of the answer served.
    pub age_ms: Option<u64>,
}

/// A decision that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// The question's words, where they are known.
    pub query: Option<String>,
    /// Its category under today's policies.
    pub category: String,
    /// The model.
    pub model: String,
    /// Under today's policies.
    pub today: Told,
    /// Under the proposed ones.
    pub proposed: Told,
}

/// Two points of the waits, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// The median.
    pub p50: u32,
    /// Ninety-nine of a hundred are no longer.
    pub p99: u32,
}

/// One policy set's sums.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Side {
    /// Requests.
    pub requests: u64,
    /// Served by fingerprint, or by a wording accepted before.
    pub hits_exact: u64,
    /// Served by meaning for the first time.
    pub hits_semantic: u64,
    /// Served stale while a new answer is fetched.
    pub stale: u64,
    /// Fetched.
    pub misses: u64,
    /// Shared a running fetch.
    pub collapsed: u64,
    /// Not the cache's business.
    pub bypass: u64,
    /// Share of all but bypassed requests that the cache served.
    pub hit_share: f64,
    /// Share of what the cache served that was stale.
    pub stale_share: f64,
    /// Calls to the model: misses, bypasses and background refreshes.
    pub upstream_calls: u64,
    /// Background refreshes among them.
    pub refreshes: u64,
    /// Tokens of those calls.
    pub tokens: u64,
    /// What they cost, in US dollars; `None` where no model has a price.
    pub cost_usd: Option<f64>,
    /// Tokens of models without a price.
    pub unpriced_tokens: u64,
    /// How long clients wait.
    pub latency_ms: Waits,
    /// Wrong answers to be expected among hits by meaning: the sum of 1 - p.
    pub expected_wrong_hits: f64,
}

/// A category on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ByCategory {
    /// Its name, under today's policies.
    pub category: String,
    /// Today.
    pub today: Side,
    /// Proposed.
    pub proposed: Side,
}

/// Share of requests served by the cache in one stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Point {
    /// Its begin, in Unix milliseconds.
    pub at_ms: i64,
    /// Requests.
    pub requests: u64,
    /// Served by the cache today.
    pub today: u64,
    /// Served by the cache under the proposed policies.
    pub proposed: u64,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Requests.
    pub requests: u64,
    /// From the first to the last, in milliseconds.
    pub span_ms: i64,
    /// Under today's policies.
    pub today: Side,
    /// Under the proposed ones.
    pub proposed: Side,
    /// By category.
    pub categories: Vec<ByCategory>,
    /// Decisions that would change, the first ones.
    pub changes: Vec<Change>,
    /// All of them.
    pub changes_total: u64,
    /// Served over time.
    pub series: Vec<Point>,
    /// What the numbers rest on.
    pub notes: Vec<String>,
}

/// Sums while it runs.
#[derive(Debug, Default)]
struct Sums {
    side: Side,
    waits: Vec<u32>,
}

impl Sums {
    fn add(&mut self, event: &Event, decided: &Decided, cost: Option<f64>) {
        let side = &mut self.side;
        side.requests += 1;
        let counter = match decided.kind {
            Kind::Exact => &mut side.hits_exact,
            Kind::Semantic => &mut side.hits_semantic,
            Kind::Stale => &mut side.stale,
            Kind::Miss => &mut side.misses,
            Kind::Collapsed => &mut side.collapsed,
            Kind::Bypass => &mut side.bypass,
        };
        *counter += 1;
        side.expected_wrong_hits += decided.wrong;
        self.waits.push(decided.waited_ms);
        if matches!(decided.kind, Kind::Miss | Kind::Bypass) {
            self.call((event.input, event.output), cost);
        }
        if decided.refreshes {
            self.side.refreshes += 1;
            self.call((event.input, event.output), cost);
        }
    }

    fn call(&mut self, (input, output): (u32, u32), cost: Option<f64>) {
        let tokens = u64::from(input) + u64::from(output);
        self.side.upstream_calls += 1;
        self.side.tokens += tokens;
        match cost {
            Some(usd) => *self.side.cost_usd.get_or_insert(0.0) += usd,
            None => self.side.unpriced_tokens += tokens,
        }
    }

    fn finish(mut self) -> Side {
        self.waits.sort_unstable();
        let at = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
            let place = (as_f64(self.waits.len().saturating_sub(1) as u64) * share) as usize;
            self.waits.get(place).copied().unwrap_or(0)
        };
        let latency_ms = Waits { p50: at(0.5), p99: at(0.99) };
        let side = self.side;
        let served = side.hits_exact + side.hits_semantic + side.stale;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { as_f64(part) / as_f64(whole) };
        Side {
            hit_share: share(served, side.requests - side.bypass),
            stale_share: share(side.stale, served),
            latency_ms,
            ..side
        }
    }
}

/// What is gathered request by request.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    traffic: &'a Traffic,
    prices: Prices,
    /// Price of each model, by its number.
    priced: BTreeMap<u32, Option<crate::prices::Price>>,
    total: [Sums; 2],
    categories: BTreeMap<String, [Sums; 2]>,
    changes: Vec<Change>,
    changes_total: u64,
    series: Vec<Point>,
    begin: i64,
    step: i64,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(traffic: &'a Traffic, prices: Prices) -> Self {
        let begin = traffic.events().first().map_or(0, |event| event.at_ms);
        let end = traffic.events().last().map_or(0, |event| event.at_ms);
        let step = ((end - begin) / POINTS as i64 + 1).max(1);
        let series = (0..POINTS as i64).map(|n| Point { at_ms: begin + n * step, ..Point::default() }).collect();
        Self {
            traffic,
            prices,
            priced: BTreeMap::new(),
            total: Default::default(),
            categories: BTreeMap::new(),
            changes: Vec::new(),
            changes_total: 0,
            series,
            begin,
            step,
        }
    }

    pub(super) fn add(&mut self, event: &Event, today: &Decided, proposed: &Decided) {
        let cost = self.cost(event.model, (event.input, event.output), event.counted);
        let category = if self.categories.contains_key(&today.category) {
            self.categories.get_mut(&today.category)
        } else {
            Some(self.categories.entry(today.category.clone()).or_default())
        };
        let sides = self.total.iter_mut().zip([today, proposed]);
        let both = category.into_iter().flat_map(|sums| sums.iter_mut().zip([today, proposed]));
        sides.chain(both).for_each(|(sums, decided)| sums.add(event, decided, cost));
        let place = usize::try_from((event.at_ms - self.begin) / self.step).unwrap_or(0);
        if let Some(point) = self.series.get_mut(place) {
            let served =
                |decided: &Decided| u64::from(matches!(decided.kind, Kind::Exact | Kind::Semantic | Kind::Stale));
            point.requests += 1;
            point.today += served(today);
            point.proposed += served(proposed);
        }
    }

    fn cost(&mut self, model: u32, (input, output): (u32, u32), counted: bool) -> Option<f64> {
        let price = *self.priced.entry(model).or_insert_with(|| self.prices.of(self.traffic.name(model)));
        let usage = Usage { input: u64::from(input), output: u64::from(output) };
        price.filter(|_| counted).map(|price| price.of(usage))
    }

    pub(super) fn changed(&mut self, listed: usize, change: impl FnOnce() -> Change) {
        self.changes_total += 1;
        if self.changes.len() < listed {
            self.changes.push(change());
        }
    }

    /// The report.
    pub(super) fn finish(self) -> Report {
        let notes = notes(self.traffic);
        let [today, proposed] = self.total.map(Sums::finish);
        let categories = self.categories.into_iter().map(|(category, sums)| {
            let [today, proposed] = sums.map(Sums::finish);
            ByCategory { category, today, proposed }
        });
        let last = self.traffic.events().last().map_or(self.begin, |event| event.at_ms);
        Report {
            requests: today.requests,
            span_ms: last - self.begin,
            today,
            proposed,
            categories: categories.collect(),
            changes: self.changes,
            changes_total: self.changes_total,
            series: self.series.into_iter().filter(|point| point.requests > 0).collect(),
            notes,
        }
    }
}

fn notes(traffic: &Traffic) -> Vec<String> {
    let (uncounted, untimed, wordless) = traffic.unknown();
    let mut notes = Vec::new();
    if wordless > 0 {
        notes.push(format!("{wordless} requests have no words: they are matched by the same question only"));
    }
    if uncounted > 0 {
        notes.push(format!("{uncounted} requests say no tokens: they cost nothing here"));
    }
    if untimed > 0 {
        notes.push(format!("{untimed} requests do not say what their answer took: one second is taken"));
    }
    notes.push(
        "the cache begins empty; failing upstreams, purges, audits and trips, refreshes ahead of time and joins by meaning \
         are not simulated"
            .to_owned(),
    );
    notes
}
