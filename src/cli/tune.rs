//! `semblance tune`: budgets of wrong hits that fixtures can vouch for; nothing is written without `--write`.

use std::{fs, path::Path, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use toml_edit::{DocumentMut, value};

use super::{
    Output,
    replay::{a_share, read_cases, replay},
    runtime,
};
use crate::replay::tune::{Effect, Proposal, propose};

/// Arguments of `tune`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fixture files, or directories of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Largest share of served hits that may be wrong.
    #[arg(long, value_name = "SHARE", value_parser = a_share)]
    budget: f64,
    /// Directory of the policy files [default: those in the program].
    #[arg(long, env = "SEMBLANCE_POLICIES")]
    policies: Option<PathBuf>,
    /// Write the proposals that are vouched for into the policy files.
    #[arg(long, requires = "policies")]
    write: bool,
    /// Propose as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cases = read_cases(&args.files)?;
    let replayed = runtime()?.block_on(replay(&cases, false, args.policies.as_ref()))?;
    let proposals = propose(&replayed.records, &replayed.bars, &replayed.policies, args.budget);
    let output = Output::stdout();
    if args.json {
        output.json(&proposals)?;
    } else {
        for proposal in &proposals {
            in_words(proposal, &output)?;
        }
    }
    if let (true, Some(dir)) = (args.write, &args.policies) {
        for proposal in proposals.iter().filter(|proposal| proposal.is_vouched) {
            write(dir, proposal)?;
        }
    } else if !args.json {
        output.line(&output.quiet("Nothing was written; --write puts what is vouched for into the policy files."))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(proposal: &Proposal, output: &Output) -> anyhow::Result<()> {
    let Proposal { category, paraphrases, near_misses, now, proposed, is_vouched } = proposal;
    output.line(&output.bold(&format!("{category}  {paraphrases} paraphrases, {near_misses} near misses")))?;
    output.line(&format!("  now       {}", effect(now)))?;
    let told = match proposed {
        None => output.bad("no measured bar keeps the budget"),
        Some(proposed) if *is_vouched => output.good(&effect(proposed)),
        Some(proposed) => format!("{}  {}", effect(proposed), output.bad("too few cases to be sure")),
    };
    output.line(&format!("  proposed  {told}"))
}

fn effect(effect: &Effect) -> String {
    let bar = effect.bar.map_or_else(|| "nothing by meaning".to_owned(), |bar| format!("p >= {bar}"));
    format!(
        "max_wrong_hits = {:<6} {bar:18} hit {:>4}, wrong {:>3} ({:.2} %, at most {:.2} %)",
        effect.max_wrong_hits,
        effect.paraphrases_hit,
        effect.near_misses_served,
        effect.wrong_hit_share * 100.0,
        effect.wrong_hit_bound_95 * 100.0
    )
}

/// Sets `reuse.max_wrong_hits` in the category's own file; comments and order stay.
fn write(dir: &Path, proposal: &Proposal) -> anyhow::Result<()> {
    let Some(proposed) = proposal.proposed else { return Ok(()) };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut document: DocumentMut = text.parse()?;
        if document.get("category").and_then(|item| item.as_str()) != Some(&proposal.category) {
            continue;
        }
        document["reuse"]["max_wrong_hits"] = value(proposed.max_wrong_hits);
        return fs::write(&path, document.to_string()).with_context(|| format!("cannot write {}", path.display()));
    }
    bail!("no file of {} has category = \"{}\"", dir.display(), proposal.category)
}
