//! Token counts: how they are read, and how they are kept from clients that did not ask for them.

use bytes::Bytes;

use crate::wire::{
    Usage,
    canonical::{self, Node, removal, splice},
    sse::Frame,
};

/// What a client that did not ask for usage sees of `frame`: nothing of the usage chunk, other frames without their
/// `usage` member, and everything else as received.
pub(in crate::wire) fn strip_usage(frame: &Frame) -> Option<Bytes> {
    const NEEDLE: &[u8] = b"\"usage\"";
    let unchanged = || Some(frame.raw.clone());
    let Some(data) = frame.data.as_ref().filter(|data| data.windows(NEEDLE.len()).any(|part| part == NEEDLE)) else {
        return unchanged();
    };
    let Ok(chunk) = canonical::parse(data) else { return unchanged() };
    let Some(usage) = chunk.as_object().and_then(|object| object.member("usage")) else { return unchanged() };
    let no_choices = chunk.get("choices").and_then(Node::as_array).is_some_and(<[_]>::is_empty);
    if no_choices && !usage.node.is_null() {
        return None;
    }
    let data = splice(data, &[(removal(data, usage), "")]);
    Some(frame.with_data(&data).raw)
}

/// The counts of a `usage` object.
pub(in crate::wire) fn tokens(usage: &Node<'_>) -> Option<Usage> {
    let count = |key| usage.get(key).and_then(Node::as_u64);
    Some(Usage { input: count("prompt_tokens")?, output: count("completion_tokens")? })
}
