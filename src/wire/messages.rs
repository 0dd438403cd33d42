//! Anthropic messages: bodies, streams and errors of `/v1/messages`.
//!
//! `request` decides what goes into the key, `turns` reads the conversation, `blocks` its content. `reduce` turns an event
//! stream into the object that the non-streaming API would have returned, `judge` says whether that may be stored, `render`
//! turns it back into either shape. Every rendered frame has an `event:` line: the official SDKs drop frames without.

mod blocks;
mod judge;
mod reduce;
mod render;
mod request;
#[cfg(test)]
mod tests;
mod turns;

pub(super) use judge::{calls_tools, describe, judge, thinks};
pub(super) use reduce::Reduction;
pub(super) use render::render_stream;
pub(super) use request::parse;

use bytes::Bytes;

use super::{
    canonical::{self, Node, compact_into, quote_into},
    sse::Frame,
};

/// The event that ends a stream.
pub(super) fn is_stop(frame: &Frame) -> bool {
    match (&frame.event, &frame.data) {
        (Some(event), _) => event.as_ref() == b"message_stop",
        (None, Some(data)) => {
            const NEEDLE: &[u8] = b"message_stop";
            data.windows(NEEDLE.len()).any(|part| part == NEEDLE)
                && canonical::parse(data)
                    .is_ok_and(|node| node.get("type").and_then(Node::as_str) == Some("message_stop"))
        }
        (None, None) => false,
    }
}

/// A body with a top-level `error` as the event that SDKs raise.
pub(super) fn error_event(body: &[u8]) -> Option<Bytes> {
    let node = canonical::parse(body).ok()?;
    node.get("error")?;
    let mut event = String::from("event: error\ndata: ");
    compact_into(std::str::from_utf8(body).ok()?, &mut event);
    event.push_str("\n\n");
    Some(Bytes::from(event))
}

/// An error of ours in Anthropic's shape, its type one that the API documents; `code` is our own and stands beside it.
pub(super) fn error_body(kind: &str, message: &str, code: &str) -> Bytes {
    let kind = match (kind, code) {
        (_, "body_too_large") => "request_too_large",
        (_, "upstream_timeout") => "timeout_error",
        ("upstream_error" | "cache_error", _) => "api_error",
        (kind, _) => kind,
    };
    let mut body = String::with_capacity(message.len() + 96);
    body.push_str("{\"type\":\"error\",\"error\":{\"type\":");
    quote_into(kind, &mut body);
    body.push_str(",\"message\":");
    quote_into(message, &mut body);
    body.push_str(",\"code\":");
    quote_into(code, &mut body);
    body.push_str("},\"request_id\":null}");
    Bytes::from(body)
}
