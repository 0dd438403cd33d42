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
    let frame = Frame::of(cached, asked);
    Slot::ALL.iter().filter_map(|&slot| Some((slot, differ(slot, cached, asked, &frame)?))).collect()
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

/// Scratch.
pub fn probe(a: &str, b: &str) -> (usize,usize,usize,usize,u16,u16,f32,f32,usize) {
    let (a,b)=(Reading::of(a),Reading::of(b)); let f=Frame::of(&a,&b);
    (f.left.len(),f.right.len(),f.left_loose,f.right_loose,a.aspect.0,b.aspect.0,f.shared(),f.order,f.pairs.len())
}
/// Scratch.
pub fn fw(a: &str, b: &str) -> (Vec<String>,Vec<String>) {
    let (a,b)=(Reading::of(a),Reading::of(b));
    let o=|x:&Reading,y:&Reading| x.units.iter().filter(|u|!u.is_content() && !y.units.iter().any(|v|v.key==u.key)).map(|u|u.shown.clone()).collect::<Vec<_>>();
    (o(&a,&b),o(&b,&a))
}
/// Scratch.
pub fn names(b:u16)->String{ aspect::NAMES.iter().enumerate().filter(|(i,_)|b>>i&1==1).map(|x|*x.1).collect::<Vec<_>>().join("+") }
/// Scratch.
pub fn clipped(a: &Reading, b: &Reading) -> (bool,bool) { (a.is_clipped(),b.is_clipped()) }
