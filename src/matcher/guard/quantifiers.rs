//! Quantifiers, and the two ways to join.

/// Values exclude each other inside a section.
pub(super) const LIST: &str = "
[amount]
all, every, each, entire, whole
both
either
neither
none, none of
some
most
few, several
half
at least, minimum of, or more, not less than
at most, maximum of, up to, no more than, or less, or fewer
more than, over, above, greater than, exceeding
less than, under, below, fewer than
only, solely, exclusively
";

/// `and` against `or`.
pub(super) const CONJUNCTIONS: &str = "
and, as well as, plus, along with | or, versus, vs
";
