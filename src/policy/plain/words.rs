//! Times, shares and lists as people say them. Pure.

use std::time::Duration;

/// Units of time with what one of them is called, the largest first. A single day is told in hours.
const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
/// Told from two on: "24 hours" says more than "1 day".
const DAY: u64 = 86_400;
/// From so many of a unit on the larger ones tell more.
const MANY: u64 = 100;
/// Largest denominator that a share is told with.
const FINEST: u32 = 1_000_000;

/// A time: `24 hours`, `7 days`, `1 day 1 minute`.
pub(in crate::policy) fn time(duration: Duration) -> String {
    match pieces(duration).as_slice() {
        [] => format!("{} milliseconds", duration.as_millis()),
        pieces => {
            pieces.iter().map(|(count, unit)| format!("{count} {}", plural(unit, *count))).collect::<Vec<_>>().join(" ")
        }
    }
}

/// So much time on top: `one more hour`, `10 more minutes`, `1 day 1 minute more`.
pub(super) fn more(duration: Duration) -> String {
    match pieces(duration).as_slice() {
        [(1, unit)] => format!("one more {unit}"),
        [(count, unit)] => format!("{count} more {unit}s"),
        _ => format!("{} more", time(duration)),
    }
}

/// Counts of units that add up to `duration`, one where one says it all; nothing below a second is told.
fn pieces(duration: Duration) -> Vec<(u64, &'static str)> {
    let secs = duration.as_secs();
    let few = |unit: u64| unit == DAY || secs / unit < MANY;
    let fits = |unit: u64| secs >= unit && secs.is_multiple_of(unit) && few(unit) && (unit != DAY || secs > DAY);
    if let Some((unit, name)) = UNITS.iter().find(|(unit, _)| fits(*unit)) {
        return vec![(secs / unit, *name)];
    }
    let mut rest = secs;
    let mut out = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            out.push((rest / unit, name));
            rest %= unit;
        }
    }
    out
}

fn plural(unit: &str, count: u64) -> String {
    if count == 1 { unit.to_owned() } else { format!("{unit}s") }
}

/// A share from 0 to 1: `2 in 100`, `5 in 1,000`, `no`, `all`.
pub(in crate::policy) fn share(share: f64) -> String {
    if share <= 0.0 {
        return "no".to_owned();
    }
    if share >= 1.0 {
        return "all".to_owned();
    }
    let mut of = 100u32;
    while of < FINEST && !is_whole(share * f64::from(of)) {
        of *= 10;
    }
    let count = share * f64::from(of);
    if is_whole(count) {
        format!("{count:.0} in {}", thousands(&of.to_string()))
    } else {
        format!("{:.4} in 100", share * 100.0)
    }
}

fn is_whole(count: f64) -> bool {
    count >= 0.999 && (count - count.round()).abs() < 1e-6
}

/// The digits of a number with commas between the thousands.
fn thousands(number: &str) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    let mut out = String::new();
    for (at, digit) in number.chars().enumerate() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How many times `larger` is `smaller`: `1.04 times`, `twice`, `2.5 times`, `24 times`.
pub(in crate::policy) fn times(larger: f64, smaller: f64) -> String {
    let ratio = larger / smaller;
    if is_whole(ratio - 1.0) && ratio < 2.5 {
        return "twice".to_owned();
    }
    let digits = if ratio >= 10.0 || is_whole(ratio) { 0 } else { 1 + usize::from(ratio < 2.0) };
    let shown = format!("{ratio:.digits$}");
    let shown = if digits > 1 { shown.trim_end_matches('0') } else { &shown };
    format!("{} times", thousands(shown))
}

/// `a`, `a or b`, `a, b or c`; with another word than "or" between the last two where `word` says so.
pub(in crate::policy) fn list(items: &[String], word: &str) -> String {
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {word} {last}", rest.join(", ")),
        _ => items.concat(),
    }
}

/// The first few of `items` in quotes, and how many there are beyond them.
pub(in crate::policy) fn some_of<'i>(items: impl ExactSizeIterator<Item = &'i str>, few: usize, word: &str) -> String {
    let beyond = items.len().saturating_sub(few);
    let mut shown: Vec<String> = items.take(few).map(|item| format!("\"{item}\"")).collect();
    if beyond > 0 {
        shown.push(format!("{beyond} more"));
    }
    list(&shown, word)
}

/// `1 phrase`, `7 phrases`.
pub(in crate::policy) fn count(count: usize, of: &str) -> String {
    if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") }
}

/// Short words that are written in capitals.
const CAPITALS: [&str; 9] = ["ai", "api", "apis", "faq", "hr", "it", "llm", "sla", "sms"];

/// What a category is about, made of its name: `product-faq` is `product FAQ`.
pub(super) fn topic(category: &str) -> String {
    let word = |word: &str| match word {
        "faqs" => "FAQs".to_owned(),
        word if CAPITALS.contains(&word) => word.to_uppercase(),
        word => word.to_owned(),
    };
    category.split('-').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_people_use() {
        let of = |secs: u64| time(Duration::from_secs(secs));
        assert_eq!([of(1), of(30), of(60), of(90)], ["1 second", "30 seconds", "1 minute", "90 seconds"]);
        assert_eq!([of(3600), of(86_400), of(129_600)], ["1 hour", "24 hours", "36 hours"]);
        assert_eq!([of(172_800), of(7 * 86_400), of(5400)], ["2 days", "7 days", "90 minutes"]);
        assert_eq!([of(86_400 + 60), of(6 * 3600 + 601)], ["1 day 1 minute", "6 hours 10 minutes 1 second"]);
        assert_eq!(time(Duration::from_millis(20)), "20 milliseconds");
    }

    #[test]
    fn added_time_is_told_as_more() {
        let of = |secs: u64| more(Duration::from_secs(secs));
        assert_eq!([of(3600), of(600), of(86_460)], ["one more hour", "10 more minutes", "1 day 1 minute more"]);
    }

    #[test]
    fn shares_are_told_as_so_many_in_so_many() {
        assert_eq!([share(0.02), share(0.005), share(0.5)], ["2 in 100", "5 in 1,000", "50 in 100"]);
        assert_eq!(
            [share(0.0), share(1.0), share(0.333), share(1e-6)],
            ["no", "all", "333 in 1,000", "1 in 1,000,000"]
        );
        assert_eq!(share(1.0 / 3.0), "33.3333 in 100");
    }

    #[test]
    fn ratios_are_told_as_times() {
        assert_eq!([times(24.0, 1.0), times(3.0, 2.0), times(100.0, 7.0)], ["24 times", "1.5 times", "14 times"]);
        assert_eq!([times(24.0, 23.0), times(2.0, 1.0), times(1440.0, 1.0)], ["1.04 times", "twice", "1,440 times"]);
        assert_eq!([times(5.0, 2.0), times(3.0, 1.0)], ["2.5 times", "3 times"]);
    }

    #[test]
    fn a_category_is_told_as_a_topic() {
        assert_eq!([topic("product-faq"), topic("live-inventory")], ["product FAQ", "live inventory"]);
    }
}
