//! The control plane.

use semblance::{
    config::Secret,
    upstream::scripted::{Gate, Reply},
};
use serde_json::json;

use crate::harness::{Setup, TestGateway, asking, user};

const ASKED: &str = "How do I descale a kettle?";

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_listed_shown_and_removed() {
    let gateway = TestGateway::start().await;
    let hit = gateway.ask(ASKED).await;
    gateway.app.store().flush().await.unwrap();
    let listed = gateway.admin_get("/semblance/entries").await;
    let entry = &listed["entries"][0];
    assert_eq!(entry["query"], ASKED);
    let id = entry["id"].as_str().unwrap();
    let shown = gateway.admin_get(&format!("/semblance/entries/{id}")).await;
    assert_eq!(shown["answer"]["choices"][0]["message"]["content"], hit.content());
    let removed = gateway.client.delete(gateway.admin(&format!("/semblance/entries/{id}"))).send().await.unwrap();
    assert_eq!(removed.status(), 200);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    let again = gateway.client.delete(gateway.admin(&format!("/semblance/entries/{id}"))).send().await.unwrap();
    assert_eq!(again.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_by_scope_takes_the_scope_that_an_entry_is_listed_with() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    gateway.chat_with(&user(ASKED), &[("authorization", "Bearer sk-other")]).await;
    gateway.app.store().flush().await.unwrap();
    let scope = &gateway.admin_get("/semblance/entries").await["entries"][1]["scope"];
    let (status, purged) = gateway.admin_post("/semblance/purge", &json!({"scope": scope})).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(1)), "{purged}");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss", "the older entry is the first credential's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_counts_first_when_asked_and_selects_by_everything_given() {
    let gateway = TestGateway::start().await;
    gateway.chat_with(&user(ASKED), &[("x-semblance-tags", "kitchen")]).await;
    gateway.chat_with(&user("Who wrote Emma?"), &[("x-semblance-tags", "books")]).await;
    let purge = |body: serde_json::Value| {
        let gateway = &gateway;
        async move { gateway.admin_post("/semblance/purge", &body).await }
    };
    assert_eq!(purge(json!({"all": true, "dry_run": true})).await.1["purged"], 2);
    assert_eq!(purge(json!({"tag": "kitchen", "older_than": "1h"})).await.1["purged"], 0);
    assert_eq!(purge(json!({})).await.0, 400, "nothing given is no order to purge everything");
    gateway.hand.advance(std::time::Duration::from_secs(60));
    assert_eq!(purge(json!({"tag": "kitchen", "soft": true})).await.1["purged"], 1);
    let stale = gateway.ask(ASKED).await;
    assert_ne!(stale.outcome(), "hit-exact", "a soft purge makes it stale");
    assert_eq!(purge(json!({"tag": "books"})).await.1["purged"], 1);
    assert_eq!(gateway.ask("Who wrote Emma?").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_wins_over_an_answer_that_was_being_generated() {
    let gateway = std::sync::Arc::new(TestGateway::start().await);
    let gate = Gate::closed();
    gateway.script.push(Reply::text("Use vinegar.").behind(&gate));
    let running = asking(&gateway, user(ASKED), &[]);
    gateway.script.reached(1).await;
    gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
    gate.open();
    let answer = running.await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("cache-status").ends_with("detail=purged"), "{}", answer.header("cache-status"));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_everything_but_health() {
    let token = Secret::new("s3cret".to_owned());
    let gateway = Setup::new().config(|config| config.admin_token = Some(token)).start().await;
    for path in ["/semblance/stats", "/semblance/entries", "/metrics", "/semblance/policies"] {
        let refused = gateway.client.get(gateway.admin(path)).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{path}");
        let wrong = gateway.client.get(gateway.admin(path)).bearer_auth("s3cret2").send().await.unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
        let let_in = gateway.client.get(gateway.admin(path)).bearer_auth("s3cret").send().await.unwrap();
        assert_eq!(let_in.status(), 200, "{path}");
    }
    assert_eq!(gateway.client.get(gateway.admin("/livez")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_stats_count_what_happened() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    gateway.ask(ASKED).await;
    gateway.app.store().flush().await.unwrap();
    let metrics = gateway.client.get(gateway.admin("/metrics")).send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text().await.unwrap();
    for line in [
        "semblance_requests_total{family=\"chat\",outcome=\"miss\"} 1",
        "semblance_requests_total{family=\"chat\",outcome=\"hit-exact\"} 1",
        "semblance_entries 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(gateway.admin_get("/semblance/stats").await["entries"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_a_web_page_that_was_lured_here_is_refused() {
    let gateway = TestGateway::start().await;
    for (name, value) in
        [("host", "evil.example:8081"), ("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")]
    {
        let request = gateway.client.post(gateway.admin("/semblance/policies/reload")).header(name, value);
        assert_eq!(request.send().await.unwrap().status(), 403, "{name}");
    }
    let own = gateway.client.get(gateway.admin("/semblance/stats")).header("host", "localhost:8081").send().await;
    assert_eq!(own.unwrap().status(), 200);
}
