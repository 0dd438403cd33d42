//! Clients and providers at the level of bytes and frames, for what an HTTP library would hide.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::State, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use semblance::{
    http::serve::{self, Door},
    tasks::Tasks,
    upstream::{
        Upstream,
        http::{HttpUpstream, Settings},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// An HTTP/2 connection with prior knowledge.
pub(super) struct Http2(SendRequest<Full<Bytes>>);

impl Http2 {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(super) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        Tasks::new().spawn("client", async move {
            // A test that is over drops its end.
            let _ = connection.await;
        });
        Self(send)
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> (http::response::Parts, Bytes, bool) {
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        let whole = body.collect().await.unwrap();
        let has_trailers = whole.trailers().is_some();
        (parts, whole.to_bytes(), has_trailers)
    }

    pub(super) async fn post(&mut self, url: &str, body: &serde_json::Value) -> (http::response::Parts, String) {
        let request = Request::post(url).header("authorization", "Bearer sk-test");
        let (parts, body, has_trailers) = self.send(request.body(Full::from(body.to_string())).unwrap()).await;
        assert!(!has_trailers);
        (parts, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// A connection whose bytes a test writes and reads itself.
pub(super) struct Raw<S = TcpStream>(S);

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(super) const fn over(stream: S) -> Self {
        Self(stream)
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next head, its blank line included.
    pub(super) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    }

    pub(super) async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// The body that a head announces by its length.
    pub(super) async fn body_of(&mut self, head: &str) -> String {
        String::from_utf8(self.read(length(head)).await).unwrap()
    }

    /// All that comes until the other side closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

/// What `content-length` says in a head.
pub(super) fn length(head: &str) -> usize {
    head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").parse().unwrap()
}

/// A provider that answers every connection's first request with these bytes and notes the head that it was sent.
pub(super) async fn canned(answer: &'static [u8]) -> (Arc<dyn Upstream>, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = at(listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heads);
    Tasks::new().spawn("provider", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = Raw::over(stream);
            let head = stream.head().await;
            stream.read(length(&head)).await;
            noted.lock().unwrap().push(head);
            stream.write(answer).await;
        }
    });
    (upstream, heads)
}

/// One request as a provider received it.
pub(super) struct Seen {
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A provider that notes all it receives and answers with `headers` and `body`.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    headers: HeaderMap,
    body: Bytes,
}

impl Provider {
    pub(super) async fn start(headers: HeaderMap, body: Bytes) -> (Self, Arc<dyn Upstream>) {
        let provider = Self { seen: Arc::default(), headers, body };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = at(listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(provider.clone());
        let serving = serve::serve(listener, Door::open(router), Tasks::new(), Default::default());
        Tasks::new().spawn("provider", serving);
        (provider, upstream)
    }
}

async fn receive(State(provider): State<Provider>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    provider.seen.lock().unwrap().push(Seen { target, headers: parts.headers, body });
    let mut response = Response::new(Body::from(provider.body));
    response.headers_mut().extend(provider.headers);
    response
}

fn at(address: SocketAddr) -> Arc<dyn Upstream> {
    Arc::new(HttpUpstream::new(&format!("http://{address}"), Settings::default()).unwrap())
}
