//! Moments as people write them: RFC 3339, with an offset or in UTC, or a date alone.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Timestamp;

/// What a moment looks like.
const FORM: &str = "not a moment; write it like 2026-11-01T09:30:00Z, 2026-11-01T10:30:00+01:00 or 2026-11-01";

/// Reads a moment.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is {FORM}");
    let text = text.trim();
    let (moment, offset) = if !text.contains(['T', 't', ' ']) {
        (format!("{text}T00:00:00Z"), 0)
    } else {
        match text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) {
            Some((moment, offset)) if offset.starts_with(['+', '-']) => {
                (format!("{moment}Z"), minutes(offset).ok_or_else(wrong)?)
            }
            _ => (text.replace('z', "Z"), 0),
        }
    };
    let since = humantime::parse_rfc3339_weak(&moment).ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let ms = i64::try_from(since.ok_or_else(wrong)?.as_millis()).map_err(|_| wrong())?;
    Ok(Timestamp::from_millis(ms - offset * 60_000))
}

/// `+01:00` in minutes.
fn minutes(offset: &str) -> Option<i64> {
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    (hours < 24 && minutes < 60).then(|| sign * (i64::from(hours) * 60 + i64::from(minutes)))
}

/// A moment in UTC, to the millisecond; `None` before 1970.
pub(super) fn text(at: Timestamp) -> Option<String> {
    let since = UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(at.as_millis()).ok()?))?;
    Some(humantime::format_rfc3339_millis(since).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let at = |text: &str| parse(text).map(Timestamp::as_millis);
        assert_eq!(at("2026-11-01T09:30:00Z"), Ok(1_793_525_400_000));
        assert_eq!(at("2026-11-01T10:30:00+01:00"), at("2026-11-01T09:30:00Z"));
        assert_eq!(at("2026-11-01T04:00:00.250-05:30"), Ok(1_793_525_400_250));
        assert_eq!(at("2026-11-01"), at("2026-11-01T00:00:00Z"));
        for wrong in [
            "",
            "soon",
            "2026-13-01",
            "2026-11-01T09:30:00+99:00",
            "2026-11-01T09:30:00+0a:00",
            "1969-01-01",
            "é+01:00T",
        ] {
            assert!(at(wrong).unwrap_err().contains("2026-11-01"), "{wrong}");
        }
    }

    #[test]
    fn a_moment_comes_back_to_the_millisecond() {
        let at = Timestamp::from_millis(1_790_000_000_123);
        assert_eq!(parse(&text(at).unwrap()), Ok(at));
        assert_eq!(text(Timestamp::from_millis(-1)), None);
    }
}
