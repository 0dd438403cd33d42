//! A purge wins over whatever was generated before it, whichever way that comes back (I6).

use std::{sync::Arc, time::Duration};

use semblance::transfer::import::Importer;
use serde_json::json;

use super::{ASKED, came_to, empty_like, exported, imported};
use crate::harness::{START, Setup, TestGateway, user};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_does_not_come_back_under_any_id() {
    let gateway = TestGateway::start().await;
    gateway.chat_with(&user(ASKED), &[("x-semblance-tags", "security")]).await;
    gateway.ask("Who wrote Emma?").await;
    let all = exported(&gateway, "").await;
    gateway.hand.advance(Duration::from_secs(1));
    gateway.admin_post("/semblance/purge", &json!({"tag": "security"})).await;
    let report = imported(&gateway, &all).await;
    came_to(&report, [0, 0, 1, 0, 1]);
    assert!(report["errors"][0]["message"].as_str().unwrap().starts_with("purged on 20"), "{report}");
    let entry = gateway.admin_get("/semblance/entries").await["entries"][0]["id"].as_str().unwrap().to_owned();
    gateway.client.delete(gateway.admin(&format!("/semblance/entries/{entry}"))).send().await.unwrap();
    let renamed = all.replace(&format!("\"entry\":\"{entry}\""), "\"entry\":\"e77\"");
    came_to(&imported(&gateway, &renamed).await, [0, 0, 0, 0, 2]);
    let gateway = gateway.restart().await;
    came_to(&imported(&gateway, &renamed).await, [0, 0, 0, 0, 2]);
    assert_eq!(gateway.ask("Who wrote Emma?").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_stale_comes_back_as_stale_as_it_would_be() {
    let old = TestGateway::start().await;
    old.ask("How do I reset my password?").await;
    let all = exported(&old, "").await;
    let gateway = empty_like(&old, Setup::new()).await;
    gateway.hand.advance(Duration::from_secs(1));
    gateway.admin_post("/semblance/purge", &json!({"category": "product-faq", "soft": true})).await;
    came_to(&imported(&gateway, &all).await, [1, 0, 0, 0, 0]);
    let entry = &gateway.admin_get("/semblance/entries").await["entries"][0];
    assert_eq!(entry["invalidated_at_ms"], START.as_millis() + 1000);
    assert_eq!(gateway.ask("How do I reset my password?").await.outcome(), "stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_nothing_older_comes_back_unless_it_surely_was_not_that_persons() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let all = exported(&gateway, "").await;
    gateway.hand.advance(Duration::from_secs(1));
    gateway.admin_post("/semblance/purge", &json!({"credential": "sk-test"})).await;
    let report = imported(&gateway, &all).await;
    came_to(&report, [0, 0, 0, 0, 1]);
    assert!(report["errors"][0]["message"].as_str().unwrap().contains("names nobody"), "{report}");
    let older =
        json!({"question": "q", "answer": "a", "model": "m", "credential": "sk-test", "generated_at": "2026-09-01"});
    assert_eq!(imported(&gateway, &older.to_string()).await["failed"], 1);
    gateway.hand.advance(Duration::from_secs(1));
    let now = json!({"question": "q", "answer": "a", "model": "m", "credential": "sk-test"});
    came_to(&imported(&gateway, &now.to_string()).await, [1, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_in_the_middle_of_an_import_wins() {
    let gateway = TestGateway::start().await;
    gateway.chat_with(&user(ASKED), &[("x-semblance-tags", "security")]).await;
    let lines: Vec<String> = exported(&gateway, "").await.lines().map(str::to_owned).collect();
    let importer = Importer::begin(Arc::clone(gateway.app.gateway()), false).await.unwrap();
    gateway.admin_post("/semblance/purge", &json!({"tag": "security"})).await;
    let tally = importer.take(lines).await.unwrap();
    assert_eq!((tally.imported, tally.failed), (0, 1), "{tally:?}");
    assert!(tally.errors[0].message.contains("purged"), "{tally:?}");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}
