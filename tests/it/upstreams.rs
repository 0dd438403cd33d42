//! Named upstreams: which one a request goes to, who answers when it fails, and whose credential travels.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use semblance::{
    upstream::{
        http::install_tls,
        routes::{Named, OwnKey, Route, Routes},
        scripted::{Reply, Script, Scripted},
    },
    wire::Family,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use crate::harness::{Answer, Setup, TestGateway, streaming, user, with};

const ASKED: &str = "How do I descale a kettle?";
const STALE_POLICY: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\nstale_if_error = \"1d\"\n";

/// A gateway in front of named upstreams, each a scripted model, and of a default one.
struct Rig {
    gateway: TestGateway,
    default: Script,
    scripts: Vec<Script>,
}

impl Rig {
    async fn start(named: Vec<(&str, Route, Option<usize>)>) -> Self {
        Self::start_with(Setup::new(), named).await
    }

    async fn start_with(setup: Setup, named: Vec<(&str, Route, Option<usize>)>) -> Self {
        let mut scripts = Vec::new();
        let named = named.into_iter().map(|(name, route, fallback)| {
            let (upstream, script) = Scripted::programmable();
            scripts.push(script);
            let upstream = Arc::new(upstream.with_base_url(name));
            Named { name: name.to_owned(), route, upstream, own_key: OwnKey::new(None, name).ok(), fallback }
        });
        let named = named.collect();
        let (default, script) = Scripted::programmable();
        let routes = Routes::new(Arc::new(default), Arc::default()).named(named);
        let gateway = Setup { upstream: Some(Arc::new(routes)), ..setup }.start().await;
        Self { gateway, default: script, scripts }
    }

    /// A primary that takes chat and embeddings, and its fallback.
    async fn with_fallback() -> Self {
        Self::start(primary_and_spare()).await
    }

    fn calls(&self) -> Vec<usize> {
        self.scripts.iter().chain([&self.default]).map(Script::calls).collect()
    }
}

fn primary_and_spare() -> Vec<(&'static str, Route, Option<usize>)> {
    let route = Route { families: vec![Family::Chat, Family::Embeddings], ..Route::default() };
    vec![("primary", route, Some(1)), ("spare", Route::default(), None)]
}

fn down() -> Reply {
    Reply::error(StatusCode::SERVICE_UNAVAILABLE, "server_error", "down")
}

fn asking(model: &str) -> Value {
    with(user(ASKED), &json!({"model": model}))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_by_family_path_and_model_cached_or_not() {
    let rig = Rig::start(vec![
        ("model", Route { models: vec!["gpt-4o*".to_owned()], ..Route::default() }, None),
        ("path", Route { paths: vec!["/v1/audio/*".to_owned()], ..Route::default() }, None),
        ("family", Route { families: vec![Family::Responses], ..Route::default() }, None),
    ])
    .await;
    let gateway = &rig.gateway;
    assert_eq!(gateway.chat(&asking("gpt-4o-mini")).await.outcome(), "miss");
    let several = with(asking("gpt-4o"), &json!({"n": 2}));
    assert_eq!(gateway.chat(&several).await.outcome(), "bypass");
    assert_eq!(rig.calls(), [2, 0, 0, 0], "what bypasses the cache has a model too");
    gateway.post("/v1/audio/speech", &json!({"model": "gpt-4o-mini-tts"}), &[]).await;
    assert_eq!(rig.calls(), [2, 1, 0, 0], "a body that is passed through has no model");
    gateway.post("/v1/responses", &json!({"model": "o3", "input": ASKED}), &[]).await;
    gateway.get("/v1/responses/resp_1", &[]).await;
    assert_eq!(rig.calls(), [2, 1, 2, 0]);
    gateway.chat(&asking("o3")).await;
    gateway.get("/v1/models", &[]).await;
    assert_eq!(rig.calls(), [2, 1, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_upstreams_never_share_an_answer() {
    let route = Route { paths: vec!["/v1/chat/completions".to_owned()], ..Route::default() };
    let rig = Rig::start(vec![("named", route, None)]).await;
    assert_eq!(rig.gateway.ask(ASKED).await.outcome(), "miss");
    assert_eq!(rig.gateway.ask(ASKED).await.outcome(), "hit-exact");
    // What may only come from the cache is never asked again for an audit, which would count as a call.
    let cached = [("cache-control", "only-if-cached")];
    for (question, headers, outcome) in
        [(ASKED, &[][..], "miss"), ("How can I descale a kettle?", &cached, "hit-semantic")]
    {
        let answer = rig.gateway.post("/chat/completions", &user(question), headers).await;
        assert_eq!(answer.outcome(), outcome, "{question}");
    }
    assert_eq!(rig.calls(), [1, 1], "the default answers its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallbacks_answer_is_passed_on_and_not_stored() {
    let rig = Rig::with_fallback().await;
    for failure in [down(), Reply::connect_error(), Reply::timeout(), Reply::broken()] {
        rig.scripts[0].push(failure);
        let answer = rig.gateway.ask(ASKED).await;
        assert_eq!((answer.status, answer.outcome()), (200, "miss"));
        assert!(answer.header("cache-status").ends_with("detail=fallback-upstream"), "{:?}", answer.headers);
    }
    rig.scripts[0].push(down());
    let streamed = rig.gateway.chat(&streaming(user(ASKED))).await;
    assert_eq!(streamed.events().last().unwrap(), "[DONE]");
    assert!(streamed.header("cache-status").ends_with("detail=fallback-upstream"), "{:?}", streamed.headers);
    let metrics = rig.gateway.client.get(rig.gateway.admin("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("semblance_admissions_total{result=\"not-stored\",reason=\"fallback-upstream\"} 5"));
    assert_eq!(rig.calls(), [5, 5, 0]);
    let own = rig.gateway.ask(ASKED).await;
    assert!(own.header("cache-status").contains("; stored"), "{:?}", own.headers);
    assert_eq!(rig.gateway.ask(ASKED).await.outcome(), "hit-exact");
    assert_eq!(rig.calls(), [6, 5, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_fallback_fails_too_the_client_sees_the_first_failure() {
    let rig = Rig::with_fallback().await;
    rig.scripts[0].push(down());
    rig.scripts[1].push(Reply::error(StatusCode::UNAUTHORIZED, "authentication_error", "who?"));
    let answer = rig.gateway.ask(ASKED).await;
    assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (503, Some("down")));
    rig.scripts[0].push(Reply::timeout());
    rig.scripts[1].push(down());
    assert_eq!(rig.gateway.ask(ASKED).await.status, 504);
    rig.scripts[0].push(Reply::error(StatusCode::BAD_REQUEST, "invalid_request_error", "no such model"));
    assert_eq!(rig.gateway.ask(ASKED).await.status, 400);
    assert_eq!(rig.calls(), [3, 2, 0], "a wrong request is wrong everywhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_comes_after_the_fallback() {
    let setup = Setup::new().policies(&[("default.toml", STALE_POLICY)]);
    let rig = Rig::start_with(setup, primary_and_spare()).await;
    rig.scripts[0].push(Reply::text("old"));
    rig.scripts[1].push(Reply::text("of the spare"));
    rig.gateway.ask(ASKED).await;
    rig.gateway.hand.advance(Duration::from_secs(2 * 3600));
    rig.scripts[0].always(down());
    let fresh = rig.gateway.ask(ASKED).await;
    assert_eq!((fresh.outcome(), fresh.content().as_str()), ("miss", "of the spare"));
    rig.scripts[1].always(down());
    let stale = rig.gateway.ask(ASKED).await;
    assert_eq!((stale.outcome(), stale.content().as_str()), ("stale", "old"));
    assert_eq!(rig.calls(), [3, 2, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_never_put_together_from_two_upstreams() {
    let rig = Rig::with_fallback().await;
    let body = |input: Value| json!({"model": "text-embedding-3-small", "input": input, "dimensions": 8});
    rig.gateway.post("/v1/embeddings", &body(json!(["a"])), &[]).await;
    rig.scripts[0].push(down());
    rig.scripts[0].push(down());
    let answer = rig.gateway.post("/v1/embeddings", &body(json!(["a", "b"])), &[]).await;
    assert_eq!((answer.status, answer.json()["data"].as_array().unwrap().len()), (200, 2));
    assert_eq!(
        rig.scripts[1].last().unwrap().json()["input"],
        json!(["a", "b"]),
        "the fallback is asked for all of it"
    );
    assert!(answer.header("cache-status").ends_with("detail=fallback-upstream"), "{:?}", answer.headers);
    assert_eq!(rig.gateway.post("/v1/embeddings", &body(json!(["a"])), &[]).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_gateways_own_replaces_the_clients_and_callers_stay_apart() {
    let rig = Rig::with_fallback().await;
    rig.scripts[0].push(down());
    let headers = [("authorization", "Bearer sk-a"), ("x-api-key", "sk-a"), ("openai-organization", "org-a")];
    rig.gateway.chat_with(&user(ASKED), &headers).await;
    for (script, key) in rig.scripts.iter().zip(["Bearer primary", "Bearer spare"]) {
        let sent = script.last().unwrap().headers;
        assert_eq!(sent["authorization"], key);
        assert!(sent.values().all(|value| !value.to_str().unwrap().contains("-a")), "{sent:?}");
    }
    rig.gateway.chat_with(&user(ASKED), &headers).await;
    assert_eq!(rig.gateway.chat_with(&user(ASKED), &headers).await.outcome(), "hit-exact");
    assert_eq!(rig.gateway.ask(ASKED).await.outcome(), "miss", "the client's credential makes the scope, not ours");
}

/// A gateway process that is killed when dropped.
struct Process {
    process: Child,
    url: String,
    _dir: TempDir,
}

impl Process {
    fn start(settings: &str, variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("semblance.toml");
        std::fs::write(&file, settings).unwrap();
        let data = dir.path().join("data");
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.args(["serve", "--json", "--log-level", "warn", "--config", &path(&file), "--data-dir", &path(&data)]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        for name in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let mut process = command.envs(variables.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        let url = format!("http://{}/v1/chat/completions", listening["listen"].as_str().unwrap());
        Self { process, url, _dir: dir }
    }

    async fn ask(&self, client: &reqwest::Client, model: &str) -> Answer {
        let request = client.post(&self.url).header("authorization", "Bearer sk-client");
        Answer::read(request.body(asking(model).to_string()).send().await.unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A proxy that answers every request itself and makes no tunnels; and the request lines and credentials it saw.
async fn proxy(tasks: &mut JoinSet<()>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (seen, answer) =
        (Arc::new(Mutex::new(Vec::new())), json!({"error": {"message": "from the proxy"}}).to_string());
    let lines = Arc::clone(&seen);
    tasks.spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            lines.lock().unwrap().extend(head.lines().next().map(str::to_owned));
            let length = answer.len();
            let reply = format!(
                "HTTP/1.1 418 x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            );
            socket.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_file_names_upstreams_and_the_proxy_variables_are_honoured() {
    install_tls();
    let provider = TestGateway::start().await;
    let mut tasks = JoinSet::new();
    let (proxy, seen) = proxy(&mut tasks).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = format!(
        r#"
        upstream = "http://upstream.test/v1"
        [upstreams.dead]
        url = "http://{dead}/v1"
        families = ["chat"]
        models = ["gpt-*"]
        fallback = "live"
        [upstreams.live]
        url = "{}/v1"
        models = ["live"]
        api_key_env = "LIVE_KEY"
        [upstreams.encrypted]
        url = "https://upstream.test/v1"
        models = ["encrypted"]
        [upstreams.near]
        url = "http://near.test/v1"
        models = ["near"]
        connect_ms = 2000
        "#,
        provider.url("")
    );
    let variables =
        [("LIVE_KEY", "sk-own"), ("HTTP_PROXY", &proxy), ("HTTPS_PROXY", &proxy), ("NO_PROXY", "near.test")];
    let gateway = Process::start(&settings, &variables);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    let answer = gateway.ask(&client, "gpt-4o").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.header("cache-status").ends_with("detail=fallback-upstream"), "{:?}", answer.headers);
    assert_eq!(provider.script.last().unwrap().headers["authorization"], "Bearer sk-own");
    assert_eq!(gateway.ask(&client, "live").await.status, 200);
    assert_eq!(provider.calls(), 2);
    assert_eq!(seen.lock().unwrap().as_slice(), [""; 0], "loopback needs no proxy");

    let answer = gateway.ask(&client, "o3").await;
    assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (418, Some("from the proxy")));
    assert_eq!(gateway.ask(&client, "encrypted").await.status, 502, "no tunnel, no answer");
    let post = "POST http://upstream.test/v1/chat/completions HTTP/1.1";
    let connect = "CONNECT upstream.test:443 HTTP/1.1";
    let lines = seen.lock().unwrap().clone();
    assert_eq!(lines.first().map(String::as_str), Some(post));
    assert!(lines.len() > 1 && lines[1..].iter().all(|line| line == connect), "{lines:?}");
    let before = lines.len();
    assert_eq!(gateway.ask(&client, "near").await.status, 502, "there is no such host");
    assert_eq!(seen.lock().unwrap().len(), before, "and NO_PROXY keeps it from the proxy");
}
