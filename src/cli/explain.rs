//! `semblance explain`: why a question would, or would not, get another's answer.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};

use super::{Output, runtime};
use crate::{
    app,
    config::Config,
    embed::{Embedder, minilm::MiniLm, pool::PoolSettings},
    explain::{self, Ask, Explanation},
    matcher::Matcher,
    policy::{Examples, PolicySet},
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The question asked now.
    #[arg(long)]
    ask: String,
    /// The question whose answer is cached. Without it, a running gateway is asked about its own cache.
    #[arg(long)]
    cached: Option<String>,
    /// Category named by the app.
    #[arg(long)]
    category: Option<String>,
    /// Directory of the policy files [default: those in the program].
    #[arg(long, env = "SEMBLANCE_POLICIES")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    admin: super::purge::AdminArgs,
    /// Explain as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let output = Output::stdout();
        let Some(cached) = args.cached.as_deref() else { return ask_gateway(args, &output).await };
        let explained = explain_pair(args, cached).await?;
        if args.json {
            output.json(&explained)?;
        } else {
            output.line(&in_words(&explained, &output))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn explain_pair(args: &Args, cached: &str) -> anyhow::Result<Explanation> {
    let set = match &args.policies {
        Some(dir) => PolicySet::load(dir),
        None => PolicySet::shipped(),
    };
    let set =
        set.map_err(|problems| anyhow!("the policies have problems; run `semblance check`: {}", problems.len()))?;
    let config = super::serve::usable(Config::defaults())?;
    let embedder = MiniLm::load(PoolSettings::default())?;
    let mut examples = Vec::new();
    for (category, text) in set.example_texts() {
        examples.push((category.to_owned(), text.to_owned(), embedder.embed(text).await?));
    }
    let examples = Examples::new(&set, embedder.fingerprint(), examples);
    let matcher = Matcher::new(app::matcher_settings(&config), app::load_verifier(&config).await?);
    let ask = Ask { cached, asked: &args.ask, category: args.category.as_deref() };
    Ok(explain::explain(ask, &embedder, &set, Some(&examples), &matcher).await?)
}

fn in_words(explained: &Explanation, output: &Output) -> String {
    let judgement = &explained.judgement;
    let decision = if judgement.decision == "hit" { output.good("hit") } else { output.bad("miss") };
    let guard = match (&judgement.guard.slot, &judgement.guard.detail) {
        (Some(slot), Some(detail)) => {
            let verdict = if judgement.guard.verdict == "reject" { "rejects" } else { "passes, with a higher bar" };
            format!("{verdict}: {slot}: {detail}")
        }
        _ => "passes".to_owned(),
    };
    let against_p = judgement.p_same.is_some() || judgement.guard.verdict == "reject";
    let bar = format!("(bar {:.3})", judgement.bar);
    let p_same = judgement.p_same.map_or_else(|| "not asked for".to_owned(), |p| format!("{p} {bar}"));
    let similarity_bar = if against_p { String::new() } else { format!(" {bar}") };
    let personal = explained.personal_data.map(|kind| format!("\n  personal    {kind}")).unwrap_or_default();
    format!(
        "{decision} ({})\n  similarity  {}{similarity_bar}\n  guard       {guard}\n  p(same)     {p_same}\n  category    {} ({}){personal}\n  policies    revision {}",
        judgement.reason, judgement.similarity, explained.category, explained.category_by, explained.policy_revision
    )
}

async fn ask_gateway(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let body = serde_json::json!({"ask": args.ask, "category": args.category});
    let answer = args.admin.post("/semblance/explain", &body).await?;
    if args.json {
        output.json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let candidates = answer["candidates"].as_array().context("the gateway's answer has no candidates")?;
    output.line(&format!("{}: {} neighbour(s)", answer["decision"].as_str().unwrap_or("miss"), candidates.len()))?;
    if let (Some(category), Some(revision)) = (answer["category"].as_str(), answer["policy_revision"].as_str()) {
        output.line(&format!("  category {category}, policies of revision {revision}"))?;
    }
    if let Some(kind) = answer["personal_data"].as_str() {
        output.line(&format!("  personal data in the question: {kind}"))?;
    }
    for candidate in candidates {
        let detail = candidate["guard"]["detail"].as_str().unwrap_or_default();
        output.line(&format!(
            "  {}  {:.3}  {}  {}  {}  {}",
            candidate["entry"].as_str().unwrap_or_default(),
            candidate["similarity"].as_f64().unwrap_or_default(),
            candidate["p_same"].as_f64().map_or_else(|| "-".to_owned(), |p| format!("{p:.4}")),
            candidate["withheld"].as_str().or_else(|| candidate["reason"].as_str()).unwrap_or_default(),
            candidate["query"].as_str().unwrap_or_default(),
            output.quiet(detail),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
