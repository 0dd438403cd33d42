mod tls;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use bytes::BytesMut;
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::upstream::BodyError;

/// A loopback server that lives as long as the value.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, _tasks: tasks }
    }

    /// Reads one request's head, answers with `reply` byte for byte, then holds the connection or closes it.
    async fn raw(reply: &'static [u8], hold: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            head(&mut socket).await;
            socket.write_all(reply).await.unwrap();
            if hold {
                std::future::pending::<()>().await;
            }
        });
        Self { address, _tasks: tasks }
    }

    fn upstream(&self) -> HttpUpstream {
        self.upstream_with(Settings::default())
    }

    fn upstream_with(&self, settings: Settings) -> HttpUpstream {
        HttpUpstream::new(&format!("http://{}/v1", self.address), settings).unwrap()
    }
}

async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn request(method: Method, body: UpstreamBody) -> UpstreamRequest {
    UpstreamRequest {
        method,
        path_and_query: "/v1/chat/completions".to_owned(),
        headers: HeaderMap::new(),
        model: None,
        may_fall_back: true,
        needs_own_key: false,
        body,
    }
}

fn post(body: &'static [u8]) -> UpstreamRequest {
    request(Method::POST, UpstreamBody::Whole(Bytes::from_static(body)))
}

async fn read(response: UpstreamResponse) -> Result<Bytes, BodyError> {
    let mut body = response.body;
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole.freeze())
}

/// The head of the request that reached the wire, lower-cased lines.
async fn head_on_the_wire(request: UpstreamRequest) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/openai/v1", listener.local_addr().unwrap());
    let upstream = HttpUpstream::new(&base, Settings::default()).unwrap();
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        head
    };
    let (head, sent) = tokio::join!(serve, upstream.send(request));
    sent.unwrap();
    head.trim_end().split("\r\n").map(str::to_lowercase).collect()
}

fn echo() -> Router {
    Router::new().fallback(any(|request: Request| async move {
        let mut response = Response::new(Body::empty());
        for (name, value) in request.headers() {
            if matches!(name.as_str(), "content-length" | "transfer-encoding") {
                let name = HeaderName::try_from(format!("x-saw-{name}")).unwrap();
                response.headers_mut().insert(name, value.clone());
            }
        }
        *response.body_mut() = request.into_body();
        response
    }))
}

/// Bytes in which no block repeats.
fn noise(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

#[tokio::test]
async fn path_query_and_headers_arrive_as_sent() {
    let mut sent = post(b"{}");
    sent.path_and_query = "/v1/x?after_id=a%2Fb&beta=true".to_owned();
    for (name, value) in [
        ("host", "gateway.example"),
        ("content-length", "99"),
        ("x-b", "1"),
        ("x-a", "1"),
        ("x-b", "2"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("accept", "application/json"),
    ] {
        sent.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let lines = head_on_the_wire(sent).await;
    assert_eq!(lines[0], "post /openai/v1/x?after_id=a%2fb&beta=true http/1.1");
    let ours: Vec<&str> = lines[1..].iter().filter(|l| l.starts_with("x-")).map(String::as_str).collect();
    assert_eq!(ours, ["x-b: 1", "x-b: 2", "x-a: 1"]);
    assert_eq!(lines.iter().filter(|l| l.starts_with("host: 127.0.0.1:")).count(), 1);
    assert!(!lines.iter().any(|l| l.contains("gateway.example")));
    assert!(lines.contains(&"content-length: 2".to_owned()));
    assert!(!lines.iter().any(|l| l.starts_with("connection") || l.starts_with("transfer-encoding")));
}

#[tokio::test]
async fn an_empty_body_has_a_length_only_where_one_belongs() {
    let empty = || UpstreamBody::Whole(Bytes::new());
    let get = head_on_the_wire(request(Method::GET, empty())).await;
    assert!(!get.iter().any(|l| l.starts_with("content-length") || l.starts_with("transfer-encoding")));
    let post = head_on_the_wire(request(Method::POST, empty())).await;
    assert_eq!(post.iter().filter(|l| *l == "content-length: 0").count(), 1);
}

#[tokio::test]
async fn twenty_megabytes_pass_both_ways_unchanged() {
    let server = Server::start(echo()).await;
    let upstream = server.upstream();
    let bytes = noise(20_000_000);
    let whole = request(Method::POST, UpstreamBody::Whole(bytes.clone()));
    let response = upstream.send(whole).await.unwrap();
    assert_eq!(response.headers["x-saw-content-length"], "20000000");
    assert!(read(response).await.unwrap() == bytes);

    let source = bytes.clone();
    let chunks = stream::iter((0..source.len()).step_by(30_001))
        .map(move |at| Ok(source.slice(at..source.len().min(at + 30_001))));
    let streamed = request(Method::POST, UpstreamBody::Stream(chunks.boxed()));
    let response = upstream.send(streamed).await.unwrap();
    assert_eq!(response.headers["x-saw-transfer-encoding"], "chunked");
    assert!(read(response).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_streamed_body_of_known_length_keeps_its_length() {
    let server = Server::start(echo()).await;
    let chunks = stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]);
    let mut sent = request(Method::POST, UpstreamBody::Stream(chunks.boxed()));
    sent.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
    let response = server.upstream().send(sent).await.unwrap();
    assert_eq!(response.headers["x-saw-content-length"], "3");
    assert!(!response.headers.contains_key("x-saw-transfer-encoding"));
    assert_eq!(read(response).await.unwrap(), "abc");
}

#[tokio::test]
async fn status_headers_and_bytes_come_back_as_they_are() {
    let reply = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
        content-encoding: gzip\r\nkeep-alive: timeout=5\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00";
    let server = Server::raw(reply, true).await;
    let response = server.upstream().send(post(b"{}")).await.unwrap();
    assert_eq!(response.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers["retry-after"], "7");
    assert_eq!(response.headers["content-encoding"], "gzip");
    assert_eq!(response.headers["content-length"], "4");
    assert_eq!(response.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert!(!response.headers.contains_key("keep-alive") && !response.headers.contains_key("connection"));
    assert_eq!(read(response).await.unwrap().as_ref(), b"\x1f\x8b\x08\x00");
}

#[tokio::test]
async fn a_redirect_is_the_clients_business() {
    let server = Server::raw(b"HTTP/1.1 307 x\r\nlocation: /v1/elsewhere\r\ncontent-length: 0\r\n\r\n", true).await;
    let response = server.upstream().send(post(b"{}")).await.unwrap();
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers["location"], "/v1/elsewhere");
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_no_clean_end() {
    let server = Server::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345", false).await;
    let response = server.upstream().send(post(b"{}")).await.unwrap();
    assert!(read(response).await.is_err());
}

#[tokio::test]
async fn a_chunked_body_without_its_end_is_no_clean_end() {
    let reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let server = Server::raw(reply, false).await;
    let response = server.upstream().send(post(b"{}")).await.unwrap();
    let mut body = response.body;
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    assert!(body.next().await.unwrap().is_err());
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let upstream = HttpUpstream::new(&base, Settings::default()).unwrap();
    let error = upstream.send(post(b"{}")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect(_)), "{error}");
    assert!(!error.to_string().contains("chat/completions"));
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_found_by_the_next_try() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let upstream = HttpUpstream::new(&format!("http://{address}"), Settings::default()).unwrap();
    let mut call = upstream.send(post(b"{}"));
    assert!(futures_util::poll!(&mut call).is_pending());
    let serve = async {
        let listener = TcpListener::bind(address).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    };
    let (response, ()) = tokio::join!(call, serve);
    assert_eq!(response.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_may_have_been_seen_is_not_sent_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    let seen = Arc::clone(&calls);
    tasks.spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            head(&mut socket).await;
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let upstream = HttpUpstream::new(&base, Settings::default()).unwrap();
    let error = upstream.send(post(b"{}")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Broken(_)), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_silent_upstream_times_out() {
    let server = Server::raw(b"", true).await;
    let settings = Settings { first_byte: Duration::from_millis(30), ..Settings::default() };
    let error = server.upstream_with(settings).send(post(b"{}")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error}");
}

#[tokio::test]
async fn a_body_that_stalls_breaks() {
    let reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let server = Server::raw(reply, true).await;
    let settings = Settings { idle: Duration::from_millis(30), ..Settings::default() };
    let mut body = server.upstream_with(settings).send(post(b"{}")).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    assert!(body.next().await.unwrap().is_err());
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_clients_broken_body_is_the_clients_fault() {
    let server = Server::start(echo()).await;
    let chunks = stream::iter([Ok(Bytes::from_static(b"half")), Err(BodyError("client went away".to_owned()))]);
    // A server that reads all before it answers, so that no response has begun.
    let app = Router::new().fallback(any(|body: Bytes| async move { body }));
    let reads_all = Server::start(app).await;
    drop(server);
    let sent = request(Method::POST, UpstreamBody::Stream(chunks.boxed()));
    let error = reads_all.upstream().send(sent).await.unwrap_err();
    assert!(matches!(&error, UpstreamError::ClientBody(why) if why == "client went away"), "{error}");
}

#[tokio::test]
async fn an_upstream_is_not_read_faster_than_the_client_reads() {
    const CHUNK: usize = 1 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let app = Router::new().fallback(any(move || async move {
        Response::new(Body::from_stream(stream::repeat_with(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![7; CHUNK]))
        })))
    }));
    let server = Server::start(app).await;
    let mut body = server.upstream().send(post(b"{}")).await.unwrap().body;
    body.next().await.unwrap().unwrap();
    // The server shares this thread: it gets a turn, and could send a chunk, each time.
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    assert!(sent.load(Ordering::SeqCst) < 100, "{} chunks were taken", sent.load(Ordering::SeqCst));
}

#[tokio::test]
async fn connections_are_kept_for_the_next_request() {
    let peers = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let seen = Arc::clone(&peers);
    let app = Router::new().fallback(any(move |info: axum::extract::ConnectInfo<SocketAddr>| async move {
        seen.lock().unwrap().insert(info.0);
        "ok"
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tasks.spawn(async move { axum::serve(listener, service).await.unwrap() });
    let upstream = HttpUpstream::new(&base, Settings::default()).unwrap();
    for _ in 0..5 {
        assert_eq!(read(upstream.send(post(b"{}")).await.unwrap()).await.unwrap(), "ok");
    }
    assert_eq!(peers.lock().unwrap().len(), 1);
}
