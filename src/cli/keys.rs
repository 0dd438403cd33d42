//! `semblance keys`: make, list and revoke the gateway's own keys. A running gateway goes by them from its next request on.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::Output;
use crate::{
    clock::{Clock, Timestamp},
    config,
    keys::{
        KeyRecord, Rate, Refusal, Right,
        file::{self, Order},
    },
};

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key and print it, this once
    ///
    /// A second one of the same name is the same principal: hand it out, then revoke the older with `keys revoke NAME --old`.
    Add(Add),
    /// Every key with what it may do, never its text
    List(Place),
    /// Refuse the keys of a name from now on
    Revoke(Revoke),
}

/// Where the keys are, and how to report.
#[derive(Debug, clap::Args)]
struct Place {
    /// Data directory of the gateway; default: as the settings file says, or ./semblance-data.
    #[arg(long, env = "SEMBLANCE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file of the gateway; without it ./semblance.toml is read, if there is one.
    #[arg(long, env = "SEMBLANCE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Who holds it: the name that policies list as a writer.
    name: String,
    /// What it gives: read (be served from the cache), write (have answers stored), shared (have them stored for others, where the policy lets it).
    #[arg(long, value_delimiter = ',', default_value = "read,write", value_parser = right)]
    scopes: Vec<Right>,
    /// How often it may be used, such as 60/min, 10/s or 5000/day: so many at once, then as time passes.
    #[arg(long)]
    rate: Option<Rate>,
    /// How long it is good, such as 30d or 12h; default: until it is revoked.
    #[arg(long, value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// Who holds them.
    name: String,
    /// All but the newest.
    #[arg(long)]
    old: bool,
    #[command(flatten)]
    place: Place,
}

/// A key as listed.
#[derive(Debug, serde::Serialize)]
struct Listed<'a> {
    name: &'a str,
    /// Of a key that was just made: its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    state: &'static str,
    scopes: &'a [Right],
    rate: Option<Rate>,
    ends_in: &'a str,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
}

impl<'a> Listed<'a> {
    fn of(record: &'a KeyRecord, key: Option<&'a str>, now: Timestamp) -> Self {
        let KeyRecord { name, hash: _, ends_in, scopes, rate, created_at_ms, expires_at_ms, revoked_at_ms } = record;
        let state = match record.check(now) {
            Ok(()) => "active",
            Err(Refusal::Revoked) => "revoked",
            Err(_) => "expired",
        };
        let (created_at_ms, expires_at_ms, revoked_at_ms) = (*created_at_ms, *expires_at_ms, *revoked_at_ms);
        Self { name, key, state, scopes, rate: *rate, ends_in, created_at_ms, expires_at_ms, revoked_at_ms }
    }

    fn terms(&self) -> String {
        let scopes: Vec<&str> = self.scopes.iter().map(|right| right.as_str()).collect();
        let rate = self.rate.map_or_else(|| "any rate".to_owned(), |rate| rate.to_string());
        let end = self.expires_at_ms.map_or_else(|| "no end".to_owned(), |end| format!("until {}", day(end)));
        format!("{:16}  {rate:9}  {end}", scopes.join(","))
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let now = Clock::system().now();
    match args.command {
        Command::Add(args) => add(args, now),
        Command::List(place) => list(place, now),
        Command::Revoke(args) => revoke(args, now),
    }
}

fn add(args: Add, now: Timestamp) -> anyhow::Result<ExitCode> {
    let Add { name, scopes: rights, rate, expires: lifetime, place: Place { data_dir, config, json } } = args;
    let dir = config::data_dir(data_dir, config.as_deref());
    let (text, record) = file::add(&dir, Order { name, rights, rate, lifetime }, now)?;
    let listed = Listed::of(&record, Some(&text), now);
    let output = Output::stdout();
    if json {
        output.json(&listed)?;
    } else {
        output.line(&text)?;
        output.line(&output.quiet(&format!("{}  {}  shown this once", listed.name, listed.terms())))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(place: Place, now: Timestamp) -> anyhow::Result<ExitCode> {
    let Place { data_dir, config, json } = place;
    let (_, records) = file::read(&file::path(&config::data_dir(data_dir, config.as_deref())))?;
    let listed: Vec<Listed<'_>> = records.iter().map(|record| Listed::of(record, None, now)).collect();
    let output = Output::stdout();
    if json {
        output.json(&serde_json::json!({ "keys": listed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = listed.iter().map(|key| key.name.len()).max().unwrap_or(0);
    for key in &listed {
        let Listed { name, ends_in, state, .. } = key;
        output.line(&format!("{name:width$}  ...{ends_in}  {state:7}  {}", key.terms()))?;
    }
    if listed.is_empty() {
        output.line("no keys; `semblance keys add NAME` makes one")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn revoke(args: Revoke, now: Timestamp) -> anyhow::Result<ExitCode> {
    let Revoke { name, old, place: Place { data_dir, config, json } } = args;
    let revoked = file::revoke(&config::data_dir(data_dir, config.as_deref()), &name, old, now)?;
    let output = Output::stdout();
    if json {
        output.json(&serde_json::json!({ "name": name, "revoked": revoked.unwrap_or(0) }))?;
    } else {
        output.line(&match revoked {
            Some(keys) => format!("{name}: {keys} revoked"),
            None => format!("{name} has no key; `semblance keys list` shows who has"),
        })?;
    }
    Ok(if revoked.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn right(text: &str) -> Result<Right, String> {
    let known = Right::ALL.into_iter().find(|(word, _)| *word == text.trim());
    known.map(|(_, right)| right).ok_or_else(|| "write read, write or shared, with commas between them".to_owned())
}

/// The day of a moment, such as 2026-12-26.
fn day(at_ms: i64) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
