//! Time, read once a request and passed down as a value.
//!
//! Persisted moments are wall-clock milliseconds, so an entry's age survives a restart. Tests hold a
//! [`ManualClock`] and move it; nothing else in the crate may read the system clock.
//!
//! Within one process the system's clock never goes back and never stands still: when it is set back, time goes on from
//! where it was, so that no answer becomes younger. What a later process finds ahead of its own clock is not served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// A moment: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `ms` milliseconds after the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as protocols' `created` fields want it.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Time from `earlier` to `self`; zero when the clock went backwards.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self` moved later by `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `self` moved earlier by `by`, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Where the current moment comes from: the system, or a test's hand.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System(Arc<Steady>),
    Manual(Arc<AtomicI64>),
    Shifted(Arc<Steady>, Arc<AtomicI64>),
}

impl Default for Clock {
    /// The system's.
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Source::System(Arc::new(Steady::start())))
    }

    /// A clock that stands still at `start` until its [`ManualClock`] moves it.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let cell = Arc::new(AtomicI64::new(start.0));
        (Self(Source::Manual(Arc::clone(&cell))), ManualClock(cell))
    }

    /// The system's clock, ahead of itself by what its [`ManualClock`] adds: for showing what time does to an entry.
    pub fn shifted() -> (Self, ManualClock) {
        let cell = Arc::new(AtomicI64::new(0));
        (Self(Source::Shifted(Arc::new(Steady::start()), Arc::clone(&cell))), ManualClock(cell))
    }

    /// The current moment.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(steady) => steady.now(),
            Source::Manual(cell) => Timestamp(cell.load(Ordering::SeqCst)),
            Source::Shifted(steady, cell) => Timestamp(steady.now().0.saturating_add(cell.load(Ordering::SeqCst))),
        }
    }
}

/// The wall clock, carried on by the monotonic one where it is set back.
#[derive(Debug)]
struct Steady {
    #[expect(clippy::disallowed_types, reason = "measures real time, also where a test has paused the runtime's")]
    started: std::time::Instant,
    /// The most that the wall clock was ever ahead of the time since then, in milliseconds.
    ahead: AtomicI64,
}

impl Steady {
    #[expect(
        clippy::disallowed_types,
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    fn start() -> Self {
        Self { started: std::time::Instant::now(), ahead: AtomicI64::new(i64::MIN) }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.reading(wall.map_or(0, |wall| i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)), elapsed)
    }

    /// What the clock shows when the wall clock shows `wall`, `elapsed` milliseconds after the start.
    fn reading(&self, wall: i64, elapsed: i64) -> Timestamp {
        let ahead = wall.saturating_sub(elapsed);
        let most = self.ahead.fetch_max(ahead, Ordering::SeqCst).max(ahead);
        Timestamp(elapsed.saturating_add(most))
    }
}

/// The hand that moves a manual or shifted [`Clock`].
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the clock back by `by`, as the system's clock is between two processes.
    pub fn set_back(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_sub(ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_by_hand() {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(5_000));
        assert_eq!(clock.now(), Timestamp::from_millis(5_000));
        hand.advance(Duration::from_secs(2));
        assert_eq!(clock.now().as_secs(), 7);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_neither_goes_back_nor_stands_still() {
        let steady = Steady::start();
        let reading = |wall, elapsed| steady.reading(wall, elapsed).as_millis();
        assert_eq!(reading(1_000_000, 0), 1_000_000);
        assert_eq!(reading(1_000_010, 10), 1_000_010);
        assert_eq!(reading(400_020, 20), 1_000_020, "set back: time goes on");
        assert_eq!(reading(401_020, 1_020), 1_001_020);
        assert_eq!(reading(9_000_000, 2_000), 9_000_000, "set forward: taken up");
        assert_eq!(reading(1_002_000, 3_000), 9_001_000, "and not given back");
        let clock = Clock::system();
        assert!(clock.now() <= clock.now());
    }

    #[test]
    fn a_clock_that_went_back_gives_zero_age() {
        assert_eq!(Timestamp::from_millis(1).since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
