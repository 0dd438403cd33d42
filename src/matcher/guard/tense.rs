//! Tense, where a word settles it.

use super::frame::Frame;
use super::lexicon::Family;
use super::reading::Reading;
use super::tags;

/// Words that put the whole question in another time.
pub(super) const LIST: &str = "
[then]
used to, use to, formerly, previously, former, ex
[change]
becoming, about to become, turning into
[end]
no longer, not any more, not anymore, any longer
";

/// Whether an auxiliary puts a question in the past; nothing for other words. Present and future often ask the same:
/// `does my card work abroad`, `will my card work abroad`.
fn is_past(word: &str) -> Option<bool> {
    match word {
        "did" | "was" | "were" | "had" => Some(true),
        "will" | "is" | "are" | "do" | "does" | "has" | "have" | "am" | "can" | "may" => Some(false),
        _ => None,
    }
}

/// A word of the list, or another auxiliary in an otherwise equal sentence.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let marked = if frame.is_minimal(3) { tags::lopsided(a, b, Family::Tense) } else { None };
    marked.or_else(|| {
        let equal = frame.left.is_empty() && frame.right.is_empty() && frame.left_loose <= 1 && frame.right_loose <= 1;
        let only = |x: &Reading, y: &Reading| {
            let lacking = x.units.iter().find(|u| !y.units.iter().any(|v| v.key == u.key && v.shown == u.shown));
            lacking.and_then(|u| Some((is_past(&u.shown)?, u.shown.clone())))
        };
        let ((p, x), (q, y)) = equal.then(|| Some((only(a, b)?, only(b, a)?))).flatten()?;
        (p != q).then(|| format!("'{x}' against '{y}'"))
    })
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn the_past_is_not_the_present() {
        let (a, b) = ("Does the shop sell maps?", "Did the shop sell maps?");
        assert!(slots(a, b).contains(&Slot::Tense), "{a} / {b}: {:?}", slots(a, b));
    }

    #[test]
    fn what_used_to_be_is_not_what_is() {
        let found = slots("Is Delft the capital?", "Did Delft use to be the capital?");
        assert!(found.contains(&Slot::Tense), "{found:?}");
    }

    #[test]
    fn present_and_future_may_ask_the_same() {
        let (a, b) = ("Will my card work in Spain?", "Does my card work in Spain?");
        assert!(!slots(a, b).contains(&Slot::Tense), "{a} / {b}: {:?}", slots(a, b));
    }
}
