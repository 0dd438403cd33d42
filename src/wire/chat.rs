//! OpenAI chat completions: bodies, streams and errors of `/v1/chat/completions`, and of the many servers that speak it.
//!
//! `request` decides what goes into the key, `reduce` adds up what an event stream says, `judge` says whether that may
//! be stored, `render` turns it back into either shape.

mod judge;
mod reduce;
mod render;
mod request;
#[cfg(test)]
mod tests;
mod turns;
mod upstream_body;
mod usage;

pub(super) use judge::{calls_tools, describe, judge};
pub(super) use reduce::Reduction;
pub(super) use render::render_stream;
pub(super) use request::{parse, shape};
pub(super) use upstream_body::{just_inside, upstream_bodies, usage_edit};
pub(super) use usage::{strip_usage, tokens};

use bytes::Bytes;

use super::{canonical, sse::Frame};

/// What an operator may set about chat completions.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatSettings {
    /// An explicit temperature above this bypasses the cache.
    pub max_temperature: f64,
    /// The temperature that the upstream takes when none is given, where that is known: then the two are the same.
    pub default_temperature: Option<f64>,
    /// Ask the upstream for usage on streams whose client did not; off for upstreams that refuse `stream_options`.
    pub add_usage: bool,
    /// Keep the caches of `user`, `safety_identifier` and `metadata` values apart instead of ignoring these fields.
    pub per_user: bool,
    /// A model whose name holds one of these searches the web, so its answers are never cached.
    pub search_models: Vec<String>,
}

impl Default for ChatSettings {
    fn default() -> Self {
        let search = ["-search-preview", "-search-api", ":online", "sonar", "groq/compound", "compound-beta"];
        Self {
            max_temperature: 1.0,
            default_temperature: Some(1.0),
            add_usage: true,
            per_user: false,
            search_models: search.map(str::to_owned).to_vec(),
        }
    }
}

/// The marker that ends a stream.
pub(super) fn is_done(frame: &Frame) -> bool {
    frame.data.as_ref().is_some_and(|data| data.starts_with(b"[DONE]"))
}

/// A body with a top-level `error` as one event; SDKs raise it (wire.md 1.4).
pub(super) fn error_event(body: &[u8]) -> Option<Bytes> {
    let node = canonical::parse(body).ok()?;
    node.get("error").filter(|error| !error.is_null())?;
    let mut event = String::from("data: ");
    canonical::compact_into(std::str::from_utf8(body).ok()?, &mut event);
    event.push_str("\n\n");
    Some(Bytes::from(event))
}
