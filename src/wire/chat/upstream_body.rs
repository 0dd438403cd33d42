//! The body for the upstream: the client's own bytes, with at most two small edits.

use std::ops::Range;

use bytes::Bytes;

use crate::wire::{
    Shape,
    canonical::{Member, Object, removal, splice},
};

const ASK: &str = "{\"include_usage\":true}";

/// What goes upstream.
pub(in crate::wire) struct Bodies {
    /// When the answer is recorded.
    pub(in crate::wire) upstream: Bytes,
    /// When the cache is not consulted.
    pub(in crate::wire) plain: Bytes,
    /// Usage is asked for in `upstream` although the client did not ask.
    pub(in crate::wire) usage_added: bool,
}

/// Both bodies, without the member `strip`; usage is asked for when `ask_usage`, on a stream whose client did not.
pub(in crate::wire) fn upstream_bodies(
    body: &Bytes,
    root: &Object<'_>,
    shape: Shape,
    ask_usage: bool,
    strip: Option<&Member<'_>>,
) -> Bodies {
    let (upstream, usage_added) = build(body, root, shape, ask_usage, strip);
    let plain = if usage_added { build(body, root, shape, false, strip).0 } else { upstream.clone() };
    Bodies { upstream, plain, usage_added }
}

/// `body` with usage asked for on a stream whose client did not (when `ask_usage`), and without the member `strip`.
/// Also says whether usage was added.
fn build(body: &Bytes, root: &Object<'_>, shape: Shape, ask_usage: bool, strip: Option<&Member<'_>>) -> (Bytes, bool) {
    let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
    edits.extend(strip.map(|member| (removal(body, member), "")));
    let usage_added = ask_usage && shape == Shape::Stream { include_usage: false };
    if usage_added {
        edits.push(usage_edit(body, root));
    }
    if edits.is_empty() {
        return (body.clone(), false);
    }
    edits.sort_unstable_by_key(|(range, _)| range.start);
    (Bytes::from(splice(body, &edits)), usage_added)
}

/// The edit that asks for usage.
pub(in crate::wire) fn usage_edit(body: &[u8], root: &Object<'_>) -> (Range<usize>, &'static str) {
    let Some(options) = root.member("stream_options").map(|member| &member.node) else {
        // Before the first member: every body has one.
        return (just_inside(body, 0), "\"stream_options\":{\"include_usage\":true},");
    };
    let Some(object) = options.as_object() else { return (options.span(), ASK) };
    match object.member("include_usage") {
        Some(member) => (member.node.span(), "true"),
        None if object.is_empty() => (options.span(), ASK),
        None => (just_inside(body, options.span().start), "\"include_usage\":true,"),
    }
}

/// The empty range right after the first `{` at or after `from`.
pub(in crate::wire) fn just_inside(body: &[u8], from: usize) -> Range<usize> {
    let brace = body.get(from..).unwrap_or_default().iter().position(|b| *b == b'{').unwrap_or_default();
    from + brace + 1..from + brace + 1
}
