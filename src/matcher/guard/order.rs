//! Order in time: before and after, until and since.

/// The wordings of each side.
pub(super) const LIST: &str = "
before, prior to, ahead of, in advance of, in advance, beforehand, earlier than, leading up to | after, following, afterwards, later than
";

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn before_is_not_after() {
        let (a, b) = ("Do I stretch before running?", "Do I stretch after running?");
        assert!(slots(a, b).contains(&Slot::Order), "{a} / {b}: {:?}", slots(a, b));
    }

    #[test]
    fn wordings_of_before_match() {
        let (a, b) = ("Do I stretch before running?", "Do I stretch prior to running?");
        assert!(!slots(a, b).contains(&Slot::Order), "{a} / {b}: {:?}", slots(a, b));
    }
}
