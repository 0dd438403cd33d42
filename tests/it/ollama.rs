//! Recording and replay of Ollama's native protocol.

use http::{HeaderValue, StatusCode, header};
use semblance::upstream::scripted::{Reply, Step};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, with};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";

fn chat(question: &str) -> Value {
    json!({"model": "llama3", "messages": [{"role": "user", "content": question}]})
}

async fn post(gateway: &TestGateway, path: &str, body: &Value) -> Answer {
    gateway.post(path, body, &[]).await
}

/// The lines of a stream.
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(answer.body.ends_with('\n'));
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn said(lines: &[Value]) -> String {
    lines.iter().filter_map(|line| line["message"]["content"].as_str().or(line["response"].as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_64_a_body_without_stream_gets_lines_that_end_with_done_also_on_a_hit() {
    let gateway = TestGateway::start().await;
    gateway.script.push(Reply::text("Use vinegar, then rinse."));
    let miss = post(&gateway, "/api/chat", &chat(ASKED)).await;
    let hit = post(&gateway, "/api/chat", &chat(ASKED)).await;
    let reworded = post(&gateway, "/api/chat", &chat(REWORDED)).await;
    assert_eq!((miss.outcome(), hit.outcome(), reworded.outcome()), ("miss", "hit-exact", "hit-semantic"));
    for answer in [&miss, &hit, &reworded] {
        let lines = lines(answer);
        assert_eq!(said(&lines), "Use vinegar, then rinse.");
        let (last, before) = lines.split_last().unwrap();
        assert!(!before.is_empty() && before.iter().all(|line| line["done"] == false));
        assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
        assert!(last["eval_count"].is_u64() && last["total_duration"].is_u64());
    }
    let whole = post(&gateway, "/api/chat", &with(chat(ASKED), &json!({"stream": false}))).await;
    assert_eq!((whole.outcome(), &whole.json()["done"]), ("hit-exact", &json!(true)));
    assert_eq!(whole.json()["message"]["content"], "Use vinegar, then rinse.");
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_streamed_and_generations_are_kept_apart_from_chats() {
    let gateway = TestGateway::start().await;
    let body = json!({"model": "llama3", "prompt": ASKED});
    gateway.script.push(Reply::text("Use vinegar."));
    let miss = post(&gateway, "/api/generate", &with(body.clone(), &json!({"stream": false}))).await;
    assert_eq!((miss.outcome(), &miss.json()["response"]), ("miss", &json!("Use vinegar.")));
    let hit = post(&gateway, "/api/generate", &body).await;
    assert_eq!((hit.outcome(), said(&lines(&hit)).as_str()), ("hit-exact", "Use vinegar."));
    gateway.script.push(Reply::text("Citric acid."));
    assert_eq!(said(&lines(&post(&gateway, "/api/chat", &chat(ASKED)).await)), "Citric acid.");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_break_off_abort_and_are_not_stored() {
    let gateway = TestGateway::start().await;
    let line = |text: &str| {
        let line = json!({"model": "llama3", "message": {"role": "assistant", "content": text}, "done": false});
        Step::Send(format!("{line}\n").into())
    };
    let ndjson = || HeaderValue::from_static("application/x-ndjson");
    for end in [vec![line("Use "), Step::Break], vec![line("Use "), line("vine")]] {
        gateway.script.push(Reply::steps(StatusCode::OK, end).header(header::CONTENT_TYPE, ndjson()));
        let cut = post(&gateway, "/api/chat", &chat(ASKED)).await;
        assert!(cut.broken);
        assert!(cut.body.starts_with("{\"done\":false") || cut.body.contains("Use "), "{}", cut.body);
    }
    gateway.script.push(Reply::text("Use vinegar."));
    assert_eq!(post(&gateway, "/api/chat", &chat(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_cached_passes_and_our_errors_are_in_its_shape() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.get("/api/tags", &[]).await.json()["models"][0]["name"], "semblance-demo");
    let image = json!({"messages": [{"role": "user", "content": "What is this?", "images": ["aGk="]}]});
    assert_eq!(post(&gateway, "/api/chat", &with(chat(""), &image)).await.outcome(), "bypass");
    let only = gateway.post("/api/chat", &chat(ASKED), &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(only.json()["error"].as_str().is_some_and(|text| text.contains("only-if-cached")), "{}", only.body);
}

/// Ollama's clients send no credential.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_credential_is_told_so_unless_the_operator_allows_it() {
    let bare =
        |gateway: &TestGateway| gateway.client.post(gateway.url("/api/chat")).body(chat(ASKED).to_string()).send();
    let gateway = Setup::new().config(|config| config.allow_anonymous = false).start().await;
    let refused = Answer::read(bare(&gateway).await.unwrap()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.json()["error"].is_string());
    let gateway = Setup::new().config(|config| config.allow_anonymous = true).start().await;
    gateway.script.push(Reply::text("Use vinegar."));
    assert_eq!(Answer::read(bare(&gateway).await.unwrap()).await.outcome(), "miss");
    assert_eq!(Answer::read(bare(&gateway).await.unwrap()).await.outcome(), "hit-exact");
}
