//! Our own errors, each with one status and one body in the shape of the caller's protocol.
//!
//! Errors of the upstream never come here: they pass through unchanged.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    gateway::{Reply, ReplyBody},
    keys::Refusal,
    upstream::UpstreamError,
    wire::{self, Family},
};

/// Why the gateway itself refuses or fails a request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// No credential where one is needed.
    #[error(
        "no credential: send your provider key as `Authorization: Bearer ...` (or set allow_anonymous = true for this gateway)"
    )]
    Unauthenticated,
    /// A key of the gateway's own that is not accepted, or none where one is asked for.
    #[error("{0}")]
    Key(#[from] Refusal),
    /// The body is above the gateway's limit.
    #[error("request body is larger than this gateway's limit of {limit} bytes (limits.body_bytes)")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client broke its own body.
    #[error("request body ended early")]
    BodyBroken,
    /// The client sent nothing more of its body for too long.
    #[error("the rest of the request body did not come in time (limits.client_stall_ms)")]
    BodyStalled,
    /// Two readers could take the request for different ones.
    #[error("{0}")]
    Unsound(&'static str),
    /// The body is not in the coding that its headers name.
    #[error("request body is not valid {coding}, which its content-encoding says it is")]
    BodyUndecodable {
        /// The coding.
        coding: &'static str,
    },
    /// A directive header that cannot be read.
    #[error("{0}")]
    BadDirective(String),
    /// `only-if-cached`, and it is not.
    #[error("not in the cache, and the request said only-if-cached")]
    OnlyIfCached,
    /// The gateway has too much to do.
    #[error("this gateway is at its limit of concurrent requests; try again shortly")]
    Overloaded,
    /// The upstream gave no answer.
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    /// The upstream's answer cannot be given in the shape asked for.
    #[error("the upstream answered a stream request with JSON that cannot be streamed")]
    WrongShape,
    /// The upstream broke its answer before it could be given.
    #[error("the upstream broke off its answer")]
    BrokenAnswer,
}

/// How a refused key is answered.
const fn refused(refusal: Refusal) -> (StatusCode, &'static str, &'static str) {
    let (status, kind) = match refusal {
        Refusal::TooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
        Refusal::Unreadable => (StatusCode::SERVICE_UNAVAILABLE, "api_error"),
        Refusal::Unknown | Refusal::Revoked | Refusal::Expired | Refusal::Several | Refusal::Missing => {
            (StatusCode::UNAUTHORIZED, "authentication_error")
        }
    };
    (status, kind, refusal.reason())
}

impl ClientError {
    /// Status, error type and stable code.
    const fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "authentication_error", "no_credential"),
            Self::Key(refusal) => refused(*refusal),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "body_too_large"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "invalid_request_error", "body_broken"),
            Self::BodyStalled => (StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "body_stalled"),
            Self::Unsound(_) => (StatusCode::BAD_REQUEST, "invalid_request_error", "unsound_request"),
            Self::BodyUndecodable { .. } => (StatusCode::BAD_REQUEST, "invalid_request_error", "body_undecodable"),
            Self::BadDirective(_) => (StatusCode::BAD_REQUEST, "invalid_request_error", "bad_directive"),
            Self::OnlyIfCached => (StatusCode::GATEWAY_TIMEOUT, "cache_error", "only_if_cached_miss"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", "overloaded"),
            Self::Upstream(UpstreamError::Timeout) => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream_error", "upstream_timeout")
            }
            Self::Upstream(UpstreamError::ClientBody(_)) => {
                (StatusCode::BAD_REQUEST, "invalid_request_error", "body_broken")
            }
            // Not the upstream's word and nothing that a second try would change.
            Self::Upstream(UpstreamError::NoKey { .. }) => {
                (StatusCode::FORBIDDEN, "permission_error", "no_upstream_key")
            }
            Self::Upstream(UpstreamError::Connect(_)) => {
                (StatusCode::BAD_GATEWAY, "upstream_error", "upstream_connect")
            }
            Self::Upstream(UpstreamError::Broken(_)) | Self::BrokenAnswer => {
                (StatusCode::BAD_GATEWAY, "upstream_error", "upstream_broken")
            }
            Self::WrongShape => (StatusCode::BAD_GATEWAY, "upstream_error", "upstream_shape"),
        }
    }

    /// The status it is answered with.
    pub const fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// Stable reason for logs and metrics.
    pub const fn reason(&self) -> &'static str {
        self.parts().2
    }

    /// The reply in the shape of `family`.
    pub fn reply(&self, family: Family) -> Reply {
        let (status, kind, code) = self.parts();
        let body: Bytes = wire::error_body(family, status, kind, &self.to_string(), code);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            // Stops the official SDKs from asking three times (wire.md section 0, finding 9).
            Self::OnlyIfCached => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            // What is left of the request would be read as the next one.
            Self::BodyBroken | Self::BodyStalled | Self::Unsound(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Overloaded | Self::Key(Refusal::Unreadable) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Key(Refusal::TooOften { after }) => {
                let seconds = after.as_millis().div_ceil(1000).max(1);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
            }
            _ => {}
        }
        Reply { status, headers, body: ReplyBody::Whole(body) }
    }
}
