//! Ollama's native protocol: bodies and streams of `/api/chat` and `/api/generate`.
//!
//! A stream is lines of JSON (NDJSON), and the default: only `"stream": false` asks for one body. The last line says
//! `"done": true`, why, and what was counted. Answers have no ids. `request` says what goes into the key, `reduce` what
//! lines add up to, `judge` what may be stored, `render` how it becomes lines again.

mod judge;
mod reduce;
mod render;
mod request;
#[cfg(test)]
mod tests;

pub(super) use judge::{calls_tools, describe, judge};
pub(super) use reduce::Reduction;
pub(super) use render::render_stream;
pub(super) use request::parse;

use bytes::Bytes;

use super::{
    canonical::{self, Node, compact_into, quote_into},
    sse::Frame,
};

/// The line that ends a stream.
pub(super) fn is_done(frame: &Frame) -> bool {
    const NEEDLE: &[u8] = b"\"done\"";
    frame.data.as_ref().is_some_and(|data| {
        data.windows(NEEDLE.len()).any(|part| part == NEEDLE)
            && canonical::parse(data).is_ok_and(|line| line.get("done").and_then(Node::as_bool) == Some(true))
    })
}

/// A body with a top-level `error` as the line that clients raise.
pub(super) fn error_event(body: &[u8]) -> Option<Bytes> {
    let node = canonical::parse(body).ok()?;
    node.get("error").filter(|error| !error.is_null())?;
    let mut line = String::new();
    compact_into(std::str::from_utf8(body).ok()?, &mut line);
    line.push('\n');
    Some(Bytes::from(line))
}

/// An error of ours in Ollama's shape: a text, and our own code beside it.
pub(super) fn error_body(message: &str, code: &str) -> Bytes {
    let mut body = String::from("{\"error\":");
    quote_into(message, &mut body);
    body.push_str(",\"code\":");
    quote_into(code, &mut body);
    body.push('}');
    Bytes::from(body)
}
