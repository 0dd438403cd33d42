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

/// Whether any unit of `reading` carries `tag`.
fn holds(reading: &Reading, tag: Tag) -> bool {
    tagged(reading, tag.family).any(|(_, t)| t == tag)
}

/// Whether `reading` has another word of the same meaning list as `unit`.
fn same_word(reading: &Reading, unit: &Unit) -> bool {
    reading.units.iter().any(|u| u.key == unit.key)
}

/// Values of `family` that `a` has and `b` lacks.
pub(super) fn only(a: &Reading, b: &Reading, family: Family) -> Vec<(Tag, String)> {
    tagged(a, family)
        .filter(|(unit, tag)| !holds(b, *tag) && !same_word(b, unit))
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
    let left = only(a, b, family);
    let right = only(b, a, family);
    let (_, word) = left.first().or_else(|| right.first())?;
    Some(format!("'{word}' on one side only"))
}

/// Conflict anywhere; a lopsided value only where the questions are otherwise close.
pub(super) fn differ(a: &Reading, b: &Reading, family: Family, frame: &Frame) -> Option<String> {
    conflict(a, b, family).or_else(|| {
        let close = frame.shared() >= 0.75 && frame.order >= 0.6;
        if close { lopsided(a, b, family) } else { None }
    })
}
