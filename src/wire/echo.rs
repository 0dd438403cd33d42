//! What an answer repeats of its request although it does not shape it: labels, limits, the app's own metadata.
//!
//! A stored answer repeats what the request that made it said. Whoever is served it later must find their own words
//! there, not somebody else's.

use std::ops::Range;

use super::canonical::{Object, compact_into};

/// Members as the request said them, as JSON text on one line. Empty for protocols that repeat nothing.
///
/// Only requests that get the same repeated may share one running answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Echo(Vec<(&'static str, String)>);

impl Echo {
    /// Of `keys`, each with what an answer says where the request says nothing, what `root` says in `source`.
    pub(super) fn of(root: &Object<'_>, source: &str, keys: &[(&'static str, &str)]) -> Self {
        let said = |(key, absent): &(&'static str, &str)| {
            let mut text = String::new();
            compact_into(root.get(key).map_or(*absent, |node| node.raw(source)), &mut text);
            (*key, text)
        };
        Self(keys.iter().map(said).collect())
    }

    /// The edits that make the answer `root` repeat this request, in order. What an answer leaves out stays out.
    pub(super) fn edits<'e>(&'e self, root: &Object<'_>) -> Vec<(Range<usize>, &'e str)> {
        let edit = |(key, text): &'e (&'static str, String)| Some((root.member(key)?.node.span(), text.as_str()));
        let mut edits: Vec<_> = self.0.iter().filter_map(edit).collect();
        edits.sort_unstable_by_key(|(range, _)| range.start);
        edits
    }
}
