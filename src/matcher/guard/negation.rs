//! Negation parity: an odd count of negators on one side and an even count on the other.

use super::frame::{Frame, Style};
use super::reading::Reading;
use super::tags;
use super::text::Token;

/// The negators of a question.
pub(super) fn of(tokens: &[Token]) -> Vec<String> {
    let word = |i: usize| tokens.get(i).map_or("", |t| t.word.as_str());
    let mut out = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = if at == 0 { "" } else { word(at - 1) };
        let negates = match token.word.as_str() {
            "not" => {
                !matches!(before, "or" | "why" | "if") && !matches!(word(at + 1), "only" | "just" | "sure" | "yet")
            }
            "no" => !matches!(word(at + 1), "matter" | "wonder") && before != "or",
            "never" | "without" | "nobody" | "none" | "nothing" | "neither" | "cannot" | "unable" | "except"
            | "nor" | "nowhere" => true,
            _ => false,
        };
        if negates {
            out.push(token.word.clone());
        }
    }
    out
}

/// Words of the side that negates once more, when the parities differ and the questions are otherwise close.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let (x, y) = (&a.negations, &b.negations);
    let same_words = frame.left.is_empty() && frame.right.is_empty() && frame.pairs.len() > 1;
    let close = (same_words || frame.is_minimal(3)) && frame.shared() >= 0.6 && frame.style != Style::Mixed;
    if x.len() % 2 == y.len() % 2 || !close || tags::is_reversed(a, b, frame) {
        return None;
    }
    let more = if x.len() > y.len() { x } else { y };
    more.last().map(|word| format!("'{word}' on one side only"))
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn one_more_negator_differs() {
        for (a, b) in [
            ("Which plants are toxic to cats?", "Which plants are not toxic to cats?"),
            ("Can I fly with a passport?", "Can I fly without a passport?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Negation), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn the_same_parity_matches() {
        for (a, b) in [("Why can't I log in?", "Why can not I log in?"), ("Is it raining or not?", "Is it raining?")] {
            assert!(!slots(a, b).contains(&Slot::Negation), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
