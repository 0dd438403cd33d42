//! The gateway's own keys: who holds one, what it gives, and that it never leaves for a provider.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use http::StatusCode;
use semblance::{
    keys::{
        Right,
        file::{self, Order},
    },
    upstream::{
        Upstream,
        http::{HttpUpstream, Settings},
        routes::{Named, OwnKey, Route, Routes},
        scripted::Scripted,
    },
    wire::Family,
};
use serde_json::{Value, json};

use crate::harness::{Answer, START, Setup, TestGateway, streaming, user};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";

fn order(name: &str, rights: &[Right]) -> Order {
    Order { name: name.to_owned(), rights: rights.to_vec(), rate: None, lifetime: None }
}

/// A key of the usual rights.
fn key(gateway: &TestGateway, name: &str) -> String {
    made(gateway, order(name, &[Right::Read, Right::Write]))
}

fn made(gateway: &TestGateway, order: Order) -> String {
    file::add(gateway.data_dir(), order, START).unwrap().0
}

async fn ask(gateway: &TestGateway, key: &str, question: &str) -> Answer {
    gateway.chat_with(&user(question), &[("authorization", &format!("Bearer {key}"))]).await
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_beside_a_running_gateway_works_at_once_until_it_is_revoked() {
    let gateway = TestGateway::start().await;
    let key = key(&gateway, "app");
    assert_eq!(ask(&gateway, &key, ASKED).await.outcome(), "miss");
    assert_eq!(ask(&gateway, &key, ASKED).await.outcome(), "hit-exact");
    assert_eq!(ask(&gateway, &key, REWORDED).await.outcome(), "hit-semantic");
    file::revoke(gateway.data_dir(), "app", false, START).unwrap();
    let refused = ask(&gateway, &key, ASKED).await;
    assert_eq!((refused.status, code(&refused).as_str()), (401, "revoked_key"));
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_good_is_401_in_every_protocol_and_on_every_path_and_nothing_goes_upstream() {
    let gateway = TestGateway::start().await;
    let lifetime = Some(Duration::from_secs(60));
    let short = made(&gateway, Order { lifetime, ..order("short", &[Right::Read]) });
    gateway.hand.advance(Duration::from_secs(61));
    let good = key(&gateway, "app");
    let contents = json!({"contents": [{"parts": [{"text": ASKED}]}]});
    let messages = json!({"model": "claude", "max_tokens": 9, "messages": user(ASKED)["messages"]});
    let input = json!({"model": "gpt-4o", "input": ASKED});
    for (path, body) in [
        ("/v1/chat/completions", user(ASKED)),
        ("/v1/messages", messages),
        ("/v1/responses", input.clone()),
        ("/v1/embeddings", input),
        ("/v1/completions", json!({"model": "gpt-4o", "prompt": ASKED})),
        ("/api/chat", user(ASKED)),
        ("/v1beta/models/gemini-2.0-flash:generateContent", contents),
        ("/v1/files", json!({})),
    ] {
        for (bad, reason) in [("sk-semblance-guess", "unknown_key"), (&short, "expired_key"), (&good, "several_keys")] {
            let bearer = format!("Bearer {bad}");
            let mut headers = vec![("authorization", bearer.as_str())];
            if reason == "several_keys" {
                headers.push(("x-api-key", short.as_str()));
            }
            let refused = gateway.post(path, &body, &headers).await;
            assert_eq!(refused.status, 401, "{path}: {}", refused.body);
            assert!(refused.body.contains(reason), "{path}: {}", refused.body);
            assert!(!refused.body.contains(bad), "{path}: {}", refused.body);
        }
    }
    for path in ["/v1/models", "/v1/models?key=sk-semblance-guess", "/v1/files/f?key=sk%2dsemblance-guess"] {
        let headers = if path.contains('?') { &[][..] } else { &[("x-api-key", "sk-semblance-guess")] };
        assert_eq!(gateway.get(path, headers).await.status, 401, "{path}");
    }
    assert_eq!(gateway.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_too_often_is_429_with_the_time_to_wait() {
    let gateway = TestGateway::start().await;
    let rate = "2/min".parse().ok();
    let key = made(&gateway, Order { rate, ..order("app", &[Right::Read, Right::Write]) });
    for _ in 0..2 {
        assert_eq!(ask(&gateway, &key, ASKED).await.status, 200);
    }
    let refused = ask(&gateway, &key, ASKED).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "30"));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert_eq!(code(&refused), "key_rate_limited");
    gateway.hand.advance(Duration::from_secs(30));
    assert_eq!(ask(&gateway, &key, ASKED).await.status, 200);
    assert_eq!(ask(&gateway, &key, ASKED).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_reaches_an_upstream_wherever_it_stands() {
    let gateway = TestGateway::start().await;
    let key = key(&gateway, "app");
    let bearer = format!("Bearer {key}");
    let cookie = format!("a=b; k={key}");
    let no_store = ("cache-control", "no-store");
    for (path, headers) in [
        ("/v1/chat/completions", vec![("authorization", bearer.as_str())]),
        ("/v1/chat/completions", vec![("authorization", bearer.as_str()), no_store]),
        ("/v1/messages", vec![("authorization", ""), ("x-api-key", key.as_str())]),
        ("/openai/v1/x", vec![("authorization", ""), ("api-key", key.as_str())]),
        ("/v1/files", vec![("authorization", "Bearer a-provider's"), ("cookie", cookie.as_str())]),
        ("/v1/files", vec![("x-anything", key.as_str())]),
    ] {
        gateway.post(path, &user(path), &headers).await;
    }
    let query = format!("/v1beta/models/gemini:generateContent?alt=json&key={key}");
    gateway.post(&query, &json!({"contents": [{"parts": [{"text": ASKED}]}]}), &[("authorization", "")]).await;
    gateway.get(&format!("/v1/models?key={key}"), &[]).await;
    let received = gateway.script.received();
    assert_eq!(received.len(), 8);
    for request in received {
        let sent = format!("{} {:?}", request.path_and_query, request.headers);
        assert!(!sent.contains("sk-semblance") && !sent.contains("a-provider's") && !sent.contains("key="), "{sent}");
    }
}

/// A gateway whose default upstream and one for Anthropic's protocol are reached over the network.
async fn with_named(own_key: Option<OwnKey>) -> (TestGateway, semblance::upstream::scripted::Script) {
    let nowhere: Arc<dyn Upstream> = Arc::new(HttpUpstream::new("http://127.0.0.1:9/v1", Settings::default()).unwrap());
    let (model, script) = Scripted::programmable();
    let (chat, messages) = (vec![Family::Chat], vec![Family::Messages]);
    let named = |name: &str, families, upstream, own_key| Named {
        name: name.to_owned(),
        route: Route { families, ..Route::default() },
        upstream,
        own_key,
        fallback: None,
    };
    let routes = Routes::new(Arc::clone(&nowhere), Arc::default())
        .named(vec![named("bare", messages, nowhere, None), named("own", chat, Arc::new(model), own_key)]);
    (Setup { upstream: Some(Arc::new(routes)), ..Setup::new() }.start().await, script)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstreams_own_key_goes_out_instead_and_without_one_the_request_is_refused_with_what_to_configure() {
    let (gateway, script) = with_named(OwnKey::new(None, "sk-of-the-gateway").ok()).await;
    let key = key(&gateway, "app");
    assert_eq!(ask(&gateway, &key, ASKED).await.status, 200);
    assert_eq!(script.last().unwrap().headers["authorization"], "Bearer sk-of-the-gateway");
    let bearer = format!("Bearer {key}");
    for (path, upstream) in [("/v1/responses", "default"), ("/v1/messages", "bare"), ("/v1/embeddings", "default")] {
        let body = json!({"model": "m", "max_tokens": 9, "input": ASKED, "messages": user(ASKED)["messages"]});
        let refused = gateway.post(path, &body, &[("authorization", &bearer)]).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
        for part in ["no_upstream_key", "api_key_env", "[upstreams.NAME]", upstream] {
            assert!(refused.body.contains(part), "{path}: {}", refused.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_are_two_principals_and_two_keys_of_one_name_are_one() {
    let gateway = TestGateway::start().await;
    let (first, second, other) = (key(&gateway, "app"), key(&gateway, "app"), key(&gateway, "other"));
    ask(&gateway, &first, ASKED).await;
    assert_eq!(ask(&gateway, &second, ASKED).await.outcome(), "hit-exact");
    assert_eq!(ask(&gateway, &other, ASKED).await.outcome(), "miss");
    assert_eq!(ask(&gateway, &other, REWORDED).await.outcome(), "hit-semantic", "its own");
    file::revoke(gateway.data_dir(), "app", true, START).unwrap();
    assert_eq!((ask(&gateway, &first, ASKED).await.status, ask(&gateway, &second, ASKED).await.status), (401, 200));
    // Nor does a name share with whoever's credential reads the same.
    let named = gateway.chat_with(&user(ASKED), &[("authorization", "app")]).await;
    assert_eq!(named.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_is_erased_by_a_key_also_when_it_was_revoked() {
    let gateway = TestGateway::start().await;
    let (app, other) = (key(&gateway, "app"), key(&gateway, "other"));
    ask(&gateway, &app, ASKED).await;
    ask(&gateway, &other, ASKED).await;
    file::revoke(gateway.data_dir(), "app", false, START).unwrap();
    let (status, purged) = gateway.admin_post("/semblance/purge", &json!({"credential": app})).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(1)), "{purged}");
    let again = key(&gateway, "app");
    assert_eq!(ask(&gateway, &again, ASKED).await.outcome(), "miss");
    assert_eq!(ask(&gateway, &other, ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_read_is_served_nothing_and_one_without_write_has_nothing_stored() {
    let gateway = TestGateway::start().await;
    let both = key(&gateway, "app");
    let reads = made(&gateway, order("app", &[Right::Read]));
    let writes = made(&gateway, order("app", &[Right::Write]));
    let unstored = ask(&gateway, &reads, ASKED).await;
    assert!(unstored.header("cache-status").ends_with("detail=key-scope"), "{}", unstored.header("cache-status"));
    assert_eq!(ask(&gateway, &both, ASKED).await.outcome(), "miss", "nothing was stored");
    assert_eq!(ask(&gateway, &reads, ASKED).await.outcome(), "hit-exact");
    assert_eq!(ask(&gateway, &writes, ASKED).await.outcome(), "miss");
    let only = [("authorization", format!("Bearer {writes}")), ("cache-control", "only-if-cached".to_owned())];
    let only: Vec<(&str, &str)> = only.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(gateway.chat_with(&user(ASKED), &only).await.status, 504);
    let vectors = |key: &str| {
        let (gateway, bearer) = (&gateway, format!("Bearer {key}"));
        let input = json!({"model": "text-embedding-3-small", "input": ["a", "b"]});
        async move { gateway.post("/v1/embeddings", &input, &[("authorization", &bearer)]).await.outcome().to_owned() }
    };
    assert_eq!((vectors(&reads).await, vectors(&both).await), ("miss".to_owned(), "miss".to_owned()));
    assert_eq!((vectors(&reads).await, vectors(&writes).await), ("hit-exact".to_owned(), "miss".to_owned()));
    let calls = gateway.calls();
    for _ in 0..2 {
        gateway.get("/v1/models", &[("authorization", &format!("Bearer {reads}"))]).await;
    }
    assert_eq!(gateway.calls(), calls + 2, "a list is stored no more than an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_for_holders_only_refuses_everybody_else() {
    let gateway = Setup::new().config(|config| config.require_keys = true).start().await;
    let key = key(&gateway, "app");
    assert_eq!(ask(&gateway, &key, ASKED).await.status, 200);
    for headers in [&[("authorization", "Bearer sk-a-provider's")][..], &[("authorization", "")]] {
        for path in ["/v1/chat/completions", "/v1/embeddings", "/v1/files", "/anything"] {
            let refused = gateway.post(path, &user(ASKED), headers).await;
            assert_eq!((refused.status, code(&refused).as_str()), (401, "key_required"), "{path}");
        }
        assert_eq!(gateway.get("/v1/models", headers).await.status, 401);
    }
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_let_no_holder_in_and_leave_others_alone() {
    let gateway = TestGateway::start().await;
    let key = key(&gateway, "app");
    assert_eq!(ask(&gateway, &key, ASKED).await.status, 200);
    std::fs::write(file::path(gateway.data_dir()), "{").unwrap();
    let refused = ask(&gateway, &key, ASKED).await;
    assert_eq!((refused.status, code(&refused).as_str()), (503, "keys_unreadable"));
    assert_eq!(gateway.ask(ASKED).await.status, 200);
}

const SHARED: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";

fn with_writers(writers: &str) -> Setup {
    Setup::new().policies(&[("default.toml", &format!("{SHARED}writers = {writers}\n"))])
}

fn writer(gateway: &TestGateway, name: &str) -> String {
    made(gateway, order(name, &[Right::Read, Right::Write, Right::Shared]))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_writers_that_a_policy_names_write_what_others_read() {
    let gateway = with_writers("[\"editor\"]").start().await;
    let (editor, guest, other) = (writer(&gateway, "editor"), writer(&gateway, "guest"), key(&gateway, "other"));
    let apart = ask(&gateway, &guest, ASKED).await;
    let told = apart.header("cache-status");
    assert!(told.contains("; stored; ttl=3600; detail=untrusted-writer"), "{told}");
    assert_eq!(ask(&gateway, &guest, ASKED).await.outcome(), "hit-exact", "in its own scope");
    assert_eq!(ask(&gateway, &guest, REWORDED).await.outcome(), "hit-semantic", "by meaning too");
    for reader in [&other, &editor] {
        assert_eq!(ask(&gateway, reader, "x").await.status, 200);
        let cached = [("authorization", format!("Bearer {reader}")), ("cache-control", "only-if-cached".to_owned())];
        let cached: Vec<(&str, &str)> = cached.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for question in [ASKED, REWORDED] {
            assert_eq!(gateway.chat_with(&user(question), &cached).await.status, 504, "{question} is the guest's own");
        }
    }
    let theirs = ask(&gateway, &editor, ASKED).await;
    assert!(!theirs.header("cache-status").contains("untrusted"), "{}", theirs.header("cache-status"));
    assert_eq!(ask(&gateway, &other, ASKED).await.outcome(), "hit-exact", "reading is for everybody");
    assert_eq!(ask(&gateway, &other, REWORDED).await.outcome(), "hit-semantic");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact", "also for who has a key of a provider's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_somebody_untrusted_says_that_it_is_kept_apart_and_so_do_vectors() {
    let both = "category = \"embeddings\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\ntier = \"exact\"\nwriters = [\"editor\"]\n";
    let gateway = Setup::new()
        .policies(&[("default.toml", &format!("{SHARED}writers = [\"editor\"]\n")), ("embeddings.toml", both)]);
    let gateway = gateway.start().await;
    let (editor, guest) = (writer(&gateway, "editor"), writer(&gateway, "guest"));
    let (as_editor, as_guest) = (format!("Bearer {editor}"), format!("Bearer {guest}"));
    let streamed = gateway.chat_with(&streaming(user(ASKED)), &[("authorization", &as_guest)]).await;
    assert!(streamed.header("cache-status").contains("untrusted-writer"), "{}", streamed.header("cache-status"));
    let vectors = |text: &str, who: &str| {
        let (gateway, who) = (&gateway, who.to_owned());
        let input = json!({"model": "text-embedding-3-small", "input": text});
        async move { gateway.post("/v1/embeddings", &input, &[("authorization", &who)]).await }
    };
    let apart = vectors("a", &as_guest).await;
    assert!(apart.header("cache-status").contains("untrusted-writer"), "{}", apart.header("cache-status"));
    assert_eq!(vectors("a", &as_guest).await.outcome(), "hit-exact");
    assert_eq!(vectors("a", &as_editor).await.outcome(), "miss");
    assert_eq!(vectors("b", &as_editor).await.outcome(), "miss");
    assert_eq!(vectors("b", &as_guest).await.outcome(), "hit-exact", "reading is for everybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_named_writers_everybody_writes_but_who_holds_a_key_without_the_scope() {
    let gateway = Setup::new().policies(&[("default.toml", SHARED)]).start().await;
    let (editor, guest) = (writer(&gateway, "editor"), key(&gateway, "guest"));
    assert!(ask(&gateway, &guest, ASKED).await.header("cache-status").contains("untrusted-writer"));
    assert_eq!(ask(&gateway, &editor, ASKED).await.outcome(), "miss");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    gateway.ask("Who wrote Emma?").await;
    assert_eq!(ask(&gateway, &guest, "Who wrote Emma?").await.outcome(), "hit-exact");
    let closed = with_writers("[]").start().await;
    let editor = writer(&closed, "editor");
    assert!(ask(&closed, &editor, ASKED).await.header("cache-status").contains("untrusted-writer"));
    assert!(closed.ask("Who wrote Emma?").await.header("cache-status").contains("untrusted-writer"));
}

/// Runs `semblance keys ...` over `dir`.
fn command(dir: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
    let ran = command.arg("keys").args(args).arg("--data-dir").arg(dir).output().unwrap();
    (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8_lossy(&ran.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked_from_the_command_line() {
    let gateway = Setup::new().config(|config| config.require_keys = true).start().await;
    let dir = gateway.data_dir().to_owned();
    let (status, text) = command(&dir, &["add", "app", "--scopes", "read", "--rate", "60/min", "--expires", "30d"]);
    let key = text.lines().next().unwrap().to_owned();
    assert!(status == 0 && key.starts_with("sk-semblance-") && key.len() == 56, "{text}");
    let answer = ask(&gateway, &key, ASKED).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (_, text) = command(&dir, &["add", "app", "--json"]);
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&made["name"], &made["scopes"], &made["rate"]),
        (&json!("app"), &json!(["read", "write"]), &Value::Null)
    );
    let (_, listed) = command(&dir, &["list", "--json"]);
    assert!(!listed.contains(&key) && !listed.contains(made["key"].as_str().unwrap()), "{listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    assert_eq!((&listed["keys"][0]["state"], &listed["keys"][0]["rate"]), (&json!("active"), &json!("60/min")));
    assert!(command(&dir, &["list"]).1.contains("60/min"));
    assert_eq!(
        command(&dir, &["revoke", "app", "--old", "--json"]),
        (0, "{\"name\":\"app\",\"revoked\":1}\n".to_owned())
    );
    let refused = ask(&gateway, &key, ASKED).await;
    assert_eq!((refused.status, code(&refused).as_str()), (401, "revoked_key"));
    assert_eq!(ask(&gateway, made["key"].as_str().unwrap(), ASKED).await.status, StatusCode::OK);
    assert_eq!(command(&dir, &["revoke", "nobody"]).0, 1);
    for wrong in [["add", "a b"], ["add", "--scopes=admin"], ["add", "--rate=often"]] {
        assert_eq!(command(&dir, &wrong).0, 2, "{wrong:?}");
    }
}
