//! How old an answer may be: facts of an entry, today's policy, the request's own bounds and now in; a verdict out.
//!
//! Pure: nothing here reads a clock or a store. Invariants: a ttl of zero is never served, stale or fresh; an entry is
//! never fresh past its ttl or after it was invalidated; a request's bounds can only shorten (I9), so adding one never
//! turns a verdict into a fresher one; as time passes a verdict only gets worse (I4).
//!
//! # Decisions
//! - `max-age` and `min-fresh` are the client's own wish for a younger answer, so they also switch off
//!   stale-while-revalidate: serving a stale answer at once would ignore that wish.
//! - `max-stale` both permits and limits: it opens stale answers only inside the longest stale window the policy
//!   grants, and it shortens stale-while-revalidate to what the client tolerates.

use std::time::Duration;

use crate::clock::Timestamp;

/// An answer counts as taking no longer than one part in this many of its lifetime.
const EARLIEST: u32 = 20;

/// The lifetimes a policy grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How long an answer is fresh; zero means never cached.
    pub ttl: Duration,
    /// How long past its ttl an answer may be served while one refresh runs behind.
    pub stale_while_revalidate: Duration,
    /// How long past its ttl an answer may be served when the upstream fails.
    pub stale_if_error: Duration,
}

impl Freshness {
    /// Never cached: not looked up, not stored.
    pub const NEVER: Self =
        Self { ttl: Duration::ZERO, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::ZERO };

    /// Whether this is the zero SLA.
    pub const fn is_never(&self) -> bool {
        self.ttl.is_zero()
    }

    /// These lifetimes, none of them longer than `cap`.
    #[must_use]
    pub fn capped(self, cap: Duration) -> Self {
        if cap.is_zero() || self.is_never() {
            return Self::NEVER;
        }
        Self {
            ttl: self.ttl.min(cap),
            stale_while_revalidate: self.stale_while_revalidate.min(cap),
            stale_if_error: self.stale_if_error.min(cap),
        }
    }

    /// The shorter of each lifetime.
    #[must_use]
    pub fn tightened(self, other: Self) -> Self {
        if self.is_never() || other.is_never() {
            return Self::NEVER;
        }
        Self {
            ttl: self.ttl.min(other.ttl),
            stale_while_revalidate: self.stale_while_revalidate.min(other.stale_while_revalidate),
            stale_if_error: self.stale_if_error.min(other.stale_if_error),
        }
    }

    /// The longest an answer may be served past its ttl, for any reason.
    pub fn longest_stale(&self) -> Duration {
        self.stale_while_revalidate.max(self.stale_if_error)
    }
}

/// What is known of an entry's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When the upstream call that made the answer began.
    pub generated_at: Timestamp,
    /// When a soft purge or a source update made it stale.
    pub invalidated_at: Option<Timestamp>,
    /// The app's own upper bound on the ttl, given when the answer was made.
    pub ttl_limit: Option<Duration>,
}

/// What a request asks beyond the policy; each one can only tighten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// `max-age`: usable only at this age or younger; zero asks for a refresh.
    pub max_age: Option<Duration>,
    /// `min-fresh`: usable only if still fresh for this long.
    pub min_fresh: Option<Duration>,
    /// `max-stale`: stale answers up to this far past the ttl are welcome; `Duration::MAX` when it has no number.
    pub max_stale: Option<Duration>,
    /// `stale-if-error`: shortens the policy's window.
    pub stale_if_error: Option<Duration>,
    /// `x-semblance-ttl`: shortens the policy's ttl.
    pub ttl_limit: Option<Duration>,
}

/// An entry this far ahead of the clock is not suspicious: clocks are corrected by moments.
pub const AHEAD: Duration = Duration::from_secs(5);

/// What may be done with an entry now. `past` is the time since it stopped being acceptable as fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Serve.
    Fresh {
        /// Time until it is stale.
        remaining: Duration,
    },
    /// Serve at once, with one refresh behind.
    StaleWhileRevalidate {
        /// Time past fresh.
        past: Duration,
    },
    /// Serve: the request's `max-stale` asked for it.
    StaleAsked {
        /// Time past fresh.
        past: Duration,
    },
    /// Fetch; serve only if the upstream fails.
    StaleIfErrorOnly {
        /// Time past fresh.
        past: Duration,
    },
    /// Never serve.
    Expired,
}

/// A verdict with the numbers that headers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assessment {
    /// What may be done.
    pub verdict: Verdict,
    /// Time since the answer was made, for `Age`; zero when the clock went back.
    pub age: Duration,
    /// Milliseconds of ttl left by policy, for `Cache-Status`; negative when stale.
    pub ttl_remaining_ms: i64,
}

impl Assessment {
    /// Whole seconds of ttl left, rounded down, so that a stale answer never shows a positive number.
    pub const fn ttl_remaining_secs(&self) -> i64 {
        self.ttl_remaining_ms.div_euclid(1000)
    }
}

/// Decides what may be done with an entry at `now`. One that was made later than now was made under a clock that has
/// been set back since: how old it is nobody knows, so it is never served.
pub fn assess(facts: &Facts, policy: &Freshness, bounds: &Bounds, now: Timestamp) -> Assessment {
    let age = now.since(facts.generated_at);
    let ttl = [facts.ttl_limit, bounds.ttl_limit].into_iter().flatten().fold(policy.ttl, Duration::min);
    let ttl_remaining_ms = match facts.invalidated_at {
        Some(at) => (-millis(now.since(at))).min(millis(ttl) - millis(age)),
        None => millis(ttl) - millis(age),
    };
    let from_the_future = facts.generated_at.since(now) > AHEAD;
    let verdict =
        if ttl.is_zero() || from_the_future { Verdict::Expired } else { judge(facts, policy, bounds, (age, ttl, now)) };
    Assessment { verdict, age, ttl_remaining_ms }
}

/// Whether a fresh answer should be made anew ahead of time: with a chance that grows as its end nears, so that of the
/// many who ask a hot question one does, at a moment nobody can foresee, and a question asked seldom is left alone.
/// `remaining` of the whole lifetime `ttl`; `cost` is how long an answer takes to make; `draw` is uniform in (0, 1].
/// (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015; their beta is 1.)
pub fn is_due_early(remaining: Duration, ttl: Duration, cost: Duration, draw: f64) -> bool {
    // A short lifetime must not be spent on refreshes.
    let cost = cost.min(ttl / EARLIEST);
    remaining.as_secs_f64() < -cost.as_secs_f64() * draw.ln()
}

fn judge(
    facts: &Facts,
    policy: &Freshness,
    bounds: &Bounds,
    (age, ttl, now): (Duration, Duration, Timestamp),
) -> Verdict {
    // Past the policy's own lifetime, and past what the request accepts.
    let by_policy = [
        (age >= ttl).then(|| age - ttl),
        // Even an invalidation that lies in the future counts: a purge wins over a clock that went back.
        facts.invalidated_at.map(|at| now.since(at)),
    ];
    let by_request = [
        bounds.max_age.filter(|max| max.is_zero() || age > *max).map(|max| age.saturating_sub(max)),
        bounds.min_fresh.filter(|min| age.saturating_add(*min) > ttl).map(|min| age.saturating_add(min) - ttl),
    ];
    let Some(past) = by_policy.iter().chain(&by_request).flatten().max().copied() else {
        return Verdict::Fresh { remaining: ttl - age };
    };
    let wants_younger = by_request.iter().any(Option::is_some);
    stale(past, wants_younger, policy, bounds)
}

fn stale(past: Duration, wants_younger: bool, policy: &Freshness, bounds: &Bounds) -> Verdict {
    let tolerated = bounds.max_stale.unwrap_or(Duration::MAX);
    let revalidate = policy.stale_while_revalidate.min(tolerated);
    let if_error = bounds.stale_if_error.map_or(policy.stale_if_error, |own| own.min(policy.stale_if_error));
    let asked = bounds.max_stale.map_or(Duration::ZERO, |own| own.min(policy.longest_stale()));
    if !wants_younger && within(past, revalidate) {
        Verdict::StaleWhileRevalidate { past }
    } else if within(past, asked) && !bounds.max_age.is_some_and(|max| max.is_zero()) {
        Verdict::StaleAsked { past }
    } else if within(past, if_error) {
        Verdict::StaleIfErrorOnly { past }
    } else {
        Verdict::Expired
    }
}

/// A window of zero is closed, whatever the moment.
fn within(past: Duration, window: Duration) -> bool {
    !window.is_zero() && past <= window
}

fn millis(duration: Duration) -> i64 {
    // Halved so that sums of two never overflow.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

#[cfg(test)]
mod tests;
