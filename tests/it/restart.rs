//! What survives a restart, and what must not.

use serde_json::json;

use crate::harness::{TestGateway, user};

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
