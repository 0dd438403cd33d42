//! Circuit breaker: after too many failures in a row, callers are told so at once instead of waiting for one more.
//!
//! Closed, it counts failures in a row. Open, it admits nobody until it has rested; then it admits one probe, whose
//! success closes it and whose failure opens it again. A call that began before the breaker last changed its mind no
//! longer counts, and a call that was cancelled counts for nothing.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least one.
    pub failures: u32,
    /// How long it stays open before a probe.
    pub rest: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, rest: Duration::from_secs(5) }
    }
}

/// A breaker; see the module.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Grows with each change of phase; a permit of an older one is ignored.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::new(State { phase: Phase::Closed { failures: 0 }, generation: 0 }) }
    }

    /// Leave to make one call, to be told how it went; `None` while the breaker rests or a probe is out.
    pub fn admit(&self) -> Option<Permit<'_>> {
        let mut state = self.state();
        match state.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if until <= Instant::now() => state.enter(Phase::Probing),
            Phase::Open { .. } | Phase::Probing => return None,
        }
        Some(Permit { breaker: self, generation: state.generation })
    }

    /// True while ordinary calls are refused.
    pub fn is_open(&self) -> bool {
        !matches!(self.state().phase, Phase::Closed { .. })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and a phase is whole at any moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rested(&self) -> Phase {
        Phase::Open { until: Instant::now() + self.settings.rest }
    }
}

/// Leave to make one call. Dropped without a word, the call counts for nothing.
#[derive(Debug)]
#[must_use]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    generation: u64,
}

impl Permit<'_> {
    /// The call went well.
    pub fn success(self) {
        let mut state = self.breaker.state();
        if state.generation != self.generation {
            return;
        }
        match &mut state.phase {
            Phase::Closed { failures } => *failures = 0,
            Phase::Probing => state.enter(Phase::Closed { failures: 0 }),
            Phase::Open { .. } => {}
        }
    }

    /// The call failed.
    pub fn failure(self) {
        let mut state = self.breaker.state();
        if state.generation != self.generation {
            return;
        }
        match &mut state.phase {
            Phase::Closed { failures } => {
                *failures += 1;
                if *failures >= self.breaker.settings.failures {
                    state.enter(self.breaker.rested());
                }
            }
            Phase::Probing => state.enter(self.breaker.rested()),
            Phase::Open { .. } => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        // An unfinished probe: the next caller may try at once.
        if state.generation == self.generation && state.phase == Phase::Probing {
            state.enter(Phase::Open { until: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings { failures: 2, rest: Duration::from_secs(10) };

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::new(SETTINGS);
        breaker.admit().unwrap().failure();
        breaker.admit().unwrap().success();
        breaker.admit().unwrap().failure();
        assert!(!breaker.is_open());
        breaker.admit().unwrap().failure();
        assert!(breaker.is_open());
        assert!(breaker.admit().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_after_the_rest_decides() {
        let breaker = Breaker::new(BreakerSettings { failures: 1, ..SETTINGS });
        breaker.admit().unwrap().failure();
        tokio::time::advance(SETTINGS.rest).await;
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_none(), "a second probe");
        probe.failure();
        assert!(breaker.admit().is_none());
        tokio::time::advance(SETTINGS.rest).await;
        breaker.admit().unwrap().success();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_probe_leaves_the_way_to_the_next() {
        let breaker = Breaker::new(BreakerSettings { failures: 1, ..SETTINGS });
        breaker.admit().unwrap().failure();
        tokio::time::advance(SETTINGS.rest).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().success();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_from_before_the_opening_no_longer_counts() {
        let breaker = Breaker::new(BreakerSettings { failures: 1, ..SETTINGS });
        let (early, late) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        breaker.admit().unwrap().failure();
        early.success();
        assert!(breaker.is_open());
        tokio::time::advance(SETTINGS.rest).await;
        let probe = breaker.admit().unwrap();
        late.failure();
        probe.success();
        assert!(!breaker.is_open());
    }
}
