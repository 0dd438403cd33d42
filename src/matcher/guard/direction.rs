//! Direction and role order: from X to Y, who does what to whom.

use super::frame::Frame;
use super::reading::Reading;
use super::text::{Key, Token, Unit};

/// What follows `from` and `to`.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    from: Vec<(Key, String)>,
    to: Vec<(Key, String)>,
}

/// The ends named in a question: the next two content words after each preposition.
pub(super) fn ends(units: &[Unit]) -> Ends {
    let mut ends = Ends::default();
    for (at, unit) in units.iter().enumerate() {
        let list = match unit.shown.as_str() {
            "from" | "out of" => &mut ends.from,
            "to" | "into" | "onto" | "towards" | "in to" => &mut ends.to,
            _ => continue,
        };
        let stop = |u: &&Unit| !matches!(u.shown.as_str(), "from" | "to" | "into" | "by" | "with" | "for" | "and" | "or" | "if");
        let head = units[at + 1..].iter().take_while(stop).filter(|u| u.is_content()).take(2);
        list.extend(head.map(|u| (u.key, u.shown.clone())));
    }
    ends
}

/// A word that moved from one end to the other.
pub(super) fn flipped(a: &Reading, b: &Reading) -> Option<String> {
    let (x, y) = (&a.direction, &b.direction);
    let crossed = |from: &[(Key, String)], to: &[(Key, String)], other: &Ends| {
        from.iter()
            .find(|(k, _)| to.iter().any(|(l, _)| k == l) && !other.from.iter().any(|(l, _)| k == l))
            .map(|(_, shown)| shown.clone())
    };
    let word = crossed(&x.from, &y.to, y).or_else(|| crossed(&y.from, &x.to, x))?;
    Some(format!("from '{word}' against to '{word}'"))
}

/// `is kept by`: a form of be, a participle, and by.
pub(super) fn is_passive(tokens: &[Token]) -> bool {
    let Some(by) = tokens.iter().position(|t| t.word == "by") else { return false };
    let be = |t: &Token| matches!(t.word.as_str(), "is" | "are" | "was" | "were" | "been" | "being" | "be" | "get" | "got");
    let participle = by.checked_sub(1).and_then(|i| tokens.get(i)).is_some_and(|t| {
        t.word.ends_with("ed") || t.word.ends_with("en") || super::lexicon::irregular(&t.word).is_some()
    });
    participle && tokens[..by].iter().any(be)
}

/// Two shared words in the other order, in questions of the same voice and (nearly) the same words.
pub(super) fn swapped(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    if frame.pairs.len() < 2 || frame.left.len() + frame.right.len() > 1 {
        return None;
    }
    let mut pairs = frame.pairs.clone();
    pairs.sort_unstable();
    let inverted = |p: &(usize, usize), q: &(usize, usize)| p.0 < q.0 && p.1 > q.1;
    let crossing = pairs.iter().enumerate().find_map(|(i, p)| pairs[i + 1..].iter().find(|q| inverted(p, q)).map(|q| (*p, *q)));
    let word = |i: usize| a.units[i].shown.as_str();
    if a.passive != b.passive {
        let firm = crossing.is_none() && pairs.len() >= 2;
        return firm.then(|| format!("'{}' acts on one side, is acted on in the other", word(pairs[0].0)));
    }
    let (p, q) = crossing?;
    if joined(a, p.0, q.0) && joined(b, q.1, p.1) {
        return None;
    }
    Some(format!("'{}' and '{}' change places", word(p.0), word(q.0)))
}

/// Whether the two units are parts of one list, where order means nothing.
fn joined(reading: &Reading, from: usize, to: usize) -> bool {
    let list = |u: &Unit| matches!(u.shown.as_str(), "and" | "or" | "between" | "with" | "vs" | "versus" | "plus" | "together" | "as well as");
    reading.units.get(from..to).is_some_and(|span| span.iter().any(list))
}
