//! Quantifiers, and the two ways to join.

use super::frame::Frame;
use super::lexicon::Family;
use super::reading::Reading;
use super::tags;

/// Values exclude each other inside a section.
pub(super) const LIST: &str = "
[amount]
all, every, each, entire, whole
both
either
neither
none, none of
some
most
few, several, some
at least, minimum of, or more, not less than
at most, maximum of, no more than, or less, or fewer
more than, greater than, exceeding
less than, fewer than
only, solely, exclusively
";

/// `and` against `or`.
pub(super) const CONJUNCTIONS: &str = "
and, as well as, plus, along with | or, versus, vs
";

/// `and` where the other, otherwise nearly equal, says `or`.
pub(super) fn joined_otherwise(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let close = frame.is_minimal(2);
    if close { tags::conflict(a, b, Family::Conjunction) } else { None }
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_amounts_differ() {
        for (a, b) in [
            ("Does it delete all files?", "Does it delete some files?"),
            ("Do I need at least three photos?", "Do I need at most three photos?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Quantifier), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn wordings_of_all_match() {
        let (a, b) = ("Does every user get one?", "Does each user get one?");
        assert!(!slots(a, b).contains(&Slot::Quantifier), "{a} / {b}: {:?}", slots(a, b));
    }
}
