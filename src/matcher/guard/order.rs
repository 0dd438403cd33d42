//! Order in time: before and after, until and since.

/// The wordings of each side.
pub(super) const LIST: &str = "
before, prior to, ahead of, in advance of, in advance, beforehand, earlier than, leading up to | after, following, afterwards, later than
";
