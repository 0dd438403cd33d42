//! Marks on the tokens of a pair: what both questions share, what they share in another place, what only one has.
//!
//! A swapped role or one changed word then stands out in the model's first layer. Invariant: the marks are those that
//! `net.py` of the training recipe gives for the same ids, ties included.

use std::collections::HashSet;

use crate::model::wordpiece::Tokens;

/// Added to the type of a token of the longest common subsequence of the two sides.
const SHARED: u8 = 2;
/// Added to the type of a token that the other side has too, outside that subsequence.
const MOVED: u8 = 4;

/// Adds the marks to the types of a pair that `wordpiece::encode_pair` made.
pub(super) fn mark(pair: &mut Tokens) {
    let second = pair.types.iter().take_while(|side| **side == 0).count();
    // Neither the start nor the separators are part of a question.
    let (a, b) = (1..second.saturating_sub(1), second..pair.ids.len().saturating_sub(1));
    let (first, other) = (&pair.ids[a.clone()], &pair.ids[b.clone()]);
    let (left, right) = marks(first, other);
    for (side, found) in [(a, left), (b, right)] {
        for (kind, mark) in pair.types[side].iter_mut().zip(found) {
            *kind += mark;
        }
    }
}

/// The marks of each side's tokens.
///
/// The subsequence is found from the front: equal tokens are taken, else the side is advanced whose rest shares more
/// with the other's, the first side when both do.
fn marks(a: &[u32], b: &[u32]) -> (Vec<u8>, Vec<u8>) {
    let width = b.len() + 1;
    // rest[i * width + j]: how long a subsequence a[i..] and b[j..] share. Windows are far below 65,536 tokens.
    let mut rest = vec![0_u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            rest[i * width + j] = if a[i] == b[j] {
                rest[(i + 1) * width + j + 1] + 1
            } else {
                rest[(i + 1) * width + j].max(rest[i * width + j + 1])
            };
        }
    }
    let mut found = (elsewhere(a, b), elsewhere(b, a));
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            (found.0[i], found.1[j]) = (SHARED, SHARED);
            (i, j) = (i + 1, j + 1);
        } else if rest[(i + 1) * width + j] >= rest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

/// [`MOVED`] for each token that the other side has anywhere.
fn elsewhere(side: &[u32], other: &[u32]) -> Vec<u8> {
    let other: HashSet<u32> = other.iter().copied().collect();
    side.iter().map(|id| if other.contains(id) { MOVED } else { 0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::wordpiece;

    #[test]
    fn types_are_those_of_the_training_recipe() {
        // Printed by `pair_ids` of models/verifier/net.py.
        let cases: [(&str, &str, &[u8]); 6] = [
            ("Can Anna pay Tom?", "can tom pay anna?", &[0, 2, 4, 4, 2, 2, 0, 3, 3, 5, 5, 3, 1]),
            ("Is 5 more than 3?", "Is 3 more than 5?", &[0, 2, 4, 2, 2, 4, 2, 0, 3, 5, 3, 3, 5, 3, 1]),
            ("", "why", &[0, 0, 1, 1]),
            ("a b c a b", "b a c b a a", &[0, 4, 2, 4, 2, 2, 0, 3, 3, 5, 3, 5, 5, 1]),
            (
                "How do I convert a list of strings to a list of integers?",
                "How do I convert a list of integers to a list of strings?",
                &[0, 2, 2, 2, 2, 2, 2, 2, 4, 2, 2, 2, 2, 4, 2, 0, 3, 3, 3, 3, 3, 3, 3, 5, 3, 3, 3, 3, 5, 3, 1],
            ),
            ("tell me more more more", "more about me", &[0, 0, 4, 2, 4, 4, 0, 3, 1, 5, 1]),
        ];
        for (first, second, types) in cases {
            let mut pair = wordpiece::encode_pair(first, second, 512);
            mark(&mut pair);
            assert_eq!(pair.types, types, "{first} | {second}");
        }
    }

    proptest::proptest! {
        #[test]
        fn both_sides_share_a_subsequence_of_one_length(a in "[abc ]{0,24}", b in "[abc ]{0,24}") {
            let mut pair = wordpiece::encode_pair(&a, &b, 512);
            mark(&mut pair);
            let picked = |side: u8| -> Vec<u32> {
                pair.ids.iter().zip(&pair.types).filter(|(_, kind)| **kind == side + SHARED).map(|(id, _)| *id).collect()
            };
            proptest::prop_assert_eq!(picked(0), picked(1));
        }
    }
}
