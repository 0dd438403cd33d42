//! Processes beside the gateway, what they take of the processor, and what starting a gateway takes.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    gateway::{Gateway, Killed},
    load::{self, Client, Kind},
};

/// Memory is read this long after a start, when nothing is going on any more.
const SETTLE: Duration = Duration::from_millis(700);
/// Units of processor time a second in `/proc`: the same on every Linux that this builds for.
const USER_HZ: f64 = 100.0;

/// This program again, in another role.
#[derive(Debug)]
pub(crate) struct Child {
    /// The first line it printed: where it listens, if it does.
    pub(crate) said: String,
    /// From starting it to that line.
    pub(crate) listening: Duration,
    /// The further lines.
    pub(crate) output: BufReader<ChildStdout>,
    /// Ended with this value.
    pub(crate) process: Killed,
}

impl Child {
    /// Starts it and waits for its first line.
    pub(crate) fn role(role: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", role]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut process = Killed(command.spawn()?);
        let mut output = BufReader::new(process.0.stdout.take().context("no standard output")?);
        let mut said = String::new();
        output.read_line(&mut said)?;
        let listening = started.elapsed();
        ensure!(!said.is_empty(), "{role} ended before it was ready");
        Ok(Self { said: said.trim().to_owned(), listening, output, process })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.said.parse().with_context(|| format!("no address: {}", self.said))
    }
}

/// User and system time that a process has taken so far, in microseconds.
pub(crate) fn processor_us(process: &Killed) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.0.id()))?;
    // The name stands in brackets and may hold anything; user and system time are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')').context("no process name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / USER_HZ * 1e6)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(process: &Killed) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.context("no VmRSS")?.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// Seconds until a process listened and until it was ready, and its resident bytes after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    pub(crate) listening: f64,
    pub(crate) ready: f64,
    pub(crate) resident: f64,
}

/// Starts a gateway in front of `upstream` and waits until it caches.
pub(crate) fn warm(upstream: SocketAddr, level: &str) -> anyhow::Result<Gateway> {
    let gateway = Gateway::start(None, Some(upstream), &["--log-level", level])?;
    gateway.wait_until_ready()?;
    ensure!(load::wait_until_warm(gateway.listen)?, "the gateway never caches: {}", gateway.log());
    Ok(gateway)
}

/// Starts a gateway over `data`, or over an empty directory; `None` when it said that it was ready although it could not
/// tell categories yet, which it does where the machine is too busy.
pub(crate) fn start(data: Option<&Path>) -> anyhow::Result<Option<Started>> {
    let gateway = Gateway::start(data, None, &["--log-level", "info"])?;
    let listening = gateway.started.elapsed().as_secs_f64();
    let ready = gateway.wait_until_ready()?.as_secs_f64();
    thread::sleep(SETTLE);
    let started = Started { listening, ready, resident: gateway.memory("VmRSS")? };
    let answer = Client::connect(gateway.listen)?.ask(&Kind::New.request())?;
    Ok(answer.is("miss").is_ok_and(|is_miss| is_miss).then_some(started))
}

/// Starts the bare server: the least that a process that answers takes.
pub(crate) fn start_bare() -> anyhow::Result<Started> {
    let server = Child::role("server")?;
    let listening = server.listening.as_secs_f64();
    thread::sleep(SETTLE);
    Ok(Started { listening, ready: listening, resident: resident(&server.process)? })
}
