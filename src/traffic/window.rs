//! The last hour, by the minute, in memory: what a dashboard shows while it happens.

use std::time::Duration;

use serde::Serialize;

use crate::{binomial::as_f64, clock::Timestamp, outcome::Outcome};

/// Minutes looked back.
const MINUTES: usize = 60;
const MINUTE_MS: i64 = 60_000;
/// Latencies from this many microseconds on, each step [`STEPS`] to the doubling.
const FASTEST_US: u64 = 16;
const STEPS: usize = 4;
/// Up to 16 us * 2^(120/4), some five hours.
const BUCKETS: usize = 120;

/// Requests of a minute, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// Its begin, in Unix milliseconds.
    pub at_ms: i64,
    /// Served fresh.
    pub hits: u64,
    /// Fetched.
    pub misses: u64,
    /// Served stale.
    pub stale: u64,
    /// The cache was not asked.
    pub bypass: u64,
    /// Shared a running fetch.
    pub collapsed: u64,
}

impl Minute {
    /// All of them.
    pub const fn requests(&self) -> u64 {
        self.hits + self.misses + self.stale + self.bypass + self.collapsed
    }
}

/// Two points of a distribution, in milliseconds; `None` without anything in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred are below.
    pub p99: f64,
}

/// Counts of latencies on a logarithmic scale: each is known to within a fifth.
#[derive(Debug, Clone, Copy)]
struct Latencies([u32; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Latencies {
    fn add(&mut self, latency: Duration) {
        if let Some(count) = self.0.get_mut(bucket(latency)) {
            *count += 1;
        }
    }

    fn absorb(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    fn quantiles(&self) -> Option<Quantiles> {
        let all: u64 = self.0.iter().copied().map(u64::from).sum();
        let at = |share: f64| {
            let mut below = 0;
            let within = self.0.iter().position(|count| {
                below += u64::from(*count);
                as_f64(below) >= as_f64(all) * share
            });
            upper_ms(within.unwrap_or(BUCKETS - 1))
        };
        (all > 0).then(|| Quantiles { p50: at(0.5), p99: at(0.99) })
    }
}

fn bucket(latency: Duration) -> usize {
    let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(FASTEST_US);
    let steps = (as_f64(us) / as_f64(FASTEST_US)).log2() * as_f64(STEPS as u64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and some two hundred")]
    let steps = steps as usize;
    steps.min(BUCKETS - 1)
}

/// The upper end of a bucket.
fn upper_ms(bucket: usize) -> f64 {
    as_f64(FASTEST_US) * (as_f64(bucket as u64 + 1) / as_f64(STEPS as u64)).exp2() / 1000.0
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    minute: Minute,
    hits: Latencies,
    misses: Latencies,
}

/// The last hour.
#[derive(Debug)]
pub struct Window(Vec<Slot>);

impl Default for Window {
    fn default() -> Self {
        Self(vec![Slot::default(); MINUTES])
    }
}

impl Window {
    /// A request that came at `now` and whose answer began after `latency`.
    pub fn add(&mut self, now: Timestamp, outcome: Outcome, latency: Duration) {
        let at_ms = now.as_millis().div_euclid(MINUTE_MS) * MINUTE_MS;
        let Some(slot) = self.0.get_mut(place(at_ms)) else { return };
        if slot.minute.at_ms > at_ms {
            return;
        }
        if slot.minute.at_ms < at_ms {
            *slot = Slot { minute: Minute { at_ms, ..Minute::default() }, ..Slot::default() };
        }
        let minute = &mut slot.minute;
        match outcome {
            Outcome::Hit(_) => minute.hits += 1,
            Outcome::StaleHit(..) => minute.stale += 1,
            Outcome::Miss(_) | Outcome::Unsatisfied => minute.misses += 1,
            Outcome::Collapsed(_) => minute.collapsed += 1,
            Outcome::Bypass(_) => minute.bypass += 1,
        }
        match outcome {
            Outcome::Hit(_) | Outcome::StaleHit(..) => slot.hits.add(latency),
            Outcome::Miss(_) => slot.misses.add(latency),
            // A part of the wait, or none of the cache's.
            Outcome::Collapsed(_) | Outcome::Bypass(_) | Outcome::Unsatisfied => {}
        }
    }

    /// The last hour's minutes, oldest first, those without a request included.
    pub fn minutes(&self, now: Timestamp) -> Vec<Minute> {
        let last = now.as_millis().div_euclid(MINUTE_MS) * MINUTE_MS;
        let back = i64::try_from(MINUTES).unwrap_or(i64::MAX) - 1;
        (0..=back).rev().map(|ago| self.minute(last - ago * MINUTE_MS)).collect()
    }

    fn minute(&self, at_ms: i64) -> Minute {
        let kept = self.0.get(place(at_ms)).map(|slot| slot.minute).filter(|minute| minute.at_ms == at_ms);
        kept.unwrap_or(Minute { at_ms, ..Minute::default() })
    }

    /// How long hits and misses of the last hour took to begin.
    pub fn latencies(&self, now: Timestamp) -> (Option<Quantiles>, Option<Quantiles>) {
        let since = now.minus(Duration::from_secs(3600)).as_millis();
        let (mut hits, mut misses) = (Latencies::default(), Latencies::default());
        for slot in self.0.iter().filter(|slot| slot.minute.at_ms > since) {
            hits.absorb(&slot.hits);
            misses.absorb(&slot.misses);
        }
        (hits.quantiles(), misses.quantiles())
    }
}

fn place(at_ms: i64) -> usize {
    let minutes = i64::try_from(MINUTES).unwrap_or(i64::MAX);
    usize::try_from(at_ms.div_euclid(MINUTE_MS).rem_euclid(minutes)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{HitKind, MissReason};

    const HIT: Outcome = Outcome::Hit(HitKind::Exact);

    #[test]
    fn an_hour_is_kept_and_what_is_older_is_not_shown() {
        let mut window = Window::default();
        let now = Timestamp::from_millis(1_000 * MINUTE_MS + 30_000);
        window.add(now.minus(Duration::from_secs(3600)), HIT, Duration::from_millis(1));
        window.add(now.minus(Duration::from_secs(59 * 60)), HIT, Duration::from_millis(1));
        window.add(now, Outcome::Miss(MissReason::Empty), Duration::from_secs(1));
        let minutes = window.minutes(now);
        assert_eq!(minutes.len(), MINUTES);
        assert_eq!((minutes[0].hits, minutes[MINUTES - 1].misses), (1, 1));
        assert_eq!(minutes.iter().map(Minute::requests).sum::<u64>(), 2);
    }

    #[test]
    fn quantiles_are_right_to_within_a_fifth() {
        let mut window = Window::default();
        let now = Timestamp::from_millis(5_000 * MINUTE_MS);
        for us in 1..=1000 {
            window.add(now, HIT, Duration::from_micros(us * 100));
        }
        let (hits, misses) = window.latencies(now);
        let hits = hits.unwrap();
        assert!((50.0..60.0).contains(&hits.p50), "{hits:?}");
        assert!((99.0..119.0).contains(&hits.p99), "{hits:?}");
        assert_eq!(misses, None);
    }

    #[test]
    fn the_fastest_and_the_slowest_have_a_place() {
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::from_secs(1_000_000)), BUCKETS - 1);
    }
}
