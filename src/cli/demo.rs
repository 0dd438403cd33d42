//! `semblance demo`: a gateway with the built-in model, a short conversation through its own port, a table of what
//! happened and why, then keep serving.

mod nodes;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::json;

use super::{Output, runtime, serve};
use crate::{
    app::{App, Seams},
    clock::{Clock, ManualClock},
    config::Config,
    scratch::Scratch,
    telemetry,
    upstream::{http::install_tls, scripted::Scripted},
};

/// Credential that the conversation sends; the built-in model takes any.
const CREDENTIAL: &str = "Bearer sk-demo";
/// Past the ttl of product answers (24 h), inside their stale window (1 h).
const ONE_DAY_LATER: Duration = Duration::from_secs(24 * 3600 + 600);
/// Time the gateway may take to learn the policies' examples.
const WARM_UP: Duration = Duration::from_secs(20);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address for clients; a free port when this one is taken.
    #[arg(long, default_value = crate::config::LISTEN)]
    listen: SocketAddr,
    /// Address for operators; a free port when this one is taken.
    #[arg(long, default_value = crate::config::ADMIN_LISTEN)]
    admin_listen: SocketAddr,
    /// So many gateways that share one cache, 3 to 9, in a conversation about that.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: Option<u8>,
    /// A running Redis or Valkey for --nodes; without it one is started and ended with the demo.
    #[arg(long, value_name = "URL", requires = "nodes")]
    store: Option<String>,
    /// Stop after the conversation.
    #[arg(long)]
    once: bool,
    /// One line of JSON per step instead of the table.
    #[arg(long)]
    json: bool,
}

/// One step of the conversation.
#[derive(Debug, Clone, Copy)]
struct Step {
    title: &'static str,
    question: &'static str,
    /// The cached question that it is held against, for the reason of a refusal.
    against: Option<&'static str>,
    /// Time that passes before it.
    later: Option<Duration>,
    /// A hit by meaning is now and then asked again behind; that call is not the table's subject.
    only_cached: bool,
}

const ENABLE: &str = "How do I enable two-factor authentication?";
const REWORDED: &str = "What are the steps to turn on two-factor authentication?";
const DISABLE: &str = "How do I disable two-factor authentication?";

const STEPS: &[Step] = &[
    Step::of("a new question", ENABLE),
    Step::of("the same again", ENABLE),
    Step { only_cached: true, ..Step::of("re-worded", REWORDED) },
    Step { against: Some(ENABLE), ..Step::of("a near miss", DISABLE) },
    Step::of("never cached", "What is my account balance?"),
    Step::of("never cached, again", "What is my account balance?"),
    Step { later: Some(ONE_DAY_LATER), ..Step::of("24 h 10 min later", ENABLE) },
];

impl Step {
    const fn of(title: &'static str, question: &'static str) -> Self {
        Self { title, question, against: None, later: None, only_cached: false }
    }
}

/// What a step came to.
#[derive(Debug, serde::Serialize)]
struct Seen {
    step: &'static str,
    question: &'static str,
    outcome: String,
    why: String,
    milliseconds: f64,
    upstream_calls: usize,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut config = serve::usable(Config::defaults())?;
    "warn".clone_into(&mut config.log.level);
    telemetry::init(&config.log)?;
    runtime()?.block_on(async move {
        let scratch = Scratch::new("demo")?;
        config.data_dir = scratch.path().to_owned();
        let code = match args.nodes {
            Some(nodes) => nodes::run(nodes, config, &args, &scratch).await,
            None => converse_and_serve(config, &args).await,
        };
        drop(scratch);
        code
    })
}

async fn converse_and_serve(mut config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    (config.listen, config.admin_listen) = (free(args.listen).await, free(args.admin_listen).await);
    let output = Output::stdout();
    let (clock, hand) = Clock::shifted();
    let model = Scripted::demo(clock.clone());
    let seams = Seams { clock, upstream: Some(Arc::new(model.clone())), ..Seams::default() };
    let app = App::start(config, seams).await?;
    install_tls();
    let client = reqwest::Client::builder().no_proxy().build()?;
    warm_up(&client, app.admin).await?;
    let conversation = Conversation { client, app: &app, model: &model, hand: &hand };
    let mut seen = Vec::with_capacity(STEPS.len());
    for step in STEPS {
        seen.push(conversation.take(step).await?);
    }
    if args.json {
        for step in &seen {
            output.json(step)?;
        }
    } else {
        print_table(&output, &seen)?;
    }
    if !args.once {
        if !args.json {
            print_next(&output, &app)?;
        }
        serve::wait_for_stop().await?;
    }
    Ok(serve::finish(app).await)
}

struct Conversation<'a> {
    client: reqwest::Client,
    app: &'a App,
    model: &'a Scripted,
    hand: &'a ManualClock,
}

impl Conversation<'_> {
    async fn take(&self, step: &Step) -> anyhow::Result<Seen> {
        if let Some(later) = step.later {
            self.hand.advance(later);
        }
        let calls = self.model.script().calls();
        let body = json!({"model": "demo", "messages": [{"role": "user", "content": step.question}]});
        let url = format!("http://{}/v1/chat/completions", self.app.listen);
        let mut request = self.client.post(&url).header("authorization", CREDENTIAL).body(body.to_string());
        if step.only_cached {
            request = request.header("cache-control", "only-if-cached");
        }
        let started = tokio::time::Instant::now();
        let response = request.header("content-type", "application/json").send().await?;
        let headers = response.headers().clone();
        response.bytes().await?;
        let took = started.elapsed();
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let outcome = header("x-semblance-cache");
        let why = self.why(step, &outcome, &header).await?;
        let upstream_calls = self.model.script().calls() - calls;
        Ok(Seen {
            step: step.title,
            question: step.question,
            outcome,
            why,
            milliseconds: took.as_secs_f64() * 1000.0,
            upstream_calls,
        })
    }

    async fn why(&self, step: &Step, outcome: &str, header: &impl Fn(&str) -> String) -> anyhow::Result<String> {
        Ok(match outcome {
            "hit-exact" => "the stored answer, no model call".to_owned(),
            "hit-semantic" => format!("same meaning: similarity {}", header("x-semblance-similarity")),
            "stale" => "past its 24 h: served at once, one refresh runs behind".to_owned(),
            "bypass" => format!("category {} has a freshness of zero", header("x-semblance-category")),
            _ => match step.against {
                Some(cached) => self.refusal(cached, step.question).await?,
                None => "nothing like it in the cache; kept now".to_owned(),
            },
        })
    }

    /// The admin listener's explanation of a refusal.
    async fn refusal(&self, cached: &str, asked: &str) -> anyhow::Result<String> {
        let url = format!("http://{}/semblance/explain", self.app.admin);
        let body = json!({"cached": cached, "ask": asked}).to_string();
        let answer = self.client.post(&url).header("content-type", "application/json").body(body).send().await?;
        let explained: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;
        let detail = explained["guard"]["detail"].as_str().unwrap_or("not near enough");
        let similarity = explained["similarity"].as_f64().unwrap_or_default();
        Ok(format!("similarity {similarity:.3}, but refused: {detail}"))
    }
}

fn print_table(output: &Output, seen: &[Seen]) -> anyhow::Result<()> {
    let width = |pick: fn(&Seen) -> usize| seen.iter().map(pick).max().unwrap_or(0);
    let (step, question) = (width(|s| s.step.len()), width(|s| s.question.len()));
    let outcome_width = width(|s| s.outcome.len()).max("hit-semantic".len());
    let heading = format!(
        "{:step$}  {:question$}  {:outcome_width$}  {:>8}  {:>5}  {}",
        "step", "question", "outcome", "time", "calls", "why"
    );
    output.line(&output.bold(&heading))?;
    for row in seen {
        let outcome = format!("{:outcome_width$}", row.outcome);
        let outcome = match row.outcome.as_str() {
            "miss" | "bypass" => output.bad(&outcome),
            _ => output.good(&outcome),
        };
        let line = format!(
            "{:step$}  {:question$}  {outcome}  {:>5.1} ms  {:>5}  {}",
            row.step, row.question, row.milliseconds, row.upstream_calls, row.why
        );
        output.line(&line)?;
    }
    Ok(())
}

fn print_next(output: &Output, app: &App) -> anyhow::Result<()> {
    output.line("")?;
    output.line(&format!("The gateway keeps serving on http://{} (Ctrl-C stops it). Try it:", app.listen))?;
    output.line(&format!(
        "  curl -i http://{}/v1/chat/completions -H 'authorization: {CREDENTIAL}' -H 'content-type: application/json' \\\n    -d '{{\"model\":\"demo\",\"messages\":[{{\"role\":\"user\",\"content\":\"How can I enable 2FA?\"}}]}}'",
        app.listen
    ))?;
    output.line(&output.quiet(&format!("What it has cached: curl http://{}/semblance/entries", app.admin)))
}

/// Waits until categories can be told by meaning.
async fn warm_up(client: &reqwest::Client, admin: SocketAddr) -> anyhow::Result<()> {
    let ready = async {
        loop {
            let answer = client.get(format!("http://{admin}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WARM_UP, ready).await.context("the gateway did not become ready")
}

/// `wanted`, or the same address with a free port.
async fn free(wanted: SocketAddr) -> SocketAddr {
    match tokio::net::TcpListener::bind(wanted).await {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}
