//! Handlers of the data plane: HTTP to `Call`, `Reply` to HTTP.

use std::{future, pin::Pin, sync::Arc, task::Poll};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, header, request::Parts};

use super::{
    coding::Coding,
    intake::{self, Intake},
    soundness,
};
use crate::{
    gateway::{Call, Gateway, Reply, ReplyBody},
    otel::Trace,
    outcome::BypassReason,
    upstream::BodyError,
    wire::{Family, gemini::Asked},
};

/// Replays up to this many bytes are coded where they are; larger ones would keep a thread from serving others.
const CODED_AT_ONCE: usize = 128 << 10;

/// OpenAI's chat completions.
pub(super) fn chat(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> impl Future<Output = Response> {
    answer(gateway, request, Family::Chat)
}

/// Anthropic's messages.
pub(super) fn messages(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> impl Future<Output = Response> {
    answer(gateway, request, Family::Messages)
}

/// OpenAI's responses; what lies below them (one by its id, its items, its cancellation) passes through.
pub(super) fn responses(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> impl Future<Output = Response> {
    answer(gateway, request, Family::Responses)
}

/// OpenAI's legacy completions.
pub(super) fn completions(
    State(gateway): State<Arc<Gateway>>,
    request: Request<Body>,
) -> impl Future<Output = Response> {
    answer(gateway, request, Family::Completions)
}

/// OpenAI's embeddings.
pub(super) fn embeddings(
    State(gateway): State<Arc<Gateway>>,
    request: Request<Body>,
) -> impl Future<Output = Response> {
    answer(gateway, request, Family::Embeddings)
}

/// Ollama's chat and generation.
pub(super) fn ollama(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> impl Future<Output = Response> {
    answer(gateway, request, Family::Ollama)
}

/// Any provider's model lists, and Gemini's models asked for content: a plain `GET` goes through the cache, anything else passes through.
pub(super) async fn models(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    if let Some(refusal) = refusal(&request) {
        return respond(refusal, None).await;
    }
    if request.method() == Method::POST && Asked::of(request.uri().path()).is_some() {
        return answer(gateway, request, Family::Gemini).await;
    }
    if request.method() != Method::GET || !http_body::Body::is_end_stream(request.body()) {
        return pass_through(State(gateway), request).await;
    }
    let (parts, _) = request.into_parts();
    let accepted = Coding::accepted(&parts.headers);
    respond(Box::pin(gateway.list_models(call(parts, None, Bytes::new()))).await, accepted).await
}

/// The reply to a request that has been read.
type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A protocol whose `POST` goes through the cache; other methods pass through.
fn answer(gateway: Arc<Gateway>, request: Request<Body>, family: Family) -> impl Future<Output = Response> {
    // Boxed, so that what a request is read with is gone before the wait for an answer begins: thousands may wait at once.
    let read = Box::pin(read(gateway, request, family));
    async move {
        let (answering, accepted) = read.await;
        respond(answering.await, accepted).await
    }
}

async fn read(gateway: Arc<Gateway>, request: Request<Body>, family: Family) -> (Answering, Option<Coding>) {
    if let Some(refusal) = refusal(&request) {
        return (Box::pin(future::ready(refusal)), None);
    }
    if request.method() != Method::POST {
        return (Box::pin(passed_through(gateway, request)), None);
    }
    let (mut parts, body) = request.into_parts();
    let accepted = Coding::accepted(&parts.headers);
    let answering: Answering = match intake::read(&mut parts.headers, body, &gateway).await {
        Intake::Readable(body) => {
            let call = call(parts, Some(family), body);
            Box::pin(async move { gateway.answer(call).await })
        }
        Intake::PassOn(body, why) => {
            let call = call(parts, Some(family), Bytes::new());
            Box::pin(async move { gateway.forward(call, body, why).await })
        }
        Intake::Refused(error) => Box::pin(future::ready(error.reply(family))),
    };
    (answering, accepted)
}

/// Everything else: streamed to the upstream and back.
pub(super) async fn pass_through(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    let reply = match refusal(&request) {
        Some(refusal) => refusal,
        None => passed_through(gateway, request).await,
    };
    respond(reply, None).await
}

async fn passed_through(gateway: Arc<Gateway>, request: Request<Body>) -> Reply {
    let (parts, body) = request.into_parts();
    let length = intake::declared_length(&parts.headers);
    let call = call(parts, None, Bytes::new());
    match intake::hand_on(body, length, gateway.limits().client_stall).await {
        Ok(body) => Box::pin(gateway.forward(call, body, BypassReason::Passthrough)).await,
        Err(error) => error.reply(call.spoken()),
    }
}

/// What a request that is not sound is told, in the protocol that its path speaks.
fn refusal(request: &Request<Body>) -> Option<Reply> {
    let spoken = || Family::spoken(request.uri().path(), request.headers());
    soundness::fault(request).map(|error| error.reply(spoken()))
}

fn call(parts: Parts, family: Option<Family>, body: Bytes) -> Call {
    let path_and_query = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let Parts { method, headers, .. } = parts;
    Call { family, method, path_and_query, headers, body, holder: None, trace: Trace::default() }
}

/// A reply as HTTP; a replay, and nothing else, in the coding that the client `accepted`.
async fn respond(reply: Reply, accepted: Option<Coding>) -> Response {
    let Reply { status, mut headers, body } = reply;
    let body = match body {
        ReplyBody::Whole(bytes) => Body::from(bytes),
        ReplyBody::Replay(bytes) => {
            headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
            Body::from(in_coding(bytes, accepted, &mut headers).await)
        }
        ReplyBody::Stream(stream) => Body::new(StreamBody { stream, broken: None }),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn in_coding(plain: Bytes, accepted: Option<Coding>, headers: &mut HeaderMap) -> Bytes {
    let Some(coding) = accepted else { return plain };
    let coded = if plain.len() <= CODED_AT_ONCE {
        coding.encode(&plain)
    } else {
        let large = plain.clone();
        tokio::task::spawn_blocking(move || coding.encode(&large)).await.ok().flatten()
    };
    let Some(coded) = coded else { return plain };
    headers.insert(header::CONTENT_ENCODING, coding.value());
    Bytes::from(coded)
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
