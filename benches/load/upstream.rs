//! A provider that says in every answer for whom and for what it was made, word by word at a given pace.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue},
    response::Response,
    routing::post,
};
use futures_util::stream;
use semblance::{
    http::serve::{self, Door},
    tasks::Tasks,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it is told to do, and what it counts.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

#[derive(Debug, Clone)]
struct Provider {
    calls: Arc<AtomicUsize>,
    words: usize,
    thinks: Duration,
    pause: Duration,
}

impl Upstream {
    /// Starts it; an answer comes after it `thinks`, and has so many words after what it is about, each after a `pause`.
    pub(crate) async fn start(words: usize, thinks: Duration, pause: Duration) -> anyhow::Result<Self> {
        let calls = Arc::new(AtomicUsize::new(0));
        let provider = Provider { calls: Arc::clone(&calls), words, thinks, pause };
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(provider);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve::serve(listener, Door::open(router), Tasks::new(), Default::default()));
        Ok(Self { address, calls })
    }

    /// Requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// What the answer to `question` for the holder of `key` begins with.
pub(crate) fn mark(key: &str, question: &str) -> String {
    format!("[{key}] [{question}]")
}

async fn answer(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    provider.calls.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(provider.thinks).await;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let question = asked["messages"][0]["content"].as_str().unwrap_or_default();
    let key = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = mark(key.trim_start_matches("Bearer "), question);
    let words = std::iter::once(first).chain((0..provider.words).map(|number| format!(" word{number}")));
    if asked["stream"] != true {
        tokio::time::sleep(provider.pause * u32::try_from(provider.words).unwrap_or(u32::MAX)).await;
        let content: String = words.collect();
        let body = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": provider.words, "total_tokens": provider.words + 9}});
        return response("application/json", Body::from(body.to_string()));
    }
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let mut frames: Vec<String> = words.map(|word| chunk(json!({"content": word}), Value::Null)).collect();
    frames.push(chunk(json!({}), json!("stop")) + "data: [DONE]\n\n");
    let pause = provider.pause;
    let paced = stream::unfold(frames.into_iter(), move |mut frames| async move {
        let frame = frames.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(Bytes::from(frame)), frames))
    });
    response("text/event-stream", Body::from_stream(paced))
}

fn response(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}
