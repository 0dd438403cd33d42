//! The real gateway as a process of its own on free ports of loopback, logging into a file, ended with the value that
//! stands for it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at whether a gateway is ready.
const POLL: Duration = Duration::from_millis(1);

/// A process that is killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Killed(pub(crate) process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first line that a process prints: where it listens.
pub(crate) fn first_line(process: &mut process::Child) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("no standard output")?).read_line(&mut line)?;
    ensure!(!line.is_empty(), "a process ended before it listened");
    Ok(line)
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where operators connect.
    pub(crate) admin: SocketAddr,
    pub(crate) started: Instant,
    /// Its working directory: the log, and the database unless that was given.
    pub(crate) dir: tempfile::TempDir,
    pub(crate) process: Killed,
}

impl Gateway {
    /// Starts it over `data`, or over an empty directory, in front of `upstream`, or of the demo. Returns when it listens.
    pub(crate) fn start(data: Option<&Path>, upstream: Option<SocketAddr>, flags: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = data.map_or_else(|| dir.path().join("data"), Path::to_path_buf);
        let upstream = upstream.map_or_else(|| "demo".to_owned(), |address| format!("http://{address}/v1"));
        let file = fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(flags).args(["--upstream", &upstream, "--data-dir"]).arg(data);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let started = Instant::now();
        let mut process = Killed(command.spawn()?);
        let line = first_line(&mut process.0).with_context(|| logged(dir.path()))?;
        let event: serde_json::Value = serde_json::from_str(&line)?;
        let address = |key: &str| anyhow::Ok(event[key].as_str().context("no address")?.parse()?);
        Ok(Self { listen: address("listen")?, admin: address("admin")?, started, dir, process })
    }

    /// Waits until it says that it is ready; returns the time since it was started.
    pub(crate) fn wait_until_ready(&self) -> anyhow::Result<Duration> {
        while !self.is_ready()? {
            ensure!(self.started.elapsed() < PATIENCE, "never ready: {}", self.log());
            thread::sleep(POLL);
        }
        Ok(self.started.elapsed())
    }

    fn is_ready(&self) -> anyhow::Result<bool> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    }

    /// Memory in bytes: `VmRSS` is what it holds now, `VmHWM` the most so far.
    pub(crate) fn memory(&self, kind: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
        let kib: f64 = line.context("no such line")?.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        logged(self.dir.path())
    }
}

fn logged(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
