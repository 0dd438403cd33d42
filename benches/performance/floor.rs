//! The floor: the least that a server and a proxy on hyper do, and the upstream that both proxies ask.
//!
//! Each runs in a process of its own, on a runtime like the gateway's, prints its address and ends with its standard
//! input.

use std::{convert::Infallible, fs::File, io::Write, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1::SendRequest, service::service_fn};
use hyper_util::rt::TokioIo;
use semblance::wire::{Answer, Family, Fresh};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

/// Characters of the answer's text: with what is around it, 1.8 kB.
const TEXT: usize = 1480;
/// Events of the answer that is asked for as a stream, the closing one included.
pub(crate) const EVENTS: usize = 50;

/// What a child process is.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Answers everything with the same JSON from memory.
    Server,
    /// The same, and an event stream to whom asks for one: what stands behind the proxies.
    Upstream,
    /// Passes everything to this address.
    Proxy(SocketAddr),
    /// Answers everything with what this file holds, a [`Captured`], in the same pieces.
    Replayer(PathBuf),
}

impl Role {
    pub(crate) fn from_arg(arg: &str) -> anyhow::Result<Self> {
        Ok(match arg.split_once('=').unwrap_or((arg, "")) {
            ("server", "") => Self::Server,
            ("upstream", "") => Self::Upstream,
            ("proxy", to) => Self::Proxy(to.parse()?),
            ("replayer", file) => Self::Replayer(file.into()),
            _ => bail!("no such role: {arg}"),
        })
    }
}

/// A response as it came over the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Captured {
    headers: Vec<(String, String)>,
    /// The body's chunks; one piece when it came with its length.
    pieces: Vec<String>,
    chunked: bool,
}

impl Captured {
    /// Reads the bytes of a whole response. What the HTTP library itself writes is left out of the headers.
    pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(bytes)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
        let all = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let (framing, headers): (Vec<_>, Vec<_>) = all
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .partition(|(name, _)| matches!(name.as_str(), "content-length" | "transfer-encoding" | "date"));
        let chunked = framing.iter().any(|(name, _)| name == "transfer-encoding");
        let pieces = if chunked { chunks(body)? } else { vec![body.to_owned()] };
        Ok(Self { headers, pieces, chunked })
    }

    /// Events of the stream that it is.
    pub(crate) fn events(&self) -> usize {
        self.pieces.concat().matches("\n\n").count()
    }

    fn response(&self) -> Response<Body> {
        let pieces: Vec<Bytes> = self.pieces.iter().map(|piece| Bytes::from(piece.clone())).collect();
        let body = if self.chunked {
            let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
            boxed(StreamBody::new(stream::iter(frames)))
        } else {
            boxed(Full::new(Bytes::from(pieces.concat())))
        };
        let mut response = Response::new(body);
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// The chunks of a chunked body.
fn chunks(mut body: &str) -> anyhow::Result<Vec<String>> {
    let mut chunks = Vec::new();
    loop {
        let (size, rest) = body.split_once("\r\n").context("no size of a chunk")?;
        let size = usize::from_str_radix(size.trim(), 16)?;
        if size == 0 {
            return Ok(chunks);
        }
        chunks.push(rest.get(..size).context("a chunk is cut")?.to_owned());
        body = rest.get(size + 2..).context("no end of a chunk")?;
    }
}

/// A chat completion of 1.8 kB.
pub(crate) fn answer() -> Bytes {
    completion(TEXT)
}

/// The event stream of an answer that makes [`EVENTS`] of them, with the tokens counted at its end.
pub(crate) fn event_stream() -> anyhow::Result<Bytes> {
    let fresh = Fresh {
        id: "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT".to_owned(),
        created: 1_760_000_000,
        echo: semblance::wire::Echo::default(),
    };
    let answers = (100..4 * TEXT).filter_map(|length| Answer::new(Family::Chat, completion(length), None).ok());
    let events =
        |answer: &Answer| answer.render_stream(&fresh, false).windows(2).filter(|pair| pair == b"\n\n").count();
    let answer =
        answers.into_iter().find(|answer| events(answer) == EVENTS).context("no answer makes so many events")?;
    Ok(answer.render_stream(&fresh, true))
}

fn completion(length: usize) -> Bytes {
    let sentence = "A refund reaches the card within five working days of the parcel's arrival at the depot. ";
    let text: String = sentence.chars().cycle().take(length).collect();
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
        let responder = Responder::of(role)?;
        tokio::spawn(async move { accept(listener, responder).await });
        let ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.await.context("waiting for the parent")??;
        Ok(())
    })
}

/// What a role needs to answer.
#[derive(Debug, Clone)]
enum Responder {
    /// From memory: JSON, and an event stream where that is asked for.
    Memory { json: Bytes, events: Option<Bytes> },
    /// What was captured.
    Same(Arc<Captured>),
    /// What the upstream says.
    Proxy(SocketAddr),
}

impl Responder {
    fn of(role: &Role) -> anyhow::Result<Self> {
        Ok(match role {
            Role::Server => Self::Memory { json: answer(), events: None },
            Role::Upstream => Self::Memory { json: answer(), events: Some(event_stream()?) },
            Role::Replayer(file) => Self::Same(Arc::new(serde_json::from_reader(File::open(file)?)?)),
            Role::Proxy(to) => Self::Proxy(*to),
        })
    }
}

type Body = BoxBody<Bytes, hyper::Error>;

fn boxed(body: impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static) -> Body {
    body.map_err(|never| match never {}).boxed()
}

async fn accept(listener: TcpListener, responder: Responder) {
    while let Ok((stream, _)) = listener.accept().await {
        // An error here shows as a slower or broken run.
        let _ = stream.set_nodelay(true);
        let responder = responder.clone();
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let upstream = Arc::new(Mutex::new(None));
            let serve = service_fn(|request| respond(request, responder.clone(), Arc::clone(&upstream)));
            // A driver that has gone is no news.
            let _ = http.serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    responder: Responder,
    upstream: Arc<Mutex<Connection>>,
) -> Result<Response<Body>, hyper::Error> {
    match responder {
        Responder::Proxy(to) => Ok(pass(request, to, upstream).await),
        Responder::Same(captured) => {
            request.into_body().collect().await?;
            Ok(captured.response())
        }
        Responder::Memory { json, events } => {
            let body = request.into_body().collect().await?.to_bytes();
            let asks = |wanted: &[u8]| body.windows(wanted.len()).any(|window| window == wanted);
            let (kind, body) = match events {
                Some(events) if asks(b"\"stream\":true") => ("text/event-stream", events),
                _ => ("application/json", json),
            };
            let mut response = Response::new(boxed(Full::new(body)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            Ok(response)
        }
    }
}

type Connection = Option<SendRequest<Incoming>>;

/// One connection to the upstream for each client's connection, kept open.
async fn pass(request: Request<Incoming>, to: SocketAddr, upstream: Arc<Mutex<Connection>>) -> Response<Body> {
    let mut upstream = upstream.lock().await;
    match forward(request, to, &mut upstream).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(_) => {
            *upstream = None;
            let mut response = Response::new(BoxBody::default());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
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
