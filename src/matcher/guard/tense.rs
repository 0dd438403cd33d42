//! Tense, where a word settles it.

/// Values exclude each other.
pub(super) const LIST: &str = "
[time]
used to, formerly, previously, former, ex
becoming, about to become
still
yet
already
no longer, not any more, not anymore, any longer
again
";
