//! The driver: a closed loop on each of some kept-open connections, with blocking sockets and no HTTP library, so that
//! it adds as little as possible and the same to every target.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{gateway::Killed, process};

/// Longer silence is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// A gateway that learns for longer has failed to.
const WARM: Duration = Duration::from_secs(60);
/// Between two looks at whether it is warm.
const POLL: Duration = Duration::from_millis(100);
/// Reasons that name a part of the gateway that failed, was too busy, not yet there or had been switched off.
const FAILURES: [&str; 6] = ["embedder-down", "verifier-down", "cache-error", "tripped", "overloaded", "warming"];
/// Numbers questions that nobody asked before, all of one length.
static NEXT: AtomicU64 = AtomicU64::new(1000);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The same chat request again and again.
    Same,
    /// The same request for an event stream again and again.
    Stream,
    /// A chat request on a path that the gateway does not cache.
    OtherPath,
    /// A chat request with `cache-control: no-store`.
    NoStore,
    /// A chat request with a question of its own each time.
    New,
}

impl Kind {
    /// The bytes of a request of this kind.
    pub(crate) fn request(self) -> Vec<u8> {
        let asked = Asked { question: "What is the capital of France?", ..Asked::default() };
        match self {
            Self::Same => asked.request(),
            Self::Stream => Asked { question: "How long does a refund take?", stream: true, ..asked }.request(),
            Self::OtherPath => Asked { path: "/v1/other/completions", ..asked }.request(),
            Self::NoStore => Asked { header: "cache-control: no-store\r\n", ..asked }.request(),
            Self::New => Asked { question: &new_question(), ..asked }.request(),
        }
    }
}

/// A question that nobody asked before.
pub(crate) fn new_question() -> String {
    format!("What does article {} of the catalogue cost?", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A chat request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) path: &'a str,
    /// A further header line, with its line end.
    pub(crate) header: &'a str,
    pub(crate) question: &'a str,
    pub(crate) stream: bool,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { path: "/v1/chat/completions", header: "", question: "", stream: false }
    }
}

impl Asked<'_> {
    /// Its body alone.
    pub(crate) fn body(&self) -> String {
        let mut body = serde_json::json!({
            "model": "gpt-4o-mini",
            "messages": [
                {"role": "system", "content": "You answer questions about a shop, briefly and in plain words."},
                {"role": "user", "content": self.question},
            ],
        });
        if self.stream {
            body["stream"] = true.into();
        }
        body.to_string()
    }

    /// All of its bytes.
    pub(crate) fn request(&self) -> Vec<u8> {
        let Self { path, header, .. } = self;
        let body = self.body();
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-bench\r\naccept: application/json\r\n\
             content-type: application/json\r\nuser-agent: bench\r\n{header}content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Times in microseconds, ascending.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn of(mut micros: Vec<f64>) -> Self {
        micros.sort_by(f64::total_cmp);
        Self(micros)
    }

    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One target, one number of connections, one round.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Of every request, from its first byte sent to the last one of the response.
    pub(crate) last_byte: Times,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Processor time that the target took meanwhile, in microseconds.
    pub(crate) processor: f64,
}

/// What is driven: a process and what it is asked.
#[derive(Debug)]
pub(crate) struct Driven<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) process: &'a Killed,
    pub(crate) kind: Kind,
    /// What the gateway must say that it did, empty for what is no gateway: a bypass must not be measured as a hit.
    pub(crate) outcome: &'static str,
}

/// Keeps `connections` connections busy for `time`, a thread each.
pub(crate) fn drive(driven: &Driven<'_>, connections: usize, time: Duration) -> anyhow::Result<Sample> {
    let Driven { address, process, kind, outcome } = *driven;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(address)?;
        // The first one fills the cache and opens the connections behind.
        client.ask(&kind.request())?;
        client.ask(&kind.request())?.was(outcome)?;
        clients.push(client);
    }
    let before = process::processor_us(process)?;
    let start = Instant::now();
    let parts: Vec<anyhow::Result<Vec<f64>>> = thread::scope(|scope| {
        let running: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || client.repeat(driven, start + time))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    let taken = start.elapsed().as_secs_f64();
    let processor = process::processor_us(process)? - before;
    let last_byte = Times::of(parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat());
    let rate = last_byte.len() as f64 / taken;
    Ok(Sample { last_byte, rate, processor })
}

/// Waits until a gateway tells categories by meaning: on a busy machine it gives up waiting and says that it is ready
/// before that. False when that never comes.
pub(crate) fn wait_until_warm(address: SocketAddr) -> anyhow::Result<bool> {
    let until = Instant::now() + WARM;
    let mut client = Client::connect(address)?;
    while Instant::now() < until {
        if client.ask(&Kind::New.request())?.outcome == "miss" {
            return Ok(true);
        }
        thread::sleep(POLL);
    }
    Ok(false)
}

/// What the driver reads of a response.
#[derive(Debug)]
pub(crate) struct Response {
    status: u16,
    /// `x-semblance-cache`, empty when absent.
    outcome: String,
    /// `cache-status`, empty when absent.
    why: String,
    /// Bytes, head included.
    length: usize,
    /// Microseconds to the first byte read,
    pub(crate) first_byte: f64,
    /// and to the last one.
    pub(crate) last_byte: f64,
}

impl Response {
    /// Fails unless this is the outcome, and everything that had a say in it was in order.
    pub(crate) fn was(&self, outcome: &str) -> anyhow::Result<()> {
        ensure!(self.is(outcome)?, "the outcome is {:?} and not {outcome:?}: {}", self.outcome, self.why);
        Ok(())
    }

    /// Whether this is the outcome; fails where something that had a say in it was not in order.
    pub(crate) fn is(&self, outcome: &str) -> anyhow::Result<bool> {
        let failed = FAILURES.iter().any(|failure| self.why.contains(failure));
        ensure!(!failed, "a part of the gateway was out of order, or the machine too busy for it: {}", self.why);
        Ok(self.outcome == outcome)
    }

    /// Whether a wording was known already.
    pub(crate) fn via_alias(&self) -> bool {
        self.why.contains("detail=alias")
    }
}

/// One kept-open connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    fn repeat(mut self, driven: &Driven<'_>, until: Instant) -> anyhow::Result<Vec<f64>> {
        let Driven { kind, outcome, .. } = *driven;
        let mut request = kind.request();
        let mut micros = Vec::with_capacity(1 << 14);
        loop {
            if kind == Kind::New {
                request = kind.request();
            }
            let response = self.ask(&request)?;
            response.was(outcome)?;
            micros.push(response.last_byte);
            if Instant::now() >= until {
                return Ok(micros);
            }
        }
    }

    /// Sends a request and reads the whole response, which must be a success.
    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<Response> {
        let start = Instant::now();
        self.stream.write_all(request)?;
        let (mut filled, mut first_byte) = (0, None);
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "connection closed inside a response");
            first_byte.get_or_insert_with(|| start.elapsed());
            filled += read;
            if let Some(mut response) = whole(&self.buffer[..filled])? {
                response.last_byte = micros(start.elapsed());
                response.first_byte = first_byte.map_or(response.last_byte, micros);
                ensure!(response.length == filled, "more than a response came");
                ensure!(response.status == 200, "status {}", response.status);
                return Ok(response);
            }
            ensure!(filled < self.buffer.len(), "response too large");
        }
    }

    /// The bytes of the response that was read last.
    pub(crate) fn bytes_of(&self, response: &Response) -> &[u8] {
        self.buffer.get(..response.length).unwrap_or_default()
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A response that is all there; `None` while it is not.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<Response>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, start) = (std::str::from_utf8(&bytes[..head])?, head + 4);
    let status = head.get(9..12).context("no status line")?.parse()?;
    let (mut length, mut outcome, mut why) = (None, String::new(), String::new());
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').context("no header line")?;
        match name {
            "content-length" => length = Some(start + value.trim().parse::<usize>()?),
            "transfer-encoding" if bytes.ends_with(b"\r\n0\r\n\r\n") => length = Some(bytes.len()),
            "transfer-encoding" => return Ok(None),
            "x-semblance-cache" => value.trim().clone_into(&mut outcome),
            "cache-status" => value.trim().clone_into(&mut why),
            _ => {}
        }
    }
    let length = length.context("a response without a length")?;
    let (first_byte, last_byte) = (0.0, 0.0);
    Ok((bytes.len() >= length).then_some(Response { status, outcome, why, length, first_byte, last_byte }))
}
