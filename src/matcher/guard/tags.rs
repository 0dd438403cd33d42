//! Comparing the lexicon tags of two readings, the way most families do.

use super::frame::Frame;
use super::lexicon::{Family, Tag};
use super::reading::Reading;
use super::text::Unit;

/// The units of `reading` with a tag of `family`.
fn tagged(reading: &Reading, family: Family) -> impl Iterator<Item = (&Unit, Tag)> {
    let units = if reading.has(family) { reading.units.as_slice() } else { &[] };
    units.iter().flat_map(move |u| u.tags.iter().filter(move |t| t.family == family).map(move |t| (u, *t)))
}

/// Whether `other` says, in the group of `tag`, what `unit` says. A word may stand for several values of a group:
/// a parent is a father or a mother.
fn answered(other: &Reading, unit: &Unit, tag: Tag) -> bool {
    other
        .units
        .iter()
        .any(|u| u.key == unit.key || u.tags.iter().any(|t| t.group == tag.group && unit.tags.contains(t)))
}

/// Values of `family` that `a` has and `b` lacks.
pub(super) fn only(a: &Reading, b: &Reading, family: Family) -> Vec<(Tag, String)> {
    tagged(a, family)
        .filter(|(unit, tag)| !answered(b, unit, *tag))
        .map(|(unit, tag)| (tag, unit.shown.clone()))
        .collect()
}

/// A group in which each side holds a value that the other lacks: the two words.
pub(super) fn conflict(a: &Reading, b: &Reading, family: Family) -> Option<String> {
    if !(a.has(family) && b.has(family)) {
        return None;
    }
    let right = only(b, a, family);
    only(a, b, family).iter().find_map(|(tag, word)| {
        let (_, other) = right.iter().find(|(t, _)| t.group == tag.group)?;
        Some(format!("'{word}' against '{other}'"))
    })
}

/// A value that only one side holds.
pub(super) fn lopsided(a: &Reading, b: &Reading, family: Family) -> Option<String> {
    let (left, right) = (only(a, b, family), only(b, a, family));
    let (_, word) = left.first().or_else(|| right.first())?;
    Some(format!("'{word}' on one side only"))
}

/// A conflict between questions that share at least half of their words, and negate alike: "not public" is private.
pub(super) fn near_conflict(a: &Reading, b: &Reading, family: Family, frame: &Frame) -> Option<String> {
    let negated = a.negations.len() % 2 != b.negations.len() % 2;
    if negated || frame.shared() < 0.5 || frame.order < 0.4 || is_reversed(a, b, frame) {
        None
    } else {
        conflict(a, b, family)
    }
}

/// Whether opposites and negations cancel out, and nothing else differs: "not public" and "private", "more open" and
/// "less closed".
pub(super) fn is_reversed(a: &Reading, b: &Reading, frame: &Frame) -> bool {
    if frame.left.len() != frame.right.len() || frame.left.is_empty() || frame.left.len() > 2 {
        return false;
    }
    let opposite = |i: &usize| {
        let mine = &a.units[*i];
        frame.right.iter().any(|j| {
            let theirs = &b.units[*j];
            let facing =
                |t: &&Tag| t.family == Family::Antonym && theirs.tags.iter().any(|u| u.group == t.group && u != *t);
            mine.tags.iter().find(facing).is_some()
        })
    };
    let flips = frame.left.len() + usize::from(a.negations.len() % 2 != b.negations.len() % 2);
    flips.is_multiple_of(2) && frame.left.iter().all(opposite)
}
