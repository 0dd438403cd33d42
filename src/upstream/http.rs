//! A real provider over HTTP: one pooled client, bodies streamed both ways and never buffered here.
//!
//! Invariants: bytes pass as they are (no decompression, no redirect followed, repeated headers kept); a body that
//! breaks, stalls or ends short of its `content-length` yields an `Err` item and never a clean end; only a whole body is
//! sent again, and only when no connection was made, so the upstream never sees one request twice.

mod base;
mod body;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture};
use http::{HeaderMap, Method, header};
use tokio::time::{Instant, sleep};

use self::body::{IdleGuard, Upload};
use super::{Target, Upstream, UpstreamBody, UpstreamError, UpstreamRequest, UpstreamResponse};
use crate::headers;

pub use base::BaseUrl;

/// How often a connection is tried before the request fails.
const CONNECT_ATTEMPTS: u32 = 3;
/// Shortest pause before the next try; jitter adds up to as much again, and each try doubles it.
const CONNECT_PAUSE: Duration = Duration::from_millis(25);
/// Below the idle limits of common load balancers, so that a pooled connection is rarely one the other side just closed.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept for the next burst.
const POOL_SIZE: usize = 512;
/// HTTP/2 windows: large enough that one slow reader does not stall its neighbours on the connection.
const H2_STREAM_WINDOW: u32 = 2 << 20;
const H2_CONNECTION_WINDOW: u32 = 16 << 20;

/// How long to wait for a provider, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// From the request sent (or its last body chunk) to the response's headers.
    pub first_byte: Duration,
    /// Between two chunks of the response's body.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let ten_minutes = Duration::from_secs(600);
        Self { connect: Duration::from_secs(5), first_byte: ten_minutes, idle: ten_minutes }
    }
}

/// Why a base URL or the client's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// Not an absolute URL.
    #[error("{url:?} is not a URL; write it like https://api.openai.com/v1")]
    NotAUrl {
        /// As typed.
        url: String,
    },
    /// Another scheme than http and https.
    #[error("scheme {scheme:?} is not supported; use https:// or http://")]
    Scheme {
        /// As typed.
        scheme: String,
    },
    /// A user or password inside the URL.
    #[error("the URL holds a user or password; clients send their own credentials, so leave it out")]
    Credentials,
    /// A query or fragment.
    #[error("the URL has a query or fragment; leave it out, clients' own queries are forwarded")]
    Query,
    /// A file of authorities that holds none.
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    /// TLS or the client could not be set up.
    #[error("the HTTP client cannot be built (https:// needs the system's certificates of authorities)")]
    Client(#[source] reqwest::Error),
}

/// How to reach one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// How long to wait.
    pub timeouts: Settings,
    /// Speak HTTP/2 from the first byte, cleartext included; otherwise TLS's handshake decides (ALPN) and cleartext is
    /// HTTP/1.1.
    pub http2_prior_knowledge: bool,
    /// Certificates in PEM form that are trusted beside the system's.
    pub authorities: Option<Vec<u8>>,
}

/// Whether `pem` can be [`Transport::authorities`].
pub fn check_authorities(pem: &[u8]) -> Result<(), ConfigProblem> {
    read_authorities(pem).map(|_| ())
}

fn read_authorities(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, ConfigProblem> {
    let found = reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default();
    if found.is_empty() { Err(ConfigProblem::NoCertificate) } else { Ok(found) }
}

/// Makes ring the process's TLS provider, if none was chosen yet.
pub fn install_tls() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A provider behind a base URL.
#[derive(Debug)]
pub struct HttpUpstream {
    client: reqwest::Client,
    base: BaseUrl,
    settings: Settings,
}

impl HttpUpstream {
    /// An upstream at `base_url`, which may or may not end in `/v1`, waited for as `timeouts` says.
    pub fn new(base_url: &str, timeouts: Settings) -> Result<Self, ConfigProblem> {
        Self::over(base_url, &Transport { timeouts, ..Transport::default() })
    }

    /// An upstream at `base_url`, reached over `transport`. The system's proxy variables are honoured, except for an
    /// upstream on loopback; certificates are checked against the system's authorities.
    pub fn over(base_url: &str, transport: &Transport) -> Result<Self, ConfigProblem> {
        install_tls();
        let base = BaseUrl::parse(base_url)?;
        let authorities = transport.authorities.as_deref().map(read_authorities).transpose()?.unwrap_or_default();
        let prepared = || builder(&base, transport).tls_certs_merge(authorities.clone());
        let client = match prepared().build() {
            // A system without authorities, such as an empty container, can still speak cleartext.
            Err(_) if !base.is_encrypted() => builder(&base, transport).tls_certs_only([]).build(),
            built => built,
        };
        Ok(Self { client: client.map_err(ConfigProblem::Client)?, base, settings: transport.timeouts })
    }

    async fn forward(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let UpstreamRequest { method, path_and_query, headers, body, model: _, may_fall_back: _, needs_own_key: _ } =
            request;
        let mut outgoing = reqwest::Request::new(method, self.base.url(&path_and_query));
        *outgoing.headers_mut() = headers;
        headers::strip_hop_by_hop(outgoing.headers_mut());
        headers::remove_where(outgoing.headers_mut(), |name| name == header::HOST);
        match body {
            UpstreamBody::Whole(bytes) => self.send_whole(outgoing, bytes).await,
            UpstreamBody::Stream(stream) => {
                let (upload, stream) = Upload::track(stream);
                *outgoing.body_mut() = Some(reqwest::Body::wrap_stream(stream));
                self.attempt(outgoing, Some(&upload)).await.map_err(|failure| failure.error)
            }
        }
    }

    async fn send_whole(&self, mut outgoing: reqwest::Request, body: Bytes) -> Result<UpstreamResponse, UpstreamError> {
        // The body may differ from the client's by a field of ours; its length is set anew from the bytes.
        headers::remove_where(outgoing.headers_mut(), |name| name == header::CONTENT_LENGTH);
        if !body.is_empty() {
            *outgoing.body_mut() = Some(body.into());
        } else if !matches!(*outgoing.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE) {
            outgoing.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("0"));
        }
        let mut pause = CONNECT_PAUSE;
        for _ in 1..CONNECT_ATTEMPTS {
            let Some(copy) = outgoing.try_clone() else { break };
            match self.attempt(copy, None).await {
                Err(Failure { unsent: true, .. }) => {
                    sleep(pause.mul_f64(1.0 + fastrand::f64())).await;
                    pause *= 2;
                }
                Err(failure) => return Err(failure.error),
                Ok(response) => return Ok(response),
            }
        }
        self.attempt(outgoing, None).await.map_err(|failure| failure.error)
    }

    /// Sends once. The first-byte limit counts from the last chunk that the client's body gave.
    async fn attempt(&self, request: reqwest::Request, upload: Option<&Upload>) -> Result<UpstreamResponse, Failure> {
        let mut response = std::pin::pin!(self.client.execute(request));
        let mut limit = std::pin::pin!(sleep(self.settings.first_byte));
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut response => break sent,
                () = Upload::moved(upload) => limit.as_mut().reset(Instant::now() + self.settings.first_byte),
                () = &mut limit => return Err(Failure { error: UpstreamError::Timeout, unsent: false }),
            }
        };
        match sent {
            Ok(response) => Ok(self.receive(response)),
            Err(error) => Err(Failure::of(error, upload)),
        }
    }

    fn receive(&self, mut response: reqwest::Response) -> UpstreamResponse {
        let mut headers: HeaderMap = std::mem::take(response.headers_mut());
        headers::strip_hop_by_hop(&mut headers);
        let status = response.status();
        let body = IdleGuard::new(response.bytes_stream(), self.settings.idle).boxed();
        UpstreamResponse { status, headers, body, stand_in: false }
    }
}

fn builder(base: &BaseUrl, transport: &Transport) -> reqwest::ClientBuilder {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .connect_timeout(transport.timeouts.connect)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .http2_initial_stream_window_size(H2_STREAM_WINDOW)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW);
    if transport.http2_prior_knowledge {
        builder = builder.http2_prior_knowledge();
    }
    if base.is_loopback() { builder.no_proxy() } else { builder }
}

impl Upstream for HttpUpstream {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        Box::pin(self.forward(request))
    }

    fn base_url(&self, _target: &Target<'_>) -> &str {
        self.base.as_str()
    }
}

/// A failed attempt, and whether the upstream cannot have seen any of it.
struct Failure {
    error: UpstreamError,
    unsent: bool,
}

impl Failure {
    fn of(error: reqwest::Error, upload: Option<&Upload>) -> Self {
        if let Some(why) = upload.and_then(Upload::broken) {
            return Self { error: UpstreamError::ClientBody(why), unsent: false };
        }
        let (connect, timeout) = (error.is_connect(), error.is_timeout());
        let error = match (connect, timeout) {
            (true, true) => UpstreamError::Connect("no connection within the connect timeout".to_owned()),
            (true, false) => UpstreamError::Connect(explain(error)),
            (false, true) => UpstreamError::Timeout,
            (false, false) => UpstreamError::Broken(explain(error)),
        };
        // A connect timeout has used up its time already.
        Self { error, unsent: connect && !timeout }
    }
}

/// The innermost cause, which names the fault; the outer layers only say that a request failed. Never the URL.
fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A shared upstream is as good as its owner.
impl<U: Upstream + ?Sized> Upstream for Arc<U> {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        (**self).send(request)
    }

    fn base_url(&self, target: &Target<'_>) -> &str {
        (**self).base_url(target)
    }

    fn asks_for_no_key(&self) -> bool {
        (**self).asks_for_no_key()
    }
}

#[cfg(test)]
mod tests;
