//! The contrast guard: compares the slots of two questions, rejects a near miss and names what differs.
//!
//! Invariants: it may only reject, never accept on its own; the same two questions always get the same verdict; a
//! question never differs from itself; reading and comparing take microseconds and never fail.

mod aspect;
mod comparison;
mod context;
mod dates;
mod direction;
mod entities;
mod formats;
mod frame;
mod ids;
mod lexicon;
mod negation;
mod numbers;
mod order;
mod quantifiers;
mod quotes;
mod reading;
mod roles;
mod slot;
mod tags;
mod tense;
mod text;
mod tiers;
mod units;
mod wording;

pub use context::leans_on_context;
pub use reading::Reading;
pub use slot::Slot;

use frame::Frame;
use lexicon::Family;

/// Grows with every change of what is rejected: the verifier's bars are measured behind one version of the guard.
pub const VERSION: u32 = 1;

/// What the guard says of two questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No slot differs. Says nothing about sameness beyond that.
    Pass,
    /// The questions ask for different things.
    Reject {
        /// The slot that differs.
        slot: Slot,
        /// The words that differ, for people.
        detail: String,
    },
}

/// Compares a cached question with the one asked.
pub fn compare(cached: &Reading, asked: &Reading) -> Verdict {
    let (cached, asked) = in_order(cached, asked);
    let frame = Frame::of(cached, asked);
    let first = Slot::ALL.iter().find_map(|&slot| Some((slot, differ(slot, cached, asked, &frame)?)));
    first.map_or(Verdict::Pass, |(slot, detail)| Verdict::Reject { slot, detail })
}

/// Reads and compares two questions.
pub fn check(cached: &str, asked: &str) -> Verdict {
    compare(&Reading::of(cached), &Reading::of(asked))
}

/// Every slot that differs, with the words.
pub fn differences(cached: &Reading, asked: &Reading) -> Vec<(Slot, String)> {
    let (cached, asked) = in_order(cached, asked);
    let frame = Frame::of(cached, asked);
    Slot::ALL.iter().filter_map(|&slot| Some((slot, differ(slot, cached, asked, &frame)?))).collect()
}

/// One order for both ways round, so that the verdict on two questions does not depend on which came first.
fn in_order<'r>(a: &'r Reading, b: &'r Reading) -> (&'r Reading, &'r Reading) {
    let keys = |r: &'r Reading| r.units.iter().map(|u| u.key);
    if keys(b).lt(keys(a)) { (b, a) } else { (a, b) }
}

/// The words in which `slot` differs, if it does.
fn differ(slot: Slot, a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    match slot {
        Slot::Id => ids::conflict(&a.ids, &b.ids),
        Slot::Version => ids::conflict(&a.versions, &b.versions),
        Slot::Number => numbers::differ(a, b, frame),
        Slot::Date => tags::conflict(a, b, Family::Date),
        Slot::Unit => tags::conflict(a, b, Family::Unit),
        Slot::Currency => tags::conflict(a, b, Family::Currency),
        Slot::Negation => negation::differ(a, b, frame),
        Slot::Antonym => tags::near_conflict(a, b, Family::Antonym, frame),
        Slot::Direction => direction::differ(a, b, frame),
        Slot::Order => tags::near_conflict(a, b, Family::Order, frame),
        Slot::Entity => entities::differ(a, b, frame),
        Slot::Language => tags::conflict(a, b, Family::Language),
        Slot::Format => tags::near_conflict(a, b, Family::Format, frame),
        Slot::Quantifier => tags::near_conflict(a, b, Family::Quantifier, frame),
        Slot::Conjunction => quantifiers::joined_otherwise(a, b, frame),
        Slot::Tier => tags::near_conflict(a, b, Family::Tier, frame),
        Slot::Role => tags::near_conflict(a, b, Family::Role, frame),
        Slot::Person => roles::owner(a, b, frame),
        Slot::Aspect => aspect::differ(a, b, frame),
        Slot::Tense => tense::differ(a, b, frame),
        Slot::Comparison => tags::near_conflict(a, b, Family::Comparison, frame),
        Slot::Wording => wording::differ(a, b, frame),
    }
}

#[cfg(test)]
mod tests;
