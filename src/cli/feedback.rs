//! `semblance feedback`: say of a served answer that it was wrong, stale or unsafe.

use std::process::ExitCode;

use super::{Output, purge::AdminArgs, runtime};

/// What was wrong with an answer.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Verdict {
    /// It answers another question: the pairing stops, the entry stays for its own question.
    Wrong,
    /// It was right once: the entry becomes stale.
    Stale,
    /// Nobody may see it: the entry goes.
    Unsafe,
}

/// Arguments of `feedback`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What was wrong with the answer.
    verdict: Verdict,
    /// Request that was answered so: its `x-semblance-request-id`.
    #[arg(long, required_unless_present = "entry", conflicts_with = "entry")]
    request: Option<String>,
    /// Entry that answered, such as e1f; `wrong` then meets every other wording of it.
    #[arg(long)]
    entry: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let Args { verdict, request, entry, admin, json } = args;
        let verdict = match verdict {
            Verdict::Wrong => "wrong",
            Verdict::Stale => "stale",
            Verdict::Unsafe => "unsafe",
        };
        let mut body = serde_json::json!({"verdict": verdict});
        for (key, value) in [("request_id", request), ("entry_id", entry)] {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        let answer = admin.post("/semblance/feedback", &body).await?;
        let output = Output::stdout();
        if json {
            output.json(&answer)?;
        } else {
            let entry = answer["entry"].as_str().unwrap_or_default();
            let (blocked, purged) = (&answer["blocked"], &answer["purged"]);
            output.line(&format!("{entry}: {blocked} pairings blocked, {purged} entries taken out"))?;
            if answer["tripped"] == true {
                let category = answer["category"].as_str().unwrap_or_default();
                output.line(&format!("category {category} serves the same question only: too many wrong hits"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
