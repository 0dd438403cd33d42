//! Export and import, what an operator writes for clients to be served, and the fixtures of the desk.

mod desk;
mod purged;
mod written;

use std::{
    path::Path,
    process::{Command, Output},
};

use semblance::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, streaming, user, with};

const ASKED: &str = "How do I enable two-factor authentication?";
const REWORDED: &str = "How can I enable two-factor authentication?";
const REWORDED_AGAIN: &str = "How could I enable two-factor authentication?";

/// Every line of what a gateway holds.
async fn exported(gateway: &TestGateway, query: &str) -> String {
    let answer = gateway.client.get(gateway.admin(&format!("/semblance/export{query}"))).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    answer.text().await.unwrap()
}

async fn imported_with(gateway: &TestGateway, query: &str, lines: &str) -> Value {
    let request = gateway.client.post(gateway.admin(&format!("/semblance/import{query}"))).body(lines.to_owned());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

async fn imported(gateway: &TestGateway, lines: &str) -> Value {
    imported_with(gateway, "", lines).await
}

/// `counts` are imported, replaced, skipped, expired, failed.
fn came_to(report: &Value, counts: [u64; 5]) {
    let found = ["imported", "replaced", "skipped", "expired", "failed"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(found, counts, "{report}");
}

/// A gateway whose data directory holds nothing but the other's principal key.
async fn empty_like(other: &TestGateway, setup: Setup) -> TestGateway {
    let data = setup.config.data_dir.clone();
    std::fs::create_dir_all(&data).unwrap();
    std::fs::copy(other.data_dir().join("principal.key"), data.join("principal.key")).unwrap();
    setup.start().await
}

async fn ask_as(gateway: &TestGateway, question: &str, who: &str) -> Answer {
    gateway.chat_with(&user(question), &[("authorization", &format!("Bearer {who}"))]).await
}

fn semblance(args: &[&str], dir: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
    command.current_dir(dir).env_clear().envs(variables.iter().copied()).args(args).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_in_an_empty_directory_answers_the_same_questions() {
    let old = TestGateway::start().await;
    let tagged = &[("x-semblance-tags", "security"), ("x-semblance-sources", "doc:2fa@v1")];
    let first = old.chat_with(&user(ASKED), tagged).await;
    assert_eq!(old.chat_with(&user(REWORDED), tagged).await.outcome(), "hit-semantic");
    let streamed = old.chat(&streaming(user("Who wrote Emma?"))).await.streamed();
    let cold = with(user("Name a colour."), &json!({"temperature": 0}));
    old.chat(&cold).await;
    let lines = exported(&old, "").await;
    assert_eq!(lines.lines().count(), 3);
    assert_eq!(exported(&old, "?tag=security").await.lines().count(), 1);
    assert_eq!(exported(&old, "?category=nowhere").await, "");

    let new = empty_like(&old, Setup::new()).await;
    came_to(&imported(&new, &lines).await, [3, 0, 0, 0, 0]);
    let exact = new.chat_with(&user(ASKED), tagged).await;
    assert_eq!((exact.outcome(), exact.content()), ("hit-exact", first.content()));
    assert!(exact.header("cache-status").contains("hit"), "{}", exact.header("cache-status"));
    let alias = new.chat_with(&user(REWORDED), tagged).await;
    assert_eq!((alias.outcome(), alias.content()), ("hit-exact", first.content()));
    let by_meaning = new.chat_with(&user(REWORDED_AGAIN), tagged).await;
    assert_eq!((by_meaning.outcome(), by_meaning.content()), ("hit-semantic", first.content()));
    assert_eq!(new.chat(&streaming(user("Who wrote Emma?"))).await.streamed(), streamed);
    assert_eq!(new.chat(&cold).await.outcome(), "hit-exact");
    assert_eq!(new.calls(), 0, "nothing was asked upstream");
    assert_eq!(ask_as(&new, "Who wrote Emma?", "sk-other").await.outcome(), "miss");

    came_to(&imported(&new, &lines).await, [0, 0, 3, 0, 0]);
    for selector in [json!({"tag": "security", "dry_run": true}), json!({"source": "doc:2fa", "dry_run": true})] {
        let (_, purged) = new.admin_post("/semblance/purge", &selector).await;
        assert_eq!(purged["purged"], 1, "{selector}");
    }
    let listed = new.admin_get("/semblance/entries?source=doc:2fa").await;
    assert_eq!(listed["entries"][0]["sources"], json!(["doc:2fa@v1"]));
    let new = new.restart().await;
    assert_eq!(new.chat_with(&user(ASKED), tagged).await.outcome(), "hit-exact", "it is on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_trip_by_command_needs_no_running_gateway() {
    // Commands go by the system's clock.
    let now = Clock::system().now();
    let old = Setup::new().on_disk().start_at(now).await;
    let first = old.ask(ASKED).await;
    old.ask(REWORDED).await;
    let key = std::fs::read(old.data_dir().join("principal.key")).unwrap();
    let old_dir = old.data_dir().to_owned();
    let setup = Setup::new().on_disk();
    let (new_dir, work) = (setup.config.data_dir.clone(), setup.dir.path().to_owned());
    std::fs::create_dir_all(&new_dir).unwrap();
    std::fs::write(new_dir.join("principal.key"), key).unwrap();
    let (old_text, new_text) = (old_dir.to_str().unwrap(), new_dir.to_str().unwrap());

    let locked = semblance(&["export", "--data-dir", old_text, "-o", "all.jsonl"], &work, &[]);
    assert_eq!(locked.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&locked.stderr).contains("in use by another"), "{locked:?}");
    let _held = old.stop().await;
    let done = semblance(&["export", "--data-dir", old_text, "-o", "all.jsonl"], &work, &[]);
    assert!(done.status.success(), "{done:?}");
    assert!(!work.join("all.jsonl.part").exists());
    let import = ["import", "all.jsonl", "--data-dir", new_text, "--upstream", "demo", "--json"];
    let done = semblance(&import, &work, &[]);
    assert!(done.status.success(), "{done:?}");
    came_to(&serde_json::from_slice(&done.stdout).unwrap(), [1, 0, 0, 0, 0]);
    assert!(!work.join("all.jsonl.import").exists());

    let new = setup.start_at(now).await;
    let exact = new.ask(ASKED).await;
    assert_eq!((exact.outcome(), exact.content()), ("hit-exact", first.content()));
    assert_eq!(new.ask(REWORDED).await.outcome(), "hit-exact");
    assert_eq!((new.ask(REWORDED_AGAIN).await.outcome(), new.calls()), ("hit-semantic", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_principal_key_a_credentials_entries_are_refused_and_say_so() {
    let old = TestGateway::start().await;
    old.ask(ASKED).await;
    let lines = exported(&old, "").await;
    let other = TestGateway::start().await;
    let report = imported(&other, &lines).await;
    came_to(&report, [0, 0, 0, 0, 1]);
    assert!(report["errors"][0]["message"].as_str().unwrap().contains("copy that gateway's principal.key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_a_vector_or_with_anothers_is_embedded_anew() {
    let old = TestGateway::start().await;
    let first = old.ask(ASKED).await;
    let mut line: Value = serde_json::from_str(&exported(&old, "").await).unwrap();
    for vector in [None, Some("another-model@1")] {
        match vector {
            None => drop(line.as_object_mut().unwrap().remove("vector")),
            Some(embedder) => line["embedder"] = embedder.into(),
        }
        let new = empty_like(&old, Setup::new()).await;
        came_to(&imported(&new, &line.to_string()).await, [1, 0, 0, 0, 0]);
        let hit = new.ask(REWORDED).await;
        assert_eq!((hit.outcome(), hit.content()), ("hit-semantic", first.content()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_known_to_be_wrong_come_along() {
    let old = TestGateway::start().await;
    old.ask(ASKED).await;
    let hit = old.ask(REWORDED).await;
    let body = json!({"request_id": hit.header("x-semblance-request-id"), "verdict": "wrong"});
    assert_eq!(old.admin_post("/semblance/feedback", &body).await.0, 200);
    let new = empty_like(&old, Setup::new()).await;
    came_to(&imported(&new, &exported(&old, "").await).await, [1, 0, 0, 0, 0]);
    assert_eq!(new.ask(ASKED).await.outcome(), "hit-exact");
    assert_eq!(new.ask(REWORDED).await.outcome(), "miss", "somebody found that the answer is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_told_with_their_numbers_and_the_rest_goes_on() {
    let gateway = TestGateway::start().await;
    let good = |question: &str| {
        json!({"question": question, "answer": "Yes.", "model": "gpt-4o-mini", "credential": "sk-test"}).to_string()
    };
    let lines = [
        good("Do you ship to Norway?"),
        String::new(),
        "nonsense".to_owned(),
        json!({"question": "q", "answer": "a", "credential": "sk-test"}).to_string(),
        json!({"question": "q", "answer": "a", "model": "*", "credential": "sk-test"}).to_string(),
        json!({"question": "q", "answer": " ", "model": "m", "credential": "sk-test"}).to_string(),
        json!({"question": "q", "answer": "a", "model": "m", "generated_at": "soon", "credential": "k"}).to_string(),
        json!({"question": "q", "answer": "a", "model": "m", "credential_env": "HOME"}).to_string(),
        json!({"question": "q", "answer": "a", "model": "m", "family": "responses", "credential": "k"}).to_string(),
        json!({"question": "q", "answer": "a", "model": "m", "headers": {"x-api-key": "k"}}).to_string(),
        json!({"question": "q", "answer": "a", "model": "m", "generated_at": "2100-01-01", "credential": "k"})
            .to_string(),
        json!({"fingerprint": "00"}).to_string(),
        good("Do you ship to Sweden?"),
    ];
    let report = imported(&gateway, &lines.join("\n")).await;
    came_to(&report, [2, 0, 0, 0, 10]);
    assert_eq!(report["lines"], 12);
    let errors = report["errors"].as_array().unwrap();
    let numbers: Vec<u64> = errors.iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (3..13).collect::<Vec<u64>>());
    let words =
        ["expected", "name the model", "name the model", "must not be empty", "2026-11-01", "only the command line"];
    let more = ["chat, messages, ollama and gemini", "no place in a file", "lies in the future", "missing field"];
    for (error, word) in errors.iter().zip(words.into_iter().chain(more)) {
        assert!(error["message"].as_str().unwrap().contains(word), "{error} says {word}");
    }
    assert_eq!(gateway.ask("Do you ship to Sweden?").await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_leaves_nothing() {
    let old = TestGateway::start().await;
    old.ask(ASKED).await;
    let lines = exported(&old, "").await + "nonsense\n";
    let new = empty_like(&old, Setup::new()).await;
    for query in ["?dry_run=1", "?dry_run=true"] {
        let report = imported_with(&new, query, &lines).await;
        came_to(&report, [1, 0, 0, 0, 1]);
        assert_eq!(report["dry_run"], true);
    }
    assert_eq!(new.admin_get("/semblance/entries").await["entries"], json!([]));
    assert_eq!(new.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_be_served_any_more_is_left_and_what_is_older_gives_way() {
    let old = TestGateway::start().await;
    old.ask(ASKED).await;
    let lines = exported(&old, "").await;
    let new = empty_like(&old, Setup::new()).await;
    new.ask(ASKED).await;
    came_to(&imported(&new, &lines).await, [0, 0, 1, 0, 0]);
    old.hand.advance(std::time::Duration::from_secs(60));
    old.chat_with(&user(ASKED), &[("cache-control", "no-cache")]).await;
    let newer = exported(&old, "").await;
    new.hand.advance(std::time::Duration::from_secs(60));
    came_to(&imported(&new, &newer).await, [0, 1, 0, 0, 0]);
    new.hand.advance(std::time::Duration::from_secs(400 * 24 * 3600));
    let empty = empty_like(&old, Setup::new()).await;
    empty.hand.advance(std::time::Duration::from_secs(400 * 24 * 3600));
    came_to(&imported(&empty, &newer).await, [0, 0, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_every_protocol_come_along() {
    let user = json!({"role": "user", "content": "Who wrote Emma?"});
    let calls = [
        ("/v1/messages", json!({"model": "m", "max_tokens": 99, "messages": [user]})),
        ("/v1/responses", json!({"model": "m", "input": "Who wrote Emma?"})),
        ("/v1/completions", json!({"model": "m", "prompt": "Emma was written by"})),
        ("/v1/embeddings", json!({"model": "m", "input": ["Emma", "Persuasion"]})),
        ("/api/chat", json!({"model": "m", "messages": [user]})),
        ("/v1beta/models/m:generateContent", json!({"contents": [{"parts": [{"text": "Who wrote Emma?"}]}]})),
    ];
    let old = TestGateway::start().await;
    for (path, body) in &calls {
        assert_eq!(old.post(path, body, &[]).await.outcome(), "miss", "{path}");
    }
    let lines = exported(&old, "").await;
    let new = empty_like(&old, Setup::new()).await;
    came_to(&imported(&new, &lines).await, [7, 0, 0, 0, 0]);
    for (path, body) in &calls {
        let hit = new.post(path, body, &[]).await;
        assert_eq!(hit.outcome(), "hit-exact", "{path}: {}", hit.header("cache-status"));
    }
    assert_eq!(new.calls(), 0);
}
