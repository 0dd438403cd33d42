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

/// A body as it comes, no longer than `stall` waited for a piece and [`STALLS`] times that for every [`SMALL_BODY`]: who
/// sends byte by byte does not hold an upstream's connection for ever. What the upstream takes for them does not count.
fn body_stream(data: BodyDataStream, stall: Duration) -> stream::BoxStream<'static, Result<Bytes, BodyError>> {
    let patience = stall.saturating_mul(STALLS);
    stream::unfold(Some((data, patience, 0)), move |state| async move {
        let (mut data, mut left, mut bytes) = state?;
        let asked = Instant::now();
        let piece = match timeout(stall.min(left), data.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(error))) => return Some((Err(BodyError(error.to_string())), None)),
            Ok(None) => return None,
            Err(_) => {
                let late = "the rest of the request body did not come in time";
                return Some((Err(BodyError(late.to_owned())), None));
            }
        };
        bytes += piece.len();
        left = left.saturating_sub(asked.elapsed());
        if bytes >= SMALL_BODY {
            (left, bytes) = (patience, 0);
        }
        Some((Ok(piece), Some((data, left, bytes))))
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

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    /// What of `pieces`, each sent after a pause, comes through, and whether the end does.
    async fn streamed(pieces: usize, bytes: usize, pause: Duration) -> (usize, bool) {
        let body = Body::from_stream(stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))
        }));
        let came: Vec<_> = body_stream(body.into_data_stream(), STALL).collect().await;
        (came.iter().flatten().map(Bytes::len).sum(), came.iter().all(Result::is_ok))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_that_comes_byte_by_byte_is_given_up() {
        let (came, whole) = streamed(100_000, 1, Duration::from_secs(50)).await;
        assert!(!whole);
        assert!(came < 10, "{came}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_goes_on_comes_through_however_long_it_takes() {
        assert_eq!(streamed(1000, 16 << 10, Duration::from_secs(50)).await, (1000 * (16 << 10), true));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_upstream_takes_is_not_held_against_the_client() {
        let body = Body::from_stream(stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"x")))));
        let mut came = body_stream(body.into_data_stream(), STALL);
        let mut pieces = 0;
        while let Some(piece) = came.next().await {
            assert!(piece.is_ok());
            pieces += 1;
            tokio::time::sleep(STALL * 2).await;
        }
        assert_eq!(pieces, 100);
    }
}
