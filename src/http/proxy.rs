//! Handlers of the data plane: HTTP to `Call`, `Reply` to HTTP.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::State,
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{Method, Request, header, request::Parts};

use super::error::ClientError;
use crate::{
    gateway::{Call, Gateway, Reply, ReplyBody},
    outcome::BypassReason,
    upstream::{BodyError, UpstreamBody},
    wire::Family,
};

/// Of a refused body at most this much is read, and no longer than [`DISCARD_TIME`].
const DISCARD_BYTES: usize = 64 << 20;
/// See [`DISCARD_BYTES`].
const DISCARD_TIME: Duration = Duration::from_secs(10);
/// Bodies up to this many bytes are read before they are passed on.
const SMALL_BODY: usize = 64 << 10;

/// OpenAI's chat completions.
pub(super) async fn chat(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    answer(gateway, request, Family::Chat).await
}

/// Anthropic's messages.
pub(super) async fn messages(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    answer(gateway, request, Family::Messages).await
}

/// OpenAI's responses; what lies below them (one by its id, its items, its cancellation) passes through.
pub(super) async fn responses(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    answer(gateway, request, Family::Responses).await
}

/// OpenAI's legacy completions.
pub(super) async fn completions(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    answer(gateway, request, Family::Completions).await
}

/// OpenAI's embeddings.
pub(super) async fn embeddings(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    answer(gateway, request, Family::Embeddings).await
}

/// Either provider's model lists: a plain `GET` goes through the cache, anything else passes through.
pub(super) async fn models(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    if request.method() != Method::GET || !http_body::Body::is_end_stream(request.body()) {
        return pass_through(State(gateway), request).await;
    }
    let (parts, _) = request.into_parts();
    respond(Box::pin(gateway.list_models(call(parts, None, Bytes::new()))).await)
}

/// A protocol whose `POST` goes through the cache; other methods pass through.
async fn answer(gateway: Arc<Gateway>, request: Request<Body>, family: Family) -> Response {
    if request.method() != Method::POST {
        return pass_through(State(gateway), request).await;
    }
    let (parts, body) = request.into_parts();
    let limits = gateway.limits();
    if declared_length(&parts).is_some_and(|length| length > limits.body_bytes) {
        // A refusal that comes while the client still sends would reach it as a broken connection.
        let _ = tokio::time::timeout(DISCARD_TIME, discard(body)).await;
        return respond(ClientError::BodyTooLarge { limit: limits.body_bytes }.reply(family));
    }
    let reply = match collect(body, limits.cacheable_body_bytes).await {
        Collected::Whole(body) => Box::pin(gateway.answer(call(parts, Some(family), body))).await,
        Collected::TooLarge(body) => {
            let head = call(parts, Some(family), Bytes::new());
            Box::pin(gateway.forward(head, UpstreamBody::Stream(body), BypassReason::BodyTooLarge)).await
        }
        Collected::Broken => ClientError::BodyBroken.reply(family),
    };
    respond(reply)
}

/// Everything else: streamed to the upstream and back.
pub(super) async fn pass_through(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let length = declared_length(&parts);
    let call = call(parts, None, Bytes::new());
    let body = match length {
        _ if http_body::Body::is_end_stream(&body) => UpstreamBody::Whole(Bytes::new()),
        // A small body is cheaper sent whole than streamed.
        Some(length) if length <= SMALL_BODY => match collect(body, SMALL_BODY).await {
            Collected::Whole(body) => UpstreamBody::Whole(body),
            Collected::TooLarge(body) => UpstreamBody::Stream(body),
            Collected::Broken => return respond(ClientError::BodyBroken.reply(call.spoken())),
        },
        _ => UpstreamBody::Stream(body_stream(body.into_data_stream())),
    };
    respond(Box::pin(gateway.forward(call, body, BypassReason::Passthrough)).await)
}

fn call(parts: Parts, family: Option<Family>, body: Bytes) -> Call {
    let path_and_query = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    Call { family, method: parts.method, path_and_query, headers: parts.headers, body }
}

fn declared_length(parts: &Parts) -> Option<usize> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn body_stream(data: BodyDataStream) -> stream::BoxStream<'static, Result<Bytes, BodyError>> {
    data.map(|chunk| chunk.map_err(|error| BodyError(error.to_string()))).boxed()
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
}

/// Reads the body up to `limit`; a longer one comes back as a stream that starts with what was read.
async fn collect(body: Body, limit: usize) -> Collected {
    let mut data = body.into_data_stream();
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while let Some(chunk) = data.next().await {
        let Ok(chunk) = chunk else { return Collected::Broken };
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
            return Collected::TooLarge(stream::iter([Ok(read)]).chain(body_stream(data)).boxed());
        }
    }
    Collected::Whole(first.unwrap_or_else(|| joined.freeze()))
}

fn respond(reply: Reply) -> Response {
    let Reply { status, headers, body } = reply;
    let body = match body {
        ReplyBody::Whole(bytes) => Body::from(bytes),
        ReplyBody::Stream(stream) => Body::new(StreamBody { stream, broken: None }),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A reply's stream as an HTTP body; an `Err` aborts the connection instead of ending it.
struct StreamBody {
    stream: stream::BoxStream<'static, Result<Bytes, BodyError>>,
    /// A failure that is told at the next poll: the pause lets what came before it reach the client.
    broken: Option<BodyError>,
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.stream.poll_next_unpin(context) {
            Poll::Ready(Some(Err(error))) => {
                self.broken = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(next) => Poll::Ready(next.map(|chunk| chunk.map(http_body::Frame::data))),
            Poll::Pending => Poll::Pending,
        }
    }
}
