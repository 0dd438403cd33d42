//! The fixtures that the dashboard lists, runs and adds to.

use semblance::store::encryption::EncryptionKey;
use serde_json::{Value, json};

use crate::harness::{Setup, TestGateway};

async fn ended(gateway: &TestGateway, job: &str) -> Value {
    for _ in 0..3000 {
        let state = gateway.admin_get(&format!("/semblance/fixtures/run/{job}")).await;
        if state["state"] != "running" {
            return state;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the run never ended");
}

fn case(id: &str, ask: &str, expect: &str) -> Value {
    json!({"id": id, "seed": "How do I enable two-factor authentication?", "ask": ask, "expect": expect, "kind": "desk"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_added_listed_and_run() {
    let gateway = TestGateway::start().await;
    let none = gateway.admin_get("/semblance/fixtures").await;
    assert_eq!(none["files"], json!([]));
    assert!(none["directory"].as_str().unwrap().ends_with("fixtures"));
    let add = |case: Value| {
        let gateway = &gateway;
        async move { gateway.admin_post("/semblance/fixtures/cases", &json!({"file": "desk.jsonl", "case": case})).await }
    };
    let near = case("near", "How do I disable two-factor authentication?", "miss");
    assert_eq!(add(near.clone()).await, (200, json!({"file": "desk.jsonl", "cases": 1})));
    assert_eq!(add(near).await.0, 409, "two cases of one name");
    assert_eq!(add(case("same", "How can I enable two-factor authentication?", "hit")).await.1["cases"], 2);
    let (status, refused) = add(json!({"seed": "a", "ask": "b"})).await;
    assert_eq!((status, &refused["error"]["reason"]), (400, &json!("bad-request")));
    assert!(refused["error"]["message"].as_str().unwrap().contains("expect"), "{refused}");
    let listed = gateway.admin_get("/semblance/fixtures").await;
    let file =
        json!({"file": "desk.jsonl", "cases": 2, "near_misses": 1, "paraphrases": 1, "problems": 0, "writable": true});
    assert_eq!(listed["files"], json!([file]));

    for pool in [false, true] {
        let (status, started) =
            gateway.admin_post("/semblance/fixtures/run", &json!({"files": ["desk.jsonl"], "pool": pool})).await;
        assert_eq!(status, 202, "{started}");
        let done = ended(&gateway, started["job"].as_str().unwrap()).await;
        assert_eq!((&done["state"], &done["done"], &done["total"]), (&json!("done"), &json!(2), &json!(2)), "{done}");
        let report = &done["report"];
        assert_eq!(
            (&report["cases"], &report["paraphrases_hit"], &report["near_misses_served"]),
            (&json!(2), &json!(1), &json!(0)),
            "{report}"
        );
        assert_eq!(report["pool"], pool);
    }
    assert_eq!(gateway.admin_get("/semblance/entries").await["entries"], json!([]), "a run has a cache of its own");
    let missing = gateway.client.get(gateway.admin("/semblance/fixtures/run/r99")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_out_of_the_directory() {
    let setup = Setup::new();
    let (dir, outside) = (setup.dir.path().join("cases"), setup.dir.path().join("outside.jsonl"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(&outside, "{\"seed\":\"a\",\"ask\":\"b\",\"expect\":\"hit\"}\n").unwrap();
    std::os::unix::fs::symlink(&outside, dir.join("desk.jsonl")).unwrap();
    let gateway = setup.config(|config| config.fixtures = Some(dir.clone())).start().await;
    assert_eq!(gateway.admin_get("/semblance/fixtures").await["files"], json!([]));
    for name in ["../outside.jsonl", "desk.jsonl", "/etc/passwd", "cases/../../outside.jsonl"] {
        let (status, answer) = gateway.admin_post("/semblance/fixtures/run", &json!({"files": [name]})).await;
        assert_eq!((status, &answer["error"]["reason"]), (422, &json!("fixture-problems")), "{name}");
        let body = json!({"file": name, "case": case("x", "b", "hit")});
        let (status, _) = gateway.admin_post("/semblance/fixtures/cases", &body).await;
        assert_eq!(status, if name == "desk.jsonl" { 500 } else { 400 }, "{name}: a link is left alone");
    }
    assert_eq!(std::fs::read_to_string(&outside).unwrap().lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_case_is_told_and_nothing_is_run() {
    let setup = Setup::new();
    let dir = setup.dir.path().join("cases");
    std::fs::create_dir_all(dir.join("more")).unwrap();
    std::fs::write(dir.join("more/a.jsonl"), "nonsense\n").unwrap();
    let gateway = setup.config(|config| config.fixtures = Some(dir.clone())).start().await;
    assert_eq!(gateway.admin_get("/semblance/fixtures").await["files"][0]["problems"], 1);
    let (status, answer) = gateway.admin_post("/semblance/fixtures/run", &json!({"files": ["more/a.jsonl"]})).await;
    assert_eq!(status, 422);
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("more/a.jsonl:1: "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_cases_that_may_be_that_persons() {
    let gateway = TestGateway::start().await;
    gateway.ask("Who wrote Emma?").await;
    gateway.app.store().flush().await.unwrap();
    let principal = gateway.admin_get("/semblance/entries").await["entries"][0]["principal"].clone();
    let mut cases = [case("theirs", "b", "miss"), case("others", "b", "miss"), case("unknown", "b", "miss")];
    cases[0]["of"] = json!([principal]);
    cases[1]["of"] = json!(["1".repeat(64)]);
    for case in cases {
        assert_eq!(gateway.admin_post("/semblance/fixtures/cases", &json!({"case": case})).await.0, 200);
    }
    gateway.admin_post("/semblance/purge", &json!({"principal": principal})).await;
    let kept = std::fs::read_to_string(gateway.data_dir().join("fixtures/desk.jsonl")).unwrap();
    assert!(kept.contains("others") && !kept.contains("theirs") && !kept.contains("unknown"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_data_directory_takes_no_case_in_plain_text() {
    let key = EncryptionKey::parse(&"7".repeat(64)).unwrap();
    let body = json!({"case": case("x", "b", "miss")});
    let gateway = Setup::new().config(|config| config.encryption_key = Some(key.clone())).start().await;
    let (status, answer) = gateway.admin_post("/semblance/fixtures/cases", &body).await;
    assert_eq!((status, &answer["error"]["reason"]), (409, &json!("sealed")));
    let setup = Setup::new();
    let elsewhere = setup.dir.path().join("cases");
    let named = setup.config(|config| (config.encryption_key, config.fixtures) = (Some(key), Some(elsewhere)));
    assert_eq!(named.start().await.admin_post("/semblance/fixtures/cases", &body).await.0, 200);
}
