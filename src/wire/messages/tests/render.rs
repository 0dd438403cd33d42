use proptest::prelude::*;
use serde_json::{Value, json as value};

use super::*;
use crate::wire::{Shape, canonical::strategies, error_body, error_event};

const PARIS: &str = "The capital of France is Paris, a city on the river Seine with many bridges.";

#[test]
fn case_21_a_stream_adds_up_to_the_json_form_under_a_fresh_id() {
    let body = message(&value!([{"type": "text", "text": PARIS}]).to_string(), "end_turn");
    let (answer, fresh) = (answer(&body), fresh());
    let events = events_of(&answer.render_stream(&fresh, true));
    assert_eq!(added_up(&events), json(&answer.render_json(&fresh)));
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds[..2], ["message_start", "content_block_start"]);
    assert!(kinds.iter().filter(|kind| **kind == "content_block_delta").count() > 2);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let start = &events[0]["message"];
    assert_eq!((&start["stop_reason"], &start["content"]), (&Value::Null, &value!([])));
    assert_eq!((&start["usage"]["input_tokens"], &start["usage"]["output_tokens"]), (&5.into(), &1.into()));
}

#[test]
fn a_fresh_id_has_the_style_of_the_api_and_is_new() {
    let (a, b) = (fresh(), fresh());
    assert!(a.id.starts_with("msg_01") && a.id.len() == 28, "{}", a.id);
    assert_ne!(a.id, b.id);
}

#[test]
fn a_json_body_is_kept_byte_for_byte_but_for_its_id() {
    let body = "{ \"type\":\"message\",\n \"content\" : [{\"type\":\"text\",\"text\":\"\\u0041\"}], \"id\":\"msg_up\", \"usage\":{} }";
    let fresh = Fresh { id: "msg_new".into(), ..fresh() };
    assert_eq!(answer(body).render_json(&fresh), body.replace("msg_up", "msg_new").as_bytes());
    assert_eq!(Fresh::original(&answer(body)).id, "msg_up");
}

#[test]
fn case_22_a_tool_call_is_streamed_as_text_that_parses() {
    let content = value!([
        {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
        {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {"city": "Paris \"x\"", "n": [1, null]}, "caller": {"type": "direct"}},
    ]);
    let answer = answer(&message(&content.to_string(), "tool_use"));
    let events = events_of(&answer.render_stream(&fresh(), true));
    assert_eq!(added_up(&events)["content"], content);
    let pieces: Vec<&str> = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(pieces[0], "{}");
    let starts = events.iter().filter(|event| event["type"] == "content_block_start");
    assert!(starts.into_iter().all(|start| start["content_block"]["input"] == value!({})));
}

#[test]
fn case_29_the_signature_comes_after_the_thinking_and_before_the_blocks_end() {
    let content = value!([
        {"type": "thinking", "thinking": PARIS, "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "text", "text": "Paris."},
    ]);
    let answer = answer(&message(&content.to_string(), "end_turn"));
    let events = events_of(&answer.render_stream(&fresh(), true));
    assert_eq!(added_up(&events)["content"], content);
    let of_first: Vec<&str> = events
        .iter()
        .filter(|event| event["index"] == 0)
        .map(|event| event["delta"]["type"].as_str().unwrap_or(event["type"].as_str().unwrap()))
        .collect();
    assert_eq!(of_first.first(), Some(&"content_block_start"));
    assert_eq!(of_first[of_first.len() - 2..], ["signature_delta", "content_block_stop"]);
    assert!(of_first[1..of_first.len() - 2].iter().all(|kind| *kind == "thinking_delta"));
}

#[test]
fn citations_and_members_of_the_end_are_told_where_sdks_read_them() {
    let content = value!([{"type": "text", "text": "Blue.", "citations": [{"cited_text": "1"}, {"cited_text": "2"}]}]);
    let body = message(&content.to_string(), "end_turn")
        .replace(r#""stop_sequence":null"#, r#""stop_sequence":"END","stop_details":{"x":1},"vendor":"v""#);
    let answer = answer(&body);
    let events = events_of(&answer.render_stream(&fresh(), true));
    assert_eq!(added_up(&events)["content"], content);
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["delta"], value!({"stop_reason": "end_turn", "stop_sequence": "END", "stop_details": {"x": 1}}));
    assert_eq!(
        end["usage"],
        value!({"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 9}),
        "LangChain reads all counts here"
    );
    assert_eq!((&events[0]["message"]["stop_details"], &events[0]["message"]["vendor"]), (&Value::Null, &"v".into()));
}

#[test]
fn an_answer_that_could_not_be_reduced_is_served_only_as_its_own_stream() {
    let stream =
        ended(&[text_block(0, "x")], "end_turn").replace(r#""index":0,"delta""#, r#""index":0,"p":"y","delta""#);
    let answer = record_stream(&stream, RecordSettings::default()).recorded().unwrap();
    assert!(!answer.can_render(Shape::Json) && answer.can_render(Shape::Stream { include_usage: true }));
    let fresh = fresh();
    let rendered = String::from_utf8(answer.render_stream(&fresh, true).to_vec()).unwrap();
    assert_eq!(rendered, stream.replace("msg_up", &fresh.id));
}

#[test]
fn case_17_an_answer_that_may_not_be_stored_can_still_change_its_shape() {
    let body = message(r#"[{"type":"text","text":"cut o"}]"#, "max_tokens");
    let finished = record_json(&body, RecordSettings::default(), false);
    assert!(finished.verdict.is_err());
    let answer = finished.answer.unwrap();
    let events = events_of(&answer.render_stream(&Fresh::original(&answer), true));
    assert_eq!(added_up(&events), json(body.as_bytes()));
}

#[test]
fn errors_have_the_shape_of_the_api() {
    for (kind, code, told) in [
        ("invalid_request_error", "bad_directive", "invalid_request_error"),
        ("authentication_error", "no_credential", "authentication_error"),
        ("overloaded_error", "overloaded", "overloaded_error"),
        ("invalid_request_error", "body_too_large", "request_too_large"),
        ("upstream_error", "upstream_timeout", "timeout_error"),
        ("upstream_error", "upstream_connect", "api_error"),
        ("cache_error", "only_if_cached_miss", "api_error"),
    ] {
        let body = error_body(Family::Messages, http::StatusCode::BAD_REQUEST, kind, "bad \"mode\"\n", code);
        let error = value!({"type": told, "message": "bad \"mode\"\n", "code": code});
        assert_eq!(json(&body), value!({"type": "error", "error": error, "request_id": null}));
    }
}

#[test]
fn an_error_body_becomes_an_event_with_a_name() {
    let event = error_event(
        Family::Messages,
        b"{\"type\":\"error\",\n \"error\":{\"type\":\"api_error\",\"message\":\"m n\"}}",
    );
    let expected =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m n\"}}\n\n";
    assert_eq!(event.as_deref(), Some(expected.as_bytes()));
    assert_eq!(error_event(Family::Messages, message("[]", "end_turn").as_bytes()), None);
}

fn text() -> impl Strategy<Value = String> {
    "[a-z \"\\\\\n\t\u{1}é€😀]{0,120}"
}

/// The API sends no `null` for a citation, and one in a stream is refused.
fn citation() -> impl Strategy<Value = Value> {
    strategies::json().prop_filter("a citation", |cited| !cited.is_null())
}

fn content() -> impl Strategy<Value = Vec<Value>> {
    let block = prop_oneof![
        text().prop_map(|text| value!({"type": "text", "text": text})),
        (text(), prop::collection::vec(citation(), 0..3))
            .prop_map(|(text, cited)| value!({"type": "text", "text": text, "citations": cited})),
        (text(), "[a-zA-Z0-9+/]{0,40}")
            .prop_map(|(text, sign)| value!({"type": "thinking", "thinking": text, "signature": sign})),
        "[a-zA-Z0-9+/]{1,40}".prop_map(|data| value!({"type": "redacted_thinking", "data": data})),
        (text(), strategies::json(), prop::option::of(strategies::json())).prop_map(|(name, input, vendor)| {
            let mut block = value!({"type": "tool_use", "id": "toolu_1", "name": name, "input": {"given": input}});
            if let Some(vendor) = vendor {
                block["vendor"] = vendor;
            }
            block
        }),
    ];
    prop::collection::vec(block, 0..5)
}

proptest! {
    #[test]
    fn record_render_record_is_the_same_answer_in_both_shapes(
        mut content in content(), vendor in strategies::json(), turn in 0_usize..99, stop in prop::option::of(text()),
    ) {
        content.push(value!({"type": "text", "text": "Paris."}));
        let calls = content.iter().any(|block| block["type"] == "tool_use");
        let reason = if calls { "tool_use" } else if stop.is_some() { "stop_sequence" } else { "end_turn" };
        let body = value!({
            "id": "msg_up", "type": "message", "role": "assistant", "model": "m", "content": content, "vendor": vendor,
            "stop_reason": reason, "stop_sequence": stop,
            "usage": {"input_tokens": 5, "output_tokens": 9, "server_tool_use": null, "service_tier": "standard"},
        });
        let mut written = String::new();
        strategies::written(&body, turn, &mut written);
        let first = record_json(&written, tools_allowed(), false).recorded().unwrap();
        let fresh = Fresh::original(&first);

        let stream = String::from_utf8(first.render_stream(&fresh, true).to_vec()).unwrap();
        prop_assert_eq!(&added_up(&events_of(stream.as_bytes())), &body);
        let second = record_stream(&stream, tools_allowed()).recorded().unwrap();
        prop_assert_eq!(&json(&second.body), &body);
        prop_assert_eq!((&second.text, second.usage, &second.raw_stream), (&first.text, first.usage, &None));

        let third = record_stream(std::str::from_utf8(&second.render_stream(&fresh, true)).unwrap(), tools_allowed());
        prop_assert_eq!(third.recorded().unwrap().body, second.body);
    }
}
