//! Accepts connections and serves a router over HTTP/1.1 and HTTP/2, inside TLS or not, until told to stop.
//!
//! The caller owns the socket and the stop signal. Nagle's algorithm is off: a token must not wait for the next one.

use std::time::Duration;

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// A client must send its request's headers within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client must end its TLS handshake within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of file descriptors): the listener must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves until `stop`, then lets the requests in flight finish. With `tls`, connections begin with a handshake.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    tasks: Tasks,
    stop: CancellationToken,
) {
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
                let (router, watcher) = (router.clone(), graceful.watcher());
                match &tls {
                    None => tasks.spawn("connection", speak(stream, router, watcher)),
                    Some(tls) => {
                        let secured = secure(tls.clone(), stream, stop.clone());
                        tasks.spawn("connection", async move {
                            if let Some(stream) = secured.await {
                                speak(stream, router, watcher).await;
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

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router, watcher: Watcher) {
    let service = TowerToHyperService::new(router);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
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
        let started = tokio::time::Instant::now();
        assert!(secure(tls, stream, CancellationToken::new()).await.is_none());
        assert!(started.elapsed() >= HANDSHAKE_TIMEOUT);
    }
}
