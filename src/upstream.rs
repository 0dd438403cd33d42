//! The provider side: send a request, get status, headers and a body stream back, unchanged.
//!
//! [`http`] talks to a real provider, [`routes`] picks one of several for each request; [`scripted`] is the built-in
//! model behind `--upstream demo` and `replay`.

pub mod http;
pub mod routes;
pub mod scripted;

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

/// Body of a request to the upstream.
pub enum UpstreamBody {
    /// All of it.
    Whole(Bytes),
    /// As it comes from the client.
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A body stream broke before its end. Carries no detail on purpose: a client only sees the connection abort.
#[derive(Debug, Clone, thiserror::Error)]
#[error("body ended early: {0}")]
pub struct BodyError(pub String);

/// What decides which upstream a request goes to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Path with query, as the client sent it.
    pub path_and_query: &'a str,
    /// The client's headers.
    pub headers: &'a ::http::HeaderMap,
    /// The model that its body names; `None` where that is not read.
    pub model: Option<&'a str>,
}

/// A request for the upstream; headers already free of hop-by-hop fields and of our own.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// Method.
    pub method: ::http::Method,
    /// Path with query, as the client sent it.
    pub path_and_query: String,
    /// Headers to send.
    pub headers: ::http::HeaderMap,
    /// The model that the body names; `None` where that is not read.
    pub model: Option<String>,
    /// Somebody waits for an answer, so another upstream may give it when the right one fails. False for background work,
    /// whose answer is worth nothing when it comes from elsewhere.
    pub may_fall_back: bool,
    /// It came with a key of the gateway's own, which is no longer in it: only an upstream that has a key configured, or
    /// asks for none, may have it.
    pub needs_own_key: bool,
    /// Body to send.
    pub body: UpstreamBody,
}

impl UpstreamRequest {
    /// What decides where it goes.
    pub fn target(&self) -> Target<'_> {
        let Self { path_and_query, headers, model, .. } = self;
        Target { path_and_query, headers, model: model.as_deref() }
    }
}

/// The upstream's answer: headers free of hop-by-hop fields, body bytes as received.
pub struct UpstreamResponse {
    /// Status.
    pub status: ::http::StatusCode,
    /// Headers.
    pub headers: ::http::HeaderMap,
    /// Body; an `Err` item means it broke and must not be ended cleanly.
    pub body: BoxStream<'static, Result<Bytes, BodyError>>,
    /// Another upstream gave it in the stead of the one whose scope the request has: to be passed on, never kept.
    pub stand_in: bool,
}

impl std::fmt::Debug for UpstreamResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why the upstream gave no answer at all.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("cannot connect to the upstream: {0}")]
    Connect(String),
    /// No answer within the time allowed.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The connection broke before a response.
    #[error("the upstream broke the connection: {0}")]
    Broken(String),
    /// The request came with a key of the gateway's own, and no key of a provider's is configured to go out in its stead.
    #[error(
        "this gateway's own keys never go to a provider, and it has none of the provider's for this request: set api_key_env in the [upstreams.NAME] that takes it ({upstream})"
    )]
    NoKey {
        /// Who would have been asked.
        upstream: String,
    },
    /// The request's own body broke.
    #[error("the client broke the request body: {0}")]
    ClientBody(String),
}

impl UpstreamError {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "upstream-connect",
            Self::Timeout => "upstream-timeout",
            Self::Broken(_) => "upstream-broken",
            Self::NoKey { .. } => "no-upstream-key",
            Self::ClientBody(_) => "client-body",
        }
    }
}

/// Something that answers requests as a provider would.
pub trait Upstream: Send + Sync + std::fmt::Debug {
    /// Sends `request`. An error means no response began; a failure after that is in the body stream.
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>>;

    /// Base URL that such a request goes to, and whose account there, where that is ours to choose: part of the scope.
    fn base_url(&self, target: &Target<'_>) -> &str;

    /// Whether it answers without any credential.
    fn asks_for_no_key(&self) -> bool {
        false
    }
}
