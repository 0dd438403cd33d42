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

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_names_differ() {
        for (a, b) in [
            ("Is tipping usual in Japan?", "Is tipping usual in Spain?"),
            ("is ryanair cheaper in may", "is easyjet cheaper in may"),
            ("Does Zorblatt ship to Oslo?", "Does Quuxly ship to Oslo?"),
            ("Can I park in California overnight?", "Can I park in Texas overnight?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Entity), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn one_place_under_two_names_matches() {
        for (a, b) in [
            ("Is tipping usual in the US?", "Is tipping usual in America?"),
            ("Do I need a visa for Germany?", "Do I need a visa for Berlin?"),
            ("Is the Canadian rail pass refundable?", "Is the rail pass of Canada refundable?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Entity), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
