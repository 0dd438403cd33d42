//! The minimal edit: questions that are word for word the same but for one or two content words.
//!
//! People who re-word a question rarely change just one word of it; people who ask another question do.

use super::frame::{Frame, Style};
use super::quotes;
use super::reading::Reading;
use super::tags;

/// The words in which the two differ, when that is all they differ in.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    if let Some(detail) = quotes::differ(&a.quotes, &b.quotes) {
        return Some(detail);
    }
    if is_request(a, b, frame) || !is_edit(frame) || tags::is_reversed(a, b, frame) {
        return None;
    }
    let words = |reading: &Reading, of: &[usize]| {
        of.iter().map(|&i| reading.units[i].shown.as_str()).collect::<Vec<_>>().join(" ")
    };
    let (x, y) = (words(a, &frame.left), words(b, &frame.right));
    Some(match (x.is_empty(), y.is_empty()) {
        (false, false) => format!("'{x}' against '{y}'"),
        (false, true) => format!("'{x}' on one side only"),
        _ => format!("'{y}' on one side only"),
    })
}

/// Whether one side only adds the verb that asks: `translate ... into German` and `... in German`.
fn is_request(a: &Reading, b: &Reading, frame: &Frame) -> bool {
    let (reading, more) = match (frame.left.as_slice(), frame.right.as_slice()) {
        ([], [one]) => (b, *one),
        ([one], []) => (a, *one),
        _ => return false,
    };
    let asks = |word: &str| {
        matches!(
            word,
            "translate"
                | "translation"
                | "convert"
                | "explain"
                | "give"
                | "write"
                | "make"
                | "put"
                | "summarize"
                | "summarise"
                | "rewrite"
                | "find"
                | "calculate"
                | "plan"
                | "describe"
                | "define"
                | "show"
                | "create"
                | "meaning"
                | "mean"
        )
    };
    reading.units.get(more).is_some_and(|u| asks(&u.shown))
}

/// Whether so little differs that the difference must be meant. The bounds are measured on the contrast set: inside
/// them, questions with the same answer are at least ten times rarer than near misses.
fn is_edit(frame: &Frame) -> bool {
    let left = (frame.left.len(), frame.left_loose);
    let right = (frame.right.len(), frame.right_loose);
    let ((fewer, loose), (more, other_loose)) = if left.0 <= right.0 { (left, right) } else { (right, left) };
    let slack = match frame.style {
        // A note and a sentence: dropped words are style, not meaning.
        Style::Mixed => return fewer > 0 && more < 3 && loose + other_loose == 0,
        Style::Notes => 1,
        Style::Sentences => 3,
    };
    let sentences = frame.style == Style::Sentences && frame.pairs.len() > 1;
    match (fewer, more) {
        (_, 0) => false,
        (0, 1) if loose + other_loose <= 2 && loose <= 1 => true,
        (0, 2) if loose + other_loose <= 1 => true,
        (1, 1) if loose + other_loose <= slack => true,
        (1 | 2, 2) if loose + other_loose < slack => true,
        // The whole of one sentence and a clause more.
        (0, ..=5) if sentences && loose == 0 => true,
        _ => sentences && frame.order >= 0.75,
    }
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn one_other_word_in_the_same_sentence_differs() {
        for (a, b) in [
            ("How do I prune roses?", "How do I propagate roses?"),
            ("Is the pool open?", "Is the heated pool open?"),
            ("How do I cancel my order?", "How do I cancel my order if it has shipped?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Wording), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn synonyms_and_double_reversals_match() {
        for (a, b) in [
            ("How do I repair a bicycle?", "How do I fix a bicycle?"),
            ("How do I improve my sleep?", "How to improve my sleep?"),
            ("How can I become more visible?", "How can I become less invisible?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Wording), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
