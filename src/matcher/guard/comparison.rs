//! Superlatives and comparatives.

/// A section is a scale.
pub(super) const LIST: &str = "
[extreme]
fastest, quickest
cheapest
biggest, largest, highest, greatest, top
tallest, highest
longest, greatest
shortest
lowest, smallest, least
oldest
youngest
newest, latest, most recent
earliest
worst
most popular
most common
easiest
hardest
strongest
weakest
richest
poorest
hottest
coldest
deepest
heaviest
lightest
closest, nearest
farthest, furthest
safest
healthiest
[degree]
bigger, larger
smaller
faster, quicker
slower
cheaper
older
younger
safer
healthier
stronger
weaker
";

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_extremes_differ() {
        let (a, b) = ("What is the tallest tower in Asia?", "What is the oldest tower in Asia?");
        assert!(slots(a, b).contains(&Slot::Comparison), "{a} / {b}: {:?}", slots(a, b));
    }

    #[test]
    fn two_words_for_an_extreme_match() {
        let (a, b) = ("What is the biggest lake in Asia?", "What is the largest lake in Asia?");
        assert!(!slots(a, b).contains(&Slot::Comparison), "{a} / {b}: {:?}", slots(a, b));
    }
}
