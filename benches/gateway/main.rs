//! What the gateway costs, as ratios to the least that a server and a proxy can cost on the same machine in the same run.
//!
//! `cargo bench --bench gateway` starts a bare hyper server, a bare hyper proxy, a small upstream and the real
//! `semblance serve`, each in a process of its own on loopback, and drives them in turns: in every round each target
//! gets the same time, so what else the machine does falls on all of them. It takes about two minutes.
//!
//! - `--json FILE` also writes the figures as JSON.
//! - `--entries N` also measures a start over a store of N entries, 100000 when not given, 0 for none.
//! - `--quick` makes everything short: it shows that the benchmark works and measures nothing.
//! - `--seconds S` is the time for each target, connections and round (0.5), `--rounds N` the number of rounds (9).
//!
//! A ratio is the median of the rounds' ratios. How to read the table is in `benches/README.md`.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark measures wall-clock time")]

mod floor;
#[path = "../shared/gateway.rs"]
mod gateway;
mod load;
mod process;
mod report;
mod seed;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};

use gateway::Gateway;
use load::{Kind, Sample};
use process::Child;
use report::{Report, Start, Target};

/// Connections at a time, one column of the table each.
const CONNECTIONS: [usize; 2] = [1, 16];
/// Starts over an empty directory; the median counts.
const STARTS: usize = 5;

/// What was asked for on the command line.
#[derive(Debug)]
struct Options {
    json: Option<PathBuf>,
    entries: usize,
    rounds: usize,
    time: Duration,
    starts: usize,
    role: Option<floor::Role>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let time = Duration::from_millis(500);
        let mut options = Self { json: None, entries: 100_000, rounds: 9, time, starts: STARTS, role: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => options.json = Some(value()?.into()),
                "--entries" => options.entries = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--seconds" => options.time = Duration::from_secs_f64(value()?.parse()?),
                "--role" => options.role = Some(floor::Role::from_arg(&value()?)?),
                "--quick" => {
                    options = Self { entries: 200, rounds: 1, time: Duration::from_millis(50), starts: 1, ..options };
                }
                // What cargo adds.
                "--bench" => {}
                other => bail!("unknown argument {other}; see the head of benches/gateway/main.rs"),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| match &options.role {
        Some(role) => floor::run(role),
        None => measure(&options),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let mut starts = vec![Start::of("empty store", &process::starts(None, options.starts)?)];
    if options.entries > 0 {
        let seeded = seed::store(options.entries)?;
        let measured = process::starts(Some(seeded.path()), options.starts.div_ceil(2))?;
        starts.push(Start::of(&format!("{} entries", options.entries), &measured));
    }
    let targets = drive(options)?;
    let report = Report { targets, starts };
    report.print();
    match &options.json {
        Some(path) => report.write_json(path),
        None => Ok(()),
    }
}

/// Everything that is driven, in the order of the table.
fn drive(options: &Options) -> anyhow::Result<Vec<Target>> {
    let upstream = Child::role("upstream", None)?;
    let server = Child::role("server", None)?;
    let proxy = Child::role("proxy", Some(upstream.address))?;
    let gateway = Gateway::start(None, Some(upstream.address), &["--log-level", "info"])?;
    let quiet = Gateway::start(None, Some(upstream.address), &["--log-level", "warn"])?;
    gateway.wait_until_ready()?;
    quiet.wait_until_ready()?;
    let targets: [(&str, SocketAddr, Kind, &str); 9] = [
        ("bare server", server.address, Kind::Same, ""),
        ("exact hit", gateway.listen, Kind::Same, "hit-exact"),
        ("exact hit, log warn", quiet.listen, Kind::Same, "hit-exact"),
        ("bare proxy", proxy.address, Kind::OtherPath, ""),
        ("pass-through, other path", gateway.listen, Kind::OtherPath, "bypass"),
        ("pass-through, other path, log warn", quiet.listen, Kind::OtherPath, "bypass"),
        ("pass-through, no-store chat", gateway.listen, Kind::NoStore, "bypass"),
        ("upstream itself", upstream.address, Kind::OtherPath, ""),
        ("miss, new question", gateway.listen, Kind::New, "miss"),
    ];
    let mut measured: Vec<Target> = targets.iter().map(|(name, ..)| Target::new(name)).collect();
    // One round that does not count: it fills the cache, opens connections and warms everything up.
    for round in 0..=options.rounds {
        for (column, connections) in CONNECTIONS.into_iter().enumerate() {
            for ((name, address, kind, outcome), target) in targets.iter().zip(&mut measured) {
                let sample = load::drive(*address, (*kind, outcome), connections, options.time);
                let sample: Sample = sample.with_context(|| format!("{name}, {connections} connections"))?;
                if round > 0 {
                    target.add(column, sample);
                }
            }
        }
    }
    Ok(measured)
}
