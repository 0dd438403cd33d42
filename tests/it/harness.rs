//! Starts gateways for tests and speaks to them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use semblance::{
    app::{App, Seams},
    clock::{Clock, ManualClock, Timestamp},
    config::{Config, SharedStore, StoreChoice, UpstreamChoice},
    embed::{EmbedError, Embedder, minilm::MiniLm, pool::PoolSettings},
    matcher::verifier::{MiniLmVerifier, Verifier, scripted::ScriptedVerifier},
    similarity::Embedding,
    store::Upkeep,
    upstream::{
        Upstream,
        http::install_tls,
        scripted::{Gate, Reply, Script, Scripted},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{engine::of_the_process, nodes};

/// The moment at which every test begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// A verifier that agrees with whatever the guard lets pass: most tests are not about wording.
fn agreeing() -> Arc<dyn Verifier> {
    saying(1.0)
}

/// A verifier that gives every pair this p, against a bar of 0.5.
pub(crate) fn saying(p: f32) -> Arc<dyn Verifier> {
    let verifier = ScriptedVerifier::new(&[(0.001, 0.5)]).unwrap();
    verifier.otherwise(p);
    Arc::new(verifier)
}

/// The real verifier, loaded once for all tests.
fn shared_verifier() -> Arc<dyn Verifier> {
    static VERIFIER: OnceLock<Arc<MiniLmVerifier>> = OnceLock::new();
    Arc::<MiniLmVerifier>::clone(VERIFIER.get_or_init(|| Arc::new(MiniLmVerifier::shipped(patient()).unwrap())))
}

/// Bounds under which no test fails for want of a core.
fn patient() -> PoolSettings {
    PoolSettings { deadline: Duration::from_secs(60), queue: 4096, ..PoolSettings::default() }
}

/// The real model, loaded once for all tests, each text embedded once.
#[derive(Debug)]
pub(crate) struct SharedMiniLm {
    model: MiniLm,
    known: Mutex<HashMap<String, Embedding>>,
}

impl SharedMiniLm {
    pub(crate) fn get() -> Arc<Self> {
        static MODEL: OnceLock<Arc<SharedMiniLm>> = OnceLock::new();
        Arc::clone(
            MODEL.get_or_init(|| Arc::new(Self { model: MiniLm::load(patient()).unwrap(), known: Mutex::default() })),
        )
    }
}

impl Embedder for SharedMiniLm {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        let text = text.to_owned();
        Box::pin(async move {
            if let Some(known) = self.known.lock().unwrap().get(&text) {
                return Ok(known.clone());
            }
            let vector = self.model.embed(&text).await?;
            self.known.lock().unwrap().insert(text, vector.clone());
            Ok(vector)
        })
    }

    fn fingerprint(&self) -> &str {
        self.model.fingerprint()
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions()
    }
}

/// Whether the tests run over an engine that nodes share, as `SEMBLANCE_TEST_STORE=redis` asks for.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the gateway")]
pub(crate) fn over_an_engine() -> bool {
    std::env::var("SEMBLANCE_TEST_STORE").is_ok_and(|store| store == "redis")
}

/// What a test's gateway is made of.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) store: Option<Arc<dyn Upkeep>>,
    pub(crate) upstream: Option<Arc<dyn Upstream>>,
    pub(crate) verifier: Option<Arc<dyn Verifier>>,
    pub(crate) dir: TempDir,
}

impl Setup {
    pub(crate) fn new() -> Self {
        install_tls();
        let dir = TempDir::new().unwrap();
        let mut config = Config::defaults().unwrap();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.admin_listen = "127.0.0.1:0".parse().unwrap();
        config.data_dir = dir.path().join("data");
        config.upstream = UpstreamChoice::Demo;
        // They come by chance: tests that are about them switch them on.
        config.refresh_ahead = false;
        config.audits = false;
        if over_an_engine() {
            let url = format!("redis://127.0.0.1:{}", of_the_process());
            let prefix = format!("{:016x}", fastrand::u64(..));
            config.store = StoreChoice::Shared(Box::new(SharedStore { prefix, ..nodes::shared(&url) }));
        }
        Self { config, embedder: SharedMiniLm::get(), store: None, upstream: None, verifier: None, dir }
    }

    /// Keeps its entries in the data directory, whatever the other tests run over: for what is about its files.
    pub(crate) fn on_disk(self) -> Self {
        self.config(|config| config.store = StoreChoice::Sqlite)
    }

    /// Runs with the verifier that ships.
    pub(crate) fn really_verified(mut self) -> Self {
        self.verifier = Some(shared_verifier());
        self
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Runs on these policy files, (name, text), instead of the shipped ones.
    pub(crate) fn policies(mut self, files: &[(&str, &str)]) -> Self {
        let dir = self.dir.path().join("policies");
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        self.config.policies = Some(dir);
        self
    }

    pub(crate) async fn start(self) -> TestGateway {
        self.start_at(START).await
    }

    /// As [`Setup::start`], at another moment.
    pub(crate) async fn start_at(self, now: Timestamp) -> TestGateway {
        let (clock, hand) = Clock::manual(now);
        let (model, script) = Scripted::programmable();
        self.start_with(clock, hand, model, script).await
    }

    async fn start_with(self, clock: Clock, hand: ManualClock, model: Scripted, script: Script) -> TestGateway {
        let Self { config, embedder, store, upstream, verifier, dir } = self;
        let seams = Seams {
            clock: clock.clone(),
            upstream: Some(upstream.unwrap_or_else(|| Arc::new(model.clone()))),
            embedder: Some(Arc::clone(&embedder)),
            store,
            verifier: Some(verifier.unwrap_or_else(agreeing)),
        };
        let app = Box::pin(App::start(config.clone(), seams)).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let gateway = TestGateway { app, client, script, hand, clock, model, config, embedder, dir };
        gateway.ready().await;
        gateway
    }
}

/// A running gateway with its scripted model.
pub(crate) struct TestGateway {
    pub(crate) app: App,
    pub(crate) client: reqwest::Client,
    pub(crate) script: Script,
    pub(crate) hand: ManualClock,
    clock: Clock,
    model: Scripted,
    config: Config,
    embedder: Arc<dyn Embedder>,
    dir: TempDir,
}

impl TestGateway {
    pub(crate) async fn start() -> Self {
        Setup::new().start().await
    }

    async fn ready(&self) {
        loop {
            let answer = self.client.get(self.admin("/readyz")).send().await.unwrap();
            if answer.status().is_success() && self.app.gateway().is_warm() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.listen)
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.admin)
    }

    pub(crate) fn policy_file(&self, name: &str) -> PathBuf {
        self.config.policies.as_ref().unwrap().join(name)
    }

    pub(crate) fn data_dir(&self) -> &std::path::Path {
        &self.config.data_dir
    }

    /// Stops for good; the directory lasts as long as what is returned.
    pub(crate) async fn stop(self) -> (Config, TempDir) {
        assert_eq!(self.app.drain().await, Vec::<&str>::new());
        (self.config, self.dir)
    }

    /// Stops, and starts again over the same data.
    pub(crate) async fn restart(self) -> Self {
        let embedder = Arc::clone(&self.embedder);
        self.restart_with(embedder).await
    }

    /// As [`TestGateway::restart`]; `meanwhile` runs while it is stopped.
    pub(crate) async fn restart_after(self, meanwhile: impl FnOnce()) -> Self {
        let embedder = Arc::clone(&self.embedder);
        self.restart_between(embedder, meanwhile).await
    }

    /// As [`TestGateway::restart`], with another embedder.
    pub(crate) async fn restart_with(self, embedder: Arc<dyn Embedder>) -> Self {
        self.restart_between(embedder, || {}).await
    }

    async fn restart_between(self, embedder: Arc<dyn Embedder>, meanwhile: impl FnOnce()) -> Self {
        let Self { app, script, hand, clock, model, config, dir, .. } = self;
        assert_eq!(app.drain().await, Vec::<&str>::new());
        // It holds the last handle on the store.
        meanwhile();
        let setup = Setup { config, embedder, store: None, upstream: None, verifier: None, dir };
        setup.start_with(clock, hand, model, script).await
    }

    /// Posts a chat request as `sk-test`.
    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        self.chat_with(body, &[]).await
    }

    /// Posts a chat request with more headers; `authorization` replaces the default one.
    pub(crate) async fn chat_with(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        Answer::read(self.request(body, headers).send().await.unwrap()).await
    }

    pub(crate) fn request(&self, body: &Value, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.request_to("/v1/chat/completions", body, headers)
    }

    /// Posts to another path, as [`TestGateway::chat_with`] does.
    pub(crate) async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        Answer::read(self.request_to(path, body, headers).send().await.unwrap()).await
    }

    /// Gets `path` as `sk-test`, or as whom `authorization` says.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = with_headers(self.client.get(self.url(path)), headers);
        Answer::read(request.send().await.unwrap()).await
    }

    fn request_to(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let request = self.client.post(self.url(path));
        with_headers(request.header("content-type", "application/json").body(body.to_string()), headers)
    }

    /// Asks a plain question.
    pub(crate) async fn ask(&self, question: &str) -> Answer {
        self.chat(&user(question)).await
    }

    pub(crate) async fn admin_post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(self.admin(path)).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    pub(crate) async fn admin_get(&self, path: &str) -> Value {
        let response = self.client.get(self.admin(path)).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default()
    }

    pub(crate) fn calls(&self) -> usize {
        self.script.calls()
    }
}

/// `request` with these headers, and the default credential unless they bring one.
fn with_headers(mut request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        request = request.header("authorization", "Bearer sk-test");
    }
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
    /// The connection broke before the body's end.
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) async fn read(mut response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut bytes = Vec::new();
        let broken = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        Self { status, headers, body: String::from_utf8(bytes).unwrap(), broken }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Value of `x-semblance-cache`.
    pub(crate) fn outcome(&self) -> &str {
        self.header("x-semblance-cache")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Content of a JSON answer.
    pub(crate) fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    /// Data of a stream's events, the terminal marker included.
    pub(crate) fn events(&self) -> Vec<String> {
        self.body.split("\n\n").filter_map(|frame| frame.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// Contents of a stream's deltas, joined.
    pub(crate) fn streamed(&self) -> String {
        let chunks = self.events().into_iter().filter_map(|event| serde_json::from_str::<Value>(&event).ok());
        chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
    }
}

/// Asks without waiting for the answer.
pub(crate) fn asking(gateway: &Arc<TestGateway>, body: Value, headers: &'static [(&str, &str)]) -> JoinHandle<Answer> {
    let gateway = Arc::clone(gateway);
    #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
    tokio::spawn(async move { gateway.chat_with(&body, headers).await })
}

/// A gateway on whose upstream the first question hangs.
pub(crate) async fn with_one_running(
    setup: Setup,
    reply: Reply,
    first: Value,
) -> (Arc<TestGateway>, Gate, JoinHandle<Answer>) {
    let gateway = Arc::new(setup.start().await);
    let gate = Gate::closed();
    gateway.script.push(reply.behind(&gate));
    let running = asking(&gateway, first, &[]);
    gateway.script.reached(1).await;
    (gateway, gate, running)
}

/// A body with one user message.
pub(crate) fn user(question: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]})
}

/// `body` with further members, or with other values for some it has.
pub(crate) fn with(mut body: Value, members: &Value) -> Value {
    for (key, value) in members.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// `body` as a stream request.
pub(crate) fn streaming(body: Value) -> Value {
    with(body, &json!({"stream": true}))
}

/// Waits until `holds`, for facts that a background task makes true.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never became true: {what}");
}
