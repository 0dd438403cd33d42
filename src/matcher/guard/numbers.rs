//! Numbers: digits and words, ordinals, percentages, clock times, and amounts with a unit or a currency.
//!
//! Two numbers match when they are the same amount (`30 min` and `half an hour`), or the same figure where one side
//! leaves the unit out.

use super::frame::{Frame, Style};
use super::reading::Reading;
use super::text::{self, Key, Token};
use super::units::{self, Dimension};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Plain,
    Ordinal,
    Percent,
    /// Minutes after midnight; `true` when morning or afternoon is known.
    Time(bool),
    Amount(Dimension),
}

/// How much weight a number has when the other side lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Hard,
    /// `one`, `first`: often a pronoun or an article; differs only from another number.
    One,
    /// `2` and `4` where a texter means `to` and `for`: matches, never differs.
    Texted,
}

/// A number of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// The figure as written.
    pub(super) raw: f64,
    /// The figure in the base unit of its dimension.
    pub(super) base: f64,
    pub(super) kind: Kind,
    pub(super) weight: Weight,
}

impl Number {
    /// Equal for equal amounts.
    pub(super) fn key(self) -> Key {
        text::hash("number").wrapping_add(self.base.to_bits().rotate_left(17)) ^ self.raw.to_bits()
    }

    /// Whether both can be the same number.
    pub(super) fn matches(self, other: Self) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0);
        match (self.kind, other.kind) {
            (Kind::Amount(a), Kind::Amount(b)) => a == b && near(self.base, other.base),
            (Kind::Time(a), Kind::Time(b)) => {
                near(self.base, other.base) || (!(a && b) && near(self.base % 720.0, other.base % 720.0))
            }
            (Kind::Time(_), _) => {
                let spoken = self.raw + (self.base % 60.0) / 100.0;
                near(other.raw, self.raw) || near(other.raw, spoken) || near(other.raw * 60.0, self.base)
            }
            (_, Kind::Time(_)) => other.matches(self),
            (Kind::Percent, Kind::Amount(_)) | (Kind::Amount(_), Kind::Percent) => false,
            (Kind::Ordinal, Kind::Percent | Kind::Amount(_)) | (Kind::Percent | Kind::Amount(_), Kind::Ordinal) => {
                false
            }
            (Kind::Plain, Kind::Plain)
                if near((self.raw - other.raw).abs(), 2000.0) || near((self.raw - other.raw).abs(), 1900.0) =>
            {
                self.raw.min(other.raw) < 100.0
            }
            _ => near(self.raw, other.raw) || near(self.base, other.base),
        }
    }
}

/// The number at `at` and the tokens it takes.
pub(super) fn parse(tokens: &[Token], at: usize) -> Option<(Number, usize)> {
    let word = |i: usize| tokens.get(i).map_or("", |t| t.word.as_str());
    if let Some(minutes) = named_time(word(at)) {
        let number = Number { raw: minutes / 60.0, base: minutes, kind: Kind::Time(true), weight: Weight::Hard };
        return Some((number, 1));
    }
    let symbol = units::currency_symbol(word(at));
    let start = if symbol.is_some() || matches!(word(at), "#") { at + 1 } else { at };
    let (value, ordinal, mut used) = figure(tokens, start)?;
    used += start - at;
    let weight = weigh(tokens, at, value);
    let plain = |kind| Number { raw: value, base: value, kind, weight };
    if let Some(dimension) = symbol {
        return Some((plain(Kind::Amount(dimension)), used));
    }
    let next = word(at + used);
    if ordinal {
        return Some((plain(Kind::Ordinal), used));
    }
    if let Some((number, extra)) = clock(tokens, at, used, value) {
        return Some((number, used + extra));
    }
    if next == "percent" || next == "pct" || (next == "per" && word(at + used + 1) == "cent") {
        return Some((plain(Kind::Percent), used + if next == "per" { 2 } else { 1 }));
    }
    let skip = usize::from(next == "degree" || (matches!(next, "a" | "an") && word(at) == "half"));
    if let Some((dimension, factor)) = units::lookup(word(at + used + skip)) {
        let number =
            Number { raw: value, base: value * factor, kind: Kind::Amount(dimension), weight: amount_weight(weight) };
        return Some((number, used + skip + 1));
    }
    Some((plain(Kind::Plain), used))
}

fn amount_weight(weight: Weight) -> Weight {
    if weight == Weight::Texted { Weight::Hard } else { weight }
}

fn named_time(word: &str) -> Option<f64> {
    match word {
        "noon" | "midday" => Some(720.0),
        "midnight" => Some(0.0),
        _ => None,
    }
}

/// `3 pm`, `15:00`, `three o'clock`.
fn clock(tokens: &[Token], at: usize, used: usize, value: f64) -> Option<(Number, usize)> {
    let next = tokens.get(at + used).map_or("", |t| t.word.as_str());
    let colon = tokens.get(at).and_then(|t| t.word.split_once(':')).and_then(|(h, m)| {
        Some((h.parse::<f64>().ok()?, m.parse::<f64>().ok()?)).filter(|(h, m)| *h < 25.0 && *m < 60.0)
    });
    let (hour, minute) = colon.unwrap_or((value, 0.0));
    let half_day = match next {
        "am" | "a.m" => Some(0.0),
        "pm" | "p.m" => Some(720.0),
        _ => None,
    };
    let clocked = matches!(next, "o'clock" | "oclock");
    if hour > 24.0 || (half_day.is_none() && colon.is_none() && !clocked) {
        return None;
    }
    let base = half_day.map_or(hour * 60.0, |half| (hour % 12.0) * 60.0 + half) + minute;
    let known = half_day.is_some() || hour > 12.0;
    let number = Number { raw: hour, base, kind: Kind::Time(known), weight: Weight::Hard };
    Some((number, usize::from(half_day.is_some() || clocked)))
}

/// Value, whether it is an ordinal, tokens used.
fn figure(tokens: &[Token], at: usize) -> Option<(f64, bool, usize)> {
    let word = tokens.get(at)?.word.as_str();
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let (value, ordinal) = digits(word)?;
        let scale = tokens.get(at + 1).and_then(|t| scale(&t.word)).filter(|_| !ordinal);
        return Some((value * scale.unwrap_or(1.0), ordinal, 1 + usize::from(scale.is_some())));
    }
    spelled(tokens, at)
}

fn digits(word: &str) -> Option<(f64, bool)> {
    for suffix in ["st", "nd", "rd", "th"] {
        if let Some(head) = word.strip_suffix(suffix) {
            return Some((head.parse().ok()?, true));
        }
    }
    if let Some((a, b)) = word.split_once('/') {
        let (a, b): (f64, f64) = (a.parse().ok()?, b.parse().ok()?);
        // `24/7` and `20/12` are no fractions.
        return (a < b && b <= 16.0 && !word.starts_with('0')).then_some((a / b, false));
    }
    if let Some((hour, _)) = word.split_once(':') {
        return Some((hour.parse().ok()?, false));
    }
    for (suffix, scale) in [("k", 1e3), ("m", 1e6), ("bn", 1e9), ("x", 1.0)] {
        if let Some(value) = word.strip_suffix(suffix).and_then(|head| head.parse::<f64>().ok()) {
            return Some((value * scale, false));
        }
    }
    let joined: String = word.chars().filter(|&c| c != ',').collect();
    joined.parse().ok().filter(|value: &f64| value.is_finite()).map(|value| (value, false))
}

fn scale(word: &str) -> Option<f64> {
    Some(match word {
        "hundred" => 1e2,
        "thousand" | "k" | "grand" => 1e3,
        "million" => 1e6,
        "billion" | "bn" => 1e9,
        "trillion" => 1e12,
        "dozen" => 12.0,
        _ => return None,
    })
}

/// `twenty-five`, `one hundred and twenty`, `third`, `half`, `twice`.
fn spelled(tokens: &[Token], at: usize) -> Option<(f64, bool, usize)> {
    let word = |i: usize| tokens.get(i).map_or("", |t| t.word.as_str());
    if word(at) == "half" && word(at + 1) == "a" && word(at + 2) == "dozen" {
        return Some((6.0, false, 3));
    }
    if let Some(value) = special(word(at)) {
        return Some((value, false, 1));
    }
    if word(at) == "a" && scale(word(at + 1)).is_some_and(|s| s >= 100.0) {
        return Some((scale(word(at + 1))?, false, 2));
    }
    if let Some(value) = ordinal(word(at)) {
        return Some((value, true, 1));
    }
    let (mut total, mut current, mut used) =
        (0.0, small(word(at)).or_else(|| scale(word(at)).filter(|&s| s > 12.0))?, 1);
    loop {
        let next = word(at + used);
        let joins = next == "and" && current % 100.0 == 0.0 && small(word(at + used + 1)).is_some();
        let next = if joins { word(at + used + 1) } else { next };
        if let Some(s) = scale(next) {
            if s >= 1000.0 {
                total += current * s;
                current = 0.0;
            } else {
                current *= s;
            }
        } else if let Some(value) = small(next).filter(|&v| fits(current, v)) {
            current += value;
        } else if let Some(value) = ordinal(next).filter(|&v| fits(current, v)) {
            return Some((total + current + value, true, used + 1 + usize::from(joins)));
        } else {
            let fraction = Some(word(at + used))
                .filter(|w| *w == "point")
                .and_then(|_| small(word(at + used + 1)))
                .filter(|f| *f < 10.0);
            return Some(
                fraction.map_or((total + current, false, used), |f| (total + current + f / 10.0, false, used + 2)),
            );
        }
        used += 1 + usize::from(joins);
    }
}

/// Whether `value` can follow `current` in one spelled number: `twenty` `five`, `hundred` `twelve`.
fn fits(current: f64, value: f64) -> bool {
    (current % 100.0 >= 20.0 && current % 10.0 == 0.0 && value < 10.0)
        || (current >= 100.0 && current % 100.0 == 0.0)
        || (current == 0.0 && value < 100.0)
}

fn special(word: &str) -> Option<f64> {
    Some(match word {
        "half" => 0.5,
        "twice" | "double" => 2.0,
        "thrice" | "triple" => 3.0,
        _ => return None,
    })
}

fn small(word: &str) -> Option<f64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    if !matches!(word.len(), 3..=9) {
        return None;
    }
    let index = |list: &[&str]| list.iter().position(|w| *w == word).and_then(|i| u8::try_from(i).ok());
    index(&SMALL).map(f64::from).or_else(|| index(&TENS).map(|i| f64::from(i) * 10.0 + 20.0))
}

fn ordinal(word: &str) -> Option<f64> {
    const ORDINALS: [&str; 12] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
        "twelfth",
    ];
    let at = ORDINALS.iter().position(|w| *w == word).and_then(|i| u8::try_from(i).ok());
    at.map(|i| f64::from(i) + 1.0).or_else(|| (word == "twentieth").then_some(20.0))
}

/// How far the figure at `at` may be trusted to be one.
fn weigh(tokens: &[Token], at: usize, value: f64) -> Weight {
    let word = |i: Option<usize>| i.and_then(|i| tokens.get(i)).map_or("", |t| t.word.as_str());
    let here = word(Some(at));
    if matches!(here, "2" | "4") {
        let (before, after) = (word(at.checked_sub(1)), word(at.checked_add(1)));
        let model = at.checked_sub(1).and_then(|i| tokens.get(i)).is_some_and(|t| t.named);
        let counts = model
            || after.ends_with('s') && !matches!(after, "his" | "this" | "us" | "is")
            || matches!(before, "top" | "python" | "version" | "v" | "level" | "type" | "tier" | "step" | "and")
            || after.starts_with(|c: char| c.is_ascii_digit())
            || units::lookup(after).is_some();
        return if counts { Weight::Hard } else { Weight::Texted };
    }
    if (value - 1.0).abs() < f64::EPSILON || here == "half" || here == "double" {
        return Weight::One;
    }
    Weight::Hard
}

/// Numbers of `a` that `b` lacks and the reverse, as indices.
pub(super) fn unmatched(a: &[(Number, String)], b: &[(Number, String)]) -> (Vec<usize>, Vec<usize>) {
    // "15% of 80" is not "80% of 15"; where one side has no sign at all, it may be left out.
    let percent = |list: &[(Number, String)]| list.iter().any(|(n, _)| n.kind == Kind::Percent);
    let signed = percent(a) && percent(b);
    let same =
        |x: &Number, y: &Number| x.matches(*y) && (!signed || (x.kind == Kind::Percent) == (y.kind == Kind::Percent));
    let mut taken = vec![false; b.len()];
    let mut left = Vec::new();
    for (i, (x, _)) in a.iter().enumerate() {
        let hit = b.iter().enumerate().position(|(j, (y, _))| !taken[j] && same(x, y));
        match hit {
            Some(j) => taken[j] = true,
            None if b.iter().any(|(y, _)| same(x, y)) => {}
            None => left.push(i),
        }
    }
    let right = (0..b.len()).filter(|&j| !taken[j] && !a.iter().any(|(x, _)| same(x, &b[j].0))).collect();
    (left, right)
}

/// Numbers that stand against each other, or a number only one side has.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    if a.numbers.is_empty() && b.numbers.is_empty() {
        return None;
    }
    let (left, right) = unmatched(&a.numbers, &b.numbers);
    let minimal = frame.is_minimal(2);
    let of =
        |list: &[usize], numbers: &[(Number, String)]| list.iter().map(|&i| numbers[i].clone()).collect::<Vec<_>>();
    let (left, right) = (of(&left, &a.numbers), of(&right, &b.numbers));
    for (x, x_shown) in &left {
        for (y, y_shown) in &right {
            if rivals(*x, *y, minimal) && frame.shared() >= 0.2 {
                return Some(format!("'{x_shown}' against '{y_shown}'"));
            }
        }
    }
    let same_style = frame.style != Style::Mixed;
    let (_, word) = left.iter().chain(&right).find(|(n, _)| n.weight == Weight::Hard)?;
    let adds = frame.is_minimal(3) && frame.left_loose.min(frame.right_loose) <= 1;
    (same_style && adds).then(|| format!("'{word}' on one side only"))
}

/// Whether two numbers that do not match answer the same need, so that one excludes the other.
fn rivals(x: Number, y: Number, minimal: bool) -> bool {
    // In two sentences that are otherwise the same, a figure that faces a figure is one, however it is used elsewhere.
    let counts = minimal || (x.weight == Weight::Hard && y.weight == Weight::Hard);
    let kinds = match (x.kind, y.kind) {
        (Kind::Time(_), Kind::Time(_) | Kind::Plain) | (Kind::Plain, Kind::Time(_)) => true,
        (Kind::Amount(p), Kind::Amount(q)) => p == q || minimal,
        (Kind::Plain, Kind::Amount(_)) | (Kind::Amount(_), Kind::Plain) => true,
        (p, q) => p == q || minimal,
    };
    counts && kinds
}

#[cfg(test)]
mod tests;
