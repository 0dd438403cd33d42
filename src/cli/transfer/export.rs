//! `semblance export`: entries as lines of JSON.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use indicatif::ProgressBar;

use super::styled;
use crate::{
    cli::{Output, purge::AdminArgs, runtime},
    keys,
    store::{
        Selector,
        encryption::EncryptionKey,
        sqlite::{SqliteStore, StoreSettings},
    },
    transfer::export::{key_mark, lines},
};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
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

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
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

async fn export_directory(args: &Args, dir: &Path, sink: &mut Sink, bar: &ProgressBar) -> anyhow::Result<u64> {
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

async fn export_gateway(args: &Args, sink: &mut Sink, bar: &ProgressBar) -> anyhow::Result<u64> {
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

fn counting() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    styled(ProgressBar::new_spinner(), "{spinner} {pos} entries  {per_sec}")
}
