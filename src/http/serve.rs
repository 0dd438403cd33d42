//! Accepts connections and serves a router over HTTP/1.1 and HTTP/2, inside TLS or not, until told to stop.
//!
//! The caller owns the socket and the stop signal. Nagle's algorithm is off: a token must not wait for the next one.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use futures_util::TryFutureExt;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{error::ClientError, framing::Watched};
use crate::{
    gateway::{Reply, ReplyBody},
    tasks::Tasks,
    wire::Family,
};

/// What an HTTP/2 connection begins with (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An HTTP/2 client is asked this often whether it is still there,
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// and must answer within this time.
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// A client must send its request's headers within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client must end its TLS handshake within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of file descriptors): the listener must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Connections that are told why they are closed, at the same time; more are closed without a word.
const TURNED_AWAY: usize = 64;
/// Who is turned away may take this long to hear it.
const FAREWELL: Duration = Duration::from_secs(1);

/// One door: what is served behind it, to whom and to how many.
#[expect(missing_debug_implementations, reason = "a TlsAcceptor has none")]
pub struct Door {
    /// What answers requests.
    pub router: Router,
    /// With it, connections begin with a handshake.
    pub tls: Option<TlsAcceptor>,
    /// Name of its connections among the tasks.
    pub connections: &'static str,
    /// Connections at the same time; more get 503 and are closed.
    pub max_connections: usize,
    /// A client that takes nothing of its answer for this long is dropped, if there is such a bound.
    pub stall: Option<Duration>,
}

impl Door {
    /// A plain one, open to as many as come.
    pub const fn open(router: Router) -> Self {
        Self { router, tls: None, connections: "connection", max_connections: usize::MAX, stall: None }
    }
}

/// Serves until `stop`, then lets the requests in flight finish.
pub async fn serve(listener: TcpListener, door: Door, tasks: Tasks, stop: CancellationToken) {
    let Door { router, tls, connections, max_connections, stall } = door;
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                if tasks.count(connections) >= max_connections {
                    // What a handshake costs is not spent on a refusal.
                    if tls.is_none() {
                        tasks.spawn_limited("turned-away", TURNED_AWAY, turn_away(stream));
                    }
                    continue;
                }
                let (router, watcher, stop) = (router.clone(), graceful.watcher(), stop.clone());
                let begun = Instant::now();
                match &tls {
                    None => tasks.spawn(connections, async move {
                        if let Some(version) = plain_version(&stream, begun + HEADER_TIMEOUT, stop).await {
                            speak((stream, version), begun, stall, router, watcher).await;
                        }
                    }),
                    Some(tls) => {
                        let secured = secure(tls.clone(), stream, stop);
                        tasks.spawn(connections, async move {
                            if let Some(stream) = secured.await {
                                let version = Version::agreed(&stream);
                                speak((stream, version), Instant::now(), stall, router, watcher).await;
                            }
                        });
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Tells a client that there is no room for its connection.
async fn turn_away(mut stream: TcpStream) {
    let Reply { status, headers, body } = ClientError::Overloaded.reply(Family::Chat);
    let ReplyBody::Whole(body) = body else { return };
    let mut reply =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in &headers {
        reply.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    reply.extend([b"\r\n", &body[..]].concat());
    let told = async {
        stream.write_all(&reply).await?;
        stream.shutdown().await?;
        // Closed with something unread, the connection would be reset and the reply lost.
        tokio::io::copy(&mut (&mut stream).take(u64::from(u16::MAX)), &mut tokio::io::sink()).await
    };
    // It is turned away either way.
    let _ = tokio::time::timeout(FAREWELL, told).await;
}

/// The connection behind a handshake; `None` when that fails, takes too long, or nobody waits for it any more.
async fn secure(tls: TlsAcceptor, stream: TcpStream, stop: CancellationToken) -> Option<TlsStream<TcpStream>> {
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => shaken,
        () = stop.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
    None
}

/// The version of HTTP that a connection speaks. Where the HTTP library has to find it out, it reads the first bytes apart
/// and then keeps a buffer of twice the size for as long as the connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    /// Two, or the library finds out.
    Any,
}

impl Version {
    /// What was agreed on in a handshake.
    fn agreed(stream: &TlsStream<TcpStream>) -> Self {
        if stream.get_ref().1.alpn_protocol() == Some(b"http/1.1") { Self::One } else { Self::Any }
    }

    /// What follows from the first bytes of a connection; a part of the preface may be anything yet.
    fn of(first: &[u8]) -> Self {
        if PREFACE.starts_with(first) { Self::Any } else { Self::One }
    }
}

/// What a plain connection begins with, which stays there to be read; `None` when nothing comes until `deadline` or `stop`.
async fn plain_version(stream: &TcpStream, deadline: Instant, stop: CancellationToken) -> Option<Version> {
    let mut first = [0; PREFACE.len()];
    let peeked = tokio::select! {
        peeked = tokio::time::timeout_at(deadline, stream.peek(&mut first)) => peeked,
        () = stop.cancelled() => return None,
    };
    match peeked {
        Ok(Ok(0)) => None,
        Ok(Ok(length)) => first.get(..length).map(Version::of),
        Ok(Err(error)) => {
            tracing::debug!(%error, "connection ended");
            None
        }
        Err(_) => {
            tracing::debug!("a connection without a request is closed");
            None
        }
    }
}

/// A connection whose requests are answered.
type Speaking = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send>>;

/// Answers the requests of a connection that was accepted when it had `begun`.
async fn speak(
    connection: (impl AsyncRead + AsyncWrite + Send + Unpin + 'static, Version),
    begun: Instant,
    stall: Option<Duration>,
    router: Router,
    watcher: Watcher,
) {
    let (speaking, asked) = speaking(connection, stall, router, watcher);
    drive(speaking, &asked, begun).await;
}

/// In memory of its own: as a part of the task that drives it, it would take its room several times over.
fn speaking(
    (stream, version): (impl AsyncRead + AsyncWrite + Send + Unpin + 'static, Version),
    stall: Option<Duration>,
    router: Router,
    watcher: Watcher,
) -> (Speaking, Arc<AtomicBool>) {
    let (stream, heads) = Watched::new(stream);
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(stall);
    let stream = TokioIo::new(stream);
    let asked = Arc::new(AtomicBool::new(false));
    let service = TowerToHyperService::new(router.map_request({
        let asked = Arc::clone(&asked);
        move |mut request| {
            asked.store(true, Ordering::Relaxed);
            heads.mark(&mut request);
            request
        }
    }));
    if version == Version::One {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        let connection = watcher.watch(builder.serve_connection(stream, service));
        return (Box::pin(connection.err_into()), asked);
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(PING_INTERVAL)).keep_alive_timeout(PING_PATIENCE);
    (Box::pin(watcher.watch(builder.serve_connection(stream, service).into_owned())), asked)
}

/// Until it ends, or no request came in time.
async fn drive(mut speaking: Speaking, asked: &AtomicBool, begun: Instant) {
    let ended = tokio::select! {
        ended = &mut speaking => ended,
        // Of either version's clients, and before it is known which one speaks.
        () = tokio::time::sleep_until(begun + HEADER_TIMEOUT) => {
            if !asked.load(Ordering::Relaxed) {
                return tracing::debug!("a connection without a request is closed");
            }
            speaking.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Certificates, tests::written_in};

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_never_comes_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let tls = Certificates::load(&written_in(&dir)).unwrap().acceptor().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let started = Instant::now();
        assert!(secure(tls, stream, CancellationToken::new()).await.is_none());
        assert!(started.elapsed() >= HANDSHAKE_TIMEOUT);
    }

    #[test]
    fn the_version_is_told_by_the_first_bytes_and_a_part_of_the_preface_may_be_anything() {
        assert_eq!(Version::of(b"POST /v1/chat/completion"), Version::One);
        assert_eq!(Version::of(b"G"), Version::One);
        assert_eq!(Version::of(b"PRINT /"), Version::One);
        assert_eq!(Version::of(b"PR"), Version::Any);
        assert_eq!(Version::of(PREFACE), Version::Any);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_connection_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let begun = Instant::now();
        assert_eq!(plain_version(&stream, begun + HEADER_TIMEOUT, CancellationToken::new()).await, None);
        assert!(begun.elapsed() >= HEADER_TIMEOUT);
    }

    #[tokio::test]
    async fn a_plain_connection_that_says_nothing_is_closed_at_the_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(plain_version(&stream, Instant::now() + HEADER_TIMEOUT, stop).await, None);
    }
}
