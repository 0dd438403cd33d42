//! `semblance doctor`: prove that the database is whole, and mend it when asked.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::Output;
use crate::store::{encryption::EncryptionKey, sqlite::doctor};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of the database.
    #[arg(long, env = "SEMBLANCE_DATA_DIR", default_value = crate::config::DATA_DIR)]
    data_dir: PathBuf,
    /// Key of an encrypted database
    ///
    /// Better set as `SEMBLANCE_ENCRYPTION_KEY`: a flag shows in the process list.
    #[arg(long, env = "SEMBLANCE_ENCRYPTION_KEY", value_name = "KEY", hide_env_values = true)]
    encryption_key: Option<String>,
    /// Remove what is damaged and say what it was; where pages are damaged, make the file anew from what can be read.
    #[arg(long)]
    repair: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let key = args.encryption_key.as_deref().filter(|text| !text.is_empty()).map(EncryptionKey::parse);
    let key = key.transpose().context("encryption key")?;
    let report = doctor::examine(&args.data_dir, args.repair, key.as_ref())?;
    let output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else {
        output.line(report.to_string().trim_end())?;
    }
    Ok(if report.unrepaired() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
