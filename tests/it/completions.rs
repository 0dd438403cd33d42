//! Recording and replay of legacy completions. Numbers are those of the wire contract's corner cases.

use http::StatusCode;
use semblance::upstream::scripted::{Reply, Step};
use serde_json::{Value, json};

use crate::harness::{Answer, TestGateway, streaming, with};

const PATH: &str = "/v1/completions";

fn body() -> Value {
    json!({"model": "gpt-3.5-turbo-instruct", "prompt": "How do I descale a kettle?", "max_tokens": 500})
}

async fn ask(gateway: &TestGateway, body: &Value) -> Answer {
    gateway.post(PATH, body, &[]).await
}

fn text(answer: &Answer) -> String {
    answer.json()["choices"][0]["text"].as_str().unwrap().to_owned()
}

fn chunks(answer: &Answer) -> Vec<Value> {
    answer.events().iter().filter_map(|event| serde_json::from_str(event).ok()).collect()
}

fn streamed(answer: &Answer) -> String {
    chunks(answer).iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_prompt_is_an_exact_hit_under_a_new_id_and_a_re_worded_one_is_not() {
    let gateway = TestGateway::start().await;
    let (miss, hit) = (ask(&gateway, &body()).await, ask(&gateway, &body()).await);
    assert_eq!((miss.outcome(), hit.outcome()), ("miss", "hit-exact"));
    assert_eq!(text(&miss), text(&hit));
    assert_ne!(miss.json()["id"], hit.json()["id"]);
    assert!(hit.json()["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(miss.json()["usage"], hit.json()["usage"]);
    let listed = with(body(), &json!({"prompt": ["How do I descale a kettle?"]}));
    assert_eq!(gateway.post("/completions", &listed, &[]).await.outcome(), "hit-exact");
    let reworded = with(body(), &json!({"prompt": "How can I descale a kettle?"}));
    assert_eq!(ask(&gateway, &reworded).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_01_to_04_json_and_stream_are_replayed_as_each_other() {
    let gateway = TestGateway::start().await;
    let first = ask(&gateway, &streaming(body())).await;
    assert_eq!(gateway.script.last().unwrap().json()["stream_options"]["include_usage"], true);
    assert!(!first.body.contains("usage"), "{}", first.body);
    let whole = ask(&gateway, &body()).await;
    assert_eq!((whole.outcome(), text(&whole)), ("hit-exact", streamed(&first)));
    assert_eq!(whole.json()["object"], "text_completion");
    assert!(whole.json()["usage"]["total_tokens"].as_u64().unwrap() > 0);
    let replayed = ask(&gateway, &streaming(body())).await;
    assert_eq!(replayed.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!((replayed.outcome(), streamed(&replayed)), ("hit-exact", streamed(&first)));
    assert_eq!(replayed.events().last().unwrap(), "[DONE]");
    assert!(!replayed.body.contains("usage"));
    assert_eq!(chunks(&replayed).last().unwrap()["choices"][0]["finish_reason"], "stop");
    let with_usage = with(streaming(body()), &json!({"stream_options": {"include_usage": true}}));
    let counted = chunks(&ask(&gateway, &with_usage).await);
    assert_eq!(counted.last().unwrap()["choices"], json!([]));
    assert_eq!(counted.last().unwrap()["usage"], whole.json()["usage"]);
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_05_to_09_what_is_not_whole_passes_and_is_not_kept() {
    let gateway = TestGateway::start().await;
    for (finish, detail) in [("length", "finish-length"), ("content_filter", "finish-content-filter")] {
        gateway.script.push(Reply::finishing("Use vin", finish));
        let answer = ask(&gateway, &body()).await;
        assert_eq!(text(&answer), "Use vin");
        assert!(answer.header("cache-status").ends_with(&format!("detail={detail}")));
    }
    let chunk = |choice: Value| {
        let chunk =
            json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]});
        Step::Send(format!("data: {chunk}\n\n").into())
    };
    let whole = [
        chunk(json!({"text": "Use ", "index": 0, "logprobs": null, "finish_reason": null})),
        chunk(json!({"text": "vinegar.", "index": 0, "logprobs": null, "finish_reason": "stop"})),
    ];
    gateway.script.push(Reply::events(whole.clone()));
    assert!(ask(&gateway, &streaming(body())).await.broken, "a stream without its end is never ended cleanly");
    gateway.script.push(Reply::json(StatusCode::OK, &json!({"error": {"message": "no capacity"}})));
    assert_eq!(ask(&gateway, &body()).await.json()["error"]["message"], "no capacity");
    gateway.script.push(Reply::text("Use vinegar."));
    assert_eq!(ask(&gateway, &body()).await.outcome(), "miss");
    assert_eq!(ask(&gateway, &body()).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_39_to_49_parameters_part_and_a_limit_is_kept() {
    let gateway = TestGateway::start().await;
    ask(&gateway, &body()).await;
    for (variant, outcome) in [
        (json!({"max_tokens": 64_000}), "hit-exact"),
        (json!({"user": "u-1", "best_of": 1, "n": 1, "stream": false}), "hit-exact"),
        (json!({"max_tokens": 1}), "miss"),
        (json!({"temperature": 0}), "miss"),
        (json!({"suffix": "The end."}), "miss"),
        (json!({"top_k": 5}), "miss"),
        (json!({"prompt": [1, 2, 3]}), "miss"),
        (json!({"n": 2}), "bypass"),
        (json!({"logprobs": 3}), "bypass"),
        (json!({"prompt": ["a", "b"]}), "bypass"),
        (json!({"prompt": "What is my account balance?"}), "bypass"),
    ] {
        assert_eq!(ask(&gateway, &with(body(), &variant)).await.outcome(), outcome, "{variant}");
    }
    let mut unlimited = body();
    unlimited.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(ask(&gateway, &unlimited).await.outcome(), "miss", "the upstream's own limit is not known");
    let other = gateway.post(PATH, &body(), &[("authorization", "Bearer sk-other")]).await;
    assert_eq!(other.outcome(), "miss");
}
