//! The minimal edit: questions that are word for word the same but for one or two content words.
//!
//! People who re-word a question rarely change just one word of it; people who ask another question do.

use super::frame::Frame;
use super::reading::Reading;

/// The words in which the two differ, when that is all they differ in.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    let (l, r) = (frame.left.len(), frame.right.len());
    if l + r == 0 || l > 2 || r > 2 || frame.order < 0.6 {
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
