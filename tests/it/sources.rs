//! What answers are built from: documents and their versions, and the groups that an upstream names.

use std::sync::Arc;

use reqwest::header::{HeaderName, HeaderValue};
use semblance::upstream::scripted::{Gate, Reply};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, asking, user, with_one_running};

const ASKED: &str = "How do I descale a kettle?";
const V7: [(&str, &str); 1] = [("x-semblance-sources", "doc:42@v7 doc:77@v1")];
const V8: [(&str, &str); 1] = [("x-semblance-sources", "doc:42@v8 doc:77@v1")];
const ONLY_CACHED: (&str, &str) = ("cache-control", "only-if-cached");

/// An answer lives a day, and an hour longer while it is refreshed.
const DAY: &str = r#"category = "default"
summary = "Everything else."
[freshness]
ttl = "24h"
stale_while_revalidate = "1h"
"#;

async fn started() -> TestGateway {
    Setup::new().policies(&[("default.toml", DAY)]).start().await
}

async fn send(gateway: &TestGateway, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = gateway.client.request(method.parse().unwrap(), gateway.admin(path));
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn set(gateway: &TestGateway, source: &str, version: &str, hard: bool) -> Value {
    let body = json!({"version": version, "hard": hard});
    let (status, answer) = send(gateway, "PUT", &format!("/semblance/sources/{source}"), Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn cached(gateway: &TestGateway, headers: &[(&'static str, &'static str)]) -> String {
    let headers = [headers, &[ONLY_CACHED]].concat();
    gateway.chat_with(&user(ASKED), &headers).await.outcome().to_owned()
}

fn not_stored(answer: &Answer, why: &str) -> bool {
    answer.header("cache-status").ends_with(&format!("detail={why}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_reused_for_the_same_documents_at_the_same_versions_only() {
    let gateway = started().await;
    gateway.chat_with(&user(ASKED), &V7).await;
    let reordered = [("x-semblance-sources", "doc:77@v1, doc:42@v7")];
    assert_eq!(gateway.chat_with(&user(ASKED), &reordered).await.outcome(), "hit-exact");
    let reworded = gateway.chat_with(&user("How can I descale a kettle?"), &V7).await;
    assert_eq!(reworded.outcome(), "hit-semantic");
    for sources in ["doc:42@v8 doc:77@v1", "doc:42@v7", "doc:42 doc:77@v1", "doc:42@v7 doc:77@v1 doc:1@v1"] {
        let headers = [("x-semblance-sources", sources)];
        assert_eq!(gateway.chat_with(&user(ASKED), &headers).await.outcome(), "miss", "{sources}");
        let reworded = gateway.chat_with(&user("How can I descale my kettle?"), &headers).await;
        assert_ne!(reworded.json()["choices"], json!(null), "{sources}");
    }
    assert_eq!(gateway.chat_with(&user(ASKED), &[]).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_makes_what_is_built_on_other_versions_stale_and_nothing_else() {
    let gateway = started().await;
    gateway.chat_with(&user(ASKED), &V7).await;
    gateway.chat_with(&user(ASKED), &V8).await;
    gateway.chat_with(&user(ASKED), &[("x-semblance-sources", "doc:421@v7")]).await;
    let answer = set(&gateway, "doc:42", "v8", false).await;
    assert_eq!(
        (&answer["source"], &answer["version"], &answer["affected"]),
        (&json!("doc:42"), &json!("v8"), &json!(1))
    );
    assert_eq!(answer["entries"].as_array().unwrap().len(), 1);
    assert_eq!(cached(&gateway, &V7).await, "stale");
    assert_eq!(cached(&gateway, &V8).await, "hit-exact");
    assert_eq!(cached(&gateway, &[("x-semblance-sources", "doc:421@v7")]).await, "hit-exact");
    gateway.hand.advance(std::time::Duration::from_secs(3601));
    assert_eq!(gateway.chat_with(&user(ASKED), &V7).await.outcome(), "miss", "its stale window is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_update_removes_and_the_next_ask_is_a_miss() {
    let gateway = started().await;
    gateway.chat_with(&user(ASKED), &V7).await;
    gateway.chat_with(&user(ASKED), &[("x-semblance-sources", "doc:42")]).await;
    assert_eq!(set(&gateway, "doc:42", "v8", true).await["affected"], 2, "the unknown version is old too");
    assert_eq!(cached(&gateway, &V7).await, "miss");
    let again = gateway.chat_with(&user(ASKED), &V7).await;
    assert_eq!(again.outcome(), "miss");
    assert!(not_stored(&again, "old-source"), "{}", again.header("cache-status"));
    assert_eq!(cached(&gateway, &V7).await, "miss", "it is built on what was replaced");
    let gateway = gateway.restart().await;
    gateway.chat_with(&user(ASKED), &V7).await;
    assert_eq!(cached(&gateway, &V7).await, "miss", "over a restart too");
    gateway.chat_with(&user(ASKED), &V8).await;
    assert_eq!(cached(&gateway, &V8).await, "hit-exact");
    set(&gateway, "doc:42", "v7", false).await;
    gateway.chat_with(&user(ASKED), &V7).await;
    assert_eq!(cached(&gateway, &V7).await, "hit-exact", "a document may go back to an older version");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_wins_over_an_answer_that_is_being_made() {
    for (hard, headers, kept) in [(false, &V7, "miss"), (true, &V7, "miss"), (false, &V8, "hit-exact")] {
        let gateway = Arc::new(started().await);
        let gate = Gate::closed();
        gateway.script.push(Reply::text("Use vinegar.").behind(&gate));
        let running = asking(&gateway, user(ASKED), headers);
        gateway.script.reached(1).await;
        set(&gateway, "doc:42", "v8", hard).await;
        gate.open();
        let answer = running.await.unwrap();
        assert_eq!(answer.content(), "Use vinegar.", "its client has asked for it");
        assert_eq!(cached(&gateway, headers).await, kept);
        assert_eq!(not_stored(&answer, "purged"), kept == "miss", "{}", answer.header("cache-status"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_after_an_update_is_not_given_what_was_begun_before_it() {
    let setup = Setup::new().policies(&[("default.toml", DAY)]);
    let (gateway, gate, running) = with_one_running(setup, Reply::text("Old."), user(ASKED)).await;
    set(&gateway, "doc:1", "v2", false).await;
    gateway.script.push(Reply::text("New."));
    assert_eq!(gateway.ask(ASKED).await.content(), "New.");
    gate.open();
    assert_eq!(running.await.unwrap().content(), "Old.");
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_listed_shown_and_forgotten() {
    let gateway = started().await;
    gateway.chat_with(&user(ASKED), &V7).await;
    set(&gateway, "https://help.test/a%3Fpage=1", "1", false).await;
    set(&gateway, "doc:42", "v7", false).await;
    gateway.app.store().flush().await.unwrap();
    let listed = gateway.admin_get("/semblance/sources").await;
    let line = |source: &Value| (source["source"].clone(), source["version"].clone(), source["entries"].clone());
    let lines: Vec<_> = listed["sources"].as_array().unwrap().iter().map(line).collect();
    let expected = [
        (json!("doc:42"), json!("v7"), json!(1)),
        (json!("doc:77"), json!(null), json!(1)),
        (json!("https://help.test/a?page=1"), json!("1"), json!(0)),
    ];
    assert_eq!(lines, expected);
    assert_eq!(listed["total"], 3);
    assert_eq!(gateway.admin_get("/semblance/sources?text=HELP").await["total"], 1);
    let shown = gateway.admin_get("/semblance/sources/doc:42").await;
    assert_eq!((&shown["version"], &shown["entries"]), (&json!("v7"), &json!(1)));
    let dependent = &shown["dependents"][0];
    assert_eq!((&dependent["query"], &dependent["freshness"]), (&json!(ASKED), &json!("fresh")));
    assert_eq!(dependent["sources"], json!(["doc:42@v7", "doc:77@v1"]));
    let (status, removed) = send(&gateway, "DELETE", "/semblance/sources/doc:42", None).await;
    assert_eq!((status, &removed["affected"]), (200, &json!(1)));
    for method in ["GET", "DELETE"] {
        let (status, answer) = send(&gateway, method, "/semblance/sources/doc:42", None).await;
        assert_eq!((status, &answer["error"]["reason"]), (404, &json!("no-source")), "{method}");
    }
    assert_eq!(cached(&gateway, &V7).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_system_tells_of_many_documents_in_one_call() {
    let gateway = started().await;
    let ask = async |sources: &'static str| gateway.chat_with(&user(ASKED), &[("x-semblance-sources", sources)]).await;
    for sources in ["doc:1@v1", "doc:2@v1", "doc:3@v1", "doc:4@v1"] {
        ask(sources).await;
    }
    let events = json!({"events": [
        {"source": "doc:1", "version": "v2", "action": "updated"},
        {"source": "doc:2", "action": "deleted"},
        {"source": "doc:3", "action": "updated"},
        {"source": "doc:9", "version": "v1"},
    ]});
    let (status, answer) = gateway.admin_post("/semblance/sources/webhook", &events).await;
    assert_eq!(status, 200, "{answer}");
    let affected: Vec<_> = answer["results"].as_array().unwrap().iter().map(|it| it["affected"].clone()).collect();
    assert_eq!(affected, [json!(1), json!(1), json!(1), json!(0)]);
    for (sources, outcome) in
        [("doc:1@v1", "stale"), ("doc:2@v1", "miss"), ("doc:3@v1", "stale"), ("doc:4@v1", "hit-exact")]
    {
        assert_eq!(ask(sources).await.outcome(), outcome, "{sources}");
    }
    let bad = json!({"events": [{"source": "doc:4", "version": "v2"}, {"source": "two words", "version": "v1"}]});
    let (status, answer) = gateway.admin_post("/semblance/sources/webhook", &bad).await;
    assert_eq!((status, &answer["error"]["reason"]), (400, &json!("bad-request")), "{answer}");
    assert_eq!(ask("doc:4@v1").await.outcome(), "hit-exact", "none of a bad call is heeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_needs_the_admin_token_like_everything_else() {
    let secret = semblance::config::Secret::new("t0ken".to_owned());
    let gateway = Setup::new().config(|config| config.admin_token = Some(secret)).start().await;
    let events = json!({"events": []});
    assert_eq!(gateway.admin_post("/semblance/sources/webhook", &events).await.0, 401);
}

/// A reply that the upstream puts into groups.
fn grouped(text: &str, headers: &[(&'static str, &str)]) -> Reply {
    headers.iter().fold(Reply::text(text), |reply, (name, value)| {
        reply.header(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn surrogate_keys_and_cache_groups_of_the_upstream_become_tags() {
    let gateway = started().await;
    let told = [("surrogate-key", "doc:42 faq"), ("cache-groups", r#""eu west", "faq""#)];
    gateway.script.push(grouped("Use vinegar.", &told));
    gateway.chat_with(&user(ASKED), &[("x-semblance-tags", "app")]).await;
    gateway.app.store().flush().await.unwrap();
    let listed = gateway.admin_get("/semblance/entries").await;
    assert_eq!(listed["entries"][0]["tags"], json!(["app", "doc:42", "eu west", "faq"]));
    let (_, counted) = gateway.admin_post("/semblance/purge", &json!({"tag": "eu west", "dry_run": true})).await;
    assert_eq!(counted["purged"], 1);
    assert_eq!(set(&gateway, "doc:42", "v2", true).await["affected"], 1, "the upstream named no version");
    assert_eq!(cached(&gateway, &[]).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_more_groups_than_are_kept_is_not_stored() {
    let gateway = started().await;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    gateway.script.push(grouped("Use vinegar.", &[("surrogate-key", &keys.join(" "))]));
    let answer = gateway.ask(ASKED).await;
    assert!(not_stored(&answer, "too-many-tags"), "{}", answer.header("cache-status"));
    assert_eq!(cached(&gateway, &[]).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_the_upstream_calls_out_of_date_become_stale_in_the_askers_scope_only() {
    let gateway = started().await;
    let mine = [("authorization", "Bearer sk-one")];
    let theirs = [("authorization", "Bearer sk-two")];
    for who in [&mine, &theirs] {
        gateway.script.push(grouped("Use vinegar.", &[("cache-groups", r#""kettles""#)]));
        gateway.chat_with(&user(ASKED), who).await;
    }
    gateway.script.push(grouped("Done.", &[("cache-group-invalidation", r#""kettles""#)]));
    gateway.post("/v1/vector_stores", &json!({"name": "x"}), &mine).await;
    assert_eq!(cached(&gateway, &mine).await, "stale");
    assert_eq!(cached(&gateway, &theirs).await, "hit-exact");
    // An answer that is kept itself may say so as well.
    gateway.script.push(grouped("Other.", &[("cache-group-invalidation", r#""kettles""#)]));
    gateway.chat_with(&user("Can a cat swim?"), &theirs).await;
    assert_eq!(cached(&gateway, &theirs).await, "stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_or_failed_request_invalidates_no_group() {
    let gateway = started().await;
    gateway.script.push(grouped("Use vinegar.", &[("cache-groups", r#""kettles""#)]));
    gateway.ask(ASKED).await;
    let told = ("cache-group-invalidation", r#""kettles""#);
    gateway.script.push(grouped("Done.", &[told]));
    gateway.get("/v1/vector_stores", &[]).await;
    let name = HeaderName::from_static(told.0);
    let refused = Reply::error(http::StatusCode::BAD_REQUEST, "invalid_request_error", "no")
        .header(name, HeaderValue::from_static(told.1));
    gateway.script.push(refused);
    gateway.post("/v1/vector_stores", &json!({"name": "x"}), &[]).await;
    assert_eq!(gateway.calls(), 3);
    assert_eq!(cached(&gateway, &[]).await, "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_by_source_or_prefix_counts_first_and_takes_no_more_than_it_counted() {
    let gateway = started().await;
    for sources in ["doc:42@v7", "doc:42@v8", "doc:421@v1", "page:1@v1"] {
        gateway.chat_with(&user(ASKED), &[("x-semblance-sources", sources)]).await;
    }
    gateway.chat_with(&user(ASKED), &[("x-semblance-tags", "doc:tagged")]).await;
    for (order, expected) in [
        (json!({"source": "doc:42"}), 2),
        (json!({"source": "doc:42@v7"}), 1),
        (json!({"prefix": "doc:"}), 4),
        (json!({"prefix": "doc:42"}), 3),
        (json!({"prefix": "doc:42@"}), 2),
        (json!({"prefix": "oc:"}), 0),
        (json!({"prefix": "doc:", "source": "doc:421"}), 1),
    ] {
        let mut counting = order.clone();
        counting["dry_run"] = json!(true);
        let (status, counted) = gateway.admin_post("/semblance/purge", &counting).await;
        assert_eq!((status, &counted["purged"]), (200, &json!(expected)), "{order}");
    }
    assert_eq!(gateway.admin_post("/semblance/purge", &json!({"prefix": ""})).await.0, 400);
    let (_, purged) = gateway.admin_post("/semblance/purge", &json!({"prefix": "doc:42@"})).await;
    assert_eq!(purged["purged"], 2);
    assert_eq!(gateway.admin_get("/semblance/entries").await["total"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sets_lists_shows_and_removes() {
    let gateway = started().await;
    gateway.chat_with(&user(ASKED), &V7).await;
    let admin = gateway.app.admin.to_string();
    let run = async |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.args(args).args(["--admin", &admin]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["purge", "--source", "doc:42", "--dry-run"]).await.contains("would purge 1 entries"));
    assert_eq!(run(&["sources", "set", "doc:42", "v8"]).await, "doc:42 is v8 now: made stale 1 entries\n");
    assert_eq!(run(&["sources", "list", "--text", "42"]).await, "doc:42  v8  1 entries\n");
    let shown = run(&["sources", "show", "doc:42"]).await;
    assert!(shown.contains("stale  doc:42@v7 doc:77@v1  How do I descale a kettle?"), "{shown}");
    let removed: Value = serde_json::from_str(&run(&["sources", "remove", "doc:42", "--json"]).await).unwrap();
    assert_eq!(removed["affected"], 1);
    assert!(run(&["sources", "show", "doc:42"]).await.contains("no such source"));
}
