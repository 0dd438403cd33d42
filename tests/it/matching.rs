//! By meaning: paraphrases served, near misses refused with a reason, accepted wordings remembered.

use std::sync::Arc;

use semblance::matcher::verifier::{VerifyError, scripted::ScriptedVerifier};
use serde_json::json;

use crate::harness::{Setup, TestGateway, user, with};

const ASKED: &str = "How do I enable two-factor authentication?";

#[tokio::test(flavor = "multi_thread")]
async fn a_paraphrase_is_served_and_from_then_on_at_exact_speed() {
    let gateway = TestGateway::start().await;
    let first = gateway.ask(ASKED).await;
    let reworded = "How can I enable two-factor authentication?";
    let hit = gateway.ask(reworded).await;
    assert_eq!(hit.outcome(), "hit-semantic");
    assert_eq!(hit.content(), first.content());
    assert!(hit.header("x-semblance-similarity").parse::<f32>().unwrap() > 0.9);
    assert!(hit.header("cache-status").contains("detail=\"semantic; sim="), "{}", hit.header("cache-status"));
    let again = gateway.ask(reworded).await;
    assert_eq!(again.outcome(), "hit-exact");
    assert_eq!(again.header("x-semblance-entry"), hit.header("x-semblance-entry"));
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_near_misses_are_refused() {
    let pairs = [
        (ASKED, "How do I disable two-factor authentication?"),
        ("How do I convert 10 USD to EUR?", "How do I convert 100 USD to EUR?"),
        ("How do I convert euros to dollars?", "How do I convert dollars to euros?"),
        ("Can I take the train to Lyon with a dog?", "Can I not take the train to Lyon with a dog?"),
        ("What should I eat before a marathon?", "What should I eat after a marathon?"),
        ("What is the capital of Austria?", "What is the capital of Australia?"),
        ("What is new in Python 3.11?", "What is new in Python 3.12?"),
    ];
    for (cached, near) in pairs {
        let gateway = Setup::new().really_verified().start().await;
        gateway.ask(cached).await;
        let answer = gateway.ask(near).await;
        assert_eq!(answer.outcome(), "miss", "{near}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_neighbour_that_the_verifier_doubts_is_not_served() {
    let doubtful = ScriptedVerifier::new(&[(0.001, 0.5)]).unwrap();
    let setup = Setup { verifier: Some(Arc::new(doubtful)), ..Setup::new() };
    let gateway = setup.start().await;
    gateway.ask(ASKED).await;
    let refused = gateway.ask("How can I enable two-factor authentication?").await;
    assert_eq!(refused.outcome(), "miss");
    assert!(refused.header("cache-status").contains("detail=verifier-rejected"), "{}", refused.header("cache-status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_is_down_costs_the_hit_and_nothing_else() {
    let broken = ScriptedVerifier::new(&[(0.001, 0.5)]).unwrap();
    broken.fail_with(Some(VerifyError::Down("no answer within the deadline".to_owned())));
    let setup = Setup { verifier: Some(Arc::new(broken)), ..Setup::new() };
    let gateway = setup.start().await;
    let first = gateway.ask(ASKED).await;
    let asked = gateway.ask("How can I enable two-factor authentication?").await;
    assert_eq!((asked.status, asked.outcome()), (200, "miss"));
    assert!(asked.header("cache-status").contains("detail=verifier-down"), "{}", asked.header("cache-status"));
    assert_eq!((first.status, gateway.calls()), (200, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_raise_the_bar_and_never_lower_it() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let reworded = user("How can I enable two-factor authentication?");
    let strict = gateway.chat_with(&reworded, &[("x-semblance-threshold", "1.0")]).await;
    assert_eq!(strict.outcome(), "miss");
    let near = user("How do I disable two-factor authentication?");
    let loose = gateway.chat_with(&near, &[("x-semblance-threshold", "0.1")]).await;
    assert_eq!(loose.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_46_what_is_not_plain_user_text_is_matched_exactly_only() {
    let gateway = TestGateway::start().await;
    let tool_turn = |result: &str| {
        json!({"model": "gpt-4o-mini", "messages": [
            {"role": "user", "content": ASKED},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": result},
        ]})
    };
    assert_eq!(gateway.chat(&tool_turn("ok")).await.outcome(), "miss");
    assert_eq!(gateway.chat(&tool_turn("ok")).await.outcome(), "hit-exact");
    assert_eq!(gateway.chat(&tool_turn("okay")).await.outcome(), "miss");
    let seeded = |question: &str| with(user(question), &json!({"seed": 7}));
    gateway.chat(&seeded(ASKED)).await;
    let reworded = gateway.chat(&seeded("How can I enable two-factor authentication?")).await;
    assert_eq!(reworded.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_turn_that_leans_on_context_is_matched_exactly_only() {
    let gateway = TestGateway::start().await;
    gateway.ask("And what about the one in Spain?").await;
    assert_eq!(gateway.ask("And what about that one in Spain?").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_user_text_matches_nothing() {
    let gateway = TestGateway::start().await;
    gateway.ask("   ").await;
    assert_eq!(gateway.ask(" ").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_longer_than_the_models_window_is_matched_exactly_only() {
    let gateway = TestGateway::start().await;
    let long =
        format!("Summarise this report in two lines. {}", "The harvest was good and the barns are full. ".repeat(60));
    assert_eq!(gateway.ask(&long).await.outcome(), "miss");
    assert_eq!(gateway.ask(&long).await.outcome(), "hit-exact");
    assert_eq!(gateway.ask(&long.replace("two lines", "2 lines")).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_tier_is_never_matched_by_meaning() {
    let exact = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\ntier = \"exact\"\n";
    let gateway = Setup::new().policies(&[("default.toml", exact)]).start().await;
    gateway.ask(ASKED).await;
    assert_eq!(gateway.ask("How can I enable two-factor authentication?").await.outcome(), "miss");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_slot_and_the_words_that_differ() {
    let gateway = TestGateway::start().await;
    let body = json!({"cached": ASKED, "ask": "How do I disable two-factor authentication?"});
    let (status, explained) = gateway.admin_post("/semblance/explain", &body).await;
    assert_eq!((status, explained["decision"].as_str()), (200, Some("miss")));
    assert_eq!(explained["guard"]["verdict"], "reject");
    assert_eq!(explained["guard"]["slot"], "antonym");
    let detail = explained["guard"]["detail"].as_str().unwrap();
    assert!(detail.contains("enable") && detail.contains("disable"), "{detail}");
    gateway.ask(ASKED).await;
    let (_, cache) =
        gateway.admin_post("/semblance/explain", &json!({"ask": "How can I enable two-factor authentication?"})).await;
    assert_eq!(cache["decision"], "hit");
    assert_eq!(cache["candidates"][0]["query"], ASKED);
}
