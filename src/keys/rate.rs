//! How often a key may be used: so many times at once, and no more than that on average.
//!
//! Pure: the moment is given. The generic cell rate algorithm (ITU-T I.371): one moment is kept for each key.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Units of time, each with the words for it; the first is the one that is written.
const UNITS: [(&[&str], u64); 4] =
    [(&["s", "sec", "second"], 1), (&["min", "m", "minute"], 60), (&["h", "hour"], 3600), (&["d", "day"], 86_400)];

/// So many requests in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    requests: u32,
    /// Place in [`UNITS`].
    unit: usize,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate; write a number and a time, such as 60/min, 10/s or 5000/day")]
pub struct NoRate(String);

impl Rate {
    /// The time in which so many requests are allowed, in microseconds.
    fn period(self) -> i64 {
        let seconds = UNITS.get(self.unit).map_or(1, |(_, seconds)| *seconds);
        i64::try_from(seconds * 1_000_000).unwrap_or(i64::MAX)
    }
}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let no = || NoRate(text.to_owned());
        let (number, unit) = text.split_once('/').ok_or_else(no)?;
        let unit = unit.trim().to_ascii_lowercase();
        let unit = UNITS.iter().position(|(words, _)| words.contains(&unit.as_str())).ok_or_else(no)?;
        let requests = number.trim().parse().ok().filter(|requests| *requests > 0).ok_or_else(no)?;
        Ok(Self { requests, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = UNITS.get(self.unit).and_then(|(words, _)| words.first()).copied().unwrap_or_default();
        write!(f, "{}/{word}", self.requests)
    }
}

impl TryFrom<String> for Rate {
    type Error = NoRate;

    fn try_from(text: String) -> Result<Self, NoRate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// What of a rate is used up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// When all of the rate will be there again, in Unix microseconds.
    full_at: i64,
}

impl Bucket {
    /// Takes one request out; `Err` says how long there will be none.
    pub(super) fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let (now, period) = (now.as_millis().saturating_mul(1000), rate.period());
        // Never later than a clock that was set back allows.
        self.full_at = self.full_at.clamp(now, now.saturating_add(period));
        let after = self.full_at.saturating_add(period / i64::from(rate.requests));
        let over = after.saturating_sub(now).saturating_sub(period);
        if over > 0 {
            return Err(Duration::from_micros(over.unsigned_abs()));
        }
        self.full_at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_is_read_and_written_the_same() {
        for (text, written) in [("60/min", "60/min"), (" 10 / S", "10/s"), ("5/hour", "5/h"), ("1/day", "1/d")] {
            assert_eq!(rate(text).to_string(), written);
        }
        for text in ["60", "0/min", "-1/s", "60/fortnight", "/min", "1.5/s", "99999999999/s"] {
            assert_eq!(text.parse::<Rate>(), Err(NoRate(text.to_owned())));
        }
    }

    #[test]
    fn so_many_at_once_then_one_as_its_share_of_the_time_passes() {
        let (rate, start) = (rate("60/min"), Timestamp::from_millis(1_790_000_000_000));
        let mut bucket = Bucket::default();
        for _ in 0..60 {
            assert_eq!(bucket.take(rate, start), Ok(()));
        }
        assert_eq!(bucket.take(rate, start), Err(Duration::from_secs(1)));
        let later = start.plus(Duration::from_millis(1500));
        assert_eq!(bucket.take(rate, later), Ok(()));
        assert_eq!(bucket.take(rate, later), Err(Duration::from_millis(500)), "a refusal uses nothing up");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_longer_than_the_rate_says() {
        let (rate, start) = (rate("2/min"), Timestamp::from_millis(1_790_000_000_000));
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, start), Ok(()));
        let before = start.minus(Duration::from_secs(86_400));
        assert_eq!(bucket.take(rate, before), Err(Duration::from_secs(30)));
        assert_eq!(bucket.take(rate, before.plus(Duration::from_secs(30))), Ok(()));
    }
}
