//! Recording and replay of chat completions. Numbers are those of the wire contract's corner cases.

use http::{HeaderValue, StatusCode, header};
use semblance::upstream::scripted::{Gate, Reply, Step};
use serde_json::{Value, json};

use crate::harness::{Setup, TestGateway, eventually, streaming, user, with};

const ASKED: &str = "How do I descale a kettle?";

fn send(text: &str) -> Step {
    Step::Send(text.to_owned().into())
}

fn chunk(delta: &Value, finish: &Value) -> String {
    let chunk = json!({
        "id": "chatcmpl-up1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    format!("data: {chunk}\n\n")
}

fn whole_stream() -> Vec<Step> {
    let mut steps = vec![send(&chunk(&json!({"role": "assistant", "content": "Use "}), &Value::Null))];
    steps.push(send(&chunk(&json!({"content": "vinegar."}), &Value::Null)));
    steps.push(send(&chunk(&json!({}), &json!("stop"))));
    steps.push(send("data: [DONE]\n\n"));
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_stored_and_the_same_question_is_an_exact_hit() {
    let gateway = TestGateway::start().await;
    let first = gateway.ask(ASKED).await;
    let second = gateway.ask(ASKED).await;
    assert_eq!((first.outcome(), second.outcome()), ("miss", "hit-exact"));
    assert_eq!(first.content(), second.content());
    assert_ne!(first.json()["id"], second.json()["id"], "a hit has an id of its own");
    assert_eq!(gateway.calls(), 1);
    assert!(first.header("cache-status").contains("; stored; ttl="), "{}", first.header("cache-status"));
    assert!(second.header("cache-status").starts_with("semblance; hit; ttl="), "{}", second.header("cache-status"));
    assert_eq!((first.header("age"), second.header("age")), ("", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_a_recorded_stream_is_replayed_as_json() {
    let gateway = TestGateway::start().await;
    let streamed = gateway.chat(&streaming(user(ASKED))).await;
    let whole = gateway.ask(ASKED).await;
    assert_eq!(whole.outcome(), "hit-exact");
    assert_eq!(whole.json()["object"], "chat.completion");
    assert_eq!(whole.content(), streamed.streamed());
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_a_recorded_json_answer_is_replayed_as_a_stream_without_usage() {
    let gateway = TestGateway::start().await;
    let whole = gateway.ask(ASKED).await;
    let streamed = gateway.chat(&streaming(user(ASKED))).await;
    assert_eq!(streamed.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(streamed.streamed(), whole.content());
    let events = streamed.events();
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert!(events.iter().all(|event| !event.contains("\"usage\"")), "no usage was asked for");
    let finish: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_a_replayed_stream_has_a_usage_chunk_when_it_was_asked_for() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let body = with(streaming(user(ASKED)), &json!({"stream_options": {"include_usage": true}}));
    let events = gateway.chat(&body).await.events();
    let chunks: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0);
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_usage_asked_upstream_for_the_record_is_not_shown_to_a_client_that_did_not_ask() {
    let gateway = TestGateway::start().await;
    let streamed = gateway.chat(&streaming(user(ASKED))).await;
    let sent = gateway.script.last().unwrap().json();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    assert!(!streamed.body.contains("usage"), "{}", streamed.body);
    let hit = gateway.ask(ASKED).await;
    assert!(hit.json()["usage"]["total_tokens"].as_u64().unwrap() > 0, "the record has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_stream_that_ends_without_its_marker_is_aborted_and_not_stored() {
    let gateway = TestGateway::start().await;
    let mut steps = whole_stream();
    steps.pop();
    gateway.script.push(Reply::events(steps));
    let cut = gateway.chat(&streaming(user(ASKED))).await;
    assert!(cut.broken, "a clean end would pass for a whole answer");
    assert_eq!(cut.streamed(), "Use vinegar.");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_a_stream_that_breaks_is_aborted_and_not_stored() {
    let gateway = TestGateway::start().await;
    let mut steps = whole_stream();
    steps.truncate(2);
    steps.push(Step::Break);
    gateway.script.push(Reply::events(steps));
    assert!(gateway.chat(&streaming(user(ASKED))).await.broken);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_an_error_event_inside_a_stream_is_forwarded_and_not_stored() {
    let gateway = TestGateway::start().await;
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    let steps = vec![send(&chunk(&json!({"role": "assistant", "content": "Use "}), &Value::Null)), send(error)];
    gateway.script.push(Reply::events(steps));
    assert!(gateway.chat(&streaming(user(ASKED))).await.body.ends_with(error));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_08_09_truncated_filtered_and_refused_answers_are_forwarded_and_not_stored() {
    for (finish, detail) in
        [("length", "finish-length"), ("content_filter", "finish-content-filter"), ("odd", "finish-other")]
    {
        let gateway = TestGateway::start().await;
        gateway.script.push(Reply::finishing("Use vin", finish));
        let first = gateway.ask(ASKED).await;
        assert_eq!(first.content(), "Use vin");
        assert!(
            first.header("cache-status").ends_with(&format!("detail={detail}")),
            "{}",
            first.header("cache-status")
        );
        assert_eq!(gateway.ask(ASKED).await.outcome(), "miss", "{finish}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_missing_marker_is_accepted_from_an_upstream_flagged_lenient() {
    let gateway = Setup::new().config(|config| config.require_done = false).start().await;
    let mut steps = whole_stream();
    steps.pop();
    gateway.script.push(Reply::events(steps));
    assert!(!gateway.chat(&streaming(user(ASKED))).await.broken);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_11_12_frames_split_anywhere_with_crlf_and_comments_are_recorded_whole() {
    let gateway = TestGateway::start().await;
    let text = "Grüße, 世界 🫖";
    let mut stream = String::from(": ping\r\n\r\n");
    stream += &chunk(&json!({"role": "assistant", "content": text}), &Value::Null).replace('\n', "\r\n");
    stream += &chunk(&json!({}), &json!("stop")).replace('\n', "\r\n");
    stream += "data: [DONE]\r\n\r\n";
    let steps: Vec<Step> = stream.as_bytes().chunks(7).map(|piece| Step::Send(piece.to_vec().into())).collect();
    gateway.script.push(Reply::events(steps));
    let first = gateway.chat(&streaming(user(ASKED))).await;
    assert_eq!(first.body, stream, "what passes is byte-equal");
    let hit = gateway.ask(ASKED).await;
    assert_eq!((hit.outcome(), hit.content().as_str()), ("hit-exact", text));
    let replayed = gateway.chat(&streaming(user(ASKED))).await;
    assert!(!replayed.body.contains("ping"));
    assert_eq!(replayed.streamed(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_json_that_answers_a_stream_request_becomes_a_stream() {
    let gateway = TestGateway::start().await;
    let answer = json!({
        "id": "chatcmpl-7", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Use vinegar."}, "finish_reason": "stop"}],
    });
    gateway.script.push(Reply::json(StatusCode::OK, &answer));
    let streamed = gateway.chat(&streaming(user(ASKED))).await;
    assert_eq!(streamed.streamed(), "Use vinegar.");
    assert_eq!(streamed.events().last().unwrap(), "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_an_error_object_in_a_200_body_is_passed_on_and_not_stored() {
    let gateway = TestGateway::start().await;
    let body = json!({"error": {"message": "no capacity", "type": "server_error"}});
    gateway.script.push(Reply::json(StatusCode::OK, &body));
    assert_eq!(gateway.ask(ASKED).await.json(), body);
    gateway.script.push(Reply::json(StatusCode::OK, &body));
    let streamed = gateway.chat(&streaming(user(ASKED))).await;
    assert_eq!(streamed.events(), [body.to_string()], "never an empty stream");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_an_answer_whose_client_has_gone_is_finished_and_stored() {
    let gateway = TestGateway::start().await;
    let gate = Gate::closed();
    let mut steps = whole_stream();
    steps.insert(1, Step::Hold(gate.clone()));
    gateway.script.push(Reply::events(steps));
    let mut leaving = gateway.request(&streaming(user(ASKED)), &[]).send().await.unwrap();
    leaving.chunk().await.unwrap().unwrap();
    drop(leaving);
    gate.open();
    eventually("the answer is stored", || async { gateway.ask(ASKED).await.outcome() == "hit-exact" }).await;
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_48_an_answer_that_should_be_json_and_is_not_is_not_stored() {
    let gateway = TestGateway::start().await;
    let body = with(user(ASKED), &json!({"response_format": {"type": "json_object"}}));
    gateway.script.push(Reply::text("{\"steps\": [\"vinegar\""));
    assert!(gateway.chat(&body).await.header("cache-status").ends_with("detail=not-json"));
    gateway.script.push(Reply::text("{\"steps\": [\"vinegar\"]}"));
    assert_eq!(gateway.chat(&body).await.outcome(), "miss");
    assert_eq!(gateway.chat(&body).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_49_an_entry_serves_any_token_limit_it_fits_in() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let limited = |limit: u64| with(user(ASKED), &json!({"max_tokens": limit}));
    assert_eq!(gateway.chat(&limited(64_000)).await.outcome(), "hit-exact");
    let short = gateway.chat(&limited(1)).await;
    assert_eq!(short.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_60_a_hit_replays_no_header_of_the_stored_answer() {
    let gateway = TestGateway::start().await;
    let stale = |name: &'static str| (http::HeaderName::from_static(name), HeaderValue::from_static("old"));
    let mut reply = Reply::text("Use vinegar.");
    for name in ["x-request-id", "x-ratelimit-remaining-tokens", "set-cookie", "openai-processing-ms"] {
        let (name, value) = stale(name);
        reply = reply.header(name, value);
    }
    gateway.script.push(reply);
    let miss = gateway.ask(ASKED).await;
    let hit = gateway.ask(ASKED).await;
    assert_eq!(miss.header("x-ratelimit-remaining-tokens"), "old", "a miss is the upstream's own answer");
    for name in ["x-ratelimit-remaining-tokens", "set-cookie", "openai-processing-ms"] {
        assert_eq!(hit.header(name), "", "{name}");
    }
    assert!(hit.header("x-request-id").starts_with("sem-"));
    assert!(!hit.header("x-semblance-origin-id").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_upstream_forbids_to_keep_is_not_kept() {
    let gateway = TestGateway::start().await;
    let private = || Reply::text("Use vinegar.").header(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    gateway.script.push(private());
    gateway.script.push(private());
    assert!(gateway.ask(ASKED).await.header("cache-status").ends_with("detail=upstream-forbids"));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stream_is_aborted_also_when_it_could_not_have_been_stored_anyway() {
    let gateway = TestGateway::start().await;
    let mut steps = whole_stream();
    steps.pop();
    let private = HeaderValue::from_static("private");
    gateway.script.push(Reply::events(steps).header(header::CACHE_CONTROL, private));
    assert!(gateway.chat(&streaming(user(ASKED))).await.broken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_whole_at_its_marker_even_if_the_connection_breaks_or_stays_open_behind_it() {
    let gateway = TestGateway::start().await;
    let mut steps = whole_stream();
    steps.push(Step::Break);
    gateway.script.push(Reply::events(steps));
    let reset = gateway.chat(&streaming(user(ASKED))).await;
    assert!(!reset.broken && reset.events().last().unwrap() == "[DONE]");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss", "an unclean end is not stored");
    let mut steps = whole_stream();
    steps.push(Step::Hold(Gate::closed()));
    gateway.script.push(Reply::events(steps));
    let open = gateway.chat(&streaming(user("Who wrote Emma?"))).await;
    assert!(!open.broken && open.events().last().unwrap() == "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_declared_length_passes_when_usage_is_stripped_from_it() {
    let gateway = TestGateway::start().await;
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    let mut frames = vec![chunk(&json!({"role": "assistant", "content": "Use vinegar."}), &Value::Null)];
    frames.push(chunk(&json!({}), &json!("stop")));
    frames.push(format!(
        "data: {}\n\n",
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage})
    ));
    frames.push("data: [DONE]\n\n".to_owned());
    let body = frames.concat();
    let length = HeaderValue::from_str(&body.len().to_string()).unwrap();
    gateway.script.push(Reply::events([send(&body)]).header(header::CONTENT_LENGTH, length));
    let answer = gateway.chat(&streaming(user(ASKED))).await;
    assert!(!answer.broken && !answer.body.contains("usage"), "{}", answer.body);
    assert_eq!(answer.streamed(), "Use vinegar.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_wants_no_lifetime_gets_no_entry_and_loses_none() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let body = with(user("Who wrote Emma?"), &json!({"cache": {"ttl": 0}}));
    assert!(gateway.chat(&body).await.header("cache-status").ends_with("detail=policy"));
    assert_eq!(gateway.ask("Who wrote Emma?").await.outcome(), "miss");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}
