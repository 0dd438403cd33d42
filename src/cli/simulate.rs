//! `semblance simulate`: what other policies would have done with traffic of the past.

use std::{
    fs::{self, File},
    io::{BufReader, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Output, runtime, serve};
use crate::{
    app,
    clock::Clock,
    config::Config,
    matcher::Matcher,
    policy::PolicySet,
    prices::Prices,
    replay::memory::RememberingVerifier,
    simulate::{
        self, Progress, Setup, html,
        report::{Report, Side},
        request::Traffic,
    },
    store::{encryption::EncryptionKey, sqlite::traffic::SqliteTraffic, traffic::TrafficLog},
};

/// A busy machine must not turn hits into misses here.
const PATIENCE: Duration = Duration::from_secs(120);
/// Records read from a gateway's file at a time.
const PAGE: usize = 10_000;
/// Bad lines that are named.
const NAMED: usize = 20;
/// Changed decisions on the terminal.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
Each line of a traffic file is a JSON object: at_ms (Unix milliseconds) or at (RFC 3339), and query; optional are
category, model, principal, partition, input_tokens, output_tokens, answer_ms and fingerprint.

Examples:
  semblance simulate traffic.jsonl --policies proposed/            against the shipped policies
  semblance simulate --data-dir semblance-data --today policies/ --policies proposed/ --since 7d --html report.html";

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Traffic: a request as JSON on each line; - for standard input.
    #[arg(required_unless_present = "data_dir")]
    files: Vec<PathBuf>,
    /// Take the traffic that a gateway recorded in this directory (`traffic.record = true`).
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    data_dir: Option<PathBuf>,
    /// Directory of the proposed policies [default: those in the program].
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Directory of today's policies [default: those in the program].
    #[arg(long, value_name = "DIR")]
    today: Option<PathBuf>,
    /// Only the recorded requests of this last stretch of time, such as 24h or 7d.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "data_dir")]
    since: Option<Duration>,
    /// Price list of models [default: the one in the program].
    #[arg(long, env = "SEMBLANCE_PRICES", value_name = "FILE")]
    prices: Option<PathBuf>,
    /// List at most this many decisions that would change; all are counted.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit_changes: usize,
    /// Write a page with plots to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = runtime()?.block_on(simulate(args))?;
    if let Some(path) = &args.html {
        fs::write(path, html::page(&report)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else {
        in_words(&report, &output)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn simulate(args: &Args) -> anyhow::Result<Report> {
    let mut traffic = Traffic::default();
    match &args.data_dir {
        Some(dir) => recorded(dir, args.since, &mut traffic).await?,
        None => args.files.iter().try_for_each(|file| read(file, &mut traffic))?,
    }
    if traffic.events().is_empty() {
        bail!("there is no traffic to simulate; record some with `semblance serve --traffic-record true`");
    }
    traffic.sort();
    let mut config = serve::usable(Config::defaults())?;
    config.embedder.timeout = PATIENCE;
    config.embedder.queue = usize::MAX >> 1;
    let verifier = app::load_verifier(&config).await?.map(|verifier| {
        let remembering: Arc<dyn crate::matcher::verifier::Verifier> = Arc::new(RememberingVerifier::new(verifier));
        remembering
    });
    let setup = Setup {
        today: policies(args.today.as_deref())?,
        proposed: policies(args.policies.as_deref())?,
        embedder: app::load_embedder(&config).await?,
        matcher: Arc::new(Matcher::new(app::matcher_settings(&config), verifier)),
        prices: args.prices.as_deref().map_or_else(|| Ok(Prices::shipped()), Prices::load)?,
        changes_listed: args.limit_changes,
    };
    let bar = bar();
    let report = simulate::run(&traffic, &setup, &AtomicBool::new(false), |Progress { stage, done, total }| {
        bar.set_message(stage);
        bar.set_length(total);
        bar.set_position(done);
    })
    .await?;
    bar.finish_and_clear();
    Ok(report)
}

fn policies(dir: Option<&Path>) -> anyhow::Result<Arc<PolicySet>> {
    let set = dir.map_or_else(PolicySet::shipped, PolicySet::load);
    let set = set.map_err(|problems| {
        let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow!("the policies have {} problem(s):\n{}", problems.len(), list.join("\n"))
    })?;
    Ok(Arc::new(set))
}

fn read(path: &Path, traffic: &mut Traffic) -> anyhow::Result<()> {
    let mut bad = Vec::new();
    let refuse = |number, why| bad.push(format!("  {}:{number}: {why}", path.display()));
    let done = if path == Path::new("-") {
        traffic.read(std::io::stdin().lock(), refuse)
    } else {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        traffic.read(BufReader::new(file), refuse)
    };
    done.with_context(|| format!("cannot read {}", path.display()))?;
    if !bad.is_empty() {
        let more = if bad.len() > NAMED { format!("\n  and {} more", bad.len() - NAMED) } else { String::new() };
        let named = bad.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("\n");
        bail!("{} line(s) are no requests:\n{named}{more}", bad.len());
    }
    Ok(())
}

async fn recorded(dir: &Path, since: Option<Duration>, traffic: &mut Traffic) -> anyhow::Result<()> {
    if !dir.join("traffic.sqlite3").exists() {
        bail!("{} holds no recorded traffic; start the gateway with --traffic-record true", dir.display());
    }
    let key = std::env::var("SEMBLANCE_ENCRYPTION_KEY").ok().map(|key| EncryptionKey::parse(&key)).transpose()?;
    let log = SqliteTraffic::open(dir, key.as_ref())?;
    let now = Clock::default().now();
    let since = since.map_or(crate::clock::Timestamp::from_millis(i64::MIN), |time| now.minus(time));
    let mut after = 0;
    loop {
        let page = log.walk(after, since, PAGE).await?;
        let Some(last) = page.last().and_then(|record| record.id) else { return Ok(()) };
        after = last;
        page.into_iter().for_each(|record| traffic.add(record));
    }
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:10} {bar:40} {pos}/{len}  {per_sec}  {eta} left");
    let bar = ProgressBar::new(0);
    // A template that does not parse leaves the plain bar.
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// A line of the comparison: its name and what it says of a side.
type Row = (&'static str, fn(&Side) -> String);

fn in_words(report: &Report, output: &Output) -> anyhow::Result<()> {
    let span = Duration::from_secs(u64::try_from(report.span_ms / 1000).unwrap_or(0));
    output.line(&output.bold(&format!("{} requests over {}", report.requests, humantime::format_duration(span))))?;
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let rows: [Row; 9] = [
        ("served by the cache", |side| format!("{:.2} %", side.hit_share * 100.0)),
        ("  by meaning", |side| side.hits_semantic.to_string()),
        ("served stale", |side| format!("{:.2} %", side.stale_share * 100.0)),
        ("calls to the model", |side| side.upstream_calls.to_string()),
        ("tokens", |side| side.tokens.to_string()),
        ("cost", |side| side.cost_usd.map_or_else(|| "no prices".to_owned(), |usd| format!("${usd:.2}"))),
        ("median wait", |side| format!("{} ms", side.latency_ms.p50)),
        ("99 of 100 within", |side| format!("{} ms", side.latency_ms.p99)),
        ("wrong hits expected", |side| format!("{:.1}", side.expected_wrong_hits)),
    ];
    output.line(&output.quiet(&format!("  {:22}{:>14}{:>14}", "", "today", "proposed")))?;
    for (name, of) in rows {
        output.line(&format!("  {name:22}{:>14}{:>14}", of(&report.today), of(&report.proposed)))?;
    }
    output.line(&format!("\n{}", output.bold("Served by the cache, by category")))?;
    for one in &report.categories {
        let (today, proposed) = (percent(one.today.hit_share), percent(one.proposed.hit_share));
        output.line(&format!("  {:22}{today:>14}{proposed:>14}   of {}", one.category, one.today.requests))?;
    }
    output.line(&format!("\n{}", output.bold(&format!("{} decisions would change", report.changes_total))))?;
    for change in report.changes.iter().take(SHOWN) {
        let words = change.query.as_deref().unwrap_or("(words not kept)");
        let told = format!(
            "{} ({}) -> {} ({})",
            change.today.outcome, change.today.reason, change.proposed.outcome, change.proposed.reason
        );
        output.line(&format!("  {words}\n      {}", output.quiet(&told)))?;
    }
    for note in &report.notes {
        output.line(&output.quiet(&format!("note: {note}")))?;
    }
    Ok(())
}
