//! What survives a restart, and what must not.

use std::sync::Arc;

use semblance::embed::scripted::ScriptedEmbedder;
use serde_json::json;

use crate::harness::{Setup, SharedMiniLm, TestGateway, eventually, user};

const ASKED: &str = "How do I descale a kettle?";

#[tokio::test(flavor = "multi_thread")]
async fn answers_wordings_and_vectors_survive_a_restart() {
    let gateway = TestGateway::start().await;
    let first = gateway.ask(ASKED).await;
    gateway.ask("How can I descale a kettle?").await;
    let gateway = gateway.restart().await;
    let exact = gateway.ask(ASKED).await;
    assert_eq!((exact.outcome(), exact.content()), ("hit-exact", first.content()));
    assert_eq!(gateway.ask("How can I descale a kettle?").await.outcome(), "hit-exact", "the alias is stored");
    assert_eq!(gateway.ask("How do I descale the kettle?").await.outcome(), "hit-semantic", "the index is rebuilt");
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_answer_does_not_come_back() {
    let gateway = TestGateway::start().await;
    gateway.chat_with(&user(ASKED), &[("x-semblance-tags", "kitchen")]).await;
    gateway.ask("How can I descale a kettle?").await;
    let (status, purged) = gateway.admin_post("/semblance/purge", &json!({"tag": "kitchen"})).await;
    assert_eq!((status, purged["purged"].as_u64()), (200, Some(1)));
    let only = [("cache-control", "only-if-cached")];
    for question in [ASKED, "How can I descale a kettle?"] {
        assert_eq!(gateway.chat_with(&user(question), &only).await.status, 504, "{question}");
    }
    let gateway = gateway.restart().await;
    for question in [ASKED, "How can I descale a kettle?"] {
        assert_eq!(gateway.chat_with(&user(question), &only).await.status, 504, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_embedder_re_embeds_what_is_stored_and_never_mixes_vectors() {
    let old = Setup { embedder: Arc::new(ScriptedEmbedder::new()), ..Setup::new() };
    let policy = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[match]\npaths = [\"/v1/*\"]\n";
    let gateway = old.policies(&[("default.toml", policy)]).start().await;
    gateway.ask(ASKED).await;
    let gateway = gateway.restart_with(SharedMiniLm::get()).await;
    let reworded = "How can I descale a kettle?";
    let only = [("cache-control", "only-if-cached")];
    eventually("the stored question has a vector of the new model", || async {
        gateway.chat_with(&user(reworded), &only).await.outcome() == "hit-semantic"
    })
    .await;
    assert_eq!(gateway.calls(), 1);
}
