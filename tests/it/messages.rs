//! Recording and replay of Anthropic's messages. Numbers are those of the wire contract's corner cases.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use semblance::{
    app::{App, Seams},
    config::UpstreamChoice,
    upstream::{
        routes::Routes,
        scripted::{Gate, Reply, Scripted, Step},
    },
    wire::Family,
};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, eventually, streaming, user, with};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";
const OLD: (&str, &str) = ("anthropic-version", "2023-06-01");
const NEW: (&str, &str) = ("anthropic-version", "2026-10-21");

/// A request with one user message.
fn asking(question: &str) -> Value {
    json!({"model": "claude-x", "max_tokens": 1000, "messages": [{"role": "user", "content": question}]})
}

/// Posts as an SDK of the older kind does, unless `headers` say otherwise.
async fn post(gateway: &TestGateway, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
    let names = |name: &str| headers.iter().any(|(other, _)| *other == name);
    if !names("x-api-key") && !names("authorization") {
        request = request.header("x-api-key", "sk-ant-test");
    }
    if !names(OLD.0) {
        request = request.header(OLD.0, OLD.1);
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::read(request.body(body.to_string()).send().await.unwrap()).await
}

async fn ask_with(gateway: &TestGateway, body: &Value, headers: &[(&str, &str)]) -> Answer {
    post(gateway, "/v1/messages", body, headers).await
}

async fn ask(gateway: &TestGateway, body: &Value) -> Answer {
    ask_with(gateway, body, &[]).await
}

/// The text of a JSON answer.
fn text(answer: &Answer) -> String {
    let content = &answer.json()["content"];
    content.as_array().unwrap().iter().filter_map(|block| block["text"].as_str()).collect()
}

/// The events of a stream, each of which must bear its name.
fn events(answer: &Answer) -> Vec<Value> {
    let frames = answer.body.split_terminator("\n\n").map(|frame| {
        let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        data
    });
    frames.collect()
}

/// The text of a stream's deltas, joined.
fn streamed(answer: &Answer) -> String {
    events(answer).iter().filter_map(|event| event["delta"]["text"].as_str().map(str::to_owned)).collect()
}

fn event(data: &Value) -> Step {
    Step::Send(format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap()).into())
}

fn usage() -> Value {
    json!({"input_tokens": 7, "output_tokens": 1})
}

fn whole_stream() -> Vec<Step> {
    let message = json!({"id": "msg_up1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage()});
    let delta =
        |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let end = json!({"stop_reason": "end_turn", "stop_sequence": null});
    [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        delta("Use "),
        delta("vinegar."),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(event)
    .collect()
}

fn message(content: &Value, stop_reason: &str) -> Reply {
    let body = json!({"id": "msg_up2", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage()});
    Reply::json(StatusCode::OK, &body)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_replayed_stream_names_its_events_and_adds_up_to_the_json_form() {
    let gateway = TestGateway::start().await;
    let miss = ask(&gateway, &asking(ASKED)).await;
    let (hit, again) = (ask(&gateway, &asking(ASKED)).await, ask(&gateway, &streaming(asking(ASKED))).await);
    assert_eq!((miss.outcome(), hit.outcome(), again.outcome()), ("miss", "hit-exact", "hit-exact"));
    assert_eq!(again.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!((text(&hit), streamed(&again)), (text(&miss), text(&miss)));
    let mut expected = miss.json();
    let id = hit.json()["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("msg_01") && miss.json()["id"] != id.as_str(), "a hit has an id of its own");
    assert_eq!(hit.header("x-semblance-origin-id"), miss.json()["id"].as_str().unwrap());
    expected["id"] = id.into();
    assert_eq!(hit.json(), expected);
    let told = events(&again);
    let end = told.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["usage"]["output_tokens"], expected["usage"]["output_tokens"]);
    assert_eq!(end["delta"]["stop_reason"], "end_turn");
    assert_eq!(told[0]["message"]["usage"]["input_tokens"], expected["usage"]["input_tokens"]);
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_a_recorded_stream_passes_byte_for_byte_and_is_replayed_as_json() {
    let gateway = TestGateway::start().await;
    let stream: Vec<u8> = whole_stream()
        .iter()
        .flat_map(|step| if let Step::Send(bytes) = step { bytes.to_vec() } else { Vec::new() })
        .collect();
    gateway.script.push(Reply::events(stream.chunks(7).map(|piece| Step::Send(piece.to_vec().into()))));
    let first = ask(&gateway, &streaming(asking(ASKED))).await;
    assert_eq!(first.body.as_bytes(), stream);
    let hit = ask(&gateway, &asking(ASKED)).await;
    assert_eq!((hit.outcome(), text(&hit).as_str()), ("hit-exact", "Use vinegar."));
    assert_eq!(hit.json()["usage"], json!({"input_tokens": 7, "output_tokens": 3}));
    assert_eq!(
        (hit.header("x-semblance-saved-input-tokens"), hit.header("x-semblance-saved-output-tokens")),
        ("7", "3")
    );
    let again = ask(&gateway, &streaming(asking(ASKED))).await;
    assert!(!again.body.contains("ping"));
    assert_eq!(streamed(&again), "Use vinegar.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paraphrase_is_served_by_meaning_under_the_same_terms_only() {
    let gateway = TestGateway::start().await;
    ask(&gateway, &asking(ASKED)).await;
    assert_eq!(ask(&gateway, &asking(REWORDED)).await.outcome(), "hit-semantic");
    for variant in [
        json!({"system": "Be brief."}),
        json!({"top_k": 5}),
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        json!({"stop_sequences": ["x"]}),
        json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
        json!({"model": "claude-y"}),
    ] {
        let body = with(asking(REWORDED), &variant);
        assert_eq!(ask(&gateway, &body).await.outcome(), "miss", "{variant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_stored_tool_call_is_streamed_with_its_input_and_found_by_the_same_request_only() {
    let gateway = Setup::new().config(|config| config.store_tool_calls = true).start().await;
    let call = json!([{"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}]);
    let body = |question: &str| {
        with(asking(question), &json!({"tools": [{"name": "now", "input_schema": {"type": "object"}}]}))
    };
    gateway.script.push(message(&call, "tool_use"));
    ask(&gateway, &body(ASKED)).await;
    let hit = ask(&gateway, &streaming(body(ASKED))).await;
    assert_eq!(hit.outcome(), "hit-exact");
    let told = events(&hit);
    assert_eq!(told[1]["content_block"], call[0]);
    let pieces: String = told.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(pieces, "{}");
    assert_eq!(ask(&gateway, &body(REWORDED)).await.outcome(), "miss");
    let closed = TestGateway::start().await;
    closed.script.push(message(&call, "tool_use"));
    assert!(ask(&closed, &body(ASKED)).await.header("cache-status").ends_with("detail=finish-tool-calls"));
    assert_eq!(ask(&closed, &body(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_an_error_event_inside_a_stream_is_forwarded_and_not_stored() {
    let gateway = TestGateway::start().await;
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let steps: Vec<Step> = whole_stream().into_iter().take(4).chain([event(&error)]).collect();
    gateway.script.push(Reply::events(steps));
    let first = ask(&gateway, &streaming(asking(ASKED))).await;
    assert!(!first.broken && first.body.ends_with(&format!("event: error\ndata: {error}\n\n")));
    assert_eq!(ask(&gateway, &asking(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_truncated_paused_and_refused_answers_are_forwarded_and_not_stored() {
    for (reason, detail) in [
        ("max_tokens", "finish-length"),
        ("model_context_window_exceeded", "finish-length"),
        ("pause_turn", "finish-other"),
        ("refusal", "refusal"),
    ] {
        let gateway = TestGateway::start().await;
        gateway.script.push(Reply::finishing("Use vin", reason));
        let first = ask(&gateway, &asking(ASKED)).await;
        assert_eq!((text(&first).as_str(), first.json()["stop_reason"].as_str()), ("Use vin", Some(reason)));
        assert!(
            first.header("cache-status").ends_with(&format!("detail={detail}")),
            "{}",
            first.header("cache-status")
        );
        assert_eq!(ask(&gateway, &asking(ASKED)).await.outcome(), "miss", "{reason}");
        gateway.script.push(Reply::finishing("Use vin", reason));
        let other = asking("Who wrote Emma?");
        assert_eq!(streamed(&ask(&gateway, &streaming(other.clone())).await), "Use vin");
        assert_eq!(ask(&gateway, &other).await.outcome(), "miss", "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_25_both_ways_to_send_a_key_identify_the_caller_and_keep_their_answers_apart() {
    let gateway = Setup::new().config(|config| config.allow_anonymous = false).start().await;
    let old = [("x-api-key", "sk-ant-1"), OLD];
    let new = [("authorization", "Bearer sk-ant-1"), NEW];
    for headers in [old, new] {
        assert_eq!(ask_with(&gateway, &asking(ASKED), &headers).await.outcome(), "miss");
        assert_eq!(ask_with(&gateway, &asking(ASKED), &headers).await.outcome(), "hit-exact");
        assert_eq!(
            gateway.script.last().unwrap().headers[headers[0].0],
            headers[0].1,
            "the upstream gets it as it came"
        );
    }
    let mixed = [("x-api-key", "sk-ant-1"), NEW];
    assert_eq!(ask_with(&gateway, &asking(ASKED), &mixed).await.outcome(), "miss", "a version is a partition");
    let refused = ask_with(&gateway, &asking(ASKED), &[("x-api-key", "")]).await;
    assert_eq!((refused.status, refused.json()["type"].as_str()), (401, Some("error")));
    assert_eq!(refused.json()["error"]["type"], "authentication_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_51_two_credentials_or_workspaces_never_share_an_answer() {
    for question in [ASKED, REWORDED] {
        let gateway = TestGateway::start().await;
        ask(&gateway, &asking(ASKED)).await;
        for other in [("x-api-key", "sk-ant-2"), ("anthropic-workspace-id", "w2"), ("anthropic-user-profile-id", "p2")]
        {
            assert_eq!(ask_with(&gateway, &asking(question), &[other]).await.outcome(), "miss", "{other:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_and_41_cache_control_and_accounting_do_not_keep_answers_apart() {
    let gateway = TestGateway::start().await;
    let system = |members: &str| {
        let block = format!(r#"[{{"type":"text","text":"Be brief."{members}}}]"#);
        with(asking(ASKED), &json!({"system": serde_json::from_str::<Value>(&block).unwrap()}))
    };
    ask(&gateway, &with(asking(ASKED), &json!({"system": "Be brief."}))).await;
    let marked = json!([{"type": "text", "text": ASKED, "cache_control": {"type": "ephemeral"}}]);
    for body in [
        system(""),
        system(r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#),
        with(system(""), &json!({"cache_control": {"type": "ephemeral"}})),
        with(system(""), &json!({"messages": [{"role": "user", "content": marked}]})),
        with(system(""), &json!({"metadata": {"user_id": "u1"}, "service_tier": "auto", "stream": false})),
    ] {
        assert_eq!(ask(&gateway, &body).await.outcome(), "hit-exact", "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_27_betas_are_a_set_and_a_partition() {
    let gateway = TestGateway::start().await;
    let with_betas = |betas: &'static str| [("anthropic-beta", betas)];
    ask_with(&gateway, &asking(ASKED), &with_betas("a,b")).await;
    assert_eq!(ask_with(&gateway, &asking(ASKED), &with_betas("b,a")).await.outcome(), "hit-exact");
    assert_eq!(ask_with(&gateway, &asking(ASKED), &with_betas("a")).await.outcome(), "miss");
    assert_eq!(ask(&gateway, &asking(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_28_a_literal_not_given_is_no_error() {
    let gateway = TestGateway::start().await;
    let odd = [("x-stainless-timeout", "NOT_GIVEN"), ("x-stainless-read-timeout", "60.0")];
    assert_eq!(ask_with(&gateway, &streaming(asking(ASKED)), &odd).await.status, 200);
    assert_eq!(ask(&gateway, &asking(ASKED)).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_thinking_is_replayed_with_its_signature_and_to_the_same_credential_only() {
    let shared = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";
    let gateway = Setup::new().policies(&[("default.toml", shared)]).start().await;
    let body = with(asking(ASKED), &json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}));
    let content = json!([
        {"type": "thinking", "thinking": "Scale is lime.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "text", "text": "Use vinegar."},
    ]);
    gateway.script.push(message(&content, "end_turn"));
    ask(&gateway, &body).await;
    let hit = ask(&gateway, &streaming(body.clone())).await;
    assert_eq!(hit.outcome(), "hit-exact");
    let told: Vec<String> = events(&hit)
        .iter()
        .filter(|event| event["index"] == 0)
        .map(|event| event["delta"]["type"].as_str().or(event["type"].as_str()).unwrap().to_owned())
        .collect();
    assert_eq!(told, ["content_block_start", "thinking_delta", "signature_delta", "content_block_stop"]);
    assert_eq!(ask(&gateway, &body).await.json()["content"], content);
    let other = [("x-api-key", "sk-ant-2")];
    assert_eq!(ask_with(&gateway, &body, &other).await.outcome(), "miss");
    ask(&gateway, &asking(ASKED)).await;
    assert_eq!(
        ask_with(&gateway, &asking(ASKED), &other).await.outcome(),
        "hit-exact",
        "plain text is shared as the policy says"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_05_06_a_stream_without_its_stop_is_aborted_and_not_stored() {
    let gateway = TestGateway::start().await;
    let mut cut = whole_stream();
    cut.pop();
    let mut broken = whole_stream();
    broken.truncate(4);
    broken.push(Step::Break);
    for steps in [cut, broken] {
        gateway.script.push(Reply::events(steps));
        assert!(ask(&gateway, &streaming(asking(ASKED))).await.broken);
    }
    assert_eq!(ask(&gateway, &asking(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_17_18_json_that_answers_a_stream_request_becomes_a_stream_or_an_error_event() {
    let gateway = TestGateway::start().await;
    gateway.script.push(message(&json!([{"type": "text", "text": "Use vinegar."}]), "end_turn"));
    let answer = ask(&gateway, &streaming(asking(ASKED))).await;
    assert_eq!(
        (streamed(&answer).as_str(), events(&answer)[0]["message"]["id"].as_str()),
        ("Use vinegar.", Some("msg_up2"))
    );
    let error = json!({"type": "error", "error": {"type": "api_error", "message": "no capacity"}});
    gateway.script.push(Reply::json(StatusCode::OK, &error));
    let failed = ask(&gateway, &streaming(asking("Who wrote Emma?"))).await;
    assert_eq!(failed.body, format!("event: error\ndata: {error}\n\n"));
    assert_eq!(ask(&gateway, &asking("Who wrote Emma?")).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_an_answer_whose_client_has_gone_is_finished_and_stored() {
    let gateway = TestGateway::start().await;
    let gate = Gate::closed();
    let mut steps = whole_stream();
    steps.insert(3, Step::Hold(gate.clone()));
    gateway.script.push(Reply::events(steps));
    let request = gateway.client.post(gateway.url("/v1/messages")).header("x-api-key", "sk-ant-test");
    let request = request.header(OLD.0, OLD.1).body(streaming(asking(ASKED)).to_string());
    let mut leaving = request.send().await.unwrap();
    leaving.chunk().await.unwrap().unwrap();
    drop(leaving);
    gate.open();
    eventually("the answer is stored", || async { ask(&gateway, &asking(ASKED)).await.outcome() == "hit-exact" }).await;
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_56_concurrent_requests_of_both_shapes_cost_one_upstream_call_and_each_gets_its_own_shape() {
    for leads in [asking(ASKED), streaming(asking(ASKED))] {
        let gateway = Arc::new(TestGateway::start().await);
        let gate = Gate::closed();
        gateway.script.push(Reply::text("Use vinegar, then rinse.").behind(&gate));
        let mut waiting = Vec::new();
        for body in [leads, asking(ASKED), streaming(asking(ASKED))] {
            let (asker, before) = (Arc::clone(&gateway), waiting.len());
            #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
            waiting.push(tokio::spawn(async move { ask(&asker, &body).await }));
            eventually("it waits on the flight", || async { gateway.app.gateway().flights().waiting() > before }).await;
        }
        gate.open();
        for (at, answer) in waiting.into_iter().enumerate() {
            let answer = answer.await.unwrap();
            assert_eq!((answer.status, answer.broken), (200, false));
            let stream = answer.header("content-type").starts_with("text/event-stream");
            let said = if stream { streamed(&answer) } else { text(&answer) };
            assert_eq!(said, "Use vinegar, then rinse.");
            assert!(at == 0 || stream == (at == 2), "{at}");
        }
        assert_eq!(gateway.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_37_45_what_the_provider_runs_or_reads_elsewhere_bypasses() {
    let gateway = TestGateway::start().await;
    let image = json!([{"type": "text", "text": "What is this?"}, {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]);
    for (members, detail) in [
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "web-search"),
        (json!({"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]}), "hosted-tool"),
        (json!({"mcp_servers": [{"type": "url", "url": "https://m.example", "name": "m"}]}), "hosted-tool"),
        (json!({"container": "c_1"}), "provider-state"),
        (json!({"messages": [{"role": "user", "content": image}]}), "remote-content"),
    ] {
        let body = with(asking(ASKED), &members);
        let answer = ask(&gateway, &body).await;
        assert_eq!((answer.status, answer.outcome()), (200, "bypass"), "{members}");
        assert!(
            answer.header("cache-status").ends_with(&format!("detail={detail}")),
            "{}",
            answer.header("cache-status")
        );
        assert_eq!(gateway.script.last().unwrap().body, body.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_49_an_entry_serves_any_token_limit_it_fits_in() {
    let gateway = TestGateway::start().await;
    ask(&gateway, &asking(ASKED)).await;
    let limited = |limit: u64| with(asking(ASKED), &json!({"max_tokens": limit}));
    assert_eq!(ask(&gateway, &limited(128_000)).await.outcome(), "hit-exact");
    assert_eq!(ask(&gateway, &limited(1)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_48_an_answer_that_should_be_json_and_is_not_is_not_stored() {
    let gateway = TestGateway::start().await;
    let format = json!({"type": "json_schema", "schema": {"type": "object"}});
    let body = with(asking(ASKED), &json!({"output_config": {"format": format}}));
    gateway.script.push(Reply::text("{\"steps\": [\"vinegar\""));
    assert!(ask(&gateway, &body).await.header("cache-status").ends_with("detail=not-json"));
    gateway.script.push(Reply::text("{\"steps\": [\"vinegar\"]}"));
    assert_eq!(ask(&gateway, &body).await.outcome(), "miss");
    assert_eq!(ask(&gateway, &body).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_54_58_59_errors_of_ours_have_the_apis_shape_and_its_own_pass_unchanged() {
    let gateway = TestGateway::start().await;
    let cold = ask_with(&gateway, &asking(ASKED), &[("cache-control", "only-if-cached")]).await;
    assert_eq!((cold.status, cold.header("x-should-retry"), gateway.calls()), (504, "false", 0));
    assert_eq!(
        (cold.json()["type"].as_str(), cold.json()["error"]["code"].as_str()),
        (Some("error"), Some("only_if_cached_miss"))
    );
    for (reply, status, kind) in [
        (Reply::connect_error(), 502, "api_error"),
        (Reply::broken(), 502, "api_error"),
        (Reply::timeout(), 504, "timeout_error"),
    ] {
        for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches"] {
            gateway.script.push(reply.clone());
            let answer = post(&gateway, path, &asking(ASKED), &[]).await;
            assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (status, Some(kind)), "{path}");
        }
    }
    let limited = HeaderValue::from_static("3");
    for status in [401, 403, 404, 413, 429, 500, 529] {
        let body = json!({"type": "error", "error": {"type": "t", "message": "m"}, "request_id": "req_1"});
        let reply =
            Reply::json(StatusCode::from_u16(status).unwrap(), &body).header(header::RETRY_AFTER, limited.clone());
        gateway.script.push(reply);
        let answer = ask(&gateway, &asking(ASKED)).await;
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.body.as_str()),
            (status, "3", body.to_string().as_str())
        );
    }
    assert_eq!(ask(&gateway, &asking(ASKED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused_in_the_apis_shape() {
    let gateway = Setup::new().config(|config| config.limits.body_bytes = 20_000).start().await;
    let refused = ask(&gateway, &asking(&"x".repeat(30_000))).await;
    assert_eq!((refused.status, refused.json()["error"]["type"].as_str()), (413, Some("request_too_large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_60_a_hit_replays_no_header_of_the_stored_answer() {
    let gateway = TestGateway::start().await;
    let mut reply = Reply::text("Use vinegar.");
    for name in ["anthropic-ratelimit-requests-remaining", "set-cookie", "cf-ray"] {
        reply = reply.header(http::HeaderName::from_static(name), HeaderValue::from_static("old"));
    }
    gateway.script.push(reply);
    let (miss, hit) = (ask(&gateway, &asking(ASKED)).await, ask(&gateway, &asking(ASKED)).await);
    assert_eq!(miss.header("anthropic-ratelimit-requests-remaining"), "old");
    assert!(miss.header("request-id").starts_with("req_demo"));
    for name in ["anthropic-ratelimit-requests-remaining", "set-cookie", "cf-ray", "x-request-id"] {
        assert_eq!(hit.header(name), "", "{name}");
    }
    assert_eq!(hit.header("request-id"), hit.header("x-semblance-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_63_and_what_is_not_cached_reaches_its_own_provider_unchanged() {
    let ((openai, to_openai), (anthropic, to_anthropic)) = (Scripted::programmable(), Scripted::programmable());
    let both = Routes::new(Arc::new(openai.with_base_url("o")), Arc::default())
        .family(Family::Messages, Arc::new(anthropic.with_base_url("a")));
    let gateway = Setup { upstream: Some(Arc::new(both)), ..Setup::new() }.start().await;
    let get = async |path: &str| {
        let request = gateway.client.get(gateway.url(path)).header("x-api-key", "sk-ant-test").header(OLD.0, OLD.1);
        Answer::read(request.send().await.unwrap()).await
    };
    let first = get("/v1/models?limit=1").await.json();
    let page = get(&format!("/v1/models?after_id={}", first["last_id"].as_str().unwrap())).await;
    assert_eq!((page.outcome(), page.json()["data"].as_array().unwrap().len()), ("miss", 0));
    assert_eq!(get("/v1/models?limit=1").await.outcome(), "hit-exact", "kept like OpenAI's");
    assert!(to_anthropic.last().unwrap().path_and_query.ends_with("?after_id=semblance-demo"));
    let counted = post(&gateway, "/v1/messages/count_tokens?beta=true", &asking(ASKED), &[]).await;
    assert_eq!((counted.outcome(), counted.json()["input_tokens"].as_u64()), ("bypass", Some(10)));
    assert_eq!(to_anthropic.last().unwrap().path_and_query, "/v1/messages/count_tokens?beta=true");
    post(&gateway, "/v1/messages/batches", &json!({"requests": []}), &[]).await;
    assert_eq!(to_anthropic.last().unwrap().path_and_query, "/v1/messages/batches");
    ask(&gateway, &asking(ASKED)).await;
    assert_eq!(to_openai.calls(), 0);
    gateway.chat(&user(ASKED)).await;
    assert_eq!((to_openai.calls(), to_anthropic.calls()), (1, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocols_provider_is_configured_on_its_own_and_takes_either_base_url() {
    let provider = TestGateway::start().await;
    for (base, question) in [("", ASKED), ("/v1", "Who wrote Emma?")] {
        let Setup { mut config, embedder, dir, .. } = Setup::new();
        config.anthropic_upstream = Some(UpstreamChoice::Url(provider.url(base)));
        let app = App::start(config, Seams { embedder: Some(embedder), ..Seams::default() }).await.unwrap();
        let before = provider.calls();
        let request = provider.client.post(format!("http://{}/v1/messages", app.listen)).header(OLD.0, OLD.1);
        let answer =
            Answer::read(request.header("x-api-key", "k").body(asking(question).to_string()).send().await.unwrap())
                .await;
        assert_eq!((answer.status, provider.calls()), (200, before + 1), "{}", answer.body);
        let chat = provider.client.post(format!("http://{}/v1/chat/completions", app.listen));
        let chat = chat.header("authorization", "Bearer k").body(user(ASKED).to_string()).send().await.unwrap();
        assert_eq!((chat.status().as_u16(), provider.calls()), (200, before + 1), "the built-in model has answered");
        assert_eq!(app.drain().await, Vec::<&str>::new());
        drop(dir);
    }
}
