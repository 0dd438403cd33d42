//! Request directives.

/// What a request asks of the cache.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directives {}
