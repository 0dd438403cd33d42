//! `semblance check`: problems in policy files, or what they promise.

use std::{path::PathBuf, process::ExitCode};

use super::Output;
use crate::policy;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of the policy files.
    #[arg(default_value = "policies")]
    policies: PathBuf,
    /// Say in plain English what each policy does.
    #[arg(long)]
    explain: bool,
    /// Report as JSON, plain English included.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = policy::check(&args.policies);
    let output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else if args.explain {
        output.line(policy::Explained(&report).to_string().trim_end())?;
    } else {
        output.line(report.to_string().trim_end())?;
    }
    Ok(ExitCode::from(report.exit_code()))
}
