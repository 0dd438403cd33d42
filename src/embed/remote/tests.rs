use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use super::*;

/// A server on a port of its own that ends when dropped.
struct Server {
    url: Url,
    _task: JoinSet<()>,
}

async fn serve(router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/embeddings", listener.local_addr().unwrap()).parse().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { url, _task: task }
}

/// Answers every call with this status and body.
async fn always(status: u16, body: impl ToString) -> Server {
    let body = body.to_string();
    let answer = move || async move { (StatusCode::from_u16(status).unwrap(), body) };
    serve(Router::new().route("/v1/embeddings", post(answer))).await
}

fn settings(url: &Url) -> RemoteSettings {
    RemoteSettings {
        url: url.clone(),
        model: "text-embedding-3-small".into(),
        api_key: Some("sk-secret".into()),
        dimensions: 2,
        request_dimensions: false,
        window: 100,
        in_flight: 4,
        deadline: Duration::from_secs(60),
        breaker: BreakerSettings { failures: 2, rest: Duration::from_secs(60) },
    }
}

fn embedder(settings: RemoteSettings) -> RemoteEmbedder {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RemoteEmbedder::new(Client::builder().no_proxy().build().unwrap(), settings).unwrap()
}

fn vector(values: &[f32]) -> Value {
    json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": values}], "usage": {}})
}

#[tokio::test]
async fn a_text_is_asked_for_as_the_protocol_says_and_its_vector_normalised() {
    let answer = |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["authorization"], "Bearer sk-secret");
        assert_eq!(headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({"model": "text-embedding-3-small", "input": "hi", "encoding_format": "float", "dimensions": 2})
        );
        vector(&[3.0, 4.0]).to_string()
    };
    let server = serve(Router::new().route("/v1/embeddings", post(answer))).await;
    let embedder = embedder(RemoteSettings { request_dimensions: true, ..settings(&server.url) });
    assert_eq!(embedder.embed("hi").await.unwrap().values(), [0.6, 0.8]);
}

#[tokio::test]
async fn a_vector_of_another_length_is_an_error() {
    let server = always(200, vector(&[1.0, 2.0, 3.0])).await;
    let error = embedder(settings(&server.url)).embed("hi").await.unwrap_err();
    assert_eq!(error, EmbedError::Failed("vector has 3 dimensions and not 2; set the model's own number".into()));
}

#[tokio::test]
async fn answers_that_are_no_vector_are_errors() {
    let bodies =
        ["{}".to_owned(), "nonsense".to_owned(), json!({"data": []}).to_string(), vector(&[0.0, 0.0]).to_string()];
    for body in bodies.into_iter().chain([" ".repeat(LARGEST_ANSWER + 1)]) {
        let server = always(200, &body).await;
        let error = embedder(settings(&server.url)).embed("hi").await.unwrap_err();
        assert_eq!(error.reason(), "embedder-failed", "{body:.40}");
    }
}

#[tokio::test]
async fn a_broken_endpoint_is_left_alone_and_a_refused_text_is_not_held_against_it() {
    for (status, rests) in [(500, true), (429, true), (401, true), (400, false), (413, false)] {
        let server = always(status, "").await;
        let embedder = embedder(settings(&server.url));
        for _ in 0..2 {
            let error = embedder.embed("hi").await.unwrap_err();
            assert!(matches!(&error, EmbedError::Failed(why) if why.contains(&status.to_string())), "{error}");
        }
        let third = embedder.embed("hi").await.unwrap_err();
        assert_eq!(third == EmbedError::BreakerOpen, rests, "{status}: {third}");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_failure() {
    let server = always(200, "").await;
    let url = server.url.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap().port();
    drop(listener);
    let mut settings = settings(&url);
    settings.url.set_port(Some(free)).unwrap();
    assert_eq!(embedder(settings).embed("hi").await.unwrap_err().reason(), "embedder-failed");
}

#[tokio::test]
async fn a_silent_endpoint_is_a_timeout() {
    let silent = || async { std::future::pending::<String>().await };
    let server = serve(Router::new().route("/v1/embeddings", post(silent))).await;
    let embedder = embedder(RemoteSettings { deadline: Duration::from_millis(1), ..settings(&server.url) });
    assert_eq!(embedder.embed("hi").await, Err(EmbedError::Timeout));
}

#[tokio::test]
async fn more_calls_than_allowed_are_refused() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (say, wait) = (Arc::clone(&arrived), Arc::clone(&go));
    let answer = move || async move {
        say.notify_one();
        wait.notified().await;
        vector(&[1.0, 0.0]).to_string()
    };
    let server = serve(Router::new().route("/v1/embeddings", post(answer))).await;
    let embedder = embedder(RemoteSettings { in_flight: 1, ..settings(&server.url) });
    let (first, ()) = tokio::join!(embedder.embed("hi"), async {
        arrived.notified().await;
        assert_eq!(embedder.embed("hi").await, Err(EmbedError::Busy));
        go.notify_one();
    });
    assert!(first.is_ok());
}

#[tokio::test]
async fn a_text_that_might_not_fit_is_never_sent() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let answer = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        vector(&[1.0, 0.0]).to_string()
    };
    let server = serve(Router::new().route("/v1/embeddings", post(answer))).await;
    let embedder = embedder(settings(&server.url));
    assert_eq!(embedder.embed(&"x".repeat(101)).await.unwrap_err().reason(), "query-too-long");
    assert!(embedder.embed(&"x".repeat(100)).await.is_ok());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn fingerprints_tell_endpoints_models_and_lengths_apart_and_no_key_is_shown() {
    let url: Url = "http://localhost/v1/embeddings".parse().unwrap();
    let base = embedder(settings(&url));
    assert!(base.fingerprint().starts_with("text-embedding-3-small:"), "{}", base.fingerprint());
    assert!(!format!("{base:?} {:?}", settings(&url)).contains("secret"));
    let others = [
        RemoteSettings { url: "http://other/v1/embeddings".parse().unwrap(), ..settings(&url) },
        RemoteSettings { model: "text-embedding-3-large".into(), ..settings(&url) },
        RemoteSettings { dimensions: 3, ..settings(&url) },
    ];
    for other in others {
        assert_ne!(embedder(other).fingerprint(), base.fingerprint());
    }
    let again = RemoteSettings { api_key: Some("sk-rotated".into()), ..settings(&url) };
    assert_eq!(embedder(again).fingerprint(), base.fingerprint());
}
