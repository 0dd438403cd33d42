//! A request's body on its way in: read for the cache, or handed on as it comes.
//!
//! Invariants: never more than the cacheable size is held, decoded or not; what the cache does not read goes on byte for
//! byte, its content coding included.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, header};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    coding::{Announced, Coding, Undecodable},
    error::ClientError,
};
use crate::{
    config::Limits,
    gateway::Gateway,
    headers::remove_where,
    outcome::BypassReason,
    upstream::{BodyError, UpstreamBody},
};

/// Of a refused body at most this much is read, and no longer than [`DISCARD_TIME`].
const DISCARD_BYTES: usize = 64 << 20;
/// See [`DISCARD_BYTES`].
const DISCARD_TIME: Duration = Duration::from_secs(10);
/// A small body may come in so many times what one piece of it may take.
const STALLS: u32 = 4;
/// Bodies up to this many bytes are read before they are passed on.
const SMALL_BODY: usize = 64 << 10;

/// What came of a body that the cache would like to read.
pub(super) enum Intake {
    /// All of it, without a content coding.
    Readable(Bytes),
    /// To be passed on uncached.
    PassOn(UpstreamBody, BypassReason),
    /// Not acceptable.
    Refused(ClientError),
}

/// Reads the body of a request for the cache. A body in one known coding is decoded and its headers say so no more: the
/// same question has one key however it was sent, the body may need a field of ours, and not every provider reads codings.
pub(super) async fn read(headers: &mut HeaderMap, body: Body, gateway: &Gateway) -> Intake {
    let limits = gateway.limits();
    let too_large = ClientError::BodyTooLarge { limit: limits.body_bytes };
    let length = declared_length(headers);
    if length.is_some_and(|length| length > limits.body_bytes) {
        // Who waits for leave to send is simply told no.
        if !headers.contains_key(header::EXPECT) {
            // A refusal that comes while the client still sends would reach it as a broken connection.
            let _ = timeout(DISCARD_TIME, discard(body)).await;
        }
        return Intake::Refused(too_large);
    }
    let coding = match Coding::announced(headers) {
        Announced::Plain => None,
        Announced::Coded(coding) => Some(coding),
        Announced::Unreadable => {
            return match hand_on(body, length, limits.client_stall).await {
                Ok(body) => Intake::PassOn(body, BypassReason::Encoded),
                Err(error) => Intake::Refused(error),
            };
        }
    };
    // As much as is held at worst; a coded body's length says nothing of its plain one's.
    let at_worst = length.filter(|_| coding.is_none()).unwrap_or(usize::MAX).min(limits.cacheable_body_bytes);
    let Some(room) = gateway.room_for_body(at_worst) else {
        let body = body_stream(body.into_data_stream(), limits.client_stall);
        return Intake::PassOn(UpstreamBody::Stream(body), BypassReason::Overloaded);
    };
    match (collect(body, limits.cacheable_body_bytes, limits.client_stall).await, coding) {
        (Collected::Stalled, _) => Intake::Refused(ClientError::BodyStalled),
        (Collected::Broken, _) => Intake::Refused(ClientError::BodyBroken),
        (Collected::TooLarge(body), _) => Intake::PassOn(UpstreamBody::Stream(body), BypassReason::BodyTooLarge),
        (Collected::Whole(body), None) => Intake::Readable(room.hold(body)),
        (Collected::Whole(body), Some(coding)) => match decode(coding, body.clone(), limits).await {
            Ok(Some(plain)) => {
                remove_where(headers, |name| matches!(*name, header::CONTENT_ENCODING | header::CONTENT_LENGTH));
                Intake::Readable(room.hold(Bytes::from(plain)))
            }
            Ok(None) => Intake::PassOn(UpstreamBody::Whole(body), BypassReason::BodyTooLarge),
            Err(Undecodable::TooLarge) => Intake::Refused(too_large),
            Err(Undecodable::Damaged(error)) => {
                tracing::debug!(coding = coding.name(), %error, "a request body does not decode");
                Intake::Refused(ClientError::BodyUndecodable { coding: coding.name() })
            }
        },
    }
}

/// Decodes away from the threads that serve others: a few bytes may become many.
async fn decode(coding: Coding, body: Bytes, limits: &Limits) -> Result<Option<Vec<u8>>, Undecodable> {
    let (keep, limit) = (limits.cacheable_body_bytes, limits.body_bytes);
    let decoding = tokio::task::spawn_blocking(move || coding.decode(&body, keep, limit));
    decoding.await.unwrap_or_else(|gone| Err(Undecodable::Damaged(std::io::Error::other(gone))))
}

/// A body for the upstream, byte for byte; no longer than `stall` is waited for any piece of it. A small one of a known
/// `length` is cheaper sent whole than streamed.
pub(super) async fn hand_on(body: Body, length: Option<usize>, stall: Duration) -> Result<UpstreamBody, ClientError> {
    if http_body::Body::is_end_stream(&body) {
        return Ok(UpstreamBody::Whole(Bytes::new()));
    }
    if length.is_none_or(|length| length > SMALL_BODY) {
        return Ok(UpstreamBody::Stream(body_stream(body.into_data_stream(), stall)));
    }
    match collect(body, SMALL_BODY, stall).await {
        Collected::Whole(body) => Ok(UpstreamBody::Whole(body)),
        Collected::TooLarge(body) => Ok(UpstreamBody::Stream(body)),
        Collected::Broken => Err(ClientError::BodyBroken),
        Collected::Stalled => Err(ClientError::BodyStalled),
    }
}

/// What `Content-Length` says.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn body_stream(data: BodyDataStream, stall: Duration) -> stream::BoxStream<'static, Result<Bytes, BodyError>> {
    stream::unfold(Some(data), move |data| async move {
        let mut data = data?;
        match timeout(stall, data.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(data))),
            Ok(Some(Err(error))) => Some((Err(BodyError(error.to_string())), None)),
            Ok(None) => None,
            Err(_) => Some((Err(BodyError("the rest of the request body did not come in time".to_owned())), None)),
        }
    })
    .boxed()
}

async fn discard(body: Body) {
    let (mut data, mut read) = (body.into_data_stream(), 0);
    while let Some(Ok(chunk)) = data.next().await {
        read += chunk.len();
        if read > DISCARD_BYTES {
            return;
        }
    }
}

enum Collected {
    Whole(Bytes),
    TooLarge(stream::BoxStream<'static, Result<Bytes, BodyError>>),
    Broken,
    Stalled,
}

/// Reads the body up to `limit`, waiting no longer than `stall` for a piece and [`STALLS`] times that for all of it; a
/// longer one comes back as a stream that starts with what was read.
async fn collect(body: Body, limit: usize, stall: Duration) -> Collected {
    let end = Instant::now() + stall.saturating_mul(STALLS);
    let mut data = body.into_data_stream();
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    loop {
        let piece = timeout_at(end.min(Instant::now() + stall), data.next());
        let chunk = match piece.await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => return Collected::Broken,
            Ok(None) => break,
            Err(_) => return Collected::Stalled,
        };
        match first.take() {
            None if joined.is_empty() => first = Some(chunk),
            None => joined.extend_from_slice(&chunk),
            Some(one) => {
                joined.extend_from_slice(&one);
                joined.extend_from_slice(&chunk);
            }
        }
        if joined.len().max(first.as_ref().map_or(0, Bytes::len)) > limit {
            let read = first.unwrap_or_else(|| joined.freeze());
            return Collected::TooLarge(stream::iter([Ok(read)]).chain(body_stream(data, stall)).boxed());
        }
    }
    Collected::Whole(first.unwrap_or_else(|| joined.freeze()))
}
