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
/// Numbers questions that nobody asked before.
static NEXT: AtomicU64 = AtomicU64::new(1);

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
            _ => "How many days does a refund take after I sent a parcel back?".to_owned(),
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

/// Drives `address` for `time` on `connections` connections, a thread each.
pub(crate) fn drive(address: SocketAddr, kind: Kind, connections: usize, time: Duration) -> anyhow::Result<Sample> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(address)?;
        // Opens the connections behind, too.
        client.ask(&kind.request())?;
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
    ensure!(!micros.is_empty(), "no request was answered in time");
    micros.sort_by(f64::total_cmp);
    let rate = micros.len() as f64 / taken;
    Ok(Sample { micros, rate })
}

/// Asks `path` once; returns the status.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    Client::connect(address)?.ask(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes())
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
            if start >= until {
                return Ok(micros);
            }
            let status = self.ask(&request)?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            ensure!(status == 200, "status {status}");
        }
    }

    /// Sends a request and reads the whole response; returns its status.
    fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "connection closed inside a response");
            filled += read;
            let response = &self.buffer[..filled];
            if let Some((status, length)) = whole(response)? {
                ensure!(length == filled, "more than a response came");
                return Ok(status);
            }
            ensure!(filled < self.buffer.len(), "response too large");
        }
    }
}

/// Status and length of a response that is all there; `None` while it is not.
fn whole(response: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(head) = response.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, start) = (std::str::from_utf8(&response[..head])?, head + 4);
    let status = head.get(9..12).context("no status line")?.parse()?;
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').context("no header line")?;
        if name.eq_ignore_ascii_case("content-length") {
            let length = start + value.trim().parse::<usize>()?;
            return Ok((response.len() >= length).then_some((status, length)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(response.ends_with(b"\r\n0\r\n\r\n").then_some((status, response.len())));
        }
    }
    bail!("a response without a length")
}
