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
        let body = body.to_string();
        self.ask(path, |client, url| client.post(url).header("content-type", "application/json").body(body)).await
    }

    /// As [`AdminArgs::post`], without a body.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        self.ask(path, |client, url| client.get(url)).await
    }

    /// As [`AdminArgs::post`], replacing what is there.
    pub(super) async fn put(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        let body = body.to_string();
        self.ask(path, |client, url| client.put(url).header("content-type", "application/json").body(body)).await
    }

    /// As [`AdminArgs::get`], removing what is there.
    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        self.ask(path, |client, url| client.delete(url)).await
    }

    async fn ask(
        &self,
        path: &str,
        request: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.send(path, request).await?.text().await?).unwrap_or_default())
    }

    /// Asks and returns the answer with its body unread; an answer that is an error becomes one.
    pub(super) async fn open(&self, path: &str, body: Option<String>) -> anyhow::Result<reqwest::Response> {
        let request = |client: &reqwest::Client, url: &str| match body {
            Some(body) => client.post(url).header("content-type", "application/x-ndjson").body(body),
            None => client.get(url),
        };
        self.send(path, request).await
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        self.admin.trim_start_matches("http://").trim_end_matches('/')
    }

    async fn send(
        &self,
        path: &str,
        request: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<reqwest::Response> {
        crate::upstream::http::install_tls();
        let url = format!("http://{}{path}", self.address());
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut request = request(&client, &url);
        if let Some(token) = &self.admin_token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| {
            format!(
                "no gateway answers at {url}; start one with `semblance serve`, or give its admin address with --admin"
            )
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let text = response.text().await?;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        bail!("{}", answer["error"]["message"].as_str().unwrap_or(text.as_str()))
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
    /// Entries built from this document: doc:42, or doc:42@v7 for that version only.
    #[arg(long)]
    source: Option<String>,
    /// Entries with a tag or a source that begins so.
    #[arg(long)]
    prefix: Option<String>,
    /// Entries whose question is near to this text in meaning
    ///
    /// The purge is kept: an answer that was generated before it and arrives later is refused (or stale, with --soft). Goes
    /// with --category, --scope and --older-than.
    #[arg(long, value_name = "TEXT")]
    near: Option<String>,
    /// How near at least, as a cosine [default: 0.85]
    #[arg(long, requires = "near")]
    radius: Option<f32>,
    /// Entries of this category.
    #[arg(long)]
    category: Option<String>,
    /// Entries of this scope, 64 hex digits as the entry list shows them.
    #[arg(long)]
    scope: Option<String>,
    /// Erase a person: 64 hex digits of the principal as the entry list shows them
    ///
    /// Removes their entries, wordings, blocked pairs and feedback cases from memory and disk, and entries of which it is
    /// not known whose they are.
    #[arg(long, value_name = "HEX", conflicts_with_all = ["credential_env", "credential_stdin"])]
    principal: Option<String>,
    /// Erase whoever asks with the key or token in this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "credential_stdin")]
    credential_env: Option<String>,
    /// Erase whoever asks with the key or token on standard input
    #[arg(long)]
    credential_stdin: bool,
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
        let credential = credential(&args)?;
        let Args { entry, tag, source, prefix, near, radius, category, scope, principal, .. } = args;
        let Args { older_than, all, soft, dry_run, admin, json, .. } = args;
        let body = serde_json::json!({
            "entry": entry, "tag": tag, "source": source, "prefix": prefix, "near": near, "radius": radius,
            "category": category, "scope": scope, "principal": principal, "credential": credential,
            "older_than": older_than, "all": all, "soft": soft, "dry_run": dry_run,
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
            if let Some(unknown @ 1..) = answer["without_meaning"].as_u64() {
                output.line(&format!(
                    "{unknown} more are found by their own wording only and have no meaning to go by"
                ))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The credential that the arguments point to; it never stands among them, where others could read it.
fn credential(args: &Args) -> anyhow::Result<Option<String>> {
    let secret = if let Some(name) = &args.credential_env {
        crate::config::variable(name).with_context(|| format!("the variable {name} is not set"))?.expose().to_owned()
    } else if args.credential_stdin {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("standard input")?;
        line
    } else {
        return Ok(None);
    };
    match secret.trim() {
        "" => bail!("the credential is empty"),
        secret => Ok(Some(secret.to_owned())),
    }
}
