//! Ttl, stale windows and today's policy.

use std::time::Duration;

use http::StatusCode;
use semblance::upstream::scripted::Reply;
use serde_json::json;

use crate::harness::{Setup, TestGateway, eventually, user};

const ASKED: &str = "How do I descale a kettle?";
const POLICY: &str =
    "category = \"default\"\n[freshness]\nttl = \"1h\"\nstale_while_revalidate = \"10m\"\nstale_if_error = \"1d\"\n";

const MINUTE: Duration = Duration::from_secs(60);

async fn start() -> TestGateway {
    Setup::new().policies(&[("default.toml", POLICY)]).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_fresh_until_its_ttl_and_a_hit_never_prolongs_it() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 59);
    let hit = gateway.ask(ASKED).await;
    assert_eq!((hit.outcome(), hit.header("age")), ("hit-exact", "3540"));
    assert!(hit.header("cache-status").contains("ttl=60;"), "{}", hit.header("cache-status"));
    gateway.hand.advance(MINUTE * 30);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_entry_is_served_at_once_while_one_refresh_runs() {
    let gateway = start().await;
    gateway.script.push(Reply::text("old"));
    gateway.script.push(Reply::text("new"));
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 65);
    let stale = gateway.ask(ASKED).await;
    assert_eq!((stale.outcome(), stale.content().as_str()), ("stale", "old"));
    let status = stale.header("cache-status");
    assert!(status.contains("; hit; ttl=-300; detail=stale-while-revalidate"), "{status}");
    eventually("the refresh has landed", || async { gateway.ask(ASKED).await.content() == "new" }).await;
    assert_eq!(gateway.calls(), 2);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_lives_on_its_parents_clock() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 50);
    assert_eq!(gateway.ask("How can I descale a kettle?").await.outcome(), "hit-semantic");
    gateway.hand.advance(MINUTE * 30);
    assert_eq!(gateway.ask("How can I descale a kettle?").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_58_a_stale_entry_is_served_when_the_upstream_fails() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 60 * 5);
    for failure in [
        Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "boom"),
        Reply::error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "slow down"),
        Reply::connect_error(),
        Reply::timeout(),
    ] {
        gateway.script.push(failure);
        let stale = gateway.ask(ASKED).await;
        assert_eq!((stale.status, stale.outcome()), (200, "stale"));
        assert!(stale.header("cache-status").ends_with("detail=stale-if-error"), "{}", stale.header("cache-status"));
    }
    gateway.hand.advance(MINUTE * 60 * 48);
    gateway.script.push(Reply::connect_error());
    let failed = gateway.ask(ASKED).await;
    assert_eq!(failed.status, 502, "past the window the failure is the answer: {:?}", failed.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortened_ttl_changes_the_next_answer_without_restart_or_purge() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 30);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    std::fs::write(gateway.policy_file("default.toml"), "category = \"default\"\n[freshness]\nttl = \"10m\"\n")
        .unwrap();
    eventually("the edit is in force", || async { gateway.ask(ASKED).await.outcome() == "miss" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_is_refused_with_file_line_and_key_and_the_old_policies_stay() {
    let gateway = start().await;
    let before = gateway.admin_get("/semblance/policies").await;
    std::fs::write(gateway.policy_file("default.toml"), "category = \"default\"\n[freshness]\nttl = \"10 parsecs\"\n")
        .unwrap();
    let (status, answer) = gateway.admin_post("/semblance/policies/reload", &json!({})).await;
    assert_eq!(status, 422);
    let problem = &answer["problems"][0];
    assert!(problem["file"].as_str().unwrap().ends_with("default.toml"));
    assert_eq!((problem["line"].as_u64(), problem["key"].as_str()), (Some(3), Some("freshness.ttl")));
    assert_eq!(gateway.admin_get("/semblance/policies").await, before);
    gateway.ask(ASKED).await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_that_becomes_zero_stops_serving_what_it_stored() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    std::fs::write(gateway.policy_file("default.toml"), "category = \"default\"\n[freshness]\nttl = \"0s\"\n").unwrap();
    let (status, _) = gateway.admin_post("/semblance/policies/reload", &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "bypass");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_category_an_app_names_may_only_be_stricter() {
    let gateway = TestGateway::start().await;
    let named = |category: &'static str| [("x-semblance-category", category)];
    let zero = gateway.chat_with(&user(ASKED), &named("live-inventory")).await;
    assert_eq!(zero.outcome(), "bypass");
    let loose = gateway.chat_with(&user("What is my account balance?"), &named("reference-facts")).await;
    assert_eq!(loose.outcome(), "bypass");
}

#[tokio::test(flavor = "multi_thread")]
async fn volatile_wording_caps_the_life_of_what_it_stored() {
    let policy =
        "category = \"default\"\n[freshness]\nttl = \"30d\"\n[[volatile]]\nphrases = [\"this week\"]\nttl = \"5m\"\n";
    let gateway = Setup::new().policies(&[("default.toml", policy)]).start().await;
    let first = gateway.ask("Which films open in Oslo this week?").await;
    assert!(first.header("cache-status").contains("ttl=300"), "{}", first.header("cache-status"));
    gateway.hand.advance(MINUTE * 4);
    assert_eq!(gateway.ask("Which films open in Oslo this week?").await.outcome(), "hit-exact");
    gateway.hand.advance(MINUTE * 2);
    assert_eq!(gateway.ask("Which films open in Oslo this week?").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrelated_edit_leaves_long_lived_entries_alone() {
    let other =
        |ttl: &str| format!("category = \"other\"\n[match]\nphrases = [\"other\"]\n[freshness]\nttl = \"{ttl}\"\n");
    let long =
        "category = \"kitchen\"\n[match]\nexamples = [\"How do I clean a kettle?\"]\n[freshness]\nttl = \"30d\"\n";
    let files = [("default.toml", POLICY), ("kitchen.toml", long), ("other.toml", &other("1h"))];
    let gateway = Setup::new().policies(&files).start().await;
    assert_eq!(gateway.ask(ASKED).await.header("x-semblance-category"), "kitchen");
    gateway.hand.advance(MINUTE * 60 * 24);
    std::fs::write(gateway.policy_file("other.toml"), other("2h")).unwrap();
    assert_eq!(gateway.admin_post("/semblance/policies/reload", &json!({})).await.0, 200);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_made_exact_no_longer_answers_wordings_accepted_before() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    let reworded = "How can I descale a kettle?";
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-semantic");
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-exact");
    let exact = [("x-semblance-mode", "exact"), ("cache-control", "only-if-cached")];
    assert_eq!(gateway.chat_with(&user(reworded), &exact).await.status, 504, "an alias is a match by meaning");
    let tight = format!("{POLICY}[reuse]\ntier = \"exact\"\n");
    std::fs::write(gateway.policy_file("default.toml"), tight).unwrap();
    assert_eq!(gateway.admin_post("/semblance/policies/reload", &json!({})).await.0, 200);
    assert_eq!(gateway.ask(reworded).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_listed_is_cached_when_the_default_is_zero() {
    let zero = "category = \"default\"\n[freshness]\nttl = \"0s\"\n";
    let kitchen =
        "category = \"kitchen\"\n[match]\nexamples = [\"How do I clean a kettle?\"]\n[freshness]\nttl = \"30d\"\n";
    let gateway = Setup::new().policies(&[("default.toml", zero), ("kitchen.toml", kitchen)]).start().await;
    gateway.ask(ASKED).await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    assert_eq!(gateway.ask("Who wrote Emma?").await.outcome(), "bypass");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_paraphrase_is_served_when_the_upstream_fails() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 60 * 5);
    gateway.script.push(Reply::connect_error());
    let stale = gateway.ask("How can I descale a kettle?").await;
    assert_eq!((stale.status, stale.outcome()), (200, "stale"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_purge_takes_the_stale_fallback_away_too() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 60 * 5);
    gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
    gateway.script.push(Reply::connect_error());
    assert_eq!(gateway.ask(ASKED).await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_if_cached_is_not_answered_with_what_only_a_failure_would_excuse() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(MINUTE * 60 * 5);
    let cold = gateway.chat_with(&user(ASKED), &[("cache-control", "only-if-cached")]).await;
    assert_eq!((cold.status, gateway.calls()), (504, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_asked_for_often_is_refreshed_once_before_it_is_stale() {
    let hour = "category = \"default\"\n[freshness]\nttl = \"1h\"\n";
    let setup = Setup::new().policies(&[("default.toml", hour)]).config(|config| config.refresh_ahead = true);
    let gateway = setup.start().await;
    gateway.script.push(Reply::text("first"));
    gateway.script.push(Reply::text("second"));
    let asked = "How do I descale a kettle?";
    gateway.ask(asked).await;
    for _ in 0..100 {
        assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact");
    }
    assert_eq!(gateway.calls(), 1, "far from its end it is left alone");
    gateway.hand.advance(Duration::from_millis(3_599_990));
    // Each ask draws its own chance, which is near one here.
    eventually("the refresh has landed", || async { gateway.ask(asked).await.content() == "second" }).await;
    let after = gateway.ask(asked).await;
    assert_eq!((after.outcome(), after.header("age")), ("hit-exact", "0"));
    assert_eq!(gateway.calls(), 2);
}
