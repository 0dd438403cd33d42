//! Direction and role order: from X to Y, who does what to whom.

use super::frame::{self, Frame, Style};
use super::lexicon::Family;
use super::reading::Reading;
use super::text::{Key, Token, Unit};

/// What follows `from` and `to`.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    from: Vec<(Key, String)>,
    to: Vec<(Key, String)>,
}

/// The ends named in a question: the word after each preposition.
pub(super) fn ends(units: &[Unit]) -> Ends {
    let mut ends = Ends::default();
    for (at, unit) in units.iter().enumerate() {
        let list = match unit.shown.as_str() {
            "from" | "out of" => &mut ends.from,
            "to" | "into" | "onto" | "towards" => &mut ends.to,
            _ => continue,
        };
        let determiner = |u: &&Unit| {
            matches!(u.shown.as_str(), "a" | "an" | "the" | "my" | "our" | "your" | "their" | "his" | "her" | "its")
        };
        let head = units[at + 1..].iter().find(|u| !determiner(u)).filter(|u| u.is_content() || u.number.is_some());
        list.extend(head.map(|u| (u.key, u.shown.clone())));
    }
    ends
}

/// Ends, places or particles that differ.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    flipped(a, b).or_else(|| swapped(a, b, frame)).or_else(|| opposed(a, b, frame))
}

/// A word that moved from one end to the other.
fn flipped(a: &Reading, b: &Reading) -> Option<String> {
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
    let be =
        |t: &Token| matches!(t.word.as_str(), "is" | "are" | "was" | "were" | "been" | "being" | "be" | "get" | "got");
    let participle = by.checked_sub(1).and_then(|i| tokens.get(i)).is_some_and(|t| {
        t.word.ends_with("ed") || t.word.ends_with("en") || super::lexicon::irregular(&t.word).is_some()
    });
    participle && tokens[..by].iter().any(be)
}

/// Two shared words that have changed places, in questions of the same voice and otherwise the same words.
fn swapped(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let mut pairs = frame.pairs.clone();
    pairs.extend(number_pairs(a, b));
    if pairs.len() < 2
        || frame.strangers > 2 + usize::from(a.passive != b.passive)
        || frame.left.len() + frame.right.len() > 1
        || is_symmetric(a)
    {
        return None;
    }
    pairs.sort_unstable();
    let word = |i: usize| a.units[i].shown.as_str();
    let crossings =
        pairs.iter().enumerate().flat_map(|(i, p)| pairs[i + 1..].iter().filter(|q| p.1 > q.1).map(|q| (*p, *q)));
    if a.passive != b.passive {
        let straight = pairs.iter().zip(&pairs[1..]).all(|(p, q)| p.1 < q.1);
        return straight.then(|| format!("'{}' acts in one, is acted on in the other", word(pairs[0].0)));
    }
    if let Some((p, q)) = crossings.clone().find(|(p, q)| {
        !(joined(a, p.0, q.0) && joined(b, q.1, p.1)) && frame.style == Style::Sentences && is_moved(a, b)
    }) {
        return Some(format!("'{}' and '{}' change places", word(p.0), word(q.0)));
    }
    let (p, q) = crossings.clone().find(|(p, q)| {
        !(joined(a, p.0, q.0) && joined(b, q.1, p.1))
            && is_exchange(a, b, p.0, q.0)
            && !(q.0 == p.0 + 1 && frame.strangers > 0)
    })?;
    Some(format!("'{}' and '{}' change places", word(p.0), word(q.0)))
}

/// Numbers that stand in both, once each.
fn number_pairs<'r>(a: &'r Reading, b: &'r Reading) -> impl Iterator<Item = (usize, usize)> + 'r {
    let numbers = |r: &'r Reading| r.units.iter().enumerate().filter(|(_, u)| u.number.is_some());
    numbers(a).filter_map(move |(i, x)| {
        let mut same = numbers(b).filter(|(_, y)| y.key == x.key).map(|(j, _)| j);
        let once = numbers(a).filter(|(_, y)| y.key == x.key).count() == 1;
        same.next().filter(|_| once && same.next().is_none()).map(|j| (i, j))
    })
}

/// Whether `a` reads like `b` once the words at `p` and `q` (or the two words there) are exchanged.
fn is_exchange(a: &Reading, b: &Reading, p: usize, q: usize) -> bool {
    (1..=2).any(|width| {
        if q < p + width || q + width > a.units.len() {
            return false;
        }
        let mut keys: Vec<Key> = a.units.iter().map(|u| u.key).collect();
        (0..width).for_each(|i| keys.swap(p + i, q + i));
        let asked = b.units.iter().map(|u| u.key);
        keys.iter().copied().eq(asked) || frame::common_keys(&keys, &b.units) + 1 >= keys.len().max(b.units.len())
    })
}

/// Particles that point the other way, in sentences that are otherwise nearly equal.
fn opposed(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    const OPPOSED: [(&str, &str); 9] = [
        ("on", "off"),
        ("in", "out"),
        ("over", "under"),
        ("with", "without"),
        ("from", "to"),
        ("up", "down"),
        ("into", "out of"),
        ("for", "against"),
        ("into", "from"),
    ];
    if !frame.is_minimal(1) || frame.left.len() + frame.right.len() > 1 {
        return None;
    }
    let only = |x: &Reading, y: &Reading, word: &str| {
        let count = |r: &Reading| r.units.iter().filter(|u| u.shown == word).count();
        count(x) > count(y)
    };
    let (x, y) = OPPOSED.iter().find(|(p, q)| (only(a, b, p) && only(b, a, q)) || (only(a, b, q) && only(b, a, p)))?;
    Some(format!("'{x}' against '{y}'"))
}

/// The longest stretch in which words may have changed places.
const MOST_MOVED: usize = 24;

/// The same words, but two blocks of them have changed places: `my parents gave me`, `I gave my parents`. A phrase with a preposition
/// may stand anywhere.
fn is_moved(a: &Reading, b: &Reading) -> bool {
    let (x, y) = (&a.units, &b.units);
    if x.len() != y.len() {
        return false;
    }
    let head = x.iter().zip(y).take_while(|(p, q)| p.key == q.key).count();
    let tail = x[head..].iter().rev().zip(y[head..].iter().rev()).take_while(|(p, q)| p.key == q.key).count();
    let (x, y) = (&x[head..x.len() - tail], &y[head..y.len() - tail]);
    if x.len() > MOST_MOVED {
        return false;
    }
    let reads =
        |i: usize, j: usize| x[j..].iter().chain(&x[i..j]).chain(&x[..i]).map(|u| u.key).eq(y.iter().map(|u| u.key));
    let turned = (1..x.len()).find_map(|i| (i..x.len()).find(|&j| reads(i, j)).map(|j| (i, j)));
    let free = |u: &Unit| {
        u.tags.iter().any(|t| t.family == Family::Date)
            || matches!(
                u.shown.as_str(),
                "in" | "on"
                    | "at"
                    | "by"
                    | "for"
                    | "with"
                    | "from"
                    | "after"
                    | "before"
                    | "during"
                    | "as"
                    | "when"
                    | "if"
                    | "to"
                    | "per"
                    | "about"
                    | "of"
                    | "and"
                    | "or"
                    | "while"
                    | "without"
                    | "using"
                    | "via"
                    | "then"
            )
    };
    // A block moved to the very front or end of a sentence is emphasis.
    turned.is_some_and(|(_, j)| !free(&x[0]) && !free(&x[j]) && (head > 0 || tail > 0))
}

/// Relations that hold both ways, so that order means nothing.
fn is_symmetric(reading: &Reading) -> bool {
    let both_ways = |u: &Unit| {
        matches!(
            u.shown.as_str(),
            "married"
                | "marry"
                | "close"
                | "closer"
                | "related"
                | "similar"
                | "different"
                | "differ"
                | "differs"
                | "difference"
                | "compare"
                | "compared"
                | "comparison"
                | "compatible"
                | "friends"
                | "friend"
                | "near"
                | "distance"
                | "between"
                | "equal"
                | "equivalent"
                | "vs"
                | "versus"
                | "siblings"
                | "meet"
                | "met"
                | "together"
                | "rhyme"
        )
    };
    reading.units.iter().any(both_ways)
}

/// Units from one part of a list to the next.
const LONGEST_LIST: usize = 5;

/// Whether the two units are parts of one list, where order means nothing.
fn joined(reading: &Reading, from: usize, to: usize) -> bool {
    let list = |u: &Unit| matches!(u.shown.as_str(), "and" | "or" | "plus" | "together" | "as well as");
    reading.units.get(from..to).is_some_and(|span| span.len() <= LONGEST_LIST && span.iter().any(list))
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn ends_and_roles_that_are_exchanged_differ() {
        for (a, b) in [
            ("Trains from Rome to Milan", "Trains from Milan to Rome"),
            ("Is React faster than Vue?", "Is Vue faster than React?"),
            ("Block calls from this number.", "Block calls to this number."),
            ("Is 5 greater than 3?", "Is 3 greater than 5?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Direction), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn order_that_means_nothing_matches() {
        for (a, b) in [
            ("Is Anna married to Ben?", "Is Ben married to Anna?"),
            ("Should I bring a hat and a coat?", "Should I bring a coat and a hat?"),
            ("Send it to my phone from my laptop.", "Send it from my laptop to my phone."),
        ] {
            assert!(!slots(a, b).contains(&Slot::Direction), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
