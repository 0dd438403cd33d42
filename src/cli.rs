//! The commands. Each file under `cli/` is one; this one parses, dispatches and turns errors into exit codes.
//!
//! Exit codes: 0 done, 1 the command's own answer is "no" (problems found, a bound missed), 2 it could not be done.

mod check;
mod demo;
mod doctor;
mod explain;
mod feedback;
mod keys;
mod output;
mod policies;
mod purge;
mod replay;
mod serve;
mod simulate;
mod sources;
mod transfer;
mod tune;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Output;

/// A semantic cache gateway for LLM answers.
///
/// Point your SDK's base URL at it and change nothing else: repeated and re-worded questions are answered from the
/// cache, everything else goes to your provider.
#[derive(Debug, Parser)]
#[command(name = "semblance", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  semblance demo                                   see it work, no API key needed
  semblance serve                                  cache in front of the provider's public API
  semblance serve --upstream http://127.0.0.1:11434/v1
  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python app.py
  ANTHROPIC_BASE_URL=http://127.0.0.1:8080 python app.py
  semblance explain --cached 'How do I enable 2FA?' --ask 'How do I disable 2FA?'";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(Box<serve::Args>),
    /// See it work: a short conversation through a gateway with a built-in model, then keep serving.
    Demo(demo::Args),
    /// Check policy files and say in plain words what they promise.
    Check(check::Args),
    /// Say what policies do in plain English, how two sets differ, and which were in use.
    Policies(policies::Args),
    /// Explain whether one question's answer would be served for another, or what a running gateway would serve.
    Explain(explain::Args),
    /// Prove that the database is whole; stop the gateway first.
    Doctor(doctor::Args),
    /// Replay fixtures against the real matcher: how many paraphrases it serves, and how many near misses.
    Replay(replay::Args),
    /// Propose budgets of wrong hits per category, with what each buys on these fixtures.
    Tune(tune::Args),
    /// Decide traffic of the past again under other policies: hits, stale answers, calls, money, wrong hits.
    Simulate(simulate::Args),
    /// Take answers out of circulation in a running gateway.
    Purge(purge::Args),
    /// Say which version of a document is today's, and see what is built on which.
    Sources(sources::Args),
    /// Say of a served answer that it was wrong, stale or unsafe.
    Feedback(feedback::Args),
    /// Write entries as lines of JSON, from a running gateway or a data directory.
    Export(transfer::ExportArgs),
    /// Bring in what `export` wrote, or questions with their answers, a line of JSON each.
    Import(Box<transfer::ImportArgs>),
    /// Make, list and revoke the gateway's own keys, so that apps need none of a provider.
    Keys(keys::Args),
}

/// Parses the process's arguments and runs the command they name.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(&args),
        Command::Policies(args) => policies::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Purge(args) => purge::run(args),
        Command::Sources(args) => sources::run(&args),
        Command::Feedback(args) => feedback::run(args),
        Command::Export(args) => transfer::export(&args),
        Command::Import(args) => transfer::import(&args),
        Command::Keys(args) => keys::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

/// The runtime of commands that need one.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
