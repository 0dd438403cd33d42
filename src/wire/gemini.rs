//! Gemini's protocol: bodies and streams of `models/{model}:generateContent` and `:streamGenerateContent`.
//!
//! The path names the model and says whether a stream is asked for; with `alt=sse` that is one of events, each a whole
//! response with a piece of the answer, and nothing marks the last one but its `finishReason`. Any other form of a stream
//! passes through. `request` says what goes into the key, `contents` reads the conversation, `reduce` adds events up,
//! `judge` says what may be stored, `render` makes events of it again.

mod contents;
mod judge;
mod reduce;
mod render;
mod request;
#[cfg(test)]
mod tests;

pub(super) use judge::{calls_tools, describe, judge, thinks};
pub(super) use reduce::Reduction;
pub(super) use render::render_stream;
pub(super) use request::parse;

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use super::{
    canonical::{Node, Object, quote_into},
    model::method_in_path,
};
use crate::outcome::BypassReason;

/// What a path of this protocol asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'p> {
    /// Model named.
    pub model: &'p str,
    /// A stream is asked for.
    pub streams: bool,
}

impl<'p> Asked<'p> {
    /// Reads a path such as `/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse`; `None` for any that does not
    /// make content.
    pub fn of(path_and_query: &'p str) -> Option<Self> {
        let (model, verb) = method_in_path(path_and_query)?;
        let streams = match verb {
            "generateContent" => false,
            "streamGenerateContent" => true,
            _ => return None,
        };
        Some(Self { model, streams })
    }
}

/// An error of ours as Google's APIs tell theirs (google.rpc.Status); our own code is its reason.
pub(super) fn error_body(status: StatusCode, message: &str, code: &str) -> Bytes {
    let name = match status.as_u16() {
        400 | 413 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    let mut body = format!("{{\"error\":{{\"code\":{},\"message\":", status.as_u16());
    quote_into(message, &mut body);
    body.push_str(&format!(
        ",\"status\":\"{name}\",\"details\":[{{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\""
    ));
    body.push_str(",\"domain\":\"semblance\",\"reason\":");
    quote_into(code, &mut body);
    body.push_str("}]}}");
    Bytes::from(body)
}

/// A field's name in the case that the API documents; it takes `snake_case` as well.
fn camel(key: &str) -> Cow<'_, str> {
    if !key.contains('_') {
        return Cow::Borrowed(key);
    }
    let (mut name, mut upper) = (String::with_capacity(key.len()), false);
    for letter in key.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                name.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => name.push(letter),
        }
    }
    Cow::Owned(name)
}

/// Members that say something, by their documented names, sorted by them. `Err` when one is there in both spellings: two
/// readers could understand it differently.
fn members<'n, 'a>(object: &'n Object<'a>) -> Result<Vec<(Cow<'n, str>, &'n Node<'a>)>, BypassReason> {
    let mut all: Vec<_> = object.present().map(|member| (camel(&member.key), &member.node)).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let doubled = all.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
    if doubled { Err(BypassReason::Unparsable) } else { Ok(all) }
}
