//! `semblance export` and `semblance import`: against a running gateway, or a data directory that no gateway has open.

mod export;
mod input;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::FromArgMatches;
use indicatif::{ProgressBar, ProgressStyle};

pub(super) use self::export::{Args as ExportArgs, run as export};
use self::input::{Input, Progress};
use super::{Output, purge::AdminArgs, runtime, serve};
use crate::{
    app::{self, Seams},
    config::{self, Config, ServeArgs},
    tasks::Tasks,
    transfer::{
        import::Importer,
        tally::{LineError, Tally},
    },
};

/// A busy machine must not make an import fail.
const PATIENCE: Duration = Duration::from_secs(120);
/// Wrong lines shown on the terminal.
const SHOWN: usize = 20;
/// How long work that an import began may last after it.
const DRAIN: Duration = Duration::from_secs(5);

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The lines; - for standard input.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Bring them into this data directory instead of a running gateway; its own gateway must not run
    ///
    /// Settings are those that `serve` would have here: semblance.toml or --config, and the SEMBLANCE_ variables.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file of the gateway that will serve the data directory.
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    config: Option<PathBuf>,
    /// Base URL of its provider: answers are kept for each.
    #[arg(long, value_name = "URL", requires = "data_dir")]
    upstream: Option<String>,
    /// Directory of its policy files.
    #[arg(long, value_name = "DIR", requires = "data_dir")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Say what would happen, and store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Go on behind the last line that an import of this file, which was cut off, has stored.
    #[arg(long)]
    resume: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// Where lines go.
enum Target<'a> {
    Gateway(&'a AdminArgs, bool),
    Directory(Arc<Importer>),
}

impl Target<'_> {
    async fn take(&self, lines: Vec<String>) -> anyhow::Result<Tally> {
        match self {
            Self::Directory(importer) => Ok(importer.take(lines).await?),
            Self::Gateway(admin, dry_run) => {
                let path = format!("/semblance/import?dry_run={}", u8::from(*dry_run));
                let answer = admin.open(&path, Some(lines.join("\n") + "\n")).await?.text().await?;
                serde_json::from_str(&answer).context("the gateway's answer is none of an import")
            }
        }
    }
}

pub(super) fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let name = match &args.data_dir {
            Some(dir) => format!("directory {}", std::path::absolute(dir)?.display()),
            None => format!("gateway {}", args.admin.address()),
        };
        let mut input = Input::open(&args.input, &name, args.resume)?;
        let tasks = Tasks::new();
        let target = match &args.data_dir {
            Some(dir) => Target::Directory(importer(args, dir, &tasks).await?),
            None => Target::Gateway(&args.admin, args.dry_run),
        };
        let bar = reading(&input);
        let mut tally = Tally::default();
        let resumed = input.done().clone();
        while let Some(batch) = input.batch()? {
            let before = input.done().lines;
            let (lines, failures) = with_credentials(batch.lines);
            let mut taken = target.take(lines).await?;
            for LineError { line, message } in failures {
                taken.lines += 1;
                taken.fail(line, message);
            }
            taken.errors.sort_by_key(|error| error.line);
            input.finish(batch.progress, taken.failed, args.dry_run)?;
            tally.add(taken, before);
            bar.set_position(input.done().bytes);
        }
        bar.finish_and_clear();
        input.close(args.dry_run)?;
        drop(target);
        tasks.drain(DRAIN).await;
        report(args, &tally, &resumed)?;
        Ok(if tally.failed + resumed.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// An importer over a gateway of its own on the data directory, whose lock it holds.
async fn importer(args: &ImportArgs, dir: &Path, tasks: &Tasks) -> anyhow::Result<Arc<Importer>> {
    // As `serve` would read its variables with no flag given.
    let command = <ServeArgs as clap::Args>::augment_args(clap::Command::new("serve"));
    let mut serving = ServeArgs::from_arg_matches(&command.try_get_matches_from(["serve"])?)?;
    let text = |path: &Path| path.display().to_string();
    serving.data_dir = Some(text(dir));
    serving.config = args.config.clone().or(serving.config);
    serving.upstream = args.upstream.clone().or(serving.upstream);
    serving.policies = args.policies.as_deref().map(text).or(serving.policies);
    let mut config: Config = serve::usable(Config::load(&serving))?;
    config.embedder.timeout = PATIENCE;
    let gateway = app::without_clients(&config, Seams::default(), tasks).await?;
    if !gateway.is_warm() {
        bail!("the embedder gives no vectors, without which no category can be told; look at its settings");
    }
    Ok(Importer::begin(gateway, args.dry_run).await?)
}

/// The lines with credentials in the place of the variables that hold them, and what is wrong with some, which are blank
/// now.
fn with_credentials(lines: Vec<String>) -> (Vec<String>, Vec<LineError>) {
    let mut failures = Vec::new();
    let lines = lines.into_iter().zip(1..).map(|(line, number)| match with_credential(line) {
        Ok(line) => line,
        Err(message) => {
            failures.push(LineError { line: number, message });
            String::new()
        }
    });
    (lines.collect(), failures)
}

fn with_credential(line: String) -> Result<String, String> {
    const MEMBER: &str = "credential_env";
    if !line.contains(MEMBER) {
        return Ok(line);
    }
    // What is no object is told by whoever reads it.
    let Ok(mut object) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line) else {
        return Ok(line);
    };
    let Some(name) = object.remove(MEMBER).filter(|name| !name.is_null()) else { return Ok(line) };
    let name = name.as_str().ok_or_else(|| format!("{MEMBER}: wanted: the name of a variable"))?;
    if object.get("credential").is_some_and(|credential| !credential.is_null()) {
        return Err(format!("give one of {MEMBER} and credential"));
    }
    let secret = config::variable(name).ok_or_else(|| format!("{MEMBER}: the variable {name} is not set"))?;
    object.insert("credential".to_owned(), secret.expose().into());
    Ok(serde_json::Value::Object(object).to_string())
}

fn report(args: &ImportArgs, tally: &Tally, resumed: &Progress) -> anyhow::Result<()> {
    let output = Output::stdout();
    if args.json {
        let mut report = serde_json::to_value(tally)?;
        report["dry_run"] = args.dry_run.into();
        report["resumed_after"] = resumed.lines.into();
        report["failed_before"] = resumed.failed.into();
        return output.json(&report);
    }
    if resumed.lines > 0 {
        output.line(&format!("resumed after line {} ({} lines failed before)", resumed.lines, resumed.failed))?;
    }
    let Tally { lines, imported, replaced, skipped, expired, failed, errors } = tally;
    let would = if args.dry_run { "would import" } else { "imported" };
    output.line(&format!(
        "{would} {imported} new, {replaced} in the place of older ones; left {skipped} that are there and {expired} that are too old; {failed} of {lines} lines failed"
    ))?;
    for LineError { line, message } in errors.iter().take(SHOWN) {
        output.line(&output.bad(&format!("  line {line}: {message}")))?;
    }
    if *failed > SHOWN as u64 {
        output.line(&output.quiet(&format!("  and {} more; --json lists them", failed - SHOWN as u64)))?;
    }
    Ok(())
}

fn reading(input: &Input) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match input.size() {
        Some(size) => styled(ProgressBar::new(size), "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left"),
        None => styled(ProgressBar::new_spinner(), "{spinner} {bytes}  {bytes_per_sec}"),
    }
}

/// A template that does not parse leaves the plain bar.
fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
