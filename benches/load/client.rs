//! Clients of the gateway under load.

use std::{fs, net::SocketAddr};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::gateway::Gateway;

const MIB: f64 = 1024.0 * 1024.0;

/// Starts a gateway in front of `upstream` that turns nobody away; returns when it is ready.
pub(crate) fn start(upstream: SocketAddr) -> anyhow::Result<Gateway> {
    semblance::upstream::http::install_tls();
    let bounds = ["--log-level", "warn", "--limits-followers", "100000", "--limits-requests", "100000"];
    let gateway = Gateway::start(None, Some(upstream), &bounds)?;
    gateway.wait_until_ready()?;
    Ok(gateway)
}

impl Gateway {
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

    /// Memory in MiB; `kind` as in [`Gateway::memory`].
    pub(crate) fn mebibytes(&self, kind: &str) -> anyhow::Result<f64> {
        Ok(self.memory(kind)? / MIB)
    }

    /// The database's files, in MiB.
    pub(crate) fn stored(&self) -> anyhow::Result<f64> {
        let files = fs::read_dir(self.dir.path().join("data"))?;
        let bytes: u64 = files.map(|file| anyhow::Ok(file?.metadata()?.len())).sum::<Result<_, _>>()?;
        Ok(bytes as f64 / MIB)
    }
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
