//! The real gateway as a process of its own, and clients for it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// A gateway that is killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
    process: Child,
    dir: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    /// Starts it in front of `upstream`; returns when it is ready.
    pub(crate) async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        semblance::upstream::http::install_tls();
        let dir = tempfile::tempdir()?;
        let log = fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--log-level", "warn", "--upstream", &format!("http://{upstream}/v1")]);
        command.args(["--limits-followers", "100000", "--limits-requests", "100000"]);
        command.arg("--data-dir").arg(dir.path().join("data")).current_dir(dir.path());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut first = String::new();
        BufReader::new(process.stdout.take().context("no standard output")?).read_line(&mut first)?;
        let logged = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        let event: Value = serde_json::from_str(&first).with_context(|| format!("it did not start: {}", logged()))?;
        let address = |key: &str| anyhow::Ok(event[key].as_str().context("no address")?.parse()?);
        let gateway = Self { listen: address("listen")?, admin: address("admin")?, process, dir };
        let client = client()?;
        while !client.get(format!("http://{}/readyz", gateway.admin)).send().await?.status().is_success() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(gateway)
    }

    /// A chat request.
    pub(crate) fn chat(
        &self,
        client: &reqwest::Client,
        key: &str,
        question: &str,
        stream: bool,
    ) -> reqwest::RequestBuilder {
        let body =
            json!({"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": question}]});
        client.post(format!("http://{}/v1/chat/completions", self.listen)).bearer_auth(key).body(body.to_string())
    }

    /// Purges what `selector` says, hard.
    pub(crate) async fn purge(&self, client: &reqwest::Client, selector: &Value) -> anyhow::Result<()> {
        let request = client.post(format!("http://{}/semblance/purge", self.admin));
        let response = request.header("content-type", "application/json").body(selector.to_string()).send().await?;
        ensure!(response.status().is_success(), "purge answered {}", response.status());
        Ok(())
    }

    /// Resident memory, in MiB: now and at most so far.
    pub(crate) fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let of = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            anyhow::Ok(value.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }

    /// Bytes of the database's files, in MiB.
    pub(crate) fn stored(&self) -> anyhow::Result<f64> {
        Ok(size(&self.dir.path().join("data"))? as f64 / f64::from(1 << 20))
    }

    /// What it logged at level warn and above.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

fn size(dir: &Path) -> anyhow::Result<u64> {
    fs::read_dir(dir)?.map(|file| Ok(file?.metadata()?.len())).sum()
}

/// A client that keeps its connections.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

/// The text of a chat answer in either shape.
pub(crate) fn text(body: &str) -> String {
    let content = |value: &Value, part: &str| value["choices"][0][part]["content"].as_str().map(str::to_owned);
    match serde_json::from_str::<Value>(body) {
        Ok(whole) => content(&whole, "message").unwrap_or_default(),
        Err(_) => {
            let events = body.split("\n\n").filter_map(|frame| frame.strip_prefix("data: "));
            let chunks = events.filter_map(|event| serde_json::from_str::<Value>(event).ok());
            chunks.filter_map(|chunk| content(&chunk, "delta")).collect()
        }
    }
}
