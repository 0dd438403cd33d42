//! Names: the gazetteer's by kind, and capitalised words it does not know.

use super::frame::Frame;
use super::lexicon::Family;
use super::reading::Reading;
use super::tags;

/// Two names of one kind, or two unknown names, that stand against each other.
pub(super) fn differ(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    tags::conflict(a, b, Family::Entity).or_else(|| if frame.shared() >= 0.5 { unknown(a, b) } else { None })
}

fn unknown(a: &Reading, b: &Reading) -> Option<String> {
    let only = |x: &Reading, y: &Reading| {
        x.units
            .iter()
            .find(|u| {
                u.named
                    && u.is_content()
                    && u.tags.is_empty()
                    && !y.units.iter().any(|v| v.key == u.key || super::frame::alike(u, v))
            })
            .map(|u| u.shown.clone())
    };
    let (x, y) = (only(a, b)?, only(b, a)?);
    Some(format!("'{x}' against '{y}'"))
}
