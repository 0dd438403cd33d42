//! Superlatives and comparatives.

/// A section is a scale.
pub(super) const LIST: &str = "
[extreme]
fastest, quickest
cheapest
biggest, largest
smallest
tallest
longest
shortest
highest
lowest
oldest
youngest
newest, latest
earliest
best
worst
most popular
most expensive
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
second largest
second highest
[degree]
bigger, larger
smaller
faster, quicker
slower
cheaper
better
worse
older
younger
safer
healthier
stronger
weaker
";
