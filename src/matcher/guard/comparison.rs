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
