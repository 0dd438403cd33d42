//! What is asked about the subject: who, where, when, why, how, how much, whether.

use super::frame::{Frame, Style};
use super::reading::Reading;
use super::text::Token;

/// The aspects a question may ask for, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Asked(pub(super) u32);

pub(super) const WHO: u32 = 1;
pub(super) const WHERE: u32 = 1 << 1;
pub(super) const WHEN: u32 = 1 << 2;
pub(super) const HOW_LONG: u32 = 1 << 3;
pub(super) const COST: u32 = 1 << 4;
pub(super) const HOW_MUCH: u32 = 1 << 5;
pub(super) const HOW_MANY: u32 = 1 << 6;
pub(super) const HOW_OFTEN: u32 = 1 << 7;
pub(super) const WHY: u32 = 1 << 8;
pub(super) const HOW_TO: u32 = 1 << 9;
pub(super) const MAY: u32 = 1 << 10;
pub(super) const MUST: u32 = 1 << 11;
pub(super) const SHOULD: u32 = 1 << 12;
pub(super) const WHAT: u32 = 1 << 13;
pub(super) const WHETHER: u32 = 1 << 14;

pub(super) const HOW_IS: u32 = 1 << 15;
pub(super) const SHARE: u32 = 1 << 16;
pub(super) const OBLIGED: u32 = 1 << 17;

pub(super) const NAMES: [&str; 18] = [
    "who",
    "where",
    "when",
    "how long",
    "cost",
    "how much",
    "how many",
    "how often",
    "why",
    "how to",
    "may",
    "must",
    "should",
    "what",
    "whether",
    "how",
    "what share",
    "obliged",
];

/// The aspects that `tokens` ask for.
pub(super) fn of(tokens: &[Token]) -> Asked {
    let words: Vec<&str> = tokens.iter().map(|t| t.word.as_str()).collect();
    let (mut bits, mut opens, mut at) = (0, true, 0);
    while let Some(token) = tokens.get(at) {
        opens |= token.opens;
        if let Some(padding) = opens.then(|| super::text::padding(&tokens[at..])).filter(|&n| n > 0) {
            at += padding;
            continue;
        }
        bits |= at_word(&words, at, opens);
        opens = false;
        at += 1;
    }
    if bits & (HOW_LONG | COST | HOW_MUCH | HOW_MANY | HOW_OFTEN) != 0 {
        bits &= !(HOW_TO | WHAT);
    }
    Asked(bits)
}

/// The aspect that the word at `at` asks for; `opens` when it begins a sentence.
fn at_word(words: &[&str], at: usize, opens: bool) -> u32 {
    if opens && let Some(aspect) = opening(words, at) {
        return aspect;
    }
    let word = |i: usize| words.get(i).copied().unwrap_or("");
    let before = at.checked_sub(1).map_or("", word);
    let (next, third) = (word(at + 1), word(at + 2));
    match word(at) {
        "why" => WHY,
        "reason" | "reasons" if matches!(next, "for" | "why" | "behind") => WHY,
        "deadline" => WHEN,
        "how" => how(next, third),
        "cost" | "costs" | "price" | "prices" | "fee" | "fees" | "pricey" | "surcharge" => COST,
        "cheaper" | "cheapest" => COST,
        "frequency" => HOW_OFTEN,
        "steps" | "procedure" | "instructions" => HOW_TO,
        "way" | "ways" if next == "to" => HOW_TO,
        "what" if matches!(next, "should" | "can" | "could" | "must" | "do") && word(at + 3) == "do" => HOW_TO,
        "what" | "which" if matches!(next, "percentage" | "percent" | "share" | "proportion" | "fraction") => SHARE,
        "allowed" | "permitted" | "legal" => MAY,
        "must" => MUST,
        "should" if matches!(before, "how" | "where" | "when" | "which" | "why" | "who") => SHOULD,
        "have" | "need" if next == "to" && is_obliged(words, at) => MUST,
        _ => 0,
    }
}

/// `I have to`, but not `do I have to`.
fn is_obliged(words: &[&str], at: usize) -> bool {
    at > 1 && words[at - 2] != "do" && matches!(words[at - 1], "i" | "you" | "we" | "one")
}

/// The aspect of a sentence that begins at `at`, where its first word tells.
fn opening(words: &[&str], at: usize) -> Option<u32> {
    let word = |i: usize| words.get(i).copied().unwrap_or("");
    let (next, third) = (word(at + 1), word(at + 2));
    Some(match word(at) {
        "who" | "whom" | "whose" => WHO,
        "where" => WHERE,
        "when" => WHEN,
        "reason" | "reasons" => WHY,
        "what" if matches!(next, "time" | "date" | "day" | "year") => WHEN,
        "what" if matches!(next, "is" | "are" | "does") => WHAT,
        "can" | "may" => MAY,
        "must" => OBLIGED,
        "do" if matches!(third, "have" | "need") && word(at + 3) == "to" => OBLIGED,
        "should" => SHOULD,
        "is" | "are" if next == "there" => 0,
        "is" | "are" | "was" | "were" | "does" | "did" | "has" | "will" => WHETHER,
        _ => return None,
    })
}

fn how(next: &str, third: &str) -> u32 {
    match next {
        "long" | "soon" | "quickly" => HOW_LONG,
        "many" if matches!(third, "days" | "hours" | "weeks" | "months" | "years" | "minutes") => HOW_LONG,
        "much" if matches!(third, "time") => HOW_LONG,
        "much" => HOW_MUCH,
        "many" => HOW_MANY,
        "often" | "frequently" => HOW_OFTEN,
        "come" => WHY,
        "does" | "did" | "is" | "are" | "was" | "were" | "has" | "have" => HOW_IS,
        "do" | "to" | "can" | "should" | "would" | "could" => HOW_TO,
        _ => 0,
    }
}

/// Pairs of aspects that never mean the same. What is not listed may: "when" and "how long", "how to" and "what must I".
const APART: [(u32, u32); 15] = [
    (OBLIGED, HOW_TO | MAY | WHY | WHERE | WHEN | HOW_LONG | HOW_MUCH | COST | WHO | SHOULD),
    (SHARE, HOW_MANY | HOW_MUCH | WHO | WHEN | WHERE | WHY | HOW_TO),
    (COST, HOW_LONG | HOW_MANY | HOW_OFTEN | HOW_TO | MAY | MUST | WHAT | WHY | WHO),
    (HOW_LONG, HOW_MANY | HOW_MUCH | HOW_TO | MAY | WHERE | WHETHER | WHO | WHY),
    (HOW_MANY, WHETHER | WHY | HOW_TO | WHERE | WHEN | MAY),
    (HOW_MUCH, HOW_OFTEN | HOW_TO | MAY | WHETHER | WHERE | WHEN | WHO | WHY),
    (HOW_OFTEN, HOW_TO | MAY | WHO | WHERE | WHY),
    (HOW_TO, MAY | WHEN | WHY | WHETHER | COST),
    (MAY, MUST | WHY | WHEN | WHERE | SHOULD),
    (MUST, WHY | WHERE),
    (SHOULD, WHEN | WHERE | WHY),
    (WHAT, WHO),
    (WHEN, WHO | WHERE | WHY | WHETHER),
    (WHERE, WHO | WHETHER),
    (WHY, WHETHER | WHO),
];

/// Two aspects that never mean the same.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let (x, y) = (a.aspect.0, b.aspect.0);
    if x & y != 0 || x == 0 || y == 0 || frame.shared() < 0.5 {
        return None;
    }
    // Where nearly every word is shared, another opening is meant; elsewhere it may be another way to put it.
    let close = frame.shared() >= 0.75 && frame.order >= 0.6 && frame.style != Style::Mixed;
    let differs = |p: u32, q: u32| if close { apart(p, q) || !kin(p, q) } else { apart(p, q) };
    bits(x).all(|p| bits(y).all(|q| differs(p, q))).then(|| format!("'{}' against '{}'", name(x), name(y)))
}

/// Pairs of aspects that can open the same question.
const KIN: [(u32, u32); 10] = [
    (WHEN, HOW_LONG),
    (COST, HOW_MUCH),
    (MAY, WHETHER),
    (WHAT, HOW_LONG | HOW_MANY | HOW_OFTEN | HOW_MUCH | WHEN | WHERE | HOW_TO | MAY | HOW_IS),
    (HOW_TO, WHERE | HOW_IS),
    (SHOULD, WHETHER | MUST),
    (MUST, WHETHER | HOW_TO | OBLIGED),
    (OBLIGED, WHETHER),
    (SHARE, WHAT),
    (HOW_IS, WHY),
];

fn kin(p: u32, q: u32) -> bool {
    KIN.iter().any(|(one, others)| (*one == p && others & q != 0) || (*one == q && others & p != 0))
}

fn bits(set: u32) -> impl Iterator<Item = u32> {
    (0..18).map(|i| 1 << i).filter(move |bit| set & bit != 0)
}

fn apart(p: u32, q: u32) -> bool {
    APART.iter().any(|(one, others)| (*one == p && others & q != 0) || (*one == q && others & p != 0))
}

fn name(bits: u32) -> &'static str {
    NAMES.get(bits.trailing_zeros() as usize).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn another_question_about_the_subject_differs() {
        for (a, b) in [
            ("Why do I reset the router?", "How do I reset the router?"),
            ("Who repairs the lift?", "When is the lift repaired?"),
            ("How many seats does the van have?", "What percentage of seats does the van have?"),
            ("Must I reset the router?", "How do I reset the router?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Aspect), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn ways_to_ask_the_same_match() {
        for (a, b) in [
            ("What time does the shop open?", "When does the shop open?"),
            ("How come the shop is closed?", "Why is the shop closed?"),
            ("What should I do to sleep better?", "How do I sleep better?"),
            ("What does parking cost?", "How much is parking?"),
            ("Could you tell me when the shop opens?", "When does the shop open?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Aspect), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
