//! Processes of the floor, and what starting a gateway takes.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::gateway::{Gateway, Killed, first_line};

/// Memory is read this long after a start, when nothing is going on any more.
const SETTLE: Duration = Duration::from_millis(700);

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
            let gateway = Gateway::start(data, None, &["--log-level", "info"])?;
            let listening = gateway.started.elapsed().as_secs_f64();
            let ready = gateway.wait_until_ready()?.as_secs_f64();
            thread::sleep(SETTLE);
            Ok(Started { listening, ready, resident: gateway.memory("VmRSS")? })
        })
        .collect()
}
