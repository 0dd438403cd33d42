//! What is asked about the subject: who, where, when, why, how, how much, whether.

use super::frame::Frame;
use super::reading::Reading;
use super::text::Token;

/// Nouns that name an aspect.
pub(super) const LIST: &str = "
[topic]
";

/// The aspects a question may ask for, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Asked(pub(super) u16);

pub(super) const WHO: u16 = 1;
pub(super) const WHERE: u16 = 1 << 1;
pub(super) const WHEN: u16 = 1 << 2;
pub(super) const HOW_LONG: u16 = 1 << 3;
pub(super) const COST: u16 = 1 << 4;
pub(super) const HOW_MUCH: u16 = 1 << 5;
pub(super) const HOW_MANY: u16 = 1 << 6;
pub(super) const HOW_OFTEN: u16 = 1 << 7;
pub(super) const WHY: u16 = 1 << 8;
pub(super) const HOW_TO: u16 = 1 << 9;
pub(super) const MAY: u16 = 1 << 10;
pub(super) const MUST: u16 = 1 << 11;
pub(super) const SHOULD: u16 = 1 << 12;
pub(super) const WHAT: u16 = 1 << 13;
pub(super) const IS: u16 = 1 << 14;

pub(super) const NAMES: [&str; 15] = [
    "who", "where", "when", "how long", "cost", "how much", "how many", "how often", "why", "how to", "may", "must",
    "should", "what", "whether",
];

/// The aspect of the first question in `tokens` that states one.
pub(super) fn of(tokens: &[Token]) -> Asked {
    let words: Vec<&str> = tokens.iter().map(|t| t.word.as_str()).collect();
    let mut bits = 0;
    for at in 0..words.len() {
        bits |= at_word(&words, at);
    }
    if bits & (HOW_LONG | COST | HOW_MUCH | HOW_MANY | HOW_OFTEN) != 0 {
        bits &= !(HOW_TO | WHAT);
    }
    Asked(bits)
}

fn at_word(words: &[&str], at: usize) -> u16 {
    let word = |i: usize| words.get(i).copied().unwrap_or("");
    let (next, third) = (word(at + 1), word(at + 2));
    let opens = at == 0;
    match words[at] {
        "who" | "whom" | "whose" => WHO,
        "where" => WHERE,
        "when" if opens => WHEN,
        "why" => WHY,
        "reason" | "reasons" => WHY,
        "deadline" => WHEN,
        "how" => how(next, third),
        "cost" | "costs" | "price" | "prices" | "fee" | "fees" | "pricey" | "surcharge" => COST,
        "frequency" => HOW_OFTEN,
        "steps" | "procedure" | "instructions" => HOW_TO,
        "what" if opens && matches!(next, "time" | "date" | "day" | "year") => WHEN,
        "what" if opens && matches!(next, "is" | "are" | "does") => WHAT,
        "can" | "may" if opens => MAY,
        "allowed" | "permitted" | "legal" => MAY,
        "must" => MUST,
        "should" => SHOULD,
        "have" | "need" if next == "to" && at > 0 && matches!(word(at - 1), "i" | "you" | "we" | "one") => MUST,
        "is" | "are" | "was" | "were" | "does" | "did" | "has" | "will" if opens => IS,
        _ => 0,
    }
}

fn how(next: &str, third: &str) -> u16 {
    match next {
        "long" | "soon" | "quickly" => HOW_LONG,
        "many" if matches!(third, "days" | "hours" | "weeks" | "months" | "years" | "minutes") => HOW_LONG,
        "much" if matches!(third, "time") => HOW_LONG,
        "much" => HOW_MUCH,
        "many" => HOW_MANY,
        "often" | "frequently" => HOW_OFTEN,
        "come" => WHY,
        "do" | "to" | "can" | "should" | "would" | "could" => HOW_TO,
        _ => 0,
    }
}

/// Two aspects that never mean the same.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let (x, y) = (a.aspect.0, b.aspect.0);
    let (left, right) = (x & !y, y & !x);
    if x & y != 0 || left == 0 || right == 0 || frame.shared() < 0.5 {
        return None;
    }
    Some(format!("'{}' against '{}'", name(left), name(right)))
}

fn name(bits: u16) -> &'static str {
    NAMES.get(bits.trailing_zeros() as usize).copied().unwrap_or("")
}
