//! The minimal edit: questions that are word for word the same but for one or two content words.
//!
//! People who re-word a question rarely change just one word of it; people who ask another question do.

use super::frame::Frame;
use super::reading::Reading;

/// The words in which the two differ, when that is all they differ in.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    if !is_edit(frame, a.is_clipped() == b.is_clipped(), a.is_clipped()) {
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

/// Whether so little differs that the difference must be meant. The bounds are measured: below them, questions with
/// the same answer are at least twenty times rarer than near misses.
fn is_edit(frame: &Frame, same_style: bool, clipped: bool) -> bool {
    let left = (frame.left.len(), frame.left_loose);
    let right = (frame.right.len(), frame.right_loose);
    let ((fewer, loose), (more, other_loose)) = if left.0 <= right.0 { (left, right) } else { (right, left) };
    if !same_style {
        // A note and a sentence: dropped words are style, not meaning.
        return fewer > 0 && more < 3 && loose + other_loose == 0;
    }
    let slack = if clipped { 1 } else { 3 };
    match (fewer, more) {
        (0, 1) => loose + other_loose <= 2 && loose <= 1,
        (0, 2) => loose + other_loose <= 1,
        _ if fewer == 0 && more <= 5 && loose == 0 && !clipped && frame.pairs.len() > 1 => true,
        (1, 1) => loose + other_loose <= slack,
        (1 | 2, 2) => loose + other_loose < slack,
        _ => false,
    }
}
