//! `semblance demo --nodes 3`: several gateways over one engine, in a conversation that shows what they share.
//!
//! The engine is a `redis-server` or `valkey-server` of this machine's, started without files on a free port and ended with
//! the demo, unless `--store` names another one.

use std::{
    io::ErrorKind,
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use serde_json::json;

use super::{Args, Conversation, DISABLE, ENABLE, REWORDED, Seen, Step, free, print_table, warm_up};
use crate::{
    app::{App, Seams},
    cli::{Output, serve},
    clock::Clock,
    config::{Config, SharedStore, StoreChoice},
    scratch::Scratch,
    store::redis::Address,
    upstream::{http::install_tls, scripted::Scripted},
};

/// Servers that speak the protocol, in the order in which they are looked for.
const ENGINES: [&str; 2] = ["valkey-server", "redis-server"];
/// Time an engine may take to listen.
const ENGINE_START: Duration = Duration::from_secs(10);
/// Several looks at the feed: by then every node's index has what the others stored.
const FEED: Duration = Duration::from_millis(500);
/// Asked on all nodes at once.
const HOT: &str = "How do I change my e-mail address?";

/// What is asked before the nodes are asked all at once: where, and what.
const STEPS: [(usize, Step); 4] = [
    (0, Step::of("node 1, a new question", ENABLE)),
    (1, Step::of("node 2, the same", ENABLE)),
    (2, Step { only_cached: true, ..Step::of("node 3, re-worded", REWORDED) }),
    (2, Step { against: Some(ENABLE), ..Step::of("node 3, a near miss", DISABLE) }),
];

/// A server of the demo's own.
#[derive(Debug)]
struct Engine {
    process: Child,
    address: String,
}

impl Engine {
    /// Starts the first one that is installed, without files but in `dir`.
    async fn start(dir: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        for program in ENGINES {
            let mut command = Command::new(program);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let process = match command.spawn() {
                Ok(process) => process,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context(program),
            };
            let engine = Self { process, address: format!("redis://127.0.0.1:{port}") };
            let listening = async {
                while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(ENGINE_START, listening)
                .await
                .with_context(|| format!("{program} does not listen"))?;
            return Ok(engine);
        }
        bail!(
            "neither {} is installed; install one, such as with `apt-get install redis-server`, or name a running one with --store redis://HOST:PORT",
            ENGINES.join(" nor ")
        )
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It keeps nothing, so it has nothing to finish.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) async fn run(nodes: u8, config: Config, args: &Args, scratch: &Scratch) -> anyhow::Result<ExitCode> {
    let own = match &args.store {
        Some(_) => None,
        None => Some(Engine::start(scratch.path()).await?),
    };
    let address = args.store.as_ref().or_else(|| own.as_ref().map(|engine| &engine.address));
    let store = SharedStore {
        prefix: format!("semblance-demo-{:08x}", fastrand::u32(..)),
        ..SharedStore::of(Address::parse(address.map_or("", String::as_str))?)
    };
    let (clock, hand) = Clock::shifted();
    let model = Scripted::demo(clock.clone());
    install_tls();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut apps = Vec::with_capacity(usize::from(nodes));
    for number in 1..=nodes {
        let seams = Seams { clock: clock.clone(), upstream: Some(Arc::new(model.clone())), ..Seams::default() };
        let config = node(number, &config, args, scratch, &store).await;
        apps.push(Box::pin(App::start(config, seams)).await?);
    }
    try_join_all(apps.iter().map(|app| warm_up(&client, app.admin))).await?;
    let on = |node: usize| Conversation { client: client.clone(), app: &apps[node], model: &model, hand: &hand };
    let mut seen = Vec::new();
    for (node, step) in &STEPS {
        if step.only_cached {
            tokio::time::sleep(FEED).await;
        }
        seen.push(on(*node).take(step).await?);
    }
    seen.push(all_at_once(&model, (0..apps.len()).map(on)).await?);
    seen.push(on(0).purge_all().await?);
    seen.push(on(1).take(&Step::of("node 2, after the purge", ENABLE)).await?);
    let output = Output::stdout();
    if args.json {
        for step in &seen {
            output.json(step)?;
        }
    } else {
        print_table(&output, &seen)?;
    }
    if !args.once {
        if !args.json {
            print_next(&output, &apps, &store)?;
        }
        serve::wait_for_stop().await?;
    }
    let mut code = ExitCode::SUCCESS;
    for app in apps {
        let finished = serve::finish(app).await;
        if finished != ExitCode::SUCCESS {
            code = finished;
        }
    }
    Ok(code)
}

/// The settings of one node: the first one where the demo usually is, the others on free ports.
async fn node(number: u8, config: &Config, args: &Args, scratch: &Scratch, store: &SharedStore) -> Config {
    let mut config = config.clone();
    config.data_dir = scratch.path().join(format!("node-{number}"));
    config.store = StoreChoice::Shared(Box::new(store.clone()));
    if number > 1 {
        config.listen.set_port(0);
        config.admin_listen.set_port(0);
    } else {
        (config.listen, config.admin_listen) = (free(args.listen).await, free(args.admin_listen).await);
    }
    config
}

/// Asks one question on every node at the same time.
async fn all_at_once(model: &Scripted, nodes: impl Iterator<Item = Conversation<'_>>) -> anyhow::Result<Seen> {
    let calls = model.script().calls();
    let started = tokio::time::Instant::now();
    let step = Step::of("all at once, a new one", HOT);
    let asked = nodes.map(|node| async move { node.take(&step).await });
    let answers = try_join_all(asked).await?;
    let mut outcomes: Vec<String> = answers.into_iter().map(|seen| seen.outcome).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    Ok(Seen {
        step: step.title,
        question: HOT,
        outcome: outcomes.join(", "),
        why: "one node asks the model, the others wait for its answer".to_owned(),
        milliseconds: started.elapsed().as_secs_f64() * 1000.0,
        upstream_calls: model.script().calls() - calls,
    })
}

impl Conversation<'_> {
    async fn purge_all(&self) -> anyhow::Result<Seen> {
        let started = tokio::time::Instant::now();
        let url = format!("http://{}/semblance/purge", self.app.admin);
        let order = json!({"all": true}).to_string();
        let answer = self.client.post(&url).header("content-type", "application/json").body(order).send().await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        Ok(Seen {
            step: "node 1, a purge of all",
            question: "",
            outcome: format!("{} purged", answer["purged"]),
            why: "acknowledged when no node serves them any more".to_owned(),
            milliseconds: started.elapsed().as_secs_f64() * 1000.0,
            upstream_calls: 0,
        })
    }
}

fn print_next(output: &Output, apps: &[App], store: &SharedStore) -> anyhow::Result<()> {
    output.line("")?;
    output.line(&format!("{} nodes keep serving over {} (Ctrl-C stops them):", apps.len(), store.address))?;
    for (number, app) in apps.iter().enumerate() {
        output.line(&format!("  node {}: http://{}, dashboard http://{}/", number + 1, app.listen, app.admin))?;
    }
    Ok(())
}
