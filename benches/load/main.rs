//! What holds under load, shown on the real binary: one call for a hot question, no answer in the wrong hands, flat memory.
//!
//! - `cargo bench --bench load -- hot [--clients 5000]`: as many ask the same at once, half of them streams, some slow,
//!   some leaving.
//! - `cargo bench --bench load -- isolation [--requests 1000000] [--seed 1]`: 50 principals ask 200 questions in any
//!   order, purges between them; every answer says whom and what it was made for.
//! - `cargo bench --bench load -- soak [--minutes 60]`: mixed traffic; memory and file size are watched.
//! - `cargo bench --bench load -- nodes`: three nodes over a redis-server: hits, purges, lag, a hot question.
//!
//! Each prints what it found and fails when a bound is missed. How to read the output is in `benches/README.md`.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark measures wall-clock time")]

mod client;
#[path = "../shared/gateway.rs"]
mod gateway;
mod hot;
mod isolation;
mod nodes;
mod soak;
mod upstream;

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy)]
struct Options {
    clients: usize,
    requests: usize,
    minutes: f64,
    seed: u64,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut options = Options { clients: 5000, requests: 1_000_000, minutes: 60.0, seed: 1 };
    let mut scenario = None;
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--clients" => options.clients = value()?.parse()?,
            "--requests" => options.requests = value()?.parse()?,
            "--minutes" => options.minutes = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            // What cargo adds.
            "--bench" => {}
            name @ ("hot" | "isolation" | "nodes" | "soak") => scenario = Some(name.to_owned()),
            other => bail!("unknown argument {other}; see the head of benches/load/main.rs"),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match scenario.as_deref() {
        Some("hot") => runtime.block_on(hot::run(options)),
        Some("isolation") => runtime.block_on(isolation::run(options)),
        Some("nodes") => runtime.block_on(nodes::run()),
        Some("soak") => runtime.block_on(soak::run(options)),
        // `cargo bench` without arguments runs every benchmark; these are long and asked for by name.
        _ => {
            line("name a scenario: hot, isolation, nodes or soak (cargo bench --bench load -- hot)");
            Ok(())
        }
    }
}

fn line(text: &str) {
    // A closed standard output ends the run soon enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}
