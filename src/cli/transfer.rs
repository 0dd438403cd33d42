//! `semblance export` and `semblance import`: against a running gateway, or a data directory that no gateway has open.

mod input;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::FromArgMatches;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use self::input::{Input, Progress};
use super::{Output, purge::AdminArgs, runtime, serve};
use crate::{
    app::{self, Seams},
    config::{self, Config, ServeArgs},
    keys,
    store::{
        Selector,
        encryption::EncryptionKey,
        sqlite::{SqliteStore, StoreSettings},
    },
    tasks::Tasks,
    transfer::{
        export::{key_mark, lines},
        import::{Importer, LineError, Tally},
    },
};

/// A busy machine must not make an import fail.
const PATIENCE: Duration = Duration::from_secs(120);
/// Wrong lines shown on the terminal.
const SHOWN: usize = 20;
/// How long work that an import began may last after it.
const DRAIN: Duration = Duration::from_secs(5);

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Read this data directory instead of asking a running gateway; its own gateway must not run.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Entries of this category.
    #[arg(long)]
    category: Option<String>,
    /// Entries with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Write to this file, which only its owner may read, when all is there [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Key of an encrypted data directory
    ///
    /// Better set as `SEMBLANCE_ENCRYPTION_KEY`: a flag shows in the process list. What is exported is not encrypted.
    #[arg(long, env = "SEMBLANCE_ENCRYPTION_KEY", value_name = "KEY", hide_env_values = true)]
    encryption_key: Option<String>,
}

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

pub(super) fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let mut sink = Sink::open(args.output.as_deref())?;
        let bar = counting();
        let written = match &args.data_dir {
            Some(dir) => export_directory(args, dir, &mut sink, &bar).await?,
            None => export_gateway(args, &mut sink, &bar).await?,
        };
        bar.finish_and_clear();
        sink.close()?;
        if args.output.is_some() {
            Output::stdout().line(&format!("exported {written} entries"))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn export_directory(args: &ExportArgs, dir: &Path, sink: &mut Sink, bar: &ProgressBar) -> anyhow::Result<u64> {
    // Opening would make one.
    if !dir.join("semblance.sqlite3").is_file() {
        bail!("{} holds no database of a gateway", dir.display());
    }
    let encryption = args.encryption_key.as_deref().filter(|text| !text.is_empty()).map(EncryptionKey::parse);
    let settings =
        StoreSettings { encryption: encryption.transpose().context("encryption key")?, ..StoreSettings::default() };
    let key = keys::principal_key(dir).context("principal.key")?;
    let store = Arc::new(SqliteStore::open(dir, settings)?);
    let selector = Selector { category: args.category.clone(), tag: args.tag.clone(), ..Selector::default() };
    let mut written = 0;
    {
        let lines = lines(Arc::<SqliteStore>::clone(&store), selector, key_mark(&key)).await?;
        let mut lines = std::pin::pin!(lines);
        while let Some(line) = lines.next().await {
            sink.write(line?.as_bytes())?;
            sink.write(b"\n")?;
            bar.inc(1);
            written += 1;
        }
    }
    store.close().await?;
    Ok(written)
}

async fn export_gateway(args: &ExportArgs, sink: &mut Sink, bar: &ProgressBar) -> anyhow::Result<u64> {
    let mut url = reqwest::Url::parse("http://gateway/semblance/export")?;
    let given = [("category", &args.category), ("tag", &args.tag)];
    for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        url.query_pairs_mut().append_pair(name, value);
    }
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut answer = args.admin.open(&path, None).await?;
    let mut written = 0;
    while let Some(bytes) = answer.chunk().await.context("the export broke off; what is written so far is not whole")? {
        sink.write(&bytes)?;
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        bar.inc(lines);
        written += lines;
    }
    Ok(written)
}

/// Where an export goes. A file has its name when it is whole, and only its owner may read it.
enum Sink {
    Stdout(BufWriter<io::Stdout>),
    File { file: BufWriter<File>, new: PathBuf, path: PathBuf },
}

impl Sink {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(BufWriter::new(io::stdout()))) };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let new = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let file = file.with_context(|| format!("cannot write {}", new.display()))?;
        Ok(Self::File { file: BufWriter::new(file), new, path: path.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout(out) => match out.write_all(bytes) {
                // Whoever read has read enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => Ok(written?),
            },
            Self::File { file, new, .. } => {
                file.write_all(bytes).with_context(|| format!("cannot write {}", new.display()))
            }
        }
    }

    fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut out) => match out.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                flushed => Ok(flushed?),
            },
            Self::File { file, new, path } => {
                file.into_inner()?.sync_all()?;
                fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }
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

fn counting() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    styled(ProgressBar::new_spinner(), "{spinner} {pos} entries  {per_sec}")
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
