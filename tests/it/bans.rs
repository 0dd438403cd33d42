//! Purges by meaning: what is near, now and when it arrives later.

use std::{sync::Arc, time::Duration};

use semblance::upstream::scripted::{Gate, Reply};
use serde_json::{Value, json};

use crate::harness::{START, Setup, TestGateway, asking, eventually, user};

const NEAR: &str = "How do I reset my password?";
const REWORDED: &str = "How can I reset my password?";
const FAR: &str = "Which rivers flow through Vienna?";

const DAY: &str = r#"category = "default"
summary = "Everything else."
[freshness]
ttl = "24h"
stale_while_revalidate = "1h"
"#;

async fn started() -> TestGateway {
    Setup::new().policies(&[("default.toml", DAY)]).start().await
}

async fn cached(gateway: &TestGateway, question: &str) -> String {
    let headers = [("cache-control", "only-if-cached"), ("x-semblance-mode", "exact")];
    gateway.chat_with(&user(question), &headers).await.outcome().to_owned()
}

async fn purge(gateway: &TestGateway, order: Value) -> Value {
    let (status, answer) = gateway.admin_post("/semblance/purge", &order).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn bans(gateway: &TestGateway) -> Vec<Value> {
    gateway.admin_get("/semblance/bans").await["bans"].as_array().unwrap().clone()
}

/// Both wordings and a question about something else, each with an entry of its own.
async fn filled() -> TestGateway {
    let gateway = started().await;
    for question in [NEAR, REWORDED, FAR] {
        gateway.chat_with(&user(question), &[("x-semblance-mode", "semantic"), ("cache-control", "no-cache")]).await;
    }
    gateway.app.store().flush().await.unwrap();
    assert_eq!(gateway.admin_get("/semblance/entries").await["total"], 3);
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_by_meaning_takes_every_near_wording_and_no_far_one() {
    let gateway = filled().await;
    let counted = purge(&gateway, json!({"near": "password reset", "radius": 0.7, "dry_run": true})).await;
    assert_eq!((&counted["purged"], &counted["dry_run"]), (&json!(2), &json!(true)));
    assert_eq!(bans(&gateway).await, Vec::<Value>::new(), "counting keeps no ban");
    assert_eq!(cached(&gateway, NEAR).await, "hit-exact", "nor removes anything");
    let purged = purge(&gateway, json!({"near": "password reset", "radius": 0.7})).await;
    assert_eq!(purged["purged"], 2);
    for (question, outcome) in [(NEAR, "miss"), (REWORDED, "miss"), (FAR, "hit-exact")] {
        assert_eq!(cached(&gateway, question).await, outcome, "{question}");
    }
    assert_eq!(gateway.ask(NEAR).await.outcome(), "miss");
    assert_eq!(cached(&gateway, NEAR).await, "hit-exact", "what is generated after it is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_radius_takes_a_rewording_and_a_soft_one_makes_stale() {
    let gateway = filled().await;
    let purged = purge(&gateway, json!({"near": NEAR, "soft": true})).await;
    assert_eq!(purged["purged"], 2);
    for (question, outcome) in [(NEAR, "stale"), (REWORDED, "stale"), (FAR, "hit-exact")] {
        assert_eq!(cached(&gateway, question).await, outcome, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_answer_that_is_being_made_is_not_kept_and_a_far_one_is() {
    for (question, kept) in [(REWORDED, "miss"), (FAR, "hit-exact")] {
        let gateway = Arc::new(started().await);
        let gate = Gate::closed();
        gateway.script.push(Reply::text("As ever.").behind(&gate));
        let running = asking(&gateway, user(question), &[]);
        gateway.script.reached(1).await;
        purge(&gateway, json!({"near": NEAR})).await;
        gate.open();
        assert_eq!(running.await.unwrap().content(), "As ever.");
        assert_eq!(cached(&gateway, question).await, kept, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_catches_what_was_generated_before_it_and_arrives_after_a_restart() {
    for (soft, kept) in [(false, "miss"), (true, "stale")] {
        let gateway = started().await;
        gateway.hand.advance(Duration::from_secs(60));
        purge(&gateway, json!({"near": NEAR, "soft": soft})).await;
        let gateway = gateway.restart().await;
        // What is generated now seems to be from before.
        gateway.hand.set_back(Duration::from_secs(60));
        for question in [REWORDED, FAR] {
            assert_eq!(gateway.ask(question).await.outcome(), "miss");
        }
        assert_eq!(cached(&gateway, REWORDED).await, kept);
        assert_eq!(cached(&gateway, FAR).await, "hit-exact");
        gateway.hand.advance(Duration::from_secs(61));
        gateway.chat_with(&user(REWORDED), &[("cache-control", "no-cache")]).await;
        assert_eq!(cached(&gateway, REWORDED).await, "hit-exact");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_are_listed_lifted_and_end_when_nothing_that_old_is_served() {
    let gateway = started().await;
    purge(&gateway, json!({"near": NEAR, "category": "default", "soft": true})).await;
    purge(&gateway, json!({"near": FAR, "radius": 0.9, "until_ms": START.as_millis() - 1000})).await;
    let listed = bans(&gateway).await;
    let first = &listed[0];
    assert_eq!(
        (&first["near"], &first["hardness"], &first["category"]),
        (&json!(NEAR), &json!("soft"), &json!("default"))
    );
    assert_eq!(
        (&first["until_ms"], &listed[1]["until_ms"]),
        (&json!(START.as_millis()), &json!(START.as_millis() - 1000))
    );
    let day_and_hour = 25 * 3600 * 1000;
    assert_eq!(first["expires_ms"], START.as_millis() + day_and_hour);
    let path = format!("/semblance/bans/{}", listed[1]["id"]);
    let lift = async || gateway.client.delete(gateway.admin(&path)).send().await.unwrap().status().as_u16();
    assert_eq!((lift().await, lift().await), (200, 404));
    assert_eq!(bans(&gateway).await.len(), 1);
    gateway.hand.advance(Duration::from_millis(u64::try_from(day_and_hour).unwrap() + 1));
    let store = Arc::clone(gateway.app.store());
    semblance::jobs::reap_once(gateway.app.gateway(), store.as_ref(), u64::MAX).await.unwrap();
    assert_eq!(bans(&gateway).await, Vec::<Value>::new());
    assert_eq!(store.bans().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_by_meaning_is_held_to_category_scope_and_time() {
    let gateway = filled().await;
    gateway.chat_with(&user(NEAR), &[("authorization", "Bearer sk-other")]).await;
    gateway.app.store().flush().await.unwrap();
    let count = async |mut order: Value| {
        order["dry_run"] = json!(true);
        purge(&gateway, order).await["purged"].clone()
    };
    assert_eq!(count(json!({"near": NEAR})).await, 3);
    gateway.chat_with(&user(NEAR), &[("x-semblance-namespace", "own"), ("x-semblance-mode", "exact")]).await;
    let counted = purge(&gateway, json!({"near": NEAR, "dry_run": true})).await;
    assert_eq!((&counted["purged"], &counted["without_meaning"]), (&json!(3), &json!(1)));
    assert_eq!(count(json!({"near": NEAR, "category": "another"})).await, 0);
    let scope = gateway.admin_get("/semblance/entries").await["entries"][1]["scope"].clone();
    assert_eq!(count(json!({"near": NEAR, "scope": scope})).await, 1);
    assert_eq!(count(json!({"near": NEAR, "until_ms": START.as_millis() - 1})).await, 0);
    assert_eq!(count(json!({"near": NEAR, "older_than": "1s"})).await, 0);
    for bad in [
        json!({"near": NEAR, "tag": "faq"}),
        json!({"near": NEAR, "radius": 1.5}),
        json!({"near": " "}),
        json!({"radius": 0.9}),
        json!({"near": NEAR, "until_ms": START.as_millis() + 1}),
        json!({"near": NEAR, "until_ms": 1, "older_than": "1s"}),
    ] {
        let (status, answer) = gateway.admin_post("/semblance/purge", &bad).await;
        assert_eq!((status, &answer["error"]["reason"]), (400, &json!("bad-request")), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_words_by_meaning_and_told_by_age() {
    let gateway = filled().await;
    gateway.hand.advance(Duration::from_secs(24 * 3600 + 60));
    gateway.ask("How do bees make honey?").await;
    gateway.app.store().flush().await.unwrap();
    let found = gateway.admin_get("/semblance/entries?text=PASSWORD&limit=1").await;
    assert_eq!((found["entries"].as_array().unwrap().len(), &found["total"]), (1, &json!(2)));
    let near = gateway.admin_get("/semblance/entries?near=I%20forgot%20my%20password&radius=0.4").await;
    let queries: Vec<_> = near["entries"].as_array().unwrap().iter().map(|entry| entry["query"].clone()).collect();
    assert_eq!(near["total"], 2, "{queries:?}");
    assert!(near["entries"][0]["similarity"].as_f64().unwrap() >= near["entries"][1]["similarity"].as_f64().unwrap());
    let listed = gateway.admin_get("/semblance/entries").await;
    assert_eq!(listed["total"], 4);
    let ages: Vec<_> = listed["entries"].as_array().unwrap().iter().map(|entry| entry["freshness"].clone()).collect();
    assert_eq!(ages, ["fresh", "stale", "stale", "stale"]);
    assert_eq!(listed["entries"][3]["age_ms"], 86_460_000);
    assert!(listed["entries"][0].get("similarity").is_none());
    let shown =
        gateway.admin_get(&format!("/semblance/entries/{}", listed["entries"][0]["id"].as_str().unwrap())).await;
    assert_eq!((&shown["freshness"], &shown["sources"]), (&json!("fresh"), &json!([])));
    gateway.hand.advance(Duration::from_secs(3600));
    eventually("expired", async || {
        gateway.admin_get("/semblance/entries").await["entries"][3]["freshness"] == "expired"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_purges_by_meaning() {
    let gateway = filled().await;
    let admin = gateway.app.admin.to_string();
    let run = async |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.arg("purge").args(args).args(["--admin", &admin]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let near = ["--near", "password reset", "--radius", "0.7"];
    assert_eq!(run(&[&near[..], &["--dry-run"]].concat()).await, "would purge 2 entries\n");
    assert_eq!(run(&[&near[..], &["--soft"]].concat()).await, "made stale 2 entries\n");
    assert_eq!(run(&near).await, "purged 2 entries\n");
    assert_eq!(bans(&gateway).await.len(), 2);
}
