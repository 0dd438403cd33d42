//! The composition root: the only place that names concrete adapters. Build, run, drain.
//!
//! Nothing is bound before the configuration is known to be good, and nothing is written before both listeners are
//! bound: a start that fails leaves everything as it was.

pub mod replays;
mod store;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Control, Desk},
    cache::Cache,
    clock::Clock,
    config::{self, ClientGone, Config, EmbedderConfig, EmbedderKind, Limits, StoreChoice, UpstreamChoice},
    embed::{
        EmbedError, Embedder,
        breaker::BreakerSettings,
        minilm::MiniLm,
        pool::PoolSettings,
        remote::{RemoteEmbedder, RemoteSettings},
    },
    gateway::{self, Gateway, Judge, Oversight, traffic::Traffic},
    http::{self, serve::Door},
    index::partitions::Partitions,
    jobs,
    keys::Keyring,
    matcher::{
        Matcher, MatcherSettings,
        verifier::{self, MiniLmVerifier, Verifier},
    },
    metrics::Metrics,
    otel::Otel,
    policy::{self, By, Finished, PolicyDirectory, PolicySet, PolicyWatch, Problem},
    prices::{PriceProblem, Prices},
    replay::{
        desk::{self, Fixtures},
        memory::{RememberingEmbedder, RememberingVerifier},
    },
    similarity::Similarity,
    store::{StoreError, Upkeep, sqlite::traffic::SqliteTraffic, traffic::TrafficLog},
    tasks::Tasks,
    tls::{Certificates, TlsProblem},
    upstream::{
        Upstream,
        http::{ConfigProblem, HttpUpstream, Settings as Timeouts, Transport},
        routes::{Named, Routes},
        scripted::Scripted,
    },
    wire::{Family, RecordSettings, chat::ChatSettings},
};
use replays::Replays;

/// Pairs that people marked wrong, as replay cases.
const FEEDBACK_FILE: &str = "feedback.jsonl";
/// Tokens that every remote embedder can be trusted to read.
const REMOTE_WINDOW: usize = 512;
/// Candidates verified at most; later ones are seldom right and each costs some ten milliseconds.
const VERIFIED: usize = 3;
/// How long the OTLP collector may take to answer; the exporter's own patience is a little longer.
const COLLECTOR: Timeouts =
    Timeouts { connect: Duration::from_secs(3), first_byte: Duration::from_secs(9), idle: Duration::from_secs(9) };
/// How long the last telemetry is waited for.
const LAST_TELEMETRY: Duration = Duration::from_secs(3);
/// Between two looks at whether requests are still being answered.
const DRAIN_STEP: Duration = Duration::from_millis(10);
/// Between two lines about what is still running while draining.
const DRAIN_REPORT: Duration = Duration::from_secs(5);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it, or choose another with {flag}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The admin listener can be reached from elsewhere and nothing guards it.
    #[error(
        "the admin listener {0} is not on loopback and has no token; set admin_token (SEMBLANCE_ADMIN_TOKEN) or use 127.0.0.1"
    )]
    OpenAdmin(SocketAddr),
    /// The policies have problems.
    #[error("the policies have {} problem(s):\n{}", .0.len(), list(.0))]
    Policies(Vec<Problem>),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The embedder does not load.
    #[error("the embedder does not load: {0}")]
    Embedder(#[from] EmbedError),
    /// The verifier does not load.
    #[error("the verifier does not load: {0}")]
    Verifier(#[from] verifier::LoadError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] TlsProblem),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The price list cannot be used.
    #[error(transparent)]
    Prices(#[from] PriceProblem),
    /// The upstream cannot be used.
    #[error("the upstream cannot be used: {0}")]
    Upstream(#[from] ConfigProblem),
    /// The OTLP collector cannot be used.
    #[error("the OTLP collector cannot be used: {0}")]
    Collector(#[source] ConfigProblem),
    /// The remote embedder's address is none.
    #[error("embedder.url is not a URL; write it like http://127.0.0.1:9000/v1")]
    EmbedderUrl,
    /// The principal key cannot be read or made.
    #[error("principal.key in {path} cannot be used: {source}; it must be 32 bytes, readable by this user only")]
    Key {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The authorities that vouch for the shared store cannot be read.
    #[error("{path}, the authorities of the shared store, cannot be read: {source}; set cluster.ca to a PEM file")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A worker thread ended while starting.
    #[error("starting was interrupted")]
    Interrupted,
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// Collaborators that a test or the demo brings itself; `None` means what the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Seams {
    /// The time.
    pub clock: Clock,
    /// The provider.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Text to vector.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The store.
    pub store: Option<Arc<dyn Upkeep>>,
    /// Two questions to p(same answer).
    pub verifier: Option<Arc<dyn Verifier>>,
}

/// A running gateway.
#[derive(Debug)]
pub struct App {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    gateway: Arc<Gateway>,
    control: Arc<Control>,
    store: Arc<dyn Upkeep>,
    tasks: Tasks,
    stop_data: CancellationToken,
    stop_admin: CancellationToken,
    drain_time: Duration,
}

/// Connections of operators and their tools at the same time.
const ADMIN_CONNECTIONS: usize = 256;

impl App {
    /// Starts everything and returns when requests are accepted.
    pub async fn start(config: Config, seams: Seams) -> Result<Self, StartError> {
        if !config.admin_listen.ip().is_loopback() && config.admin_token.is_none() {
            return Err(StartError::OpenAdmin(config.admin_listen));
        }
        if config.require_keys && !holders_can_be_served(&config) {
            tracing::warn!(
                "require_keys is on and no upstream has a key of its own: set api_key_env in an [upstreams.NAME]"
            );
        }
        complete_policies(&config);
        let set = policies(&config)?;
        let certificates = config.tls.as_ref().map(Certificates::load).transpose()?;
        let tls = certificates.as_ref().map(Certificates::acceptor).transpose()?;
        let data = bind(config.listen, "--listen").await?;
        let admin_socket = bind(config.admin_listen, "--admin-listen").await?;

        let tasks = Tasks::new();
        let replays = Replays { policies: config.policies.clone(), seams: seams.clone() };
        let gateway = build(&config, seams, set, &tasks).await?;
        let store = Arc::clone(gateway.parts().cache.store());
        let policies = config.policies.as_ref().map(|dir| PolicyDirectory::new(dir, &config.data_dir));
        if let Some(policies) = &policies {
            policies.noticed(&gateway.parts().policies, By::Start, gateway.parts().clock.now()).await;
        }
        let control = Control::new(
            Arc::clone(&gateway),
            Arc::clone(&store),
            policies.clone(),
            config.admin_token.as_ref().map(config::Secret::expose),
        );
        control.furnish(Desk::new(fixtures(&config), Arc::new(replays)));
        let app = Self {
            listen: local(&data, config.listen),
            admin: local(&admin_socket, config.admin_listen),
            gateway,
            control,
            store,
            tasks,
            stop_data: CancellationToken::new(),
            stop_admin: CancellationToken::new(),
            drain_time: config.drain,
        };
        app.spawn_jobs(&config, policies);
        if let Some(certificates) = certificates {
            app.tasks.spawn("watch-certificates", certificates.watch(app.tasks.token().clone()));
        }
        let Limits { connections: max_connections, client_stall, .. } = config.limits;
        let stall = Some(client_stall);
        let router = http::router(Arc::clone(&app.gateway), &config.cors_origins);
        let door = Door { router, tls, connections: "connection", max_connections, stall };
        let serving = http::serve::serve(data, door, app.tasks.clone(), app.stop_data.clone());
        app.tasks.spawn("data-listener", serving);
        let router = admin::router(Arc::clone(&app.control));
        let door =
            Door { router, tls: None, connections: "admin-connection", max_connections: ADMIN_CONNECTIONS, stall };
        let serving = http::serve::serve(admin_socket, door, app.tasks.clone(), app.stop_admin.clone());
        app.tasks.spawn("admin-listener", serving);
        Ok(app)
    }

    /// The gateway behind the listeners.
    pub const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The store behind the gateway.
    pub const fn store(&self) -> &Arc<dyn Upkeep> {
        &self.store
    }

    /// Returns when no request is being answered any more, or at the drain's deadline.
    async fn finish_requests(&self) {
        let metrics = &self.gateway.parts().metrics;
        let idle = async {
            while metrics.requests_in_flight() > 0 {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        // What outlives the deadline is named by the tasks' own drain.
        let _ = tokio::time::timeout(self.drain_time, idle).await;
    }

    fn spawn_jobs(&self, config: &Config, policies: Option<Arc<PolicyDirectory>>) {
        let stop = || self.tasks.token().clone();
        let gateway = || Arc::clone(&self.gateway);
        let store = || Arc::clone(&self.store);
        let parts = self.gateway.parts();
        self.tasks.spawn("learn-examples", jobs::learn_until_warm(gateway(), store(), stop()));
        self.tasks.spawn("read-books", Arc::clone(self.gateway.auditor()).read_until_known());
        let re_embed = jobs::re_embed(store(), Arc::clone(&parts.cache), Arc::clone(&parts.embedder), stop());
        self.tasks.spawn("re-embed", re_embed);
        let books = Arc::clone(&parts.traffic).keep_books(Arc::clone(&parts.embedder), stop());
        self.tasks.spawn("keep-books", books);
        if store().shared().is_some() {
            let embedder = parts.embedder.fingerprint().to_owned();
            let following = jobs::follow(Arc::clone(&parts.cache), embedder, Arc::clone(&parts.metrics), stop());
            self.tasks.spawn("follow-nodes", following);
            self.tasks.spawn("tidy-store", jobs::tidy(store(), stop()));
        }
        self.tasks.spawn("reap", jobs::reap(gateway(), store(), config.disk_budget_bytes, stop()));
        if let Some(policies) = policies {
            self.tasks.spawn("watch-policies", jobs::watch_policies(gateway(), policies, store(), stop()));
        }
    }

    /// Stops in order: not ready, no new connections, requests in flight finish, jobs end, store closes. Returns the
    /// names of tasks that outlived the deadline.
    pub async fn drain(self) -> Vec<&'static str> {
        // 1. Load balancers look away; the admin listener goes on telling them so.
        self.control.drain();
        // 2. No new connections; requests in flight finish.
        self.stop_data.cancel();
        let draining = self.finish_requests();
        tokio::pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => break,
                () = tokio::time::sleep(DRAIN_REPORT) => {
                    tracing::info!(flights = self.gateway.flights().len(), "draining");
                }
            }
        }
        // 3. The admin listener closes, jobs end at their next step.
        self.stop_admin.cancel();
        let late = self.tasks.drain(self.drain_time).await;
        // 4. What was answered is on disk.
        match tokio::time::timeout(self.drain_time, self.store.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(reason = error.reason(), %error, "the store did not close cleanly"),
            Err(_) => tracing::error!("the store did not close in time"),
        }
        // 5. What is left to tell is told: tasks and requests have ended.
        self.gateway.parts().otel.stop(self.drain_time.min(LAST_TELEMETRY)).await;
        late
    }
}

/// A warm gateway in process, without listeners and background jobs, that does every piece of work once: for replay.
pub async fn without_listeners(config: &Config, mut seams: Seams, tasks: &Tasks) -> Result<Arc<Gateway>, StartError> {
    let embedder = match seams.embedder {
        Some(embedder) => embedder,
        None => load_embedder(config).await?,
    };
    seams.embedder = Some(Arc::new(RememberingEmbedder::new(embedder)));
    seams.verifier = match seams.verifier {
        Some(verifier) => Some(verifier),
        None => load_verifier(config).await?,
    };
    seams.verifier = seams.verifier.map(|verifier| Arc::new(RememberingVerifier::new(verifier)) as Arc<dyn Verifier>);
    without_clients(config, seams, tasks).await
}

/// A warm gateway in process, without listeners and background jobs: for work on a data directory that no other has.
pub async fn without_clients(config: &Config, seams: Seams, tasks: &Tasks) -> Result<Arc<Gateway>, StartError> {
    let set = policies(config)?;
    let gateway = build(config, seams, set, tasks).await?;
    jobs::relearn(&gateway, gateway.parts().cache.store().as_ref()).await;
    Ok(gateway)
}

/// Completes a save of policies that a kill cut off.
fn complete_policies(config: &Config) {
    let Some(dir) = &config.policies else { return };
    match policy::finish(dir) {
        Ok(Finished::Nothing) => {}
        Ok(Finished::Completed) => tracing::info!("a save of policies that was cut off is complete now"),
        Ok(Finished::Abandoned) => {
            tracing::warn!("a save of policies was cut off and the files changed since: it is given up");
        }
        Err(error) => tracing::error!(%error, "a save of policies was cut off and cannot be completed"),
    }
}

fn policies(config: &Config) -> Result<PolicySet, StartError> {
    let set = match &config.policies {
        Some(dir) => PolicySet::load(dir),
        None => PolicySet::shipped(),
    };
    set.map_err(StartError::Policies)
}

/// The gateway over its adapters, its index filled from the store.
async fn build(config: &Config, seams: Seams, set: PolicySet, tasks: &Tasks) -> Result<Arc<Gateway>, StartError> {
    let store = match seams.store {
        Some(store) => store,
        None => store::open_store(config, &seams.clock).await?,
    };
    let embedder = match seams.embedder {
        Some(embedder) => embedder,
        None => load_embedder(config).await?,
    };
    let verifier = match seams.verifier {
        Some(verifier) => Some(verifier),
        None => load_verifier(config).await?,
    };
    let (own_key, principal_key) =
        store::principal_key(config, store.as_ref(), embedder.as_ref(), verifier.as_deref()).await?;
    let metrics = Arc::new(Metrics::new());
    let upstream = match seams.upstream {
        Some(upstream) => upstream,
        None => connect(config, &seams.clock, &metrics)?,
    };
    let index = Arc::new(Partitions::new(config.index));
    let cache = Arc::new(Cache::new(Arc::clone(&store), index, config.hot_tier_bytes));
    if let Err(error) = cache.join(embedder.fingerprint()).await {
        tracing::warn!(reason = error.reason(), %error, "the other nodes are not followed yet");
    }
    if let Err(error) = jobs::rebuild_index(store.as_ref(), &cache, embedder.fingerprint()).await {
        tracing::warn!(reason = error.reason(), %error, "index not rebuilt, semantic hits start empty");
    }
    let otel = telemetry(config, &metrics)?;
    let traffic = Traffic::new(open_traffic(config).await, config.traffic, prices(config)?, seams.clock.clone());
    let gateway = Gateway::new(gateway::Parts {
        cache,
        embedder,
        matcher: Arc::new(Matcher::new(matcher_settings(config), verifier)),
        policies: Arc::new(PolicyWatch::new(set)),
        upstream,
        clock: seams.clock,
        tasks: tasks.clone(),
        metrics,
        otel,
        keys: Keyring::new(&config.data_dir, own_key),
        principal_key,
        settings: settings(config),
        oversight: oversight(config)?,
        traffic,
    });
    if let Err(error) = gateway.auditor().read().await {
        tracing::warn!(reason = error.reason(), %error, "audit books not read yet");
    }
    Ok(gateway)
}

/// Where traces and metrics go, if anywhere.
fn telemetry(config: &Config, metrics: &Arc<Metrics>) -> Result<Otel, StartError> {
    let Some(settings) = config.otlp.clone() else { return Ok(Otel::default()) };
    let collector = HttpUpstream::new(&settings.endpoint, COLLECTOR).map_err(StartError::Collector)?;
    Ok(Otel::start(settings, Arc::new(collector), metrics))
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, flag, source })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Where records of traffic and the ledger are kept. Without that file nothing is lost but them.
async fn open_traffic(config: &Config) -> Option<Arc<dyn TrafficLog>> {
    let (dir, key) = (config.data_dir.clone(), config.encryption_key.clone());
    let opened = tokio::task::spawn_blocking(move || SqliteTraffic::open(&dir, key.as_ref())).await.ok()?;
    match opened {
        Ok(log) => Some(Arc::new(log)),
        Err(error) => {
            tracing::error!(reason = error.reason(), %error, "no records of traffic and no ledger until the next start");
            None
        }
    }
}

fn prices(config: &Config) -> Result<Prices, StartError> {
    Ok(config.prices.as_deref().map_or_else(|| Ok(Prices::shipped()), Prices::load)?)
}

pub(crate) async fn load_embedder(config: &Config) -> Result<Arc<dyn Embedder>, StartError> {
    let embedder = config.embedder.clone();
    let (workers, queue, deadline) = (embedder.threads, embedder.queue, embedder.timeout);
    let pool = PoolSettings { workers, queue, deadline, ..PoolSettings::default() };
    match embedder.kind {
        EmbedderKind::MiniLm => {
            let loading = tokio::task::spawn_blocking(move || MiniLm::load(pool));
            Ok(Arc::new(loading.await.map_err(|_| StartError::Interrupted)??))
        }
        EmbedderKind::Remote { url, model, dimensions, api_key } => {
            let url = reqwest::Url::parse(&url).map_err(|_| StartError::EmbedderUrl)?;
            let api_key = api_key.map(|key| key.expose().to_owned());
            let settings = RemoteSettings {
                url,
                model,
                api_key,
                dimensions,
                request_dimensions: false,
                window: REMOTE_WINDOW,
                in_flight: embedder.queue,
                deadline: embedder.timeout,
                breaker: BreakerSettings::default(),
            };
            crate::upstream::http::install_tls();
            Ok(Arc::new(RemoteEmbedder::new(reqwest::Client::new(), settings)?))
        }
    }
}

/// The verifier; a mismatch of weights, calibration and guard is told before anything is served.
pub(crate) async fn load_verifier(config: &Config) -> Result<Option<Arc<dyn Verifier>>, StartError> {
    let EmbedderConfig { threads: workers, queue, timeout: deadline, .. } = config.embedder.clone();
    let pool = PoolSettings { workers, queue, deadline, ..PoolSettings::default() };
    let loading = tokio::task::spawn_blocking(move || MiniLmVerifier::shipped(pool));
    Ok(Some(Arc::new(loading.await.map_err(|_| StartError::Interrupted)??)))
}

/// The default upstreams by protocol family, and the named ones before them.
fn connect(config: &Config, clock: &Clock, metrics: &Arc<Metrics>) -> Result<Arc<dyn Upstream>, ConfigProblem> {
    let one =
        |choice: &UpstreamChoice, public: &str, transport: &Transport| -> Result<Arc<dyn Upstream>, ConfigProblem> {
            Ok(match choice {
                UpstreamChoice::Demo => Arc::new(Scripted::demo(clock.clone())),
                UpstreamChoice::Url(url) => Arc::new(HttpUpstream::over(url, transport)?),
                UpstreamChoice::Providers => Arc::new(HttpUpstream::over(public, transport)?),
            })
        };
    let usual = Transport { timeouts: config.timeouts, ..Transport::default() };
    let mut routes = Routes::new(one(&config.upstream, config::OPENAI, &usual)?, Arc::clone(metrics));
    let families = [
        (Family::Messages, &config.anthropic_upstream, config::ANTHROPIC),
        (Family::Gemini, &None, config::GEMINI),
        (Family::Ollama, &None, config::OLLAMA),
    ];
    for (family, own, public) in families {
        // Ollama asks nobody who they are: who may reach this gateway from elsewhere must not reach one on this machine.
        if family == Family::Ollama && !config.listen.ip().is_loopback() {
            continue;
        }
        match (own, &config.upstream) {
            (Some(choice), _) | (None, choice @ UpstreamChoice::Providers) => {
                routes = routes.family(family, one(choice, public, &usual)?);
            }
            // Whoever was named answers every protocol.
            (None, UpstreamChoice::Demo | UpstreamChoice::Url(_)) => {}
        }
    }
    let named = config.upstreams.iter().map(|named| {
        Ok(Named {
            name: named.name.clone(),
            route: named.route.clone(),
            upstream: one(&named.choice, config::OPENAI, &named.transport)?,
            own_key: named.own_key.clone(),
            fallback: named.fallback,
        })
    });
    let named = named.collect::<Result<Vec<Named>, ConfigProblem>>()?;
    Ok(Arc::new(routes.named(named)))
}

/// Whether anybody would answer a request without a client's own credential.
fn holders_can_be_served(config: &Config) -> bool {
    let demo = |choice: &UpstreamChoice| *choice == UpstreamChoice::Demo;
    demo(&config.upstream) || config.upstreams.iter().any(|named| named.own_key.is_some() || demo(&named.choice))
}

/// The providers behind these document their default temperature; what another upstream does with none is not known.
fn only_public_apis(config: &Config) -> bool {
    config.upstream == UpstreamChoice::Providers && config.anthropic_upstream.is_none() && config.upstreams.is_empty()
}

fn settings(config: &Config) -> gateway::Settings {
    gateway::Settings {
        limits: config.limits,
        chat: ChatSettings {
            max_temperature: config.temperature_ceiling,
            default_temperature: only_public_apis(config).then_some(1.0),
            ..ChatSettings::default()
        },
        record: RecordSettings {
            allow_tool_calls: config.store_tool_calls,
            lenient_end: !config.require_done,
            max_bytes: config.limits.answer_bytes,
            ..RecordSettings::default()
        },
        tenant: config.tenant.clone(),
        allow_anonymous: config.allow_anonymous,
        require_keys: config.require_keys,
        refresh_ahead: config.refresh_ahead,
        audits: config.audits,
        finish_without_clients: config.client_gone == ClientGone::Finish,
        wait_for_nodes: match &config.store {
            StoreChoice::Shared(shared) => shared.wait,
            StoreChoice::Sqlite => Duration::ZERO,
        },
    }
}

/// Shadow mode, where feedback is written down, and the judge.
fn oversight(config: &Config) -> Result<Oversight, StartError> {
    let judge = config.judge.as_ref().map(|judge| {
        let upstream = Arc::new(HttpUpstream::new(&judge.url, config.timeouts)?);
        let api_key = judge.api_key.as_ref().map(config::Secret::expose);
        Ok::<_, ConfigProblem>(Arc::new(Judge::new(upstream, judge.model.clone(), api_key, judge.margin)))
    });
    // It would hold in plain text what the database keeps sealed.
    let feedback_file = config.encryption_key.is_none().then(|| config.data_dir.join(FEEDBACK_FILE));
    let desk_file = fixtures(config).desk_file();
    Ok(Oversight { shadow: config.shadow, feedback_file, desk_file, judge: judge.transpose()? })
}

/// The fixtures of the desk. In a sealed data directory no case is added, for it would stand there in plain text.
fn fixtures(config: &Config) -> Fixtures {
    let may_add = config.fixtures.is_some() || config.encryption_key.is_none();
    let directory = config.fixtures.clone().unwrap_or_else(|| config.data_dir.join(desk::DIRECTORY));
    // Shown to people who did not start it.
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    Fixtures::of(directory, may_add)
}

/// The hit decision's bounds; a value that is no similarity was refused by the configuration.
pub(crate) fn matcher_settings(config: &Config) -> MatcherSettings {
    let similarity = |value| Similarity::new(value).unwrap_or(Similarity::IDENTICAL);
    MatcherSettings {
        floor: similarity(config.matcher.floor),
        min_similarity: similarity(config.matcher.min_similarity),
        candidates: config.matcher.candidates,
        verified: VERIFIED,
    }
}
