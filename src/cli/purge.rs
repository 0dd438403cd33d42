//! `semblance purge`: take answers out of circulation in a running gateway, and the client of its admin listener.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{Output, runtime};

/// How a running gateway's admin listener is reached.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// Admin address of the running gateway.
    #[arg(long, env = "SEMBLANCE_ADMIN_LISTEN", default_value = crate::config::ADMIN_LISTEN)]
    admin: String,
    /// Its admin token, where it has one.
    #[arg(long, env = "SEMBLANCE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

impl AdminArgs {
    /// Posts `body` and returns the answer; an answer that is an error becomes one.
    pub(super) async fn post(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        crate::upstream::http::install_tls();
        let url = format!("http://{}{path}", self.admin);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut request = client.post(&url).header("content-type", "application/json").body(body.to_string());
        if let Some(token) = &self.admin_token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| {
            format!("no gateway answers at {url}; start one with `semblance serve`, or give --admin")
        })?;
        let status = response.status();
        let text = response.text().await?;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if !status.is_success() {
            bail!("{}", answer["error"]["message"].as_str().unwrap_or(text.as_str()));
        }
        Ok(answer)
    }
}

/// Arguments of `purge`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One entry, such as e1f.
    #[arg(long)]
    entry: Option<String>,
    /// Entries with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Entries of this category.
    #[arg(long)]
    category: Option<String>,
    /// Entries of this scope, 64 hex digits as the entry list shows them.
    #[arg(long)]
    scope: Option<String>,
    /// Entries generated this long ago or earlier, such as 24h.
    #[arg(long)]
    older_than: Option<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
    /// Make them stale instead of removing them.
    #[arg(long)]
    soft: bool,
    /// Count only.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    admin: AdminArgs,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let Args { entry, tag, category, scope, older_than, all, soft, dry_run, admin, json } = args;
        let body = serde_json::json!({
            "entry": entry, "tag": tag, "category": category, "scope": scope, "older_than": older_than,
            "all": all, "soft": soft, "dry_run": dry_run,
        });
        let answer = admin.post("/semblance/purge", &body).await?;
        let output = Output::stdout();
        if json {
            output.json(&answer)?;
        } else {
            let verb = match (dry_run, soft) {
                (true, _) => "would purge",
                (false, true) => "made stale",
                (false, false) => "purged",
            };
            output.line(&format!("{verb} {} entries", answer["purged"]))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
