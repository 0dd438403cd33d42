//! `semblance doctor`: prove that the database is whole, and mend it when asked.

use std::{path::PathBuf, process::ExitCode};

use super::Output;
use crate::store::sqlite::doctor;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of the database.
    #[arg(long, env = "SEMBLANCE_DATA_DIR", default_value = crate::config::DATA_DIR)]
    data_dir: PathBuf,
    /// Remove what is damaged and say what it was.
    #[arg(long)]
    repair: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = doctor::doctor(&args.data_dir, args.repair)?;
    let output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else {
        output.line(report.to_string().trim_end())?;
    }
    Ok(if report.unrepaired() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
