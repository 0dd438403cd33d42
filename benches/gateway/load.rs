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

/// Longer silence is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Numbers questions that nobody asked before, all of one length.
static NEXT: AtomicU64 = AtomicU64::new(1000);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The same chat request again and again.
    Same,
    /// The same on a path that the gateway does not cache.
    OtherPath,
    /// The same with `cache-control: no-store`.
    NoStore,
    /// A chat request with a question of its own each time.
    New,
}

impl Kind {
    fn request(self) -> Vec<u8> {
        let (path, extra) = match self {
            Self::OtherPath => ("/v1/other/completions", ""),
            Self::NoStore => ("/v1/chat/completions", "cache-control: no-store\r\n"),
            Self::Same | Self::New => ("/v1/chat/completions", ""),
        };
        let question = match self {
            Self::New => format!("What does article {} of the catalogue cost?", NEXT.fetch_add(1, Ordering::Relaxed)),
            _ => "What is the capital of France?".to_owned(),
        };
        let body = serde_json::json!({
            "model": "gpt-4o-mini",
            "messages": [
                {"role": "system", "content": "You answer questions about a shop, briefly and in plain words."},
                {"role": "user", "content": question},
            ],
        });
        let body = body.to_string();
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-bench\r\naccept: application/json\r\n\
             content-type: application/json\r\nuser-agent: bench\r\n{extra}content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// One target, one number of connections, one round.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Microseconds of every request, ascending.
    pub(crate) micros: Vec<f64>,
    /// Requests a second.
    pub(crate) rate: f64,
}

impl Sample {
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        self.micros.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// Drives `address` for `time` on `connections` connections, a thread each. `outcome` is what the gateway must say that
/// it did, empty for what is no gateway: a bypass must not be measured as a hit.
pub(crate) fn drive(
    address: SocketAddr,
    (kind, outcome): (Kind, &str),
    connections: usize,
    time: Duration,
) -> anyhow::Result<Sample> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(address)?;
        // The first one fills the cache and opens the connections behind.
        client.ask(&kind.request())?.succeeded()?;
        let said = client.ask(&kind.request())?.outcome;
        ensure!(said == outcome, "the outcome is {said:?} and not {outcome:?}");
        clients.push(client);
    }
    let start = Instant::now();
    let parts: Vec<anyhow::Result<Vec<f64>>> = thread::scope(|scope| {
        let running: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || client.repeat(kind, start + time))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    let taken = start.elapsed().as_secs_f64();
    let mut micros = parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    micros.sort_by(f64::total_cmp);
    let rate = micros.len() as f64 / taken;
    Ok(Sample { micros, rate })
}

/// What the driver reads of a response.
#[derive(Debug)]
struct Response {
    status: u16,
    /// `x-semblance-cache`, empty when absent.
    outcome: String,
    /// Bytes, head included.
    length: usize,
}

impl Response {
    fn succeeded(&self) -> anyhow::Result<()> {
        ensure!(self.status == 200, "status {}", self.status);
        Ok(())
    }
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    fn repeat(mut self, kind: Kind, until: Instant) -> anyhow::Result<Vec<f64>> {
        let mut request = kind.request();
        let mut micros = Vec::with_capacity(1 << 14);
        loop {
            if kind == Kind::New {
                request = kind.request();
            }
            let start = Instant::now();
            self.ask(&request)?.succeeded()?;
            let end = Instant::now();
            micros.push((end - start).as_secs_f64() * 1e6);
            if end >= until {
                return Ok(micros);
            }
        }
    }

    /// Sends a request and reads the whole response.
    fn ask(&mut self, request: &[u8]) -> anyhow::Result<Response> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "connection closed inside a response");
            filled += read;
            if let Some(response) = whole(&self.buffer[..filled])? {
                ensure!(response.length == filled, "more than a response came");
                return Ok(response);
            }
            ensure!(filled < self.buffer.len(), "response too large");
        }
    }
}

/// A response that is all there; `None` while it is not.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<Response>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, start) = (std::str::from_utf8(&bytes[..head])?, head + 4);
    let status = head.get(9..12).context("no status line")?.parse()?;
    let (mut length, mut outcome) = (None, String::new());
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').context("no header line")?;
        match name {
            "content-length" => length = Some(start + value.trim().parse::<usize>()?),
            "transfer-encoding" if bytes.ends_with(b"\r\n0\r\n\r\n") => length = Some(bytes.len()),
            "transfer-encoding" => return Ok(None),
            "x-semblance-cache" => value.trim().clone_into(&mut outcome),
            _ => {}
        }
    }
    let length = length.context("a response without a length")?;
    Ok((bytes.len() >= length).then_some(Response { status, outcome, length }))
}
