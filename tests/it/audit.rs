//! Wrong hits: found by audit, by people and by the judge, blocked at once, counted, and the category tripped.

use semblance::{
    config::JudgeConfig,
    upstream::scripted::{Gate, Reply},
};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, eventually, saying, streaming, user};

/// Questions with another wording of each, which the matcher accepts.
const PAIRS: [(&str, &str); 4] = [
    ("How do I descale a kettle?", "How can I descale a kettle?"),
    ("How do I enable two-factor authentication?", "How can I enable two-factor authentication?"),
    ("How do I clean a cast iron pan?", "How can I clean a cast iron pan?"),
    ("How do I sharpen a kitchen knife?", "How can I sharpen a kitchen knife?"),
];
const POLICY: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\nstale_while_revalidate = \"1h\"\n[match]\npaths = [\"/v1/*\"]\n[reuse]\n";
const WRONG: &str = "The museum opens at noon and closes when the last visitor has left.";

fn audited(share: f64) -> Setup {
    let setup = Setup::new().config(|config| config.audits = true);
    setup.policies(&[("default.toml", &format!("{POLICY}audit = {share}\n"))])
}

async fn books(gateway: &TestGateway) -> Value {
    let listed = gateway.admin_get("/semblance/audits").await;
    listed["categories"].as_array().unwrap().iter().find(|of| of["category"] == "default").unwrap().clone()
}

async fn until(gateway: &TestGateway, key: &str, count: u64) {
    eventually(&format!("{key} is {count}"), || async { books(gateway).await[key] == count }).await;
}

async fn metric(gateway: &TestGateway, line: &str) -> bool {
    let text = gateway.client.get(gateway.admin("/metrics")).send().await.unwrap().text().await.unwrap();
    text.lines().any(|found| found == line)
}

fn detail(answer: &Answer) -> &str {
    answer.header("cache-status").rsplit("detail=").next().unwrap()
}

/// Serves both wordings of the first `count` pairs, the second by meaning, and lets the audits find them wrong.
async fn serve_wrong(gateway: &TestGateway, count: usize) {
    for (at, (asked, reworded)) in PAIRS.iter().take(count).enumerate() {
        gateway.script.answer(reworded, WRONG);
        gateway.ask(asked).await;
        assert_eq!(gateway.ask(reworded).await.outcome(), "hit-semantic", "{reworded}");
        until(gateway, "wrong", at as u64 + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_finds_another_answer_blocks_the_pair_and_counts_it() {
    let gateway = audited(1.0).start().await;
    serve_wrong(&gateway, 1).await;
    let (asked, reworded) = PAIRS[0];
    assert_eq!(gateway.calls(), 2, "the question and its audit");
    let again = gateway.ask(reworded).await;
    assert_eq!((again.outcome(), again.content().as_str()), ("miss", WRONG));
    assert_eq!(detail(&again), "blocked");
    assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact", "the entry stays for its own question");
    let books = books(&gateway).await;
    assert_eq!(
        (books["audited"].as_u64(), books["hits"].as_u64(), &books["tripped"]),
        (Some(1), Some(1), &json!(false))
    );
    assert!(metric(&gateway, "semblance_audits_total{result=\"different\",category=\"default\"} 1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_agrees_changes_nothing_whatever_shape_was_asked_for() {
    let gateway = audited(1.0).start().await;
    for ((asked, reworded), count) in PAIRS.iter().zip(1..).take(2) {
        gateway.script.answer(asked, "Use vinegar, then rinse it well.");
        gateway.script.answer(reworded, "use **vinegar**; then rinse it well");
        gateway.ask(asked).await;
        let body = if count == 1 { user(reworded) } else { streaming(user(reworded)) };
        assert_eq!(gateway.chat(&body).await.outcome(), "hit-semantic");
        until(&gateway, "audited", count).await;
        assert_eq!(gateway.ask(reworded).await.outcome(), "hit-exact");
    }
    assert_eq!(books(&gateway).await["wrong"], 0);
    assert_eq!(gateway.calls(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_waits_for_an_audit_and_a_failed_one_counts_for_nothing() {
    let gateway = audited(1.0).start().await;
    let (asked, reworded) = PAIRS[0];
    gateway.ask(asked).await;
    let gate = Gate::closed();
    gateway.script.push(Reply::text("").behind(&gate));
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-semantic", "served while the audit hangs");
    gateway.script.reached(2).await;
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-exact");
    gate.open();
    eventually("the audit failed", || async {
        metric(&gateway, "semblance_audits_total{result=\"failed\",category=\"default\"} 1").await
    })
    .await;
    assert_eq!(books(&gateway).await["audited"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_an_audit() {
    let gateway = audited(1.0).start().await;
    let (asked, reworded) = PAIRS[0];
    gateway.ask(asked).await;
    gateway.script.push(Reply::text("late").behind(&Gate::closed()));
    gateway.ask(reworded).await;
    gateway.script.reached(2).await;
    gateway.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_with_too_many_wrong_hits_serves_the_same_question_only_until_it_is_reset() {
    let gateway = audited(0.0).start().await;
    let (asked, alias) = PAIRS[3];
    gateway.ask(asked).await;
    assert_eq!(gateway.ask(alias).await.outcome(), "hit-semantic");
    std::fs::write(gateway.policy_file("default.toml"), format!("{POLICY}audit = 1.0\n")).unwrap();
    gateway.admin_post("/semblance/policies/reload", &json!({})).await;
    serve_wrong(&gateway, 2).await;
    assert_eq!(books(&gateway).await["tripped"], true);
    assert!(metric(&gateway, "semblance_tripped{category=\"default\"} 1").await);

    // The same question goes on; other wordings, known ones too, go upstream.
    assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact");
    let (third, reworded) = PAIRS[2];
    gateway.ask(third).await;
    for question in [reworded, alias] {
        let refused = gateway.ask(question).await;
        assert_eq!((refused.outcome(), detail(&refused)), ("miss", "tripped"), "{question}");
    }

    let gateway = gateway.restart().await;
    let kept = books(&gateway).await;
    assert_eq!((&kept["tripped"], &kept["trip"]["by"]), (&json!(true), &json!("audits")));
    gateway.ask("How do I iron a cotton shirt?").await;
    let refused = gateway.ask("How can I iron a cotton shirt?").await;
    assert_eq!((refused.outcome(), detail(&refused)), ("miss", "tripped"));
    // What was withheld is compared with what came instead: evidence for a recovery, without a further call.
    eventually("withheld hits are compared", || async {
        let since = &books(&gateway).await["trip"]["since"];
        since["seen"].as_u64().unwrap() + books(&gateway).await["unsure"].as_u64().unwrap() >= 1
    })
    .await;

    let (status, _) = gateway.admin_post("/semblance/audits/reset", &json!({"category": "default"})).await;
    assert_eq!((status, &books(&gateway).await["tripped"]), (200, &json!(false)));
    gateway.ask("How do I fold a fitted sheet?").await;
    assert_eq!(gateway.ask("How can I fold a fitted sheet?").await.outcome(), "hit-semantic");
    let (unknown, _) = gateway.admin_post("/semblance/audits/reset", &json!({"category": "no-such"})).await;
    assert_eq!(unknown, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_marked_wrong_stops_at_once_and_after_a_restart() {
    let gateway = TestGateway::start().await;
    let (asked, reworded) = PAIRS[0];
    gateway.ask(asked).await;
    let hit = gateway.ask(reworded).await;
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-exact");
    let request = hit.header("x-semblance-request-id");
    let (status, remedy) =
        gateway.admin_post("/semblance/feedback", &json!({"request_id": request, "verdict": "wrong"})).await;
    assert_eq!((status, &remedy["blocked"], &remedy["purged"]), (200, &json!(1), &json!(0)));
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(gateway.chat_with(&user(reworded), &only).await.status, 504);
    assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact");

    let cases = std::fs::read_to_string(gateway.data_dir().join("feedback.jsonl")).unwrap();
    let case: Value = serde_json::from_str(cases.trim_end()).unwrap();
    assert_eq!((&case["seed"], &case["ask"], &case["expect"]), (&json!(asked), &json!(reworded), &json!("miss")));

    let gateway = gateway.restart().await;
    assert_eq!(gateway.chat_with(&user(reworded), &only).await.status, 504);
    assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact");
    // A newer answer to the same question is no better for the other one.
    gateway.chat_with(&user(asked), &[("cache-control", "no-cache")]).await;
    assert_eq!(gateway.chat_with(&user(reworded), &only).await.status, 504);
    let (again, _) =
        gateway.admin_post("/semblance/feedback", &json!({"request_id": request, "verdict": "wrong"})).await;
    assert_eq!(again, 404, "requests are remembered in memory only");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_marked_wrong_loses_all_its_other_wordings_and_counts_once() {
    let gateway = TestGateway::start().await;
    let asked = "How do I descale a kettle?";
    gateway.ask(asked).await;
    let others = ["How can I descale a kettle?", "How do I descale the kettle?"];
    let mut entry = String::new();
    for other in others {
        let hit = gateway.ask(other).await;
        assert_eq!(hit.outcome(), "hit-semantic", "{other}");
        hit.header("x-semblance-entry").clone_into(&mut entry);
    }
    // Served again after a restart, when only the store knows them.
    let gateway = gateway.restart().await;
    let complaint = json!({"entry_id": entry, "verdict": "wrong"});
    let (_, remedy) = gateway.admin_post("/semblance/feedback", &complaint).await;
    assert_eq!(remedy["blocked"], 2);
    for other in others {
        let only = [("cache-control", "only-if-cached")];
        assert_eq!(gateway.chat_with(&user(other), &only).await.status, 504, "{other}");
    }
    assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact");
    let category = remedy["category"].as_str().unwrap();
    let listed = gateway.admin_get("/semblance/audits").await;
    let books = listed["categories"].as_array().unwrap().iter().find(|of| of["category"] == category).unwrap();
    assert_eq!(books["reported"], 1);
    let (_, repeated) = gateway.admin_post("/semblance/feedback", &complaint).await;
    assert_eq!(repeated["blocked"], 0, "what is known is not counted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_and_unsafe_answers_are_taken_out_and_own_wrong_ones_too() {
    let gateway = audited(0.0).start().await;
    let complain = |body: Value| {
        let gateway = &gateway;
        async move { gateway.admin_post("/semblance/feedback", &body).await }
    };
    let (asked, _) = PAIRS[0];
    let only = [("cache-control", "only-if-cached")];
    gateway.ask(asked).await;
    let hit = gateway.ask(asked).await;
    let entry = hit.header("x-semblance-entry");
    gateway.hand.advance(std::time::Duration::from_secs(60));
    assert_eq!(complain(json!({"entry_id": entry, "verdict": "stale"})).await.1["purged"], 1);
    assert_eq!(gateway.chat_with(&user(asked), &only).await.outcome(), "stale");
    gateway.chat_with(&user(asked), &[("cache-control", "no-cache")]).await;
    for verdict in ["unsafe", "wrong"] {
        let hit = gateway.ask(asked).await;
        assert_eq!(hit.outcome(), "hit-exact");
        let request = hit.header("x-semblance-request-id");
        assert_eq!(complain(json!({"request_id": request, "verdict": verdict})).await.1["purged"], 1, "{verdict}");
        assert_eq!(gateway.chat_with(&user(asked), &only).await.status, 504, "{verdict}");
        gateway.ask(asked).await;
    }
    assert_eq!(books(&gateway).await["reported"], 0, "none of these was a wrong hit by meaning");
    for wrong in [json!({"verdict": "wrong"}), json!({"entry_id": entry, "request_id": "x", "verdict": "wrong"})] {
        assert_eq!(complain(wrong).await.0, 400);
    }
    for gone in [json!({"entry_id": entry, "verdict": "unsafe"}), json!({"request_id": "sem-0", "verdict": "wrong"})] {
        assert_eq!(complain(gone).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_hits_by_meaning_are_recorded_and_never_served() {
    let gateway = audited(0.0).config(|config| config.shadow = true).start().await;
    let (asked, reworded) = PAIRS[0];
    gateway.script.answer(reworded, WRONG);
    gateway.ask(asked).await;
    assert_eq!(gateway.ask(asked).await.outcome(), "hit-exact");
    let would = gateway.ask(reworded).await;
    assert_eq!((would.outcome(), detail(&would), would.content().as_str()), ("miss", "shadow", WRONG));
    assert!(metric(&gateway, "semblance_withheld_total{reason=\"shadow\",category=\"default\"} 1").await);
    until(&gateway, "wrong", 1).await;
    assert_eq!(gateway.calls(), 2, "the comparison costs no call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_ask_for_shadow_mode_and_known_wordings_are_withheld_too() {
    let gateway = audited(0.0).start().await;
    let (asked, reworded) = PAIRS[0];
    let shadow = [("x-semblance-mode", "shadow"), ("cache-control", "only-if-cached")];
    gateway.ask(asked).await;
    assert_eq!(gateway.chat_with(&user(reworded), &shadow).await.status, 504);
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-semantic");
    assert_eq!(gateway.ask(reworded).await.outcome(), "hit-exact");
    assert_eq!(gateway.chat_with(&user(reworded), &shadow).await.status, 504);
}

/// A gateway that serves nothing by meaning on its own, with a judge that always says `verdict`.
async fn judged(verdict: &str) -> (TestGateway, TestGateway) {
    // The judge speaks OpenAI's protocol on loopback; so does a gateway.
    let judge = TestGateway::start().await;
    judge.script.always(Reply::text(verdict));
    let config = JudgeConfig { url: judge.url("/v1"), model: "judge-1".to_owned(), api_key: None, margin: 0.2 };
    let mut strict = audited(0.0).config(|gateway| gateway.judge = Some(config));
    strict.verifier = Some(saying(0.4));
    (strict.start().await, judge)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judges_yes_makes_a_wording_known() {
    let (gateway, judge) = judged("Yes.").await;
    let (asked, reworded) = PAIRS[0];
    let only = [("cache-control", "only-if-cached")];
    gateway.ask(asked).await;
    assert_eq!(gateway.chat_with(&user(reworded), &only).await.status, 504, "nothing unverified is served");
    eventually("the wording is known", || async {
        gateway.chat_with(&user(reworded), &only).await.outcome() == "hit-exact"
    })
    .await;
    assert_eq!(judge.calls(), 1, "a pair is asked about once");
    let sent = judge.script.last().unwrap().json();
    let pair: Value = serde_json::from_str(sent["messages"][1]["content"].as_str().unwrap()).unwrap();
    assert_eq!((pair, &sent["model"]), (json!({"first": asked, "second": reworded}), &json!("judge-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judges_no_blocks_the_pair_and_a_guard_rejection_is_not_asked_about() {
    let (gateway, judge) = judged("No").await;
    let (asked, reworded) = PAIRS[1];
    let only = [("cache-control", "only-if-cached")];
    gateway.ask(asked).await;
    gateway.chat_with(&user("How do I disable two-factor authentication?"), &only).await;
    gateway.chat_with(&user(reworded), &only).await;
    eventually("the judge said no", || async { metric(&gateway, "semblance_judged_total{verdict=\"no\"} 1").await })
        .await;
    assert_eq!(judge.calls(), 1);
    assert_eq!(detail(&gateway.ask(reworded).await), "blocked");
}
