//! Everything that is driven in a closed loop: hits, streams, pass-through and misses, each at 1, 16 and 64 connections
//! beside the floor that it is held against.

use anyhow::{Context, ensure};

use crate::{
    figures::{Named, Round, median},
    floor::{Captured, EVENTS},
    gateway::Gateway,
    load::{self, Client, Driven, Kind, Sample},
    options::{Options, Section},
    process::{self, Child},
    rows::{Judged, Row},
};

/// Connections at a time.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Processor time is told for this many, and more misses at a time only wait for the embedder.
const BUSY: usize = 16;

/// Less processor time, in microseconds, is too little for how the kernel counts it.
const COARSE: f64 = 100_000.0;

/// Which process is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Server,
    Replayer,
    Proxy,
    Gateway,
    /// The gateway that writes no line for each request.
    Quiet,
    /// The gateway that does nothing else.
    Learning,
}

/// A target: a floor where it is held against none.
struct Target {
    id: &'static str,
    title: &'static str,
    section: Section,
    asks: Asks,
    kind: Kind,
    outcome: &'static str,
    against: Option<&'static str>,
}

impl Target {
    const fn driven<'a>(&self, gateway: &'a Gateway) -> Driven<'a> {
        Driven { address: gateway.listen, process: &gateway.process, kind: self.kind, outcome: self.outcome }
    }
}

const TARGETS: &[Target] = {
    const fn floor(id: &'static str, title: &'static str, section: Section, asks: Asks, kind: Kind) -> Target {
        Target { id, title, section, asks, kind, outcome: "", against: None }
    }
    const fn own(
        id: &'static str,
        title: &'static str,
        of: &'static Target,
        (asks, kind): (Asks, Kind),
        outcome: &'static str,
    ) -> Target {
        Target { id, title, section: of.section, asks, kind, outcome, against: Some(of.id) }
    }
    const SERVER: Target = floor("bare-server", "bare hyper server", Section::Hits, Asks::Server, Kind::Same);
    // It says that it is a hit because it says all that the gateway says.
    const REPLAYER: Target = Target {
        outcome: "hit-exact",
        ..floor("bare-replay", "bare hyper server, the same bytes", Section::Stream, Asks::Replayer, Kind::Stream)
    };
    const PROXY: Target = floor("bare-proxy", "bare hyper proxy", Section::Pass, Asks::Proxy, Kind::OtherPath);
    const MISSED: Target = floor("bare-proxy-misses", "bare hyper proxy", Section::Miss, Asks::Proxy, Kind::OtherPath);
    &[
        SERVER,
        own("exact-hit", "Exact hit", &SERVER, (Asks::Gateway, Kind::Same), "hit-exact"),
        own("exact-hit-quiet", "Exact hit, log level warn", &SERVER, (Asks::Quiet, Kind::Same), "hit-exact"),
        REPLAYER,
        own("stream-hit", "Hit replayed as a 50-event stream", &REPLAYER, (Asks::Gateway, Kind::Stream), "hit-exact"),
        PROXY,
        own("pass-through", "Pass-through", &PROXY, (Asks::Gateway, Kind::OtherPath), "bypass"),
        own("pass-through-quiet", "Pass-through, log level warn", &PROXY, (Asks::Quiet, Kind::OtherPath), "bypass"),
        own("pass-through-chat", "Pass-through of a chat, no-store", &PROXY, (Asks::Gateway, Kind::NoStore), "bypass"),
        MISSED,
        own("miss", "Miss, a new question", &MISSED, (Asks::Learning, Kind::New), "miss"),
    ]
};

/// The processes, as far as the sections need them.
#[derive(Debug)]
struct Processes {
    server: Child,
    proxy: Child,
    gateway: Gateway,
    quiet: Gateway,
    learning: Gateway,
    replayer: Option<Child>,
    /// What the replayer answers with, and the upstream behind all.
    _kept: (tempfile::TempDir, Child),
}

impl Processes {
    fn start(options: &Options) -> anyhow::Result<Self> {
        let upstream = Child::role("upstream")?;
        let to = upstream.address()?;
        // One after the other: each computes while it starts, and has to be done in time.
        let (gateway, quiet, learning) =
            (process::warm(to, "info")?, process::warm(to, "warn")?, process::warm(to, "info")?);
        let dir = tempfile::tempdir()?;
        let replayer = options.wants(Section::Stream).then(|| replayer(&gateway, &dir)).transpose()?;
        let (server, proxy) = (Child::role("server")?, Child::role(&format!("proxy={to}"))?);
        Ok(Self { server, proxy, gateway, quiet, learning, replayer, _kept: (dir, upstream) })
    }

    fn driven(&self, target: &Target) -> anyhow::Result<Driven<'_>> {
        let child = match target.asks {
            Asks::Server => &self.server,
            Asks::Proxy => &self.proxy,
            Asks::Replayer => self.replayer.as_ref().context("nothing to replay")?,
            Asks::Gateway => return Ok(target.driven(&self.gateway)),
            Asks::Quiet => return Ok(target.driven(&self.quiet)),
            Asks::Learning => return Ok(target.driven(&self.learning)),
        };
        let Target { kind, outcome, .. } = *target;
        Ok(Driven { address: child.address()?, process: &child.process, kind, outcome })
    }
}

/// A bare server that says what the gateway says when it replays a stream.
fn replayer(gateway: &Gateway, dir: &tempfile::TempDir) -> anyhow::Result<Child> {
    let mut client = Client::connect(gateway.listen)?;
    client.ask(&Kind::Stream.request())?;
    let replayed = client.ask(&Kind::Stream.request())?;
    replayed.was("hit-exact")?;
    let captured = Captured::read(client.bytes_of(&replayed))?;
    ensure!(captured.events() == EVENTS, "a replay of {} events", captured.events());
    let file = dir.path().join("replay.json");
    std::fs::write(&file, serde_json::to_vec(&captured)?)?;
    Child::role(&format!("replayer={}", file.display()))
}

/// All rounds of one target; one column for each number of connections.
struct Measured {
    target: &'static Target,
    columns: [Vec<Sample>; CONNECTIONS.len()],
}

/// Drives what the sections name and returns its rows.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut measured: Vec<Measured> = TARGETS
        .iter()
        .filter(|target| options.wants(target.section))
        .map(|target| Measured { target, columns: Default::default() })
        .collect();
    if measured.is_empty() {
        return Ok(Vec::new());
    }
    let processes = Processes::start(options)?;
    // One round that does not count: it fills the cache, opens connections and warms everything up.
    for round in 0..=options.rounds {
        options.tell(&format!("closed loop, round {round} of {}", options.rounds));
        for (column, connections) in CONNECTIONS.into_iter().enumerate() {
            for Measured { target, columns } in &mut measured {
                if target.section == Section::Miss && connections > BUSY {
                    continue;
                }
                let sample = load::drive(&processes.driven(target)?, connections, options.time);
                let sample = sample.with_context(|| format!("{}, {connections} connections", target.title))?;
                if round > 0 {
                    columns[column].push(sample);
                }
            }
        }
    }
    let mut rows: Vec<Row> = measured.iter().flat_map(|own| rows(own, &measured)).collect();
    if options.wants(Section::Memory) {
        rows.extend(resident(&processes)?);
    }
    Ok(rows)
}

/// Memory of the gateway that served all hits, when it is done.
fn resident(processes: &Processes) -> anyhow::Result<Option<Row>> {
    let value = process::resident(&processes.gateway.process)? / 1e6;
    let reference = Some(process::resident(&processes.server.process)? / 1e6);
    let named = Named::value("memory-after-load", "Resident after the load", "MB", "bare hyper server");
    Ok(named.row(&[Round { value, reference }]))
}

/// A figure of a sample.
type Figure = fn(&Sample) -> f64;

fn rows(own: &Measured, all: &[Measured]) -> Vec<Row> {
    let Some(floor) = own.target.against.and_then(|id| all.iter().find(|other| other.target.id == id)) else {
        return Vec::new();
    };
    let Target { id, title, .. } = own.target;
    let mut rows = Vec::new();
    for (column, connections) in CONNECTIONS.into_iter().enumerate() {
        let (samples, floors) = (&own.columns[column], &floor.columns[column]);
        let rounds = |of: Figure| -> Vec<Round> {
            let both = samples.iter().zip(floors);
            both.map(|(own, floor)| Round { value: of(own), reference: Some(of(floor)) }).collect()
        };
        let plural = if connections == 1 { "" } else { "s" };
        let row = |figure: &str, what: &str, unit, of: Figure| {
            let titled = format!("{title}, {what} at {connections} connection{plural}");
            let named = Named::ratio(&format!("{id}-{figure}-{connections}"), &titled, unit, floor.target.title);
            let lower_is_better = figure != "throughput";
            let row = Named { lower_is_better, judged: Judged::Ratio, ..named }.row(&rounds(of))?;
            Some(Row { cpu_us_per_request: cpu(samples), ..row })
        };
        let p99 = median(samples.iter().map(|sample| sample.last_byte.quantile(0.99)));
        rows.extend(row("p50", "p50", "us", |sample| sample.last_byte.quantile(0.5)).map(|row| Row { p99, ..row }));
        rows.extend(row("throughput", "throughput", "requests/s", |sample| sample.rate));
        if connections == BUSY {
            let titled = format!("{title}, processor time of a request at {BUSY} connections");
            let named = Named::ratio(&format!("{id}-cpu-{BUSY}"), &titled, "us", floor.target.title);
            // Counted in hundredths of a second: of all rounds together, since one alone is too coarse.
            let total = cpu(samples).map(|value| Round { value, reference: cpu(floors) });
            rows.extend(total.and_then(|round| named.row(&[round])));
        }
    }
    rows
}

/// Processor time of a request over all rounds, where they took enough of it to tell.
fn cpu(samples: &[Sample]) -> Option<f64> {
    let requests: usize = samples.iter().map(|sample| sample.last_byte.len()).sum();
    let spent: f64 = samples.iter().map(|sample| sample.processor).sum();
    (spent >= COARSE).then(|| spent / requests.max(1) as f64)
}
