//! `semblance policies`: what policies say in plain English, how two sets differ, and which were in use.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::{Output, purge::AdminArgs, runtime};
use crate::policy::{self, Change, PolicySet, Problem, Summary, diff_paths};

/// Arguments of `policies`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say in plain English what each policy does
    Show(Show),
    /// Say what differs between two sets of policies, or two files, and what that does
    ///
    /// Exit code 0 when nothing does, 1 when something does.
    Diff(Diff),
    /// List the versions that were in use in a running gateway, or show one with what it changed
    History(History),
    /// Go back to a version in a running gateway
    Restore(Restore),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Directory of the policy files [default: those in the program].
    #[arg(env = "SEMBLANCE_POLICIES")]
    policies: Option<PathBuf>,
    /// This category only.
    #[arg(long)]
    category: Option<String>,
    /// Show as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Diff {
    /// Directory or file of before.
    before: PathBuf,
    /// Directory or file of after.
    after: PathBuf,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct History {
    /// Number of a version.
    version: Option<u64>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// Number of the version.
    version: u64,
    /// Who you are, for the history.
    #[arg(long, default_value = "")]
    who: String,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    admin: AdminArgs,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Show(args) => show(&args),
        Command::Diff(args) => diff(&args),
        Command::History(args) => runtime()?.block_on(history(args)),
        Command::Restore(args) => runtime()?.block_on(restore(args)),
    }
}

fn show(args: &Show) -> anyhow::Result<ExitCode> {
    let output = Output::stdout();
    let loaded = args.policies.as_deref().map_or_else(PolicySet::shipped, PolicySet::load);
    let set = match loaded {
        Ok(set) => set,
        Err(problems) => return told(&problems, args.json, &output),
    };
    let wanted = |name: &str| args.category.as_deref().is_none_or(|category| category == name);
    let shown: Vec<Summary> = set
        .with_sources()
        .filter(|(policy, _)| wanted(&policy.category))
        .map(|(policy, source)| Summary::of(policy, source))
        .collect();
    if let (Some(category), []) = (&args.category, shown.as_slice()) {
        anyhow::bail!("no policy has category = \"{category}\"");
    }
    if args.json {
        output.json(&serde_json::json!({"revision": set.revision(), "policies": shown}))?;
    } else {
        let texts: Vec<String> = shown.iter().map(ToString::to_string).collect();
        output.line(&texts.join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn diff(args: &Diff) -> anyhow::Result<ExitCode> {
    let output = Output::stdout();
    for path in [&args.before, &args.after] {
        anyhow::ensure!(path.exists(), "{} does not exist; give a directory or a file of policies", path.display());
    }
    let changes = match diff_paths(&args.before, &args.after) {
        Ok(changes) => changes,
        Err(problems) => return told(&problems, args.json, &output),
    };
    if args.json {
        output.json(&serde_json::json!({ "changes": changes }))?;
    } else {
        in_words(&changes, &output)?;
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Problems of files that were to be read, as `semblance check` tells them.
fn told(problems: &[Problem], json: bool, output: &Output) -> anyhow::Result<ExitCode> {
    if json {
        output.json(&serde_json::json!({ "problems": problems }))?;
    } else {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        output.line(&lines.join("\n"))?;
    }
    Ok(ExitCode::from(2))
}

/// A category a paragraph, a setting a line with what the change does below it.
fn in_words(changes: &[Change], output: &Output) -> anyhow::Result<()> {
    if changes.is_empty() {
        return output.line("No setting differs.");
    }
    let mut category = "";
    for change in changes {
        if change.category != category {
            category = &change.category;
            output.line(&output.bold(category))?;
        }
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        output.line(&format!("  {}  {} -> {}", change.key, value(&change.from), value(&change.to)))?;
        output.line(&format!("    {}", change.plain))?;
    }
    Ok(())
}

async fn history(args: History) -> anyhow::Result<ExitCode> {
    let output = Output::stdout();
    let Some(number) = args.version else {
        let answer = args.admin.get("/semblance/policies/history").await?;
        if args.json {
            output.json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let versions: Vec<policy::Version> = serde_json::from_value(answer["versions"].clone())?;
        for version in &versions {
            output.line(&one_line(version))?;
        }
        if versions.is_empty() {
            output.line("No version is kept: the gateway runs on its built-in policies, or has just started.")?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let answer = args.admin.get(&format!("/semblance/policies/history/{number}")).await?;
    if args.json {
        output.json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let version: policy::Version = serde_json::from_value(answer.clone())?;
    output.line(&one_line(&version))?;
    let changes: Vec<Change> = serde_json::from_value(answer["changes"].clone())?;
    in_words(&changes, &output)?;
    Ok(ExitCode::SUCCESS)
}

fn one_line(version: &policy::Version) -> String {
    let policy::Version { version, revision, at_ms, who, note, by, changed } = version;
    let at = std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(*at_ms).unwrap_or(0));
    let at = humantime::format_rfc3339_seconds(at);
    let who = if who.is_empty() { "-" } else { who };
    let by = serde_json::to_value(by).unwrap_or_default();
    let files = match changed.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        few => few.join(", "),
    };
    let note = if note.is_empty() { String::new() } else { format!("  \"{note}\"") };
    format!("{version:>4}  {at}  {revision}  {:9}  {who}  {files}{note}", by.as_str().unwrap_or_default())
}

async fn restore(args: Restore) -> anyhow::Result<ExitCode> {
    let body = serde_json::json!({"version": args.version, "who": args.who, "note": args.note});
    let answer = args.admin.post("/semblance/policies/restore", &body).await?;
    let output = Output::stdout();
    if args.json {
        output.json(&answer)?;
    } else {
        let revision = answer["revision"].as_str().unwrap_or_default();
        output.line(&format!("the policies of version {} are in use: revision {revision}", args.version))?;
    }
    Ok(ExitCode::SUCCESS)
}
