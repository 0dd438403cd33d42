//! Traffic decided again: the simulation against the gateway that it stands for, and its job on the admin listener.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Setup, TestGateway, eventually, user, with};

const DEFAULT: &str = "category = \"default\"\nsummary = \"The rest.\"\n[freshness]\nttl = \"10m\"\n\
     stale_while_revalidate = \"5m\"\n[reuse]\ntier = \"semantic\"\n[privacy]\ntraffic_text = true\n";
const FAQ: &str = "category = \"faq\"\nsummary = \"Public.\"\n[match]\nphrases = [\"refund\", \"password\"]\n\
     examples = [\"How do I reset my password?\"]\n[freshness]\nttl = \"1h\"\n\
     [reuse]\ntier = \"semantic\"\nscope = \"shared\"\n[privacy]\ntraffic_text = true\n";
const NEVER: &str = "category = \"balance\"\nsummary = \"Never.\"\n[match]\nphrases = [\"my balance\"]\n\
     [freshness]\nttl = \"0s\"\n";
const POLICIES: &[(&str, &str)] = &[("default.toml", DEFAULT), ("faq.toml", FAQ), ("balance.toml", NEVER)];

const QUESTIONS: &[&str] = &[
    "How do I reset my password?",
    "How can I reset my password?",
    "What is the refund policy?",
    "What's your refund policy?",
    "Is a refund possible within 5 days?",
    "Is a refund possible within 6 days?",
    "What is my balance?",
    "Who wrote Hamlet?",
    "Who is the author of Hamlet?",
    "What is the capital of France?",
    "Which city is the capital of France?",
    "Mail it to jane.doe@gmail.com",
];

/// A gateway that has answered `count` requests of three people over some hours.
async fn after(count: usize) -> (TestGateway, BTreeMap<String, u64>) {
    let gateway =
        Setup::new().really_verified().policies(POLICIES).config(|config| config.traffic.record = true).start().await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut live: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..count {
        let key = format!("Bearer sk-{}", random.u8(..3));
        let answer = gateway
            .chat_with(&user(QUESTIONS[random.usize(..QUESTIONS.len())]), &[("authorization", key.as_str())])
            .await;
        *live.entry(answer.outcome().to_owned()).or_default() += 1;
        // A background refresh ends before the next request, as it does when seconds pass.
        eventually("nothing runs", async || gateway.app.gateway().flights().is_empty()).await;
        gateway.hand.advance(Duration::from_secs(random.u64(5..120)));
    }
    (gateway, live)
}

async fn simulated(gateway: &TestGateway, request: &Value) -> Value {
    let (status, begun) = gateway.admin_post("/semblance/simulate", request).await;
    assert_eq!(status, 202, "{begun}");
    let path = format!("/semblance/simulate/{}", begun["job"].as_str().unwrap());
    eventually("the job has ended", async || gateway.admin_get(&path).await["state"] != "running").await;
    let told = gateway.admin_get(&path).await;
    assert_eq!(told["state"], "done", "{told}");
    let page = gateway.client.get(gateway.admin(&format!("{path}/report.html"))).send().await.unwrap();
    assert!(page.text().await.unwrap().starts_with("<!doctype html>"));
    told["report"].clone()
}

#[tokio::test]
async fn a_simulation_of_recorded_traffic_agrees_with_the_gateway_that_answered_it() {
    let (gateway, live) = after(400).await;
    let report = simulated(&gateway, &json!({})).await;
    let today = &report["today"];
    let live = |label: &str| live.get(label).copied().unwrap_or(0);
    for (key, label) in [
        ("hits_exact", "hit-exact"),
        ("hits_semantic", "hit-semantic"),
        ("stale", "stale"),
        ("misses", "miss"),
        ("bypass", "bypass"),
    ] {
        let (simulated, lived) = (today[key].as_u64().unwrap(), live(label));
        assert!(simulated.abs_diff(lived) <= 4, "{key}: simulated {simulated}, lived {lived}; {today}");
    }
    assert!(live("hit-exact") > 50 && live("hit-semantic") > 5 && live("stale") > 5 && live("miss") > 20, "all occur");
    assert_eq!(report["proposed"], *today, "the same policies decide the same");
    assert_eq!(report["changes_total"], 0);
}

#[tokio::test]
async fn a_shorter_ttl_costs_more_calls_and_the_next_answer_changes_once_it_is_saved() {
    let (gateway, _) = after(120).await;
    let shorter = FAQ.replace("ttl = \"1h\"", "ttl = \"1m\"");
    let files = json!({"faq.toml": shorter});
    let report = simulated(&gateway, &json!({"files": files})).await;
    let calls = |side: &str| report[side]["upstream_calls"].as_u64().unwrap();
    assert!(calls("proposed") > calls("today"), "{report}");
    assert!(report["changes_total"].as_u64().unwrap() > 0);
    let change = &report["changes"][0];
    assert_eq!((change["proposed"]["reason"].as_str(), change["category"].as_str()), (Some("expired"), Some("faq")));

    gateway.ask("How do I reset my password?").await;
    gateway.hand.advance(Duration::from_secs(120));
    assert_eq!(gateway.ask("How do I reset my password?").await.outcome(), "hit-exact");
    let base = gateway.admin_get("/semblance/policies/files").await["revision"].clone();
    let save = json!({"files": files, "base_revision": base, "who": "Ada", "note": "prices change"});
    let put = gateway.client.put(gateway.admin("/semblance/policies/files")).header("content-type", "application/json");
    assert_eq!(put.body(save.to_string()).send().await.unwrap().status(), 200);
    assert_eq!(gateway.ask("How do I reset my password?").await.outcome(), "miss");
    gateway.hand.advance(Duration::from_secs(120));
    let (status, restored) = gateway.admin_post("/semblance/policies/restore", &json!({"version": 1})).await;
    assert_eq!(status, 200, "{restored}");
    assert_eq!(gateway.ask("How do I reset my password?").await.outcome(), "hit-exact");
}

#[tokio::test]
async fn traffic_can_be_brought_along_and_bad_lines_are_named() {
    let gateway = Setup::new().policies(POLICIES).start().await;
    let line = |at: i64| with(json!({"at_ms": at, "query": "What is the refund policy?"}), &json!({"answer_ms": 10}));
    let traffic = format!("{}\n{}\n", line(0), line(5000));
    let report = simulated(&gateway, &json!({"traffic": traffic})).await;
    assert_eq!((report["requests"].as_u64(), report["today"]["hits_exact"].as_u64()), (Some(2), Some(1)));
    let (status, refused) = gateway.admin_post("/semblance/simulate", &json!({"traffic": "{}\n"})).await;
    assert_eq!(status, 400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("line 1"), "{refused}");
}

#[tokio::test]
async fn proposed_policies_with_problems_are_refused_with_each_of_them() {
    let gateway = Setup::new().policies(POLICIES).start().await;
    let edit = json!({"files": {"faq.toml": "category = \"faq\"\n[freshness]\nttl = \"soon\"\n"}});
    let (status, refused) = gateway.admin_post("/semblance/simulate", &edit).await;
    assert_eq!((status, refused["error"]["reason"].as_str()), (422, Some("policy-problems")));
    assert!(refused["problems"].as_array().unwrap().iter().any(|problem| problem["key"] == "freshness.ttl"));
}
