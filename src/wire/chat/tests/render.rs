use proptest::prelude::*;
use serde_json::{Value, json as value};

use super::*;
use crate::wire::{Echo, Shape, canonical::strategies, error_body};

/// The message that a client adds up from chunks.
fn added_up(chunks: &[Value]) -> (String, String, Option<String>) {
    let (mut content, mut reasoning, mut finish) = (String::new(), String::new(), None);
    for choice in chunks.iter().filter_map(|chunk| chunk["choices"].get(0)) {
        content.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        reasoning.push_str(choice["delta"]["reasoning_content"].as_str().unwrap_or_default());
        finish = choice["finish_reason"].as_str().map(str::to_owned).or(finish);
    }
    (content, reasoning, finish)
}

#[test]
fn case_01_a_stream_is_served_as_one_json_object_under_a_fresh_id() {
    let stream = stream_of(&[&delta(r#""content":"Caf\u00e9 \"x\"""#), &finish("stop")], true);
    let answer = record_stream(&stream, RecordSettings::default(), false).recorded().unwrap();
    let fresh = fresh();
    let body = json(&answer.render_json(&fresh));
    assert_eq!(body["choices"][0]["message"]["content"], "Café \"x\"");
    assert_eq!((&body["id"], &body["created"]), (&fresh.id.as_str().into(), &1_700_000_000.into()));
    assert_eq!(body["object"], "chat.completion");
}

#[test]
fn a_fresh_id_has_the_style_of_the_api_and_is_new() {
    let (a, b) = (fresh(), fresh());
    assert!(a.id.starts_with("chatcmpl-") && a.id.len() == 38, "{}", a.id);
    assert_ne!(a.id, b.id);
}

#[test]
fn an_answer_shared_within_its_own_call_keeps_its_id() {
    let answer = answer(&completion(r#"{"role":"assistant","content":"Hi"}"#, "stop"));
    assert_eq!(Fresh::original(&answer), Fresh { id: "chatcmpl-up".into(), created: 7, echo: Echo::default() });
}

#[test]
fn a_json_body_is_kept_byte_for_byte_but_for_id_and_created() {
    let body = "{ \"created\" : 7,\n \"choices\":[{\"message\":{\"content\":\"\\u0041\"},\"finish_reason\":\"stop\"}], \"id\":\"x\" }";
    let fresh = Fresh { id: "chatcmpl-new".into(), created: 9, echo: Echo::default() };
    let expected = body.replace(": 7", ": 9").replace("\"x\"", "\"chatcmpl-new\"");
    assert_eq!(answer(body).render_json(&fresh), expected.as_bytes());
}

#[test]
fn case_02_json_is_served_as_a_stream_without_usage() {
    let text = "The capital of France is Paris, a city on the river Seine with many bridges.";
    let answer = answer(&completion(
        &format!(r#"{{"role":"assistant","content":"{text}","refusal":null,"annotations":[]}}"#),
        "stop",
    ));
    let fresh = fresh();
    let chunks = chunks_of(&answer.render_stream(&fresh, false));
    assert_eq!(chunks[0]["choices"][0]["delta"], value!({"role": "assistant", "content": "", "refusal": null}));
    assert_eq!(added_up(&chunks), (text.to_owned(), String::new(), Some("stop".to_owned())));
    assert!(chunks.len() > 4, "{} chunks", chunks.len());
    for chunk in &chunks {
        assert_eq!(chunk["id"], fresh.id.as_str());
        assert_eq!((&chunk["created"], &chunk["model"]), (&fresh.created.into(), &"m".into()));
        assert_eq!((&chunk["object"], &chunk["system_fingerprint"]), (&"chat.completion.chunk".into(), &"fp_1".into()));
        assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
        assert!(chunk.get("usage").is_none());
    }
}

#[test]
fn case_03_usage_asked_for_is_one_chunk_before_the_marker_and_null_before_that() {
    let answer = answer(&completion(r#"{"role":"assistant","content":"Hi"}"#, "stop"));
    let mut chunks = chunks_of(&answer.render_stream(&fresh(), true));
    let last = chunks.pop().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&value!([]), &9.into()));
    assert!(chunks.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
}

#[test]
fn case_14_every_tool_call_of_a_stream_has_an_index() {
    let calls = r#"[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{ "id":"b", "type":"function",
        "function":{"name":"g","arguments":"{\"x\": 1}"} }]"#;
    let answer =
        answer(&completion(&format!(r#"{{"role":"assistant","content":null,"tool_calls":{calls}}}"#), "tool_calls"));
    let chunks = chunks_of(&answer.render_stream(&fresh(), false));
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[0]["choices"][0]["delta"]["content"], Value::Null);
    let sent = &chunks[1]["choices"][0]["delta"]["tool_calls"];
    assert_eq!((&sent[0]["index"], &sent[1]["index"]), (&0.into(), &1.into()));
    assert_eq!(sent[1]["function"], value!({"name": "g", "arguments": "{\"x\": 1}"}));
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn case_15_reasoning_comes_before_content() {
    let answer = answer(&completion(r#"{"role":"assistant","content":"Yes.","reasoning_content":"Hmm."}"#, "stop"));
    let deltas: Vec<Value> =
        chunks_of(&answer.render_stream(&fresh(), false)).iter().map(|c| c["choices"][0]["delta"].clone()).collect();
    assert_eq!(deltas[1..3], [value!({"reasoning_content": "Hmm."}), value!({"content": "Yes."})]);
    assert_eq!(json(&answer.render_json(&fresh()))["choices"][0]["message"]["reasoning_content"], "Hmm.");
}

#[test]
fn fields_of_vendors_are_not_lost_on_a_stream() {
    let body = completion(r#"{"role":"assistant","content":"x","thought":{"a" : 1}}"#, "stop")
        .replace(r#""logprobs":null"#, r#""content_filter_results":{"hate":false}"#)
        .replace(r#""model":"m""#, r#""model":"m","provider":"p""#);
    let chunks = chunks_of(&answer(&body).render_stream(&fresh(), false));
    assert_eq!(chunks[2]["choices"][0]["delta"]["thought"], value!({"a": 1}));
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["content_filter_results"], value!({"hate": false}));
    assert_eq!(last["provider"], "p");
}

#[test]
fn deltas_are_never_cut_inside_a_character_or_an_escape() {
    let inner = r#"\ud83d\ude00\"\\\n€😀é\u00e9"#.repeat(30);
    let answer = answer(&completion(&format!(r#"{{"content":"{inner}"}}"#), "stop"));
    let chunks = chunks_of(&answer.render_stream(&fresh(), false));
    assert_eq!(added_up(&chunks).0, answer.text);
    assert!(chunks.len() > 10);
}

#[test]
fn an_answer_that_could_not_be_reduced_is_served_only_as_its_own_stream() {
    let usage = r#""choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    let stream =
        stream_of(&[&delta(r#""parts":[1],"content":"x""#), &delta(r#""parts":[2]"#), &finish("stop"), usage], true);
    let answer = record_stream(&stream, RecordSettings::default(), false).recorded().unwrap();
    assert!(!answer.can_render(Shape::Json));
    assert!(answer.can_render(Shape::Stream { include_usage: false }));
    let fresh = fresh();
    let chunks = chunks_of(&answer.render_stream(&fresh, false));
    assert_eq!(chunks.len(), 3);
    assert!(chunks.iter().all(|chunk| chunk["id"] == fresh.id.as_str() && chunk["created"] == fresh.created));
    assert_eq!(chunks[1]["choices"][0]["delta"]["parts"], value!([2]));
    assert_eq!(chunks_of(&answer.render_stream(&fresh, true)).len(), 4);
}

#[test]
fn case_17_an_answer_that_may_not_be_stored_can_still_change_its_shape() {
    let body = completion(r#"{"role":"assistant","content":"cut o"}"#, "length");
    let finished = record_json(&body, RecordSettings::default(), false);
    assert!(finished.verdict.is_err());
    let answer = finished.answer.unwrap();
    let chunks = chunks_of(&answer.render_stream(&Fresh::original(&answer), false));
    assert_eq!(added_up(&chunks), ("cut o".to_owned(), String::new(), Some("length".to_owned())));
    assert_eq!(chunks[0]["id"], "chatcmpl-up");
}

#[test]
fn errors_have_the_shape_of_the_api() {
    let body = error_body(
        Family::Chat,
        http::StatusCode::BAD_REQUEST,
        "invalid_request_error",
        "bad \"mode\"\n",
        "bad_header",
    );
    let error =
        value!({"message": "bad \"mode\"\n", "type": "invalid_request_error", "param": null, "code": "bad_header"});
    assert_eq!(json(&body), value!({ "error": error }));
}

fn text() -> impl Strategy<Value = String> {
    "[a-z \"\\\\\n\t\u{1}é€😀]{1,120}".prop_filter("said something", |text| !text.trim().is_empty())
}

proptest! {
    #[test]
    fn record_render_record_is_the_same_answer_in_both_shapes(
        content in text(), reasoning in prop::option::of(text()), vendor in strategies::json(), turn in 0_usize..99,
        include_usage in any::<bool>(),
    ) {
        let mut message = value!({"role": "assistant", "content": content});
        if let Some(reasoning) = &reasoning {
            message["reasoning_content"] = reasoning.as_str().into();
        }
        let body = value!({
            "id": "chatcmpl-up", "object": "chat.completion", "created": 7, "model": "m", "vendor": vendor,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 9},
        });
        let mut written = String::new();
        strategies::written(&body, turn, &mut written);
        let first = record_json(&written, RecordSettings::default(), false).recorded().unwrap();
        let fresh = fresh();

        let stream = String::from_utf8(first.render_stream(&fresh, include_usage).to_vec()).unwrap();
        let second = record_stream(&stream, RecordSettings::default(), false).recorded().unwrap();
        prop_assert_eq!(&second.text, &content);
        prop_assert_eq!(second.usage, first.usage.filter(|_| include_usage));
        prop_assert_eq!(&second.raw_stream, &None);

        let third = record_json(std::str::from_utf8(&second.render_json(&fresh)).unwrap(), RecordSettings::default(), false);
        let rendered = json(&third.recorded().unwrap().body);
        prop_assert_eq!(&rendered["id"], fresh.id.as_str());
        prop_assert_eq!(&rendered["choices"][0]["message"]["content"], content.as_str());
        prop_assert_eq!(rendered["choices"][0]["message"]["reasoning_content"].as_str(), reasoning.as_deref());
        prop_assert_eq!(&rendered["vendor"], &body["vendor"]);
        prop_assert_eq!(&rendered["choices"][0]["finish_reason"], "stop");
    }
}
