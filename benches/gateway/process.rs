//! Processes under test: started on free ports of loopback, ended with the value that stands for them.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::load;

/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at whether a gateway is ready.
const POLL: Duration = Duration::from_millis(1);
/// Memory is read this long after a start, when nothing is going on any more.
const SETTLE: Duration = Duration::from_millis(700);

/// A process that is killed when it goes out of scope.
#[derive(Debug)]
struct Killed(process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of the floor's processes.
#[derive(Debug)]
pub(crate) struct Child {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _process: Killed,
}

impl Child {
    /// This program again, in another role.
    pub(crate) fn role(name: &str, to: Option<SocketAddr>) -> anyhow::Result<Self> {
        let role = to.map_or_else(|| name.to_owned(), |to| format!("{name}={to}"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", &role]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Killed(command.spawn()?);
        let line = first_line(&mut process.0)?;
        Ok(Self { address: line.trim().parse()?, _process: process })
    }
}

fn first_line(process: &mut process::Child) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("no standard output")?).read_line(&mut line)?;
    ensure!(!line.is_empty(), "a process ended before it listened");
    Ok(line)
}

/// The real gateway, logging into a file.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
    started: Instant,
    process: Killed,
    _own: tempfile::TempDir,
}

impl Gateway {
    /// Starts it over `data`, or over an empty directory. Returns when it listens.
    pub(crate) fn start(data: Option<&Path>, upstream: Option<SocketAddr>, level: &str) -> anyhow::Result<Self> {
        let own = tempfile::tempdir()?;
        let data = data.map_or_else(|| own.path().join("data"), Path::to_path_buf);
        let upstream = upstream.map_or_else(|| "demo".to_owned(), |address| format!("http://{address}/v1"));
        let log = fs::File::create(own.path().join("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--log-level", level, "--upstream", &upstream, "--data-dir"]).arg(data);
        command.current_dir(own.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let started = Instant::now();
        let mut process = Killed(command.spawn()?);
        let line = first_line(&mut process.0).with_context(|| logged(own.path()))?;
        let event: serde_json::Value = serde_json::from_str(&line)?;
        let address = |key: &str| anyhow::Ok(event[key].as_str().context("no address")?.parse()?);
        Ok(Self { listen: address("listen")?, admin: address("admin")?, started, process, _own: own })
    }

    /// Waits until it says that it is ready; returns the time since it was started.
    pub(crate) fn wait_until_ready(&self) -> anyhow::Result<Duration> {
        while load::get(self.admin, "/readyz")? != 200 {
            ensure!(self.started.elapsed() < PATIENCE, "never ready");
            thread::sleep(POLL);
        }
        Ok(self.started.elapsed())
    }

    /// Resident memory in bytes.
    fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }
}

fn logged(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// Seconds until a gateway listened and until it was ready, and its resident bytes after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    pub(crate) listening: f64,
    pub(crate) ready: f64,
    pub(crate) resident: f64,
}

/// Starts a gateway `times` times over `data`, or over an empty directory each time.
pub(crate) fn starts(data: Option<&Path>, times: usize) -> anyhow::Result<Vec<Started>> {
    (0..times)
        .map(|_| {
            let gateway = Gateway::start(data, None, "info")?;
            let listening = gateway.started.elapsed().as_secs_f64();
            let ready = gateway.wait_until_ready()?.as_secs_f64();
            thread::sleep(SETTLE);
            Ok(Started { listening, ready, resident: gateway.resident()? })
        })
        .collect()
}
