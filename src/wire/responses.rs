//! OpenAI responses: bodies, streams and errors of `/v1/responses`.
//!
//! The room is laid out as `chat`: `request` decides what goes into the key, `reduce` finds the answer in an event
//! stream, `judge` says whether it may be stored, `render` turns it back into either shape.
//!
//! Invariants: what a turn takes from the provider's memory (an earlier response, a conversation, an item by its id, a
//! prompt template) is never answered from here; ids of an answer are handles for the next turn, so they are replayed as
//! they came, to the credential that made them and to nobody else.

mod input;
mod judge;
mod reduce;
mod render;
mod request;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use judge::{calls_tools, describe, judge};
pub(super) use reduce::{Reduction, is_terminal};
pub(super) use render::{render_json, render_stream};
pub(super) use request::parse;

use bytes::Bytes;

use super::{
    canonical::{self, Node},
    rendering::member_into,
};

/// A body with a top-level `error` as one event. Some clients look for its members at the top, some inside `error`, so
/// they are at both places.
pub(super) fn error_event(body: &[u8]) -> Option<Bytes> {
    let node = canonical::parse(body).ok()?;
    let source = std::str::from_utf8(body).ok()?;
    let error = node.get("error").filter(|error| !error.is_null())?;
    let mut event = String::from("event: error\ndata: {\"type\":\"error\",\"sequence_number\":0");
    for (key, absent) in [("code", "null"), ("message", "\"\""), ("param", "null")] {
        match error.get(key).filter(|node| node.as_str().is_some()) {
            Some(node) => member_into(key, node, source, &mut event),
            // Some servers say the whole error as one text.
            None if key == "message" && error.as_str().is_some() => member_into(key, error, source, &mut event),
            None => event.extend([",\"", key, "\":", absent]),
        }
    }
    member_into("error", error, source, &mut event);
    event.push_str("}\n\n");
    Some(Bytes::from(event))
}

/// Items of an answer.
fn output<'n, 'a>(root: &'n Node<'a>) -> Option<&'n [Node<'a>]> {
    root.get("output").and_then(Node::as_array)
}

fn kind<'n>(node: &'n Node<'_>) -> &'n str {
    node.get("type").and_then(Node::as_str).unwrap_or_default()
}
