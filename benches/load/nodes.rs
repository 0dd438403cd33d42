//! Three nodes over one engine: what a hit costs from memory and from the engine, how long a purge takes until no node
//! serves what it purged, how far an index lags behind another node, and one call for a hot question.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    client::client,
    gateway::{Gateway, Killed},
    line,
    upstream::Upstream,
};

const NODES: usize = 3;
/// Rounds of hits, in each of which every target gets as many requests.
const ROUNDS: usize = 9;
const REQUESTS: usize = 300;
const PURGES: usize = 500;
const INSERTS: usize = 200;
const CLIENTS: usize = 100;
const QUESTION: &str = "What happened at the opening ceremony?";

/// An engine of the benchmark's own.
struct Engine {
    port: u16,
    _process: Killed,
}

impl Engine {
    fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let process = Killed(process.context("redis-server cannot be started; install it")?);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { port, _process: process })
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// One command in the engine's inline form, and the first part of its answer.
    fn ask(stream: &mut TcpStream, command: &str) -> anyhow::Result<String> {
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = vec![0; 16 << 10];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned())
    }

    /// Commands done so far, those inside scripts among them, and seconds of processor time.
    fn work(&self) -> anyhow::Result<(f64, f64)> {
        let mut stream = self.connect()?;
        let (stats, cpu) = (Self::ask(&mut stream, "INFO stats")?, Self::ask(&mut stream, "INFO cpu")?);
        let field = |text: &str, name: &str| -> anyhow::Result<f64> {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(found.context("no such field")?.trim().parse()?)
        };
        let seconds = field(&cpu, "used_cpu_sys")? + field(&cpu, "used_cpu_user")?;
        Ok((field(&stats, "total_commands_processed")?, seconds))
    }
}

fn at(sorted: &mut [f64], share: f64) -> f64 {
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len().saturating_sub(1)) as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) async fn run() -> anyhow::Result<()> {
    semblance::upstream::http::install_tls();
    let engine = Engine::start()?;
    let upstream = Upstream::start(20, Duration::from_millis(300), Duration::from_millis(2)).await?;
    let store = format!("redis://127.0.0.1:{}", engine.port);
    let over_engine = ["--log-level", "warn", "--store", &store];
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Arc::new(Gateway::start(None, Some(upstream.address), &over_engine)?));
    }
    let alone = Gateway::start(None, Some(upstream.address), &["--log-level", "warn"])?;
    let cold = Gateway::start(None, Some(upstream.address), &[&over_engine[..], &["--hot-tier-bytes", "0"]].concat())?;
    for gateway in nodes.iter().map(Arc::as_ref).chain([&alone, &cold]) {
        gateway.wait_until_ready()?;
    }
    line(&format!("engine at rest   {:.0} commands/s of {} nodes", at_rest(&engine).await?, NODES + 1));
    hits(&engine, &nodes[0], &alone, &cold).await?;
    purges(&nodes).await?;
    lag(&nodes).await?;
    hot(&nodes, &upstream).await
}

async fn at_rest(engine: &Engine) -> anyhow::Result<f64> {
    let (before, _) = engine.work()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok((engine.work()?.0 - before) / 3.0)
}

/// Microseconds of each of so many hits, one after another.
async fn timed(gateway: &Gateway, client: &reqwest::Client, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let asked = Instant::now();
        let response = gateway.chat(client, "sk-hits", QUESTION, false).send().await?;
        let outcome = response.headers().get("x-semblance-cache").map(|value| value.as_bytes().to_vec());
        response.bytes().await?;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
        ensure!(outcome.as_deref() == Some(b"hit-exact"), "no hit: {outcome:?}");
    }
    Ok(times)
}

async fn hits(engine: &Engine, node: &Gateway, alone: &Gateway, cold: &Gateway) -> anyhow::Result<()> {
    let client = client()?;
    for gateway in [node, alone] {
        gateway.chat(&client, "sk-hits", QUESTION, false).send().await?.bytes().await?;
    }
    let mut raw = engine.connect()?;
    Engine::ask(&mut raw, &format!("SET bench {}", "x".repeat(2048)))?;
    let (mut shared, mut local, mut remote, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        shared.extend(timed(node, &client, REQUESTS).await?);
        local.extend(timed(alone, &client, REQUESTS).await?);
        remote.extend(timed(cold, &client, REQUESTS).await?);
        for _ in 0..REQUESTS {
            let asked = Instant::now();
            Engine::ask(&mut raw, "GET bench")?;
            bare.push(asked.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (of_node, of_alone) = (at(&mut shared, 0.5), at(&mut local, 0.5));
    line(&format!(
        "hit from memory  p50 {of_node:.0} us, p99 {:.0} us; on one node p50 {of_alone:.0} us: {:.2}x",
        at(&mut shared, 0.99),
        of_node / of_alone
    ));
    let (of_cold, of_get) = (at(&mut remote, 0.5), at(&mut bare, 0.5));
    line(&format!(
        "from the engine  p50 {of_cold:.0} us; its own GET {of_get:.0} us; over that and a hit from memory {:.0} us",
        of_cold - of_node - of_get
    ));
    let (commands, seconds) = engine.work()?;
    let (began, mut served) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(5) {
        let asking = (0..16).map(|_| timed(node, &client, 50));
        served += futures_util::future::try_join_all(asking).await?.iter().map(Vec::len).sum::<usize>();
    }
    let (took, (commands_after, seconds_after)) = (began.elapsed().as_secs_f64(), engine.work()?);
    line(&format!(
        "one hot key      {:.0} requests/s of one node at 16; the engine meanwhile {:.0} commands/s, {:.1} % of a core",
        served as f64 / took,
        (commands_after - commands) / took,
        (seconds_after - seconds) / took * 100.0
    ));
    Ok(())
}

async fn purges(nodes: &[Arc<Gateway>]) -> anyhow::Result<()> {
    let client = client()?;
    let mut times = Vec::new();
    for number in 0..PURGES {
        let began = Instant::now();
        nodes[number % NODES].purge(&client, &json!({"tag": format!("nothing-{number}")})).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let (half, most) = (at(&mut times, 0.5), at(&mut times, 0.99));
    line(&format!("purge            acknowledged of all nodes: p50 {half:.1} ms, p99 {most:.1} ms, of {PURGES}"));
    Ok(())
}

async fn vectors(client: &reqwest::Client, node: &Gateway) -> anyhow::Result<u64> {
    let stats = client.get(format!("http://{}/semblance/stats", node.admin)).send().await?.bytes().await?;
    let stats: Value = serde_json::from_slice(&stats)?;
    stats["index_vectors"].as_u64().context("no index_vectors")
}

async fn lag(nodes: &[Arc<Gateway>]) -> anyhow::Result<()> {
    let client = client()?;
    let mut times = Vec::new();
    for number in 0..INSERTS {
        let before = vectors(&client, &nodes[1]).await?;
        let question = format!("Which stone lies at place {number} of the old town wall?");
        let request = nodes[0].chat(&client, "sk-lag", &question, false).header("x-semblance-threshold", "1");
        request.send().await?.bytes().await?;
        let stored = Instant::now();
        while vectors(&client, &nodes[1]).await? == before && stored.elapsed() < Duration::from_secs(5) {}
        times.push(stored.elapsed().as_secs_f64() * 1e3);
    }
    let (half, most) = (at(&mut times, 0.5), at(&mut times, 0.99));
    line(&format!("feed             in another node's index after p50 {half:.1} ms, p99 {most:.1} ms, of {INSERTS}"));
    Ok(())
}

async fn hot(nodes: &[Arc<Gateway>], upstream: &Upstream) -> anyhow::Result<()> {
    let (client, before) = (client()?, upstream.calls());
    let asking = (0..CLIENTS * NODES).map(|number| {
        let (node, client) = (&nodes[number % NODES], &client);
        async move {
            let request = node.chat(client, "sk-hot", "Who won the final of the year?", number % 2 == 0);
            request.send().await?.error_for_status()?.bytes().await
        }
    });
    futures_util::future::try_join_all(asking).await?;
    let calls = upstream.calls() - before;
    line(&format!("hot question     {} clients on {NODES} nodes: {calls} upstream call(s)", CLIENTS * NODES));
    ensure!(calls == 1, "more than one upstream call");
    Ok(())
}
