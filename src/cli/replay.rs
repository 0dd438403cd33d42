//! `semblance replay`: fixtures through the real matcher, and the one number that matters.

use std::{fs, io::IsTerminal, path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Output, runtime};
use crate::{
    app::{
        Seams,
        replays::{self, Replayed},
    },
    replay::{
        Record,
        case::{self, Case},
        html,
        report::{Baseline, Bounds, Report, Tally},
    },
};

/// Cases shown on the terminal.
const SHOWN: usize = 10;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fixture files, or directories of them: a case as JSON on each line.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Put all seeds in one cache before asking.
    #[arg(long)]
    pool: bool,
    /// Directory of the policy files [default: those in the program].
    #[arg(long, env = "SEMBLANCE_POLICIES")]
    policies: Option<PathBuf>,
    /// Exit with 1 when a larger share of near misses is served.
    #[arg(long, value_name = "SHARE", value_parser = a_share)]
    max_near_misses_served: Option<f64>,
    /// Exit with 1 when a smaller share of paraphrases is hit.
    #[arg(long, value_name = "SHARE", value_parser = a_share)]
    min_paraphrases_hit: Option<f64>,
    /// An earlier report in JSON to compare with.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write a page with plots to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every case's outcome, as JSON lines, to this file.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// A share between 0 and 1, as an argument.
pub(super) fn a_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("give a share between 0 and 1".to_owned()) }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cases = read_cases(&args.files)?;
    let baseline = args.baseline.as_ref().map(read_baseline).transpose()?;
    let records = runtime()?.block_on(replay(&cases, args.pool, args.policies.as_ref()))?.records;
    let bounds =
        Bounds { max_near_misses_served: args.max_near_misses_served, min_paraphrases_hit: args.min_paraphrases_hit };
    let mut report = Report::of(&records, args.pool, &bounds);
    if let Some(baseline) = &baseline {
        report.compare(baseline);
    }
    if let Some(path) = &args.html {
        fs::write(path, html::page(&report, &records)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.records {
        let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
        fs::write(path, lines?.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else {
        in_words(&report, &output)?;
    }
    Ok(if report.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The cases of `files`, or every problem as one error.
pub(super) fn read_cases(files: &[PathBuf]) -> anyhow::Result<Vec<Case>> {
    case::read(files).map_err(|problems| {
        let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow!("the fixtures have {} problem(s):\n{}", problems.len(), list.join("\n"))
    })
}

fn read_baseline(path: &PathBuf) -> anyhow::Result<Baseline> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of `replay --json`", path.display()))
}

/// Replays `cases` through a gateway of its own.
pub(super) async fn replay(cases: &[Case], pool: bool, policies: Option<&PathBuf>) -> anyhow::Result<Replayed> {
    let bar = progress(cases.len());
    let replayed = replays::replay(cases, pool, policies.cloned(), Seams::default(), || bar.inc(1)).await?;
    bar.finish_and_clear();
    Ok(replayed)
}

fn progress(cases: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} cases  {per_sec}  {eta} left");
    let bar = ProgressBar::new(cases as u64);
    // A template that does not parse leaves the plain bar.
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

fn in_words(report: &Report, output: &Output) -> anyhow::Result<()> {
    let total = &report.total;
    output.line(&output.bold(&format!("{} cases{}", total.cases, if report.pool { " in one pool" } else { "" })))?;
    output
        .line(&format!("  paraphrases hit     {}", rate(total.paraphrases_hit, total.paraphrases, total.hit_rate())))?;
    output.line(&format!(
        "  near misses served  {}   95 % sure: at most {:.2} %",
        rate(total.near_misses_served, total.near_misses, total.served_rate()),
        report.near_misses_served_bound_95 * 100.0
    ))?;
    output.line(&format!(
        "  wrong hits          {:.2} % of all that was served   95 % sure: at most {:.2} %",
        report.wrong_hit_share * 100.0,
        report.wrong_hit_bound_95 * 100.0
    ))?;
    output.line("")?;
    let width = report.by_kind.keys().map(String::len).max().unwrap_or_default();
    for (kind, tally) in &report.by_kind {
        output.line(&by_kind(kind, tally, width))?;
    }
    list(output, "Wrong hits, the surest first", &report.served)?;
    list(output, "Refused paraphrases, the surest first", &report.refused)?;
    if let Some(diff) = &report.baseline {
        output.line(&format!(
            "\nAgainst the baseline: paraphrases hit {:+.2} points, near misses served {:+.2} points",
            diff.paraphrases_hit * 100.0,
            diff.near_misses_served * 100.0
        ))?;
        for (what, ids) in
            [("newly served", &diff.newly_served), ("newly refused", &diff.newly_refused), ("mended", &diff.mended)]
        {
            output.line(&format!("  {what}: {}", if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }))?;
        }
    }
    for missed in &report.missed {
        output.line(&output.bad(&format!("missed: {missed}")))?;
    }
    Ok(())
}

fn rate(part: u64, whole: u64, share: f64) -> String {
    format!("{part:>5} of {whole:<5} {:>6.2} %", share * 100.0)
}

fn by_kind(kind: &str, tally: &Tally, width: usize) -> String {
    format!(
        "  {kind:width$}  hit {:>4}/{:<4}  served wrongly {:>4}/{:<4}",
        tally.paraphrases_hit, tally.paraphrases, tally.near_misses_served, tally.near_misses
    )
}

fn list(output: &Output, title: &str, records: &[Record]) -> anyhow::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    output.line(&format!("\n{}", output.bold(title)))?;
    for record in records.iter().take(SHOWN) {
        let p = record.p_same.map_or_else(|| "-".to_owned(), |p| p.to_string());
        output.line(&format!("  {}  p {p}  {}", record.id, output.quiet(&record.why)))?;
        output.line(&format!("      {}\n      {}", record.served_for.as_ref().unwrap_or(&record.seed), record.ask))?;
    }
    if records.len() > SHOWN {
        output.line(&output.quiet(&format!("  and {} more; --json lists all", records.len() - SHOWN)))?;
    }
    Ok(())
}
