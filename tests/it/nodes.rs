//! Several nodes over one store: what one of them is told holds on all of them.

mod degraded; // the engine gone, slow, cut off, old
mod flight; // one call for all of them
mod schedules; // purges against everything else, by chance

use std::{sync::Arc, time::Duration};

use semblance::{
    config::{SharedStore, StoreChoice},
    store::redis::Address,
    upstream::scripted::{Gate, Reply},
};
use serde_json::{Value, json};

use crate::{
    engine::{Server, cluster, cluster_url},
    harness::{Setup, TestGateway, asking, eventually, user},
};

const ASKED: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
const ONLY_CACHED: (&str, &str) = ("cache-control", "only-if-cached");
const EXACTLY: (&str, &str) = ("x-semblance-mode", "exact");
const TAGGED: (&str, &str) = ("x-semblance-tags", "account");
const BUILT_ON: (&str, &str) = ("x-semblance-sources", "doc:42@v7");

const DAY: &str = r#"category = "default"
summary = "Everything else."
[freshness]
ttl = "24h"
stale_while_revalidate = "1h"
"#;

/// What a node has in common with the others.
pub(crate) fn shared(url: &str) -> SharedStore {
    SharedStore {
        address: Address::parse(url).unwrap(),
        prefix: "test".to_owned(),
        lease: Duration::from_secs(1),
        serves_lease: false,
        replicas: 0,
        timeout: Duration::from_secs(5),
        wait: Duration::from_secs(5),
        max_age: Duration::from_secs(3600),
        authorities: None,
    }
}

fn setup(url: &str) -> Setup {
    let store = StoreChoice::Shared(Box::new(shared(url)));
    Setup::new().policies(&[("default.toml", DAY)]).config(|config| config.store = store)
}

async fn nodes(url: &str) -> [Arc<TestGateway>; 3] {
    nodes_of(|| setup(url)).await
}

async fn nodes_of(setup: impl Fn() -> Setup) -> [Arc<TestGateway>; 3] {
    let node = async || Arc::new(setup().start().await);
    [node().await, node().await, node().await]
}

async fn cached(node: &TestGateway, question: &str) -> String {
    let headers = [ONLY_CACHED, EXACTLY, TAGGED, BUILT_ON];
    node.chat_with(&user(question), &headers).await.outcome().to_owned()
}

/// As [`cached`], and by meaning where no wording leads there.
async fn found(node: &TestGateway, question: &str) -> String {
    node.chat_with(&user(question), &[ONLY_CACHED, TAGGED, BUILT_ON]).await.outcome().to_owned()
}

async fn ask(node: &TestGateway, question: &str) -> String {
    node.chat_with(&user(question), &[TAGGED, BUILT_ON]).await.outcome().to_owned()
}

async fn purge(node: &TestGateway, order: &Value) -> Value {
    let (status, answer) = node.admin_post("/semblance/purge", order).await;
    assert_eq!(status, 200, "{order}: {answer}");
    answer
}

async fn an_answer_is_everybodys(url: &str) {
    let [one, two, three] = nodes(url).await;
    assert_eq!(ask(&one, ASKED).await, "miss");
    assert_eq!(ask(&two, ASKED).await, "hit-exact", "at once, from the store");
    eventually("the feed brings the vector", || async { found(&three, REWORDED).await == "hit-semantic" }).await;
    eventually("the wording is everybody's too", || async { found(&two, REWORDED).await == "hit-exact" }).await;
    assert_eq!((two.calls(), three.calls()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_one_node_is_a_hit_on_the_others() {
    an_answer_is_everybodys(&Server::start().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_one_node_is_a_hit_on_the_others_of_a_cluster() {
    let servers = cluster();
    an_answer_is_everybodys(&cluster_url(&servers)).await;
}

/// Purges by everything there is, on the first node; and whether the others serve what they held in memory.
async fn purges_hold_everywhere(url: &str) {
    let [one, two, three] = nodes(url).await;
    let scope = {
        ask(&one, ASKED).await;
        one.admin_get("/semblance/entries").await["entries"][0]["scope"].as_str().unwrap().to_owned()
    };
    let orders = [
        json!({"tag": "account"}),
        json!({"scope": scope}),
        json!({"source": "doc:42"}),
        json!({"near": ASKED}),
        json!({"credential": "sk-test"}),
        json!({"category": "default"}),
        json!({"prefix": "doc:"}),
        json!({"all": true}),
    ];
    for order in orders {
        for (soft, outcome) in [(true, "stale"), (false, "miss")] {
            let mut order = order.clone();
            if soft {
                order["soft"] = json!(true);
            }
            ask(&one, ASKED).await;
            for node in [&two, &three] {
                eventually("it is served from memory", || async { cached(node, ASKED).await == "hit-exact" }).await;
            }
            let purged = purge(&one, &order).await;
            assert_eq!(purged["purged"], 1, "{order}");
            for node in [&two, &three, &one] {
                assert_eq!(cached(node, ASKED).await, outcome, "{order}");
            }
            purge(&two, &json!({"all": true})).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_purges_no_node_serves() {
    purges_hold_everywhere(&Server::start().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_of_a_cluster_purges_no_node_serves() {
    let servers = cluster();
    purges_hold_everywhere(&cluster_url(&servers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_begun_before_a_purge_on_another_node_is_not_kept() {
    let server = Server::start();
    let [one, two, three] = nodes(&server.url()).await;
    for (order, kept) in
        [(json!({"tag": "account"}), false), (json!({"near": ASKED}), false), (json!({"tag": "other"}), true)]
    {
        let gate = Gate::closed();
        two.script.push(Reply::text("Old.").behind(&gate));
        let calls = two.calls();
        let late = asking(&two, user(ASKED), &[TAGGED, BUILT_ON]);
        two.script.reached(calls + 1).await;
        purge(&one, &order).await;
        gate.open();
        let answer = late.await.unwrap();
        assert_eq!(answer.content(), "Old.", "its client gets it all the same");
        let outcome = if kept { "hit-exact" } else { "miss" };
        for node in [&one, &two, &three] {
            assert_eq!(cached(node, ASKED).await, outcome, "{order}");
        }
        purge(&one, &json!({"all": true})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_of_a_document_is_new_on_every_node() {
    let server = Server::start();
    let [one, two, three] = nodes(&server.url()).await;
    ask(&one, ASKED).await;
    assert_eq!(cached(&two, ASKED).await, "hit-exact");
    let path = one.admin("/semblance/sources/doc:42");
    let put = one.client.put(path).header("content-type", "application/json");
    let answer = put.body(json!({"version": "v8", "hard": true}).to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    for node in [&two, &three] {
        assert_eq!(cached(node, ASKED).await, "miss");
    }
    let late = two.chat_with(&user(ASKED), &[TAGGED, BUILT_ON]).await;
    assert!(late.header("cache-status").contains("old-source"), "{}", late.header("cache-status"));
    assert_eq!(cached(&three, ASKED).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pairing_that_one_node_was_told_is_wrong_is_served_by_none() {
    let server = Server::start();
    let [one, two, three] = nodes(&server.url()).await;
    ask(&one, ASKED).await;
    let reworded = [TAGGED, BUILT_ON];
    let answer = one.chat_with(&user(REWORDED), &reworded).await;
    assert_eq!(answer.outcome(), "hit-semantic");
    for node in [&two, &three] {
        eventually("the wording is known", || async { found(node, REWORDED).await == "hit-exact" }).await;
    }
    let request = answer.header("x-semblance-request-id");
    let (status, told) =
        one.admin_post("/semblance/feedback", &json!({"request_id": request, "verdict": "wrong"})).await;
    assert_eq!(status, 200, "{told}");
    for node in [&two, &three] {
        assert_eq!(found(node, REWORDED).await, "miss", "nor by meaning");
        assert_eq!(cached(node, ASKED).await, "hit-exact", "it stays for its own question");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_while_the_store_is_gone_and_the_cache_comes_back_with_it() {
    let mut server = Server::start();
    let [one, two, _] = nodes(&server.url()).await;
    ask(&one, ASKED).await;
    assert_eq!(ask(&two, ASKED).await, "hit-exact");
    server.kill();
    for node in [&one, &two] {
        let answer = node.ask(ASKED).await;
        assert_eq!((answer.status, answer.outcome()), (200, "miss"));
    }
    server.revive();
    for node in [&one, &two] {
        eventually("it is stored again", || async {
            node.ask(ASKED).await;
            cached(node, ASKED).await == "hit-exact" || node.ask(ASKED).await.outcome() == "hit-exact"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begun_before_the_engine_forgot_everything_is_kept_after_it() {
    let server = Server::start();
    let [one, two, _] = nodes(&server.url()).await;
    let gate = Gate::closed();
    two.script.push(Reply::text("Old.").behind(&gate));
    let late = asking(&two, user(ASKED), &[TAGGED, BUILT_ON]);
    two.script.reached(1).await;
    purge(&one, &json!({"tag": "account"})).await;
    assert_eq!(server.cli(&["flushall"]), "OK");
    gate.open();
    late.await.unwrap();
    assert_eq!(cached(&two, ASKED).await, "miss");
    assert_eq!(cached(&one, ASKED).await, "miss");
    eventually("the cache goes on", || async {
        ask(&one, ASKED).await;
        cached(&two, ASKED).await == "hit-exact"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_later_finds_everything_by_meaning() {
    let server = Server::start();
    let one = setup(&server.url()).start().await;
    ask(&one, ASKED).await;
    let two = setup(&server.url()).start().await;
    assert_eq!(found(&two, REWORDED).await, "hit-semantic");
    assert_eq!(one.stop().await.0.tenant, "default", "it ends in time");
}
