//! Sums of what was saved and spent, by hour, category, model and policy revision.
//!
//! Invariants: money is counted only where the model has a price, and tokens without one are counted apart; what a hit saved
//! is what its answer cost when it was made. Vectors and verdicts made in this process cost no money and no tokens.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::{
    outcome::{HitKind, Outcome},
    prices::Prices,
    wire::Usage,
};

/// One hour, in milliseconds: sums are kept no finer.
pub const HOUR_MS: i64 = 3_600_000;

/// What a sum is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Begin of the hour, in Unix milliseconds.
    pub hour_ms: i64,
    /// Category; empty where none was told.
    pub category: String,
    /// Model.
    pub model: String,
    /// Policies in force.
    pub policy_revision: String,
}

/// What tokens were spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An answer that a client waited for.
    Fetch,
    /// A stale answer made anew in the background.
    Refresh,
    /// A hit asked again.
    Audit,
    /// A pair put to the judge.
    Judge,
    /// Vectors made elsewhere.
    Embedding,
}

/// Tokens and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens, prompt and completion.
    pub tokens: u64,
    /// US dollars for those that have a price.
    pub usd: f64,
    /// Tokens without a price.
    pub unpriced_tokens: u64,
}

impl Spent {
    /// What `usage` of `model` comes to.
    pub fn of(model: &str, usage: Usage, prices: &Prices) -> Self {
        let tokens = usage.input.saturating_add(usage.output);
        match prices.cost(model, usage) {
            Some(usd) => Self { tokens, usd, unpriced_tokens: 0 },
            None => Self { tokens, usd: 0.0, unpriced_tokens: tokens },
        }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        let Self { tokens, usd, unpriced_tokens } = other;
        self.tokens += tokens;
        self.usd += usd;
        self.unpriced_tokens += unpriced_tokens;
    }
}

/// Sums under one [`Key`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Of those, served by fingerprint.
    pub hits_exact: u64,
    /// Served by meaning; the same wording again is an exact hit.
    pub hits_semantic: u64,
    /// Served stale.
    pub stale: u64,
    /// Fetched.
    pub misses: u64,
    /// Shared a running fetch.
    pub collapsed: u64,
    /// The cache was not asked.
    pub bypass: u64,
    /// Prompt tokens that were not bought again.
    pub saved_input: u64,
    /// Completion tokens that were not bought again.
    pub saved_output: u64,
    /// What both would have cost.
    pub saved: Spent,
    /// What answers cost that clients waited for.
    pub fetch: Spent,
    /// Refreshes.
    pub refresh: Spent,
    /// Audits.
    pub audit: Spent,
    /// The judge.
    pub judge: Spent,
    /// Vectors made elsewhere.
    pub embedding: Spent,
}

impl Sums {
    /// One request. `usage` is of the answer that was served without buying it.
    pub fn request(outcome: Outcome, model: &str, usage: Option<Usage>, prices: &Prices) -> Self {
        let mut sums = Self { requests: 1, ..Self::default() };
        let counter = match outcome {
            Outcome::Hit(HitKind::Exact | HitKind::Alias) => &mut sums.hits_exact,
            Outcome::Hit(HitKind::Semantic(_)) => &mut sums.hits_semantic,
            Outcome::StaleHit(..) => &mut sums.stale,
            Outcome::Miss(_) | Outcome::Unsatisfied => &mut sums.misses,
            Outcome::Collapsed(_) => &mut sums.collapsed,
            Outcome::Bypass(_) => &mut sums.bypass,
        };
        *counter = 1;
        if let Some(usage) = usage.filter(|_| outcome.saves()) {
            (sums.saved_input, sums.saved_output) = (usage.input, usage.output);
            sums.saved = Spent::of(model, usage, prices);
        }
        sums
    }

    /// Tokens spent.
    pub fn spent(purpose: Purpose, spent: Spent) -> Self {
        let mut sums = Self::default();
        match purpose {
            Purpose::Fetch => sums.fetch = spent,
            Purpose::Refresh => sums.refresh = spent,
            Purpose::Audit => sums.audit = spent,
            Purpose::Judge => sums.judge = spent,
            Purpose::Embedding => sums.embedding = spent,
        }
        sums
    }

    /// What the cache itself costs: everything but the answers that clients waited for.
    pub fn overhead(&self) -> Spent {
        let mut overhead = self.refresh;
        overhead += self.audit;
        overhead += self.judge;
        overhead += self.embedding;
        overhead
    }

    /// Saved less overhead, in US dollars; of the models that have a price.
    pub fn net_usd(&self) -> f64 {
        self.saved.usd - self.overhead().usd
    }

    /// Tokens that no price was known for.
    pub fn unpriced_tokens(&self) -> u64 {
        self.saved.unpriced_tokens + self.overhead().unpriced_tokens
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let Self {
            requests,
            hits_exact,
            hits_semantic,
            stale,
            misses,
            collapsed,
            bypass,
            saved_input,
            saved_output,
            saved,
            fetch,
            refresh,
            audit,
            judge,
            embedding,
        } = other;
        self.requests += requests;
        self.hits_exact += hits_exact;
        self.hits_semantic += hits_semantic;
        self.stale += stale;
        self.misses += misses;
        self.collapsed += collapsed;
        self.bypass += bypass;
        self.saved_input += saved_input;
        self.saved_output += saved_output;
        self.saved += saved;
        self.fetch += fetch;
        self.refresh += refresh;
        self.audit += audit;
        self.judge += judge;
        self.embedding += embedding;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::MissReason;

    const USAGE: Usage = Usage { input: 1000, output: 500 };

    #[test]
    fn a_hit_saves_what_its_answer_cost_and_a_miss_saves_nothing() {
        let prices = Prices::shipped();
        let hit = Sums::request(Outcome::Hit(HitKind::Exact), "gpt-4o", Some(USAGE), &prices);
        assert_eq!((hit.hits_exact, hit.saved_input, hit.saved_output), (1, 1000, 500));
        assert!((hit.saved.usd - 0.0075).abs() < 1e-12, "{}", hit.saved.usd);
        let miss = Sums::request(Outcome::Miss(MissReason::Empty), "gpt-4o", Some(USAGE), &prices);
        assert_eq!((miss.misses, miss.saved), (1, Spent::default()));
    }

    #[test]
    fn tokens_of_a_model_without_a_price_are_counted_apart_and_never_as_money() {
        let hit = Sums::request(Outcome::Hit(HitKind::Exact), "home-made", Some(USAGE), &Prices::shipped());
        assert_eq!((hit.saved.usd, hit.unpriced_tokens()), (0.0, 1500));
    }

    #[test]
    fn what_the_cache_spends_on_itself_is_taken_off() {
        let prices = Prices::shipped();
        let mut sums = Sums::request(Outcome::Hit(HitKind::Exact), "gpt-4o", Some(USAGE), &prices);
        for purpose in [Purpose::Refresh, Purpose::Audit, Purpose::Judge, Purpose::Embedding] {
            sums += Sums::spent(purpose, Spent::of("gpt-4o", USAGE, &prices));
        }
        assert!((sums.net_usd() + 3.0 * 0.0075).abs() < 1e-12, "{}", sums.net_usd());
        sums += Sums::spent(Purpose::Fetch, Spent::of("gpt-4o", USAGE, &prices));
        assert!((sums.net_usd() + 3.0 * 0.0075).abs() < 1e-12, "what clients waited for is no cost of the cache");
    }
}
