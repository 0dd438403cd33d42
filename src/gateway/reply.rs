//! What goes back to the client, and how a stored answer becomes it.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::lookup::Served;
use crate::{
    clock::Timestamp,
    headers::{self, CacheFacts, append_cache_status, cache_status},
    outcome::{HitKind, Outcome},
    upstream::BodyError,
    wire::{Answer, BodyKind, Echo, Family, Fresh, Shape},
};

/// Body of a [`Reply`].
pub enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// A JSON answer out of the cache, rendered here: it alone may be put into a content coding.
    Replay(Bytes),
    /// As it comes; an `Err` item means the connection must abort, never end cleanly.
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Replay(bytes) => write!(f, "Replay({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A response, before it becomes HTTP.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: ReplyBody,
}

/// Renders a stored answer as a hit: a fresh id, today's `created`, the asker's own `echo`, and what it saved in headers.
pub(super) fn hit(served: &Served, shape: Shape, echo: &Echo, now: Timestamp) -> Reply {
    let answer = &served.entry.answer;
    let fresh = Fresh::new(answer.family, now).echoing(echo.clone());
    let Reply { status, mut headers, body } = rendered(answer, &fresh, shape);
    describe(&mut headers, served);
    let body = match body {
        ReplyBody::Whole(json) if shape == Shape::Json => ReplyBody::Replay(json),
        body => body,
    };
    Reply { status, headers, body }
}

/// What the headers of a hit say of its entry.
pub(super) fn describe(headers: &mut HeaderMap, served: &Served) {
    let answer = &served.entry.answer;
    let facts = CacheFacts { ttl: Some(served.ttl_left), ..CacheFacts::default() };
    append_cache_status(headers, &cache_status(served.outcome, &facts));
    headers.insert(header::AGE, HeaderValue::from(served.age.as_secs()));
    insert_text(headers, headers::ENTRY, &served.entry.id.to_string());
    if let Outcome::Hit(HitKind::Semantic(similarity)) | Outcome::StaleHit(HitKind::Semantic(similarity), _) =
        served.outcome
    {
        insert_text(headers, headers::SIMILARITY, &similarity.to_string());
    }
    if let Some(usage) = answer.usage {
        headers.insert(headers::SAVED_INPUT_TOKENS, HeaderValue::from(usage.input));
        headers.insert(headers::SAVED_OUTPUT_TOKENS, HeaderValue::from(usage.output));
    }
    if let Some(id) = answer.id() {
        insert_text(headers, headers::ORIGIN_ID, id);
    }
}

/// A JSON body made of what the cache holds.
pub(super) fn json(body: Bytes) -> Reply {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Reply { status: StatusCode::OK, headers, body: ReplyBody::Replay(body) }
}

/// An answer in the shape asked for, ready to send.
pub(super) fn rendered(answer: &Answer, fresh: &Fresh, shape: Shape) -> Reply {
    let mut headers = HeaderMap::with_capacity(16);
    let body = match shape {
        Shape::Json => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer.render_json(fresh)
        }
        Shape::Stream { include_usage } => {
            headers.insert(header::CONTENT_TYPE, stream_type(answer.family));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            answer.render_stream(fresh, include_usage)
        }
    };
    Reply { status: StatusCode::OK, headers, body: ReplyBody::Whole(body) }
}

/// The content type of a family's streams.
pub(super) const fn stream_type(family: Family) -> HeaderValue {
    match family.streams_as() {
        BodyKind::Lines => HeaderValue::from_static("application/x-ndjson"),
        _ => HeaderValue::from_static("text/event-stream; charset=utf-8"),
    }
}

/// Inserts a header whose value is ours and printable; anything else is left out rather than failing a reply.
pub(super) fn insert_text(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
