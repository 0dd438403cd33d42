//! `Cache-Control` and our own request headers.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Setup, TestGateway, user, with};

const ASKED: &str = "How do I descale a kettle?";

#[tokio::test(flavor = "multi_thread")]
async fn case_52_no_cache_fetches_and_replaces() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let fresh = gateway.chat_with(&user(ASKED), &[("cache-control", "no-cache")]).await;
    assert_eq!(gateway.calls(), 2);
    assert!(
        fresh.header("cache-status").contains("fwd=request; fwd-status=200; stored"),
        "{}",
        fresh.header("cache-status")
    );
    let stats = gateway.admin_get("/semblance/stats").await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    assert!(stats["hot_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_53_no_store_leaves_nothing() {
    let gateway = TestGateway::start().await;
    for _ in 0..2 {
        let answer = gateway.chat_with(&user(ASKED), &[("cache-control", "no-store")]).await;
        assert_eq!(answer.outcome(), "bypass");
    }
    assert_eq!(gateway.calls(), 2);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_54_only_if_cached_never_calls_the_upstream() {
    let gateway = TestGateway::start().await;
    let asked = [("cache-control", "only-if-cached")];
    let cold = gateway.chat_with(&user(ASKED), &asked).await;
    assert_eq!((cold.status, cold.header("x-should-retry")), (504, "false"));
    assert_eq!(cold.json()["error"]["code"], "only_if_cached_miss");
    assert_eq!(cold.header("cache-status"), "semblance; detail=only-if-cached");
    let zero = gateway.chat_with(&user("What is my account balance?"), &asked).await;
    assert_eq!(zero.status, 504);
    assert_eq!(gateway.calls(), 0);
    gateway.ask(ASKED).await;
    assert_eq!(gateway.chat_with(&user(ASKED), &asked).await.outcome(), "hit-exact");
    let reworded = gateway.chat_with(&user("How can I descale a kettle?"), &asked).await;
    assert_eq!(reworded.outcome(), "hit-semantic");
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_55_age_bounds_are_honoured() {
    let policy = "category = \"default\"\n[freshness]\nttl = \"1m\"\nstale_while_revalidate = \"1s\"\nstale_if_error = \"10m\"\n";
    let gateway = Setup::new().policies(&[("default.toml", policy)]).start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(Duration::from_secs(11));
    let asked = |value: &'static str| [("cache-control", value)];
    assert_eq!(gateway.chat_with(&user(ASKED), &asked("min-fresh=30")).await.outcome(), "hit-exact");
    assert_eq!(gateway.chat_with(&user(ASKED), &asked("max-age=10")).await.outcome(), "miss");
    gateway.hand.advance(Duration::from_secs(90));
    let stale = gateway.chat_with(&user(ASKED), &asked("max-stale=60")).await;
    assert_eq!((stale.outcome(), stale.header("age")), ("stale", "90"));
    assert!(stale.header("cache-status").contains("ttl=-30"), "{}", stale.header("cache-status"));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_ttl_limits_only_tighten() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.chat_with(&user(ASKED), &[("x-semblance-mode", "off")]).await.outcome(), "bypass");
    gateway.chat_with(&user(ASKED), &[("x-semblance-ttl", "60s")]).await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    let exact = [("x-semblance-mode", "exact")];
    assert_eq!(gateway.chat_with(&user("How can I descale a kettle?"), &exact).await.outcome(), "miss");
    gateway.hand.advance(Duration::from_secs(3600 * 24 * 3));
    assert_eq!(gateway.chat_with(&user(ASKED), &[("cache-control", "only-if-cached")]).await.status, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_controls_never_reach_the_upstream() {
    let gateway = TestGateway::start().await;
    let body = with(user(ASKED), &json!({"cache": {"ttl": 60, "no-cache": false}}));
    gateway.chat_with(&body, &[("x-semblance-tags", "faq"), ("x-semblance-ttl", "60s")]).await;
    let received = gateway.script.last().unwrap();
    assert!(received.headers.keys().all(|name| !name.as_str().starts_with("x-semblance")));
    assert!(received.json().get("cache").is_none());
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact", "the member is not part of the question");
    let no_store = with(user("Who wrote Emma?"), &json!({"cache": {"no-store": true}}));
    assert_eq!(gateway.chat(&no_store).await.outcome(), "bypass");
    assert!(gateway.script.last().unwrap().json().get("cache").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_control_of_our_own_is_refused_with_what_would_be_right() {
    let gateway = TestGateway::start().await;
    let answer = gateway.chat_with(&user(ASKED), &[("x-semblance-mode", "sometimes")]).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("bad_directive")));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("x-semblance-mode"));
    assert_eq!(gateway.calls(), 0);
}
