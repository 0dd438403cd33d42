//! Recording and replay of responses. Numbers are those of the wire contract's corner cases.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, StatusCode};
use semblance::upstream::scripted::{Gate, Reply, Step};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, eventually, streaming, with};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";
const PATH: &str = "/v1/responses";

fn asking(question: &str) -> Value {
    json!({"model": "gpt-5-mini", "input": question})
}

/// `body` with the further members.
fn and(members: &Value) -> Value {
    with(asking(ASKED), members)
}

async fn send(gateway: &TestGateway, body: &Value) -> Answer {
    send_with(gateway, body, &[]).await
}

async fn send_with(gateway: &TestGateway, body: &Value, headers: &[(&str, &str)]) -> Answer {
    gateway.post(PATH, body, headers).await
}

async fn outcome(gateway: &TestGateway, body: &Value) -> String {
    send(gateway, body).await.outcome().to_owned()
}

/// Events of a stream, each named as its data says and numbered from 0.
fn events(answer: &Answer) -> Vec<Value> {
    let frames = answer.body.split_terminator("\n\n");
    let named = frames.map(|frame| frame.split_once('\n').unwrap());
    let read = named.map(|(name, data)| {
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
        event
    });
    let events: Vec<Value> = read.collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    events
}

/// The text that a client adds up from deltas.
fn streamed(answer: &Answer) -> String {
    let deltas = events(answer);
    let deltas = deltas.iter().filter(|event| event["type"] == "response.output_text.delta");
    deltas.map(|event| event["delta"].as_str().unwrap()).collect()
}

/// The response that a stream ends with.
fn ended(answer: &Answer) -> Value {
    events(answer).pop().unwrap()["response"].clone()
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

fn response(output: &Value) -> Value {
    json!({"id": "resp_up1", "object": "response", "created_at": 1, "status": "completed", "error": null,
        "incomplete_details": null, "model": "gpt-5-mini", "output": output, "metadata": {},
        "usage": {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}})
}

fn message(text: &str) -> Value {
    json!({"id": "msg_up1", "type": "message", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn event(kind: &str, number: usize, members: &Value) -> String {
    let data = with(json!({"type": kind, "sequence_number": number}), members);
    format!("event: {kind}\ndata: {data}\n\n")
}

/// Frames of the shortest stream that ends with `kind`.
fn frames(kind: &str, response: &Value) -> Vec<String> {
    vec![
        event("response.created", 0, &json!({"response": {"id": "resp_up1", "output": []}})),
        event(
            "response.output_text.delta",
            1,
            &json!({"output_index": 0, "content_index": 0, "delta": "Use vinegar."}),
        ),
        event(kind, 2, &json!({"response": response})),
    ]
}

fn steps(frames: &[String]) -> Vec<Step> {
    frames.iter().map(|frame| Step::Send(frame.clone().into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_stored_and_the_same_question_gets_the_same_bytes() {
    let gateway = TestGateway::start().await;
    let (first, second) = (send(&gateway, &asking(ASKED)).await, send(&gateway, &asking(ASKED)).await);
    assert_eq!((first.outcome(), second.outcome()), ("miss", "hit-exact"));
    assert_eq!(first.json(), second.json(), "ids are handles, so they are replayed as they came");
    assert_eq!(gateway.calls(), 1);
    assert_eq!(second.header("content-type"), "application/json");
    assert!(first.header("cache-status").contains("; stored; ttl="), "{}", first.header("cache-status"));
    assert_eq!(second.header("x-semblance-origin-id"), second.json()["id"].as_str().unwrap());
    let gateway = gateway.restart().await;
    let third = send(&gateway, &asking(ASKED)).await;
    assert_eq!((third.outcome(), third.json()), ("hit-exact", first.json()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reworded_question_is_answered_by_meaning_and_a_different_one_is_not() {
    let gateway = TestGateway::start().await;
    let first = send(&gateway, &asking("Convert 10 USD to EUR")).await;
    assert_eq!(outcome(&gateway, &asking("Convert 100 USD to EUR")).await, "miss", "case 44");
    let said = json!([{"role": "user", "content": [{"type": "input_text", "text": REWORDED}]}]);
    send(&gateway, &asking(ASKED)).await;
    let hit = send(&gateway, &and(&json!({"input": said}))).await;
    assert_eq!(hit.outcome(), "hit-semantic");
    assert_ne!(text(&hit.json()), text(&first.json()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_01_02_36_either_shape_is_replayed_in_either_shape() {
    for recorded in [asking(ASKED), streaming(asking(ASKED))] {
        let gateway = TestGateway::start().await;
        let first = send(&gateway, &recorded).await;
        let streams = recorded["stream"] == true;
        let original = if streams { ended(&first) } else { first.json() };
        let whole = send(&gateway, &asking(ASKED)).await;
        assert_eq!((whole.outcome(), whole.json()), ("hit-exact", original.clone()));
        let replayed = send(&gateway, &streaming(asking(ASKED))).await;
        assert_eq!(replayed.outcome(), "hit-exact");
        assert_eq!(replayed.header("content-type"), "text/event-stream; charset=utf-8");
        assert_eq!(streamed(&replayed), text(&original));
        assert_eq!(ended(&replayed), original, "usage included");
        let kinds: Vec<Value> = events(&replayed).iter().map(|event| event["type"].clone()).collect();
        let deltas = kinds.len() - 8;
        let expected = ["created", "in_progress", "output_item.added", "content_part.added"]
            .into_iter()
            .chain(std::iter::repeat_n("output_text.delta", deltas))
            .chain(["output_text.done", "content_part.done", "output_item.done", "completed"]);
        assert_eq!(kinds, expected.map(|kind| json!(format!("response.{kind}"))).collect::<Vec<_>>());
        assert!(!replayed.body.contains("[DONE]"));
        assert_eq!(gateway.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_30_clients_that_write_the_same_request_differently_share_an_answer_and_find_their_own_words_in_it() {
    let gateway = TestGateway::start().await;
    let first = send(&gateway, &and(&json!({"instructions": "Be brief."}))).await;
    assert_eq!((first.outcome(), &first.json()["instructions"]), ("miss", &json!("Be brief.")));
    let said = json!([{"type": "input_text", "text": ASKED}]);
    for role in ["system", "developer"] {
        let items = json!([{"role": role, "content": "Be brief."}, {"role": "user", "content": said}]);
        let hit = send(&gateway, &json!({"model": "gpt-5-mini", "input": items, "stream": true})).await;
        assert_eq!(hit.outcome(), "hit-exact", "{role}");
        assert_eq!(ended(&hit)["instructions"], Value::Null);
    }
    assert_eq!(outcome(&gateway, &and(&json!({"instructions": "Be brief!"}))).await, "miss", "case 42");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_31_33_34_37_what_rests_on_the_providers_memory_passes_untouched_with_its_reason() {
    let gateway = TestGateway::start().await;
    let reference = json!([{"type": "item_reference", "id": "msg_up1"}, {"role": "user", "content": "And a pan?"}]);
    for (members, detail) in [
        (json!({"input": reference}), "item-reference"),
        (json!({"previous_response_id": "resp_up1"}), "previous-response"),
        (json!({"conversation": {"id": "conv_1"}}), "conversation"),
        (json!({"background": true}), "background"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt-template"),
        (json!({"tools": [{"type": "web_search"}]}), "web-search"),
        (json!({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}), "hosted-tool"),
        (json!({"include": ["message.output_text.logprobs"]}), "logprobs"),
    ] {
        for _ in 0..2 {
            let answer = send(&gateway, &and(&members)).await;
            assert_eq!(answer.outcome(), "bypass", "{members}");
            let expected = format!("semblance; fwd=bypass; detail={detail}");
            assert_eq!(answer.header("cache-status"), expected);
            assert_eq!(gateway.script.last().unwrap().body, and(&members).to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_37_function_tools_are_partitions() {
    let gateway = TestGateway::start().await;
    let tool = |name: &str| {
        and(&json!({"tools": [{"type": "function", "name": name, "parameters": {"type": "object"}, "strict": true}]}))
    };
    send(&gateway, &tool("f")).await;
    assert_eq!(outcome(&gateway, &tool("f")).await, "hit-exact");
    assert_eq!(outcome(&gateway, &tool("g")).await, "miss");
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_an_answer_stays_with_its_credential_even_where_the_policy_shares() {
    let shared = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";
    let gateway = Setup::new().policies(&[("default.toml", shared)]).start().await;
    let (a, b) = ([("authorization", "Bearer sk-a")], [("authorization", "Bearer sk-b")]);
    for members in [json!({}), json!({"store": false})] {
        let asked = |question: &str| with(asking(question), &members);
        assert_eq!(send_with(&gateway, &asked(ASKED), &a).await.outcome(), "miss");
        assert_eq!(send_with(&gateway, &asked(ASKED), &a).await.outcome(), "hit-exact");
        assert_eq!(send_with(&gateway, &asked(REWORDED), &a).await.outcome(), "hit-semantic");
        for (question, name) in [(ASKED, "p2"), (REWORDED, "p3")] {
            let project = [("authorization", "Bearer sk-a"), ("openai-project", name)];
            assert_eq!(send_with(&gateway, &asked(question), &project).await.outcome(), "miss", "{members}");
        }
        assert_eq!(send_with(&gateway, &asked(REWORDED), &b).await.outcome(), "miss", "{members}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_the_provider_does_not_keep_are_not_given_to_requests_that_need_them_kept() {
    let gateway = TestGateway::start().await;
    send(&gateway, &and(&json!({"store": false}))).await;
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
    assert_eq!(outcome(&gateway, &and(&json!({"store": true}))).await, "hit-exact");
    assert_eq!(outcome(&gateway, &and(&json!({"store": false}))).await, "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_ids_the_provider_may_have_forgotten_is_not_served_whatever_the_policy_allows() {
    let long = "category = \"default\"\n[freshness]\nttl = \"90d\"\nstale_if_error = \"90d\"\n";
    let gateway = Setup::new().policies(&[("default.toml", long)]).start().await;
    send(&gateway, &asking(ASKED)).await;
    gateway.hand.advance(Duration::from_secs(27 * 24 * 3600));
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "hit-exact");
    gateway.hand.advance(Duration::from_secs(2 * 24 * 3600));
    gateway.script.push(Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "no"));
    assert_eq!(send(&gateway, &asking(ASKED)).await.status, 500, "not even in an error's stead");
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_35_a_stream_without_its_completion_is_aborted_and_not_stored() {
    let gateway = TestGateway::start().await;
    let mut cut = frames("response.completed", &response(&json!([message("Use vinegar.")])));
    cut.pop();
    gateway.script.push(Reply::events(steps(&cut)));
    let answer = send(&gateway, &streaming(asking(ASKED))).await;
    assert!(answer.broken, "a clean end would pass for a whole answer");
    assert_eq!(answer.body, cut.concat());
    let mut reset = steps(&cut);
    reset.push(Step::Break);
    gateway.script.push(Reply::events(reset));
    assert!(send(&gateway, &streaming(asking(ASKED))).await.broken, "case 06");
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_08_09_35_truncated_filtered_and_failed_answers_are_forwarded_and_not_stored() {
    let gateway = TestGateway::start().await;
    let unended = |finish: &str, stream: bool| (Reply::finishing("Use vin", finish), stream);
    for ((reply, stream), status) in [
        (unended("length", true), "incomplete"),
        (unended("length", false), "incomplete"),
        (unended("content_filter", true), "incomplete"),
        (unended("error", true), "failed"),
        (unended("error", false), "failed"),
    ] {
        gateway.script.push(reply);
        let body = if stream { streaming(asking(ASKED)) } else { asking(ASKED) };
        let answer = send(&gateway, &body).await;
        assert_eq!((answer.outcome(), answer.broken), ("miss", false), "{status}");
        let got = if stream { ended(&answer) } else { answer.json() };
        assert_eq!(got["status"], status);
    }
    gateway.script.push(Reply::finishing("Use vin", "length"));
    let cut = send(&gateway, &asking(ASKED)).await;
    assert!(cut.header("cache-status").ends_with("detail=finish-length"), "{}", cut.header("cache-status"));
    let refusal = json!([{"type": "refusal", "refusal": "I cannot."}]);
    let refused = response(&json!([with(message(""), &json!({"content": refusal}))]));
    gateway.script.push(Reply::json(StatusCode::OK, &refused));
    let answer = send(&gateway, &asking(ASKED)).await;
    assert!(answer.header("cache-status").ends_with("detail=refusal"), "{}", answer.header("cache-status"));
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_an_error_event_inside_a_stream_is_forwarded_and_not_stored() {
    let gateway = TestGateway::start().await;
    let mut broken = frames("response.completed", &response(&json!([message("x")])));
    broken[2] = event("error", 2, &json!({"code": "server_error", "message": "overloaded", "param": null}));
    gateway.script.push(Reply::events(steps(&broken)));
    let answer = send(&gateway, &streaming(asking(ASKED))).await;
    assert_eq!((answer.body.clone(), answer.broken), (broken.concat(), false));
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_11_12_frames_split_anywhere_with_crlf_and_comments_are_recorded_whole() {
    let gateway = TestGateway::start().await;
    let text_sent = "Grüße, 世界 🫖";
    let sent = frames("response.completed", &response(&json!([message(text_sent)]))).concat();
    let sent = format!(": ping\n\n{sent}").replace('\n', "\r\n");
    let pieces = sent.as_bytes().chunks(7).map(|piece| Step::Send(piece.to_vec().into()));
    gateway.script.push(Reply::events(pieces));
    assert_eq!(send(&gateway, &streaming(asking(ASKED))).await.body, sent, "what passes is byte-equal");
    let hit = send(&gateway, &asking(ASKED)).await;
    assert_eq!((hit.outcome(), text(&hit.json())), ("hit-exact", text_sent));
    let replayed = send(&gateway, &streaming(asking(ASKED))).await;
    assert_eq!(streamed(&replayed), text_sent);
    assert!(!replayed.body.contains("ping"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_17_18_json_that_answers_a_stream_request_becomes_a_stream_or_an_error_event() {
    let gateway = TestGateway::start().await;
    let whole = response(&json!([message("Use vinegar.")]));
    gateway.script.push(Reply::json(StatusCode::OK, &whole));
    let answer = send(&gateway, &streaming(asking(ASKED))).await;
    assert_eq!((streamed(&answer).as_str(), ended(&answer)), ("Use vinegar.", whole));
    let error = json!({"error": {"message": "no capacity", "type": "server_error", "code": null}});
    for stream in [false, true] {
        gateway.script.push(Reply::json(StatusCode::OK, &error));
        let asked = with(asking("Who wrote Emma?"), &json!({"stream": stream}));
        let answer = send(&gateway, &asked).await;
        if stream {
            let [event] = &events(&answer)[..] else { panic!("one event: {}", answer.body) };
            assert_eq!((&event["type"], &event["message"]), (&json!("error"), &json!("no capacity")));
            assert_eq!(event["error"], error["error"]);
        } else {
            assert_eq!(answer.json(), error);
        }
    }
    assert_eq!(outcome(&gateway, &asking("Who wrote Emma?")).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_38_and_41_what_does_not_shape_the_answer_does_not_keep_it_apart_and_is_repeated_to_its_asker() {
    let gateway = TestGateway::start().await;
    send(&gateway, &and(&json!({"metadata": {"who": "first"}, "user": "u1"}))).await;
    for variant in [
        json!({"stream": false, "tools": []}),
        json!({"user": "u2"}),
        json!({"metadata": {"who": "second"}}),
        json!({"service_tier": "auto", "prompt_cache_key": "p"}),
        json!({"text": {"format": {"type": "text"}}}),
        json!({"max_output_tokens": 64_000}),
    ] {
        let hit = send(&gateway, &and(&variant)).await;
        assert_eq!(hit.outcome(), "hit-exact", "{variant}");
        let got = hit.json();
        assert_eq!(got["metadata"], *variant.get("metadata").unwrap_or(&json!({})), "{variant}");
        for key in ["user", "max_output_tokens", "prompt_cache_key"] {
            assert_eq!(got[key], *variant.get(key).unwrap_or(&Value::Null), "{variant}");
        }
    }
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_39_to_43_whatever_shapes_the_answer_keeps_it_apart() {
    let history = |country: &str| json!([{"role": "user", "content": country}, message("A city."), {"role": "user", "content": ASKED}]);
    let gateway = TestGateway::start().await;
    send(&gateway, &asking(ASKED)).await;
    for variant in [
        json!({"model": "gpt-5"}),
        json!({"temperature": 0}),
        json!({"temperature": 0.1}),
        json!({"top_k": 5}),
        json!({"top_k": 6}),
        json!({"reasoning": {"effort": "low"}}),
        json!({"truncation": "auto"}),
        json!({"include": ["reasoning.encrypted_content"]}),
        json!({"instructions": "Be brief."}),
        json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}),
        json!({"input": history("France?")}),
        json!({"input": history("Spain?")}),
    ] {
        assert_eq!(outcome(&gateway, &and(&variant)).await, "miss", "{variant}");
        assert_eq!(outcome(&gateway, &and(&variant)).await, "hit-exact", "{variant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_45_46_images_and_turns_of_tools_are_found_by_their_bytes_only() {
    let gateway = TestGateway::start().await;
    let seen = |url: &str| {
        let parts = json!([{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": url}]);
        and(&json!({"input": [{"role": "user", "content": parts}]}))
    };
    assert_eq!(outcome(&gateway, &seen("data:image/png;base64,AAAA")).await, "miss");
    assert_eq!(outcome(&gateway, &seen("data:image/png;base64,AAAA")).await, "hit-exact");
    assert_eq!(outcome(&gateway, &seen("data:image/png;base64,AAAB")).await, "miss");
    assert_eq!(outcome(&gateway, &seen("https://example.com/a.png")).await, "bypass");

    let turn = |question: &str, output: &str| {
        let call = json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"});
        let result = json!({"type": "function_call_output", "call_id": "c1", "output": output});
        and(&json!({"input": [{"role": "user", "content": question}, call, result]}))
    };
    send(&gateway, &turn(ASKED, "done")).await;
    assert_eq!(outcome(&gateway, &turn(ASKED, "done")).await, "hit-exact");
    let missed = send(&gateway, &turn(REWORDED, "done")).await;
    assert!(missed.header("cache-status").contains("fwd=miss"), "{}", missed.header("cache-status"));
    assert_eq!(outcome(&gateway, &turn(ASKED, "failed")).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_call_tools_are_stored_only_where_the_operator_says_so_and_answer_the_same_question_only() {
    let call = json!({"id": "fc_up1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "f",
        "arguments": "{\"x\":1}"});
    let calling = Reply::json(StatusCode::OK, &response(&json!([call])));
    let tools = |question: &str| with(asking(question), &json!({"tools": [{"type": "function", "name": "f"}]}));
    let gateway = TestGateway::start().await;
    gateway.script.push(calling.clone());
    let first = send(&gateway, &tools(ASKED)).await;
    assert!(first.header("cache-status").ends_with("detail=finish-tool-calls"));
    let gateway = Setup::new().config(|config| config.store_tool_calls = true).start().await;
    gateway.script.push(calling.clone());
    send(&gateway, &tools(ASKED)).await;
    let replayed = send(&gateway, &streaming(tools(ASKED))).await;
    assert_eq!(replayed.outcome(), "hit-exact");
    let kinds: Vec<String> = events(&replayed).iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    assert!(kinds.contains(&"response.function_call_arguments.done".to_owned()), "{kinds:?}");
    assert_eq!(ended(&replayed)["output"], json!([call]));
    assert_eq!(outcome(&gateway, &tools(REWORDED)).await, "miss", "never by meaning");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_48_an_answer_that_should_be_json_and_is_not_is_not_stored() {
    let gateway = TestGateway::start().await;
    let body = and(&json!({"text": {"format": {"type": "json_object"}}}));
    gateway.script.push(Reply::text("{\"steps\": [\"vinegar\""));
    assert!(send(&gateway, &body).await.header("cache-status").ends_with("detail=not-json"));
    assert_eq!(outcome(&gateway, &body).await, "miss");
    assert_eq!(outcome(&gateway, &body).await, "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_49_an_entry_serves_any_token_limit_it_fits_in() {
    let gateway = TestGateway::start().await;
    send(&gateway, &asking(ASKED)).await;
    assert_eq!(outcome(&gateway, &and(&json!({"max_output_tokens": 64_000}))).await, "hit-exact");
    let short = send(&gateway, &and(&json!({"max_output_tokens": 1}))).await;
    assert_eq!((short.outcome(), &short.json()["status"]), ("miss", &json!("incomplete")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_50_what_two_readers_could_understand_differently_passes_untouched() {
    let gateway = TestGateway::start().await;
    for body in [&b"{\"model\":"[..], b"{\"model\":\"a\",\"input\":\"x\",\"input\":\"y\"}", b"{\"model\":\"a\"}"] {
        let request = gateway.client.post(gateway.url(PATH)).header("authorization", "Bearer sk-test");
        let answer = request.body(body.to_vec()).send().await.unwrap();
        assert_eq!(answer.headers()["x-semblance-cache"], "bypass");
        assert_eq!(gateway.script.last().unwrap().body, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_54_only_if_cached_and_a_missing_credential_are_told_in_the_apis_shape() {
    let gateway = Setup::new().config(|config| config.allow_anonymous = false).start().await;
    let cold = send_with(&gateway, &asking(ASKED), &[("cache-control", "only-if-cached")]).await;
    assert_eq!((cold.status, cold.header("x-should-retry")), (504, "false"));
    assert_eq!(cold.json()["error"]["code"], "only_if_cached_miss");
    let unknown = send_with(&gateway, &asking(ASKED), &[("authorization", "")]).await;
    assert_eq!((unknown.status, unknown.json()["error"]["type"].as_str()), (401, Some("authentication_error")));
    assert_eq!(gateway.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_56_concurrent_requests_share_a_call_each_in_its_shape_and_none_sees_anothers_metadata() {
    let gateway = Arc::new(TestGateway::start().await);
    let gate = Gate::closed();
    for _ in 0..2 {
        gateway.script.push(Reply::text("Use vinegar, then rinse.").behind(&gate));
    }
    let waiting: Vec<_> = (0..16)
        .map(|i| {
            let gateway = Arc::clone(&gateway);
            #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
            tokio::spawn(async move {
                let body = and(&json!({"stream": i % 4 < 2, "metadata": {"who": (i % 2).to_string()}}));
                send(&gateway, &body).await
            })
        })
        .collect();
    eventually("all requests wait", || async { gateway.app.gateway().flights().waiting() >= 16 }).await;
    gateway.script.reached(2).await;
    gate.open();
    for (i, answer) in waiting.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        let whole = if i % 4 < 2 { ended(&answer) } else { answer.json() };
        assert_eq!((answer.status, text(&whole)), (200, "Use vinegar, then rinse."));
        assert_eq!(whole["metadata"]["who"], (i % 2).to_string());
    }
    assert_eq!(gateway.calls(), 2, "one for each metadata");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_59_upstream_errors_pass_byte_for_byte_and_are_not_stored() {
    let gateway = TestGateway::start().await;
    for status in [400, 401, 404, 429, 500] {
        let body = json!({"error": {"message": format!("status {status}"), "type": "t", "code": null}});
        let reply = Reply::json(StatusCode::from_u16(status).unwrap(), &body);
        gateway.script.push(reply.header(http::header::RETRY_AFTER, HeaderValue::from_static("7")));
        let answer = send(&gateway, &asking(ASKED)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (status, "7"));
        assert_eq!(answer.body, body.to_string());
    }
    assert_eq!(outcome(&gateway, &asking(ASKED)).await, "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_below_the_path_passes_through_untouched() {
    let gateway = TestGateway::start().await;
    for (method, path) in [
        (Method::GET, "/v1/responses/resp_1?include=a&include=b"),
        (Method::DELETE, "/v1/responses/resp_1"),
        (Method::POST, "/v1/responses/resp_1/cancel"),
        (Method::GET, "/v1/responses/resp_1/input_items?after=x"),
        (Method::POST, "/v1/responses/input_tokens"),
        (Method::POST, "/v1/responses/compact"),
        (Method::GET, "/v1/responses"),
    ] {
        for _ in 0..2 {
            gateway.script.push(Reply::json(StatusCode::OK, &response(&json!([message("x")]))));
            let request = gateway.client.request(method.clone(), gateway.url(path));
            let request = request.header("authorization", "Bearer sk-test").body(asking(ASKED).to_string());
            let answer = Answer::read(request.send().await.unwrap()).await;
            assert_eq!((answer.outcome(), answer.status), ("bypass", 200), "{path}");
            let received = gateway.script.last().unwrap();
            assert_eq!((received.method, received.path_and_query.as_str()), (method.clone(), path));
            assert_eq!(received.body, asking(ASKED).to_string());
        }
    }
    let short = gateway.post("/responses", &asking(ASKED), &[]).await;
    assert_eq!(short.outcome(), "miss", "a base URL without its version works too");
}
