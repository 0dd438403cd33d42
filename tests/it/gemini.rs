//! Recording and replay of Gemini's protocol.

use http::StatusCode;
use semblance::upstream::scripted::{Reply, Step};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, with};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";
const WHOLE: &str = "/v1beta/models/gemini-x:generateContent";
const STREAM: &str = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";

fn asking(question: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": question}]}]})
}

/// Posts as Google's SDKs do, unless `headers` say otherwise.
async fn post(gateway: &TestGateway, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::read(request.body(body.to_string()).send().await.unwrap()).await
}

const KEY: &[(&str, &str)] = &[("x-goog-api-key", "AIza-test")];

async fn ask(gateway: &TestGateway, path: &str, body: &Value) -> Answer {
    post(gateway, path, body, KEY).await
}

/// The events of a stream.
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let frames = answer.body.split_terminator("\r\n\r\n").map(|frame| frame.strip_prefix("data: ").unwrap());
    frames.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn text(response: &Value) -> &str {
    response["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap()
}

fn said(events: &[Value]) -> String {
    events.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_65_a_streams_last_event_tells_why_it_ended_and_no_marker_follows_also_on_a_hit() {
    let gateway = TestGateway::start().await;
    gateway.script.push(Reply::text("Use vinegar, then rinse it twice."));
    let miss = ask(&gateway, STREAM, &asking(ASKED)).await;
    let hit = ask(&gateway, STREAM, &asking(ASKED)).await;
    let reworded = ask(&gateway, STREAM, &asking(REWORDED)).await;
    assert_eq!((miss.outcome(), hit.outcome(), reworded.outcome()), ("miss", "hit-exact", "hit-semantic"));
    for answer in [&miss, &hit, &reworded] {
        let events = events(answer);
        assert_eq!(said(&events), "Use vinegar, then rinse it twice.");
        let (last, before) = events.split_last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        assert!(last["usageMetadata"]["totalTokenCount"].is_u64());
        assert!(!before.is_empty() && before.iter().all(|event| event["candidates"][0].get("finishReason").is_none()));
        assert!(!answer.body.contains("[DONE]"));
    }
    let whole = ask(&gateway, WHOLE, &asking(ASKED)).await;
    assert_eq!((whole.outcome(), text(&whole.json())), ("hit-exact", "Use vinegar, then rinse it twice."));
    assert_ne!(whole.json()["responseId"], events(&miss)[0]["responseId"], "an answer of its own");
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_streamed_and_another_model_has_its_own() {
    let gateway = TestGateway::start().await;
    gateway.script.push(Reply::text("Use vinegar."));
    assert_eq!(ask(&gateway, WHOLE, &asking(ASKED)).await.outcome(), "miss");
    assert_eq!(said(&events(&ask(&gateway, STREAM, &asking(ASKED)).await)), "Use vinegar.");
    gateway.script.push(Reply::text("Citric acid."));
    let other = ask(&gateway, "/v1/models/gemini-y:generateContent", &asking(ASKED)).await;
    assert_eq!((other.outcome(), text(&other.json())), ("miss", "Citric acid."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_query_is_a_credential_and_nothing_else() {
    let gateway = Setup::new().config(|config| config.allow_anonymous = false).start().await;
    let keyed = |key: &str| format!("{WHOLE}?key={key}");
    gateway.script.push(Reply::text("Use vinegar."));
    assert_eq!(post(&gateway, &keyed("mine"), &asking(ASKED), &[]).await.outcome(), "miss");
    assert_eq!(gateway.script.last().unwrap().path_and_query, keyed("mine"), "the provider needs it");
    let streamed = format!("{STREAM}&key=mine");
    assert_eq!(post(&gateway, &streamed, &asking(ASKED), &[]).await.outcome(), "hit-exact");
    gateway.script.push(Reply::text("Citric acid."));
    assert_eq!(post(&gateway, &keyed("yours"), &asking(ASKED), &[]).await.outcome(), "miss");
    let nobody = post(&gateway, WHOLE, &asking(ASKED), &[]).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.json()["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_reason_at_its_end_is_not_stored() {
    let gateway = TestGateway::start().await;
    let event = |text: &str| {
        let event = json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}]});
        Step::Send(format!("data: {event}\r\n\r\n").into())
    };
    for steps in [vec![event("Use "), Step::Break], vec![event("Use "), event("vine")]] {
        gateway.script.push(Reply::events(steps));
        assert!(ask(&gateway, STREAM, &asking(ASKED)).await.broken);
    }
    gateway.script.push(Reply::text("Use vinegar."));
    assert_eq!(ask(&gateway, STREAM, &asking(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_cached_passes() {
    let gateway = TestGateway::start().await;
    let count = ask(&gateway, "/v1beta/models/gemini-x:countTokens", &asking(ASKED)).await;
    assert!(count.json()["totalTokens"].is_u64());
    assert_eq!(ask(&gateway, STREAM.trim_end_matches("?alt=sse"), &asking(ASKED)).await.outcome(), "bypass");
    let searches = with(asking(ASKED), &json!({"tools": [{"google_search": {}}]}));
    assert_eq!(ask(&gateway, WHOLE, &searches).await.outcome(), "bypass");
    let list = gateway.client.get(gateway.url("/v1beta/models")).header(KEY[0].0, KEY[0].1).send().await.unwrap();
    assert_eq!(Answer::read(list).await.json()["models"][0]["name"], "models/semblance-demo");
}
