//! The floor: the least that a server and a proxy on hyper do, and the upstream that both proxies ask.
//!
//! Each runs in a process of its own, on a runtime like the gateway's, prints its address and ends with its standard
//! input.

use std::{convert::Infallible, io::Write, net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1::SendRequest, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

/// Characters of the answer's text: with what is around it, 1.8 kB.
const TEXT: usize = 1480;

/// What a child process is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// Answers everything with the same JSON from memory.
    Server,
    /// The same, told apart by name only: what stands behind the proxies.
    Upstream,
    /// Passes everything to this address.
    Proxy(SocketAddr),
}

impl Role {
    pub(crate) fn from_arg(arg: &str) -> anyhow::Result<Self> {
        Ok(match arg.split_once('=').unwrap_or((arg, "")) {
            ("server", "") => Self::Server,
            ("upstream", "") => Self::Upstream,
            ("proxy", to) => Self::Proxy(to.parse()?),
            _ => bail!("no such role: {arg}"),
        })
    }
}

/// A chat completion of 1.8 kB.
pub(crate) fn answer() -> Bytes {
    let sentence = "A refund reaches the card within five working days of the parcel's arrival at the depot. ";
    let text: String = sentence.chars().cycle().take(TEXT).collect();
    let body = serde_json::json!({
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null, "annotations": []},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 19, "completion_tokens": 312, "total_tokens": 331},
        "service_tier": "default",
    });
    Bytes::from(body.to_string())
}

/// Runs a role until standard input ends.
pub(crate) fn run(role: &Role) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let role = *role;
        tokio::spawn(async move { accept(listener, role).await });
        let ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.await.context("waiting for the parent")??;
        Ok(())
    })
}

async fn accept(listener: TcpListener, role: Role) {
    let answer = answer();
    while let Ok((stream, _)) = listener.accept().await {
        // An error here shows as a slower or broken run.
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let io = TokioIo::new(stream);
            let served = match role {
                Role::Server | Role::Upstream => {
                    http.serve_connection(io, service_fn(|request| respond(request, answer.clone()))).await
                }
                Role::Proxy(to) => {
                    let upstream = Arc::new(Mutex::new(None));
                    http.serve_connection(io, service_fn(|request| pass(request, to, Arc::clone(&upstream)))).await
                }
            };
            // A driver that has gone is no news.
            let _ = served;
        });
    }
}

async fn respond(request: Request<Incoming>, answer: Bytes) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let mut response = Response::new(Full::new(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

type Connection = Option<SendRequest<Incoming>>;

/// One connection to the upstream for each client's connection, kept open.
async fn pass(
    request: Request<Incoming>,
    to: SocketAddr,
    upstream: Arc<Mutex<Connection>>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let mut upstream = upstream.lock().await;
    Ok(match forward(request, to, &mut upstream).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(_) => {
            *upstream = None;
            let mut response = Response::new(BoxBody::default());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    })
}

async fn forward(
    request: Request<Incoming>,
    to: SocketAddr,
    upstream: &mut Connection,
) -> anyhow::Result<Response<Incoming>> {
    if upstream.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        *upstream = Some(sender);
    }
    let sender = upstream.as_mut().context("no connection")?;
    sender.ready().await?;
    Ok(sender.send_request(request).await?)
}
