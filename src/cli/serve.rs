//! `semblance serve`: run the gateway until told to stop.

use std::process::ExitCode;

use anyhow::anyhow;

use super::{Output, runtime};
use crate::{
    app::{App, Seams},
    config::{Config, NamedUpstream, Problem, ServeArgs, UpstreamChoice},
    telemetry,
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    serve: ServeArgs,
}

/// The first line on standard output with `--json`.
#[derive(serde::Serialize)]
struct Listening {
    event: &'static str,
    listen: String,
    admin: String,
    /// Whether apps connect by https; left out where they do not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = usable(Config::load(&args.serve))?;
    telemetry::init(&config.log)?;
    #[cfg(unix)]
    raise_file_limit(config.limits.connections);
    runtime()?.block_on(serve(config, args.serve.json))
}

/// Raises the number of files the process may open as far as it may without asking: each connection is one, and most
/// systems start programs with a small part of what they allow.
#[cfg(unix)]
fn raise_file_limit(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX);
    let files = getrlimit(Resource::Nofile).current;
    if let Some(files) = files.filter(|files| *files < wanted) {
        tracing::warn!(
            files,
            connections,
            "fewer files may be opened than limits.connections needs: raise `ulimit -n` or lower it"
        );
    }
}

/// A configuration, or all its problems as one error.
pub(super) fn usable(loaded: Result<Config, Vec<Problem>>) -> anyhow::Result<Config> {
    loaded.map_err(|problems| {
        let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow!("the configuration has {} problem(s):\n{}", list.len(), list.join("\n"))
    })
}

async fn serve(config: Config, json: bool) -> anyhow::Result<ExitCode> {
    let named = |choice: &UpstreamChoice| match choice {
        UpstreamChoice::Providers => "the providers' public APIs".to_owned(),
        UpstreamChoice::Demo => "the built-in demo model".to_owned(),
        UpstreamChoice::Url(url) => url.clone(),
    };
    let mut upstream = named(&config.upstream);
    if let Some(anthropic) = &config.anthropic_upstream {
        upstream.push_str(&format!(" and for Anthropic's protocol {}", named(anthropic)));
    }
    for NamedUpstream { name, choice, .. } in &config.upstreams {
        upstream.push_str(&format!(", {name} {}", named(choice)));
    }
    let tls = config.tls.is_some();
    let app = App::start(config, Seams::default()).await?;
    let output = Output::stdout();
    let (listen, admin) = (app.listen.to_string(), app.admin.to_string());
    if json {
        output.json(&Listening { event: "listening", listen, admin, tls })?;
    } else {
        let scheme = if tls { "https" } else { "http" };
        output.line(&format!("listening on {scheme}://{listen}, admin on http://{admin}, upstream {upstream}"))?;
    }
    wait_for_stop().await?;
    Ok(finish(app).await)
}

/// Drains `app`; exit code 1 when something outlived the deadline.
pub(super) async fn finish(app: App) -> ExitCode {
    tracing::info!("draining");
    let late = app.drain().await;
    if late.is_empty() {
        ExitCode::SUCCESS
    } else {
        tracing::warn!(tasks = late.join(","), "still running at the drain deadline");
        ExitCode::FAILURE
    }
}

/// Returns on the first interrupt or termination signal.
pub(super) async fn wait_for_stop() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
