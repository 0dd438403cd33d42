use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::*;
use crate::{
    outcome::NotStored,
    wire::{BodyKind, Usage, strip_usage},
};

fn why(stream: &str) -> NotStored {
    record_stream(stream, RecordSettings::default(), false).recorded().unwrap_err()
}

fn stored(stream: &str, settings: RecordSettings) -> Answer {
    record_stream(stream, settings, false).recorded().unwrap()
}

/// A stream with these deltas that finishes for `reason`.
fn ended(deltas: &[&str], reason: &str) -> String {
    let mut chunks: Vec<String> = deltas.iter().map(|members| delta(members)).collect();
    chunks.push(finish(reason));
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    stream_of(&chunks, true)
}

const HELLO: [&str; 3] =
    [r#""role":"assistant","content":"","refusal":null"#, r#""content":"Hel""#, r#""content":"lo""#];

#[test]
fn a_stream_becomes_the_object_of_the_json_api() {
    let usage = r#""choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}"#;
    let chunks = [&delta(HELLO[0]), &delta(HELLO[1]), &delta(HELLO[2]), &finish("stop"), usage].map(ToOwned::to_owned);
    let stream = stream_of(&chunks.each_ref().map(String::as_str), true);
    let answer = stored(&stream, RecordSettings::default());
    let expected = serde_json::json!({
        "id": "chatcmpl-up", "object": "chat.completion", "created": 7, "model": "gpt-4o-mini-2024",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": null},
            "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    });
    assert_eq!(json(&answer.body), expected);
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("Hello", "gpt-4o-mini-2024"));
    assert_eq!(answer.usage, Some(Usage { input: 5, output: 2 }));
    assert_eq!(answer.raw_stream, None);
}

#[test]
fn case_05_a_stream_without_its_marker_is_not_stored() {
    let whole = ended(&HELLO, "stop");
    assert_eq!(why(whole.strip_suffix("data: [DONE]\n\n").unwrap()), NotStored::Incomplete);
}

#[test]
fn case_06_a_broken_stream_is_not_stored_even_by_lenient_rules() {
    let settings = RecordSettings { lenient_end: true, ..RecordSettings::default() };
    for done in [false, true] {
        let mut recorder = Recorder::new(Family::Chat, settings.clone(), false);
        let stream = stream_of(&[&delta(HELLO[1]), &finish("stop")], done);
        frames_of(stream.as_bytes()).iter().for_each(|frame| recorder.frame(frame));
        let finished = recorder.finish_stream(false);
        assert_eq!((finished.answer, finished.verdict), (None, Err(NotStored::Incomplete)));
    }
}

#[test]
fn case_07_an_error_frame_is_not_stored() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\ndata: [DONE]\n\n";
    let begun = stream_of(&[&delta(HELLO[1])], false);
    assert_eq!(why(&[&begun, error].concat()), NotStored::ErrorBody);
    assert_eq!(why(&[&begun, "event: error\ndata: {}\n\n"].concat()), NotStored::ErrorBody);
}

#[test]
fn case_08_and_09_other_finishes_are_not_stored_but_whole() {
    for (reason, not_stored) in [
        ("length", NotStored::FinishLength),
        ("content_filter", NotStored::FinishFilter),
        ("tool_calls", NotStored::FinishTool),
        ("insufficient_system_resource", NotStored::FinishOther),
    ] {
        let finished = record_stream(&ended(&HELLO, reason), RecordSettings::default(), false);
        assert_eq!(finished.verdict, Err(not_stored), "{reason}");
        assert_eq!(finished.answer.unwrap().text, "Hello");
        let body = completion(r#"{"role":"assistant","content":"Hello"}"#, reason);
        assert_eq!(record_json(&body, RecordSettings::default(), false).verdict, Err(not_stored), "{reason}");
    }
    let chunk = delta(HELLO[1]);
    assert_eq!(why(&stream_of(&[&chunk], true)), NotStored::FinishOther);
}

#[test]
fn case_09_a_refusal_is_not_stored() {
    assert_eq!(why(&ended(&[r#""refusal":"I can""#, r#""refusal":"not""#], "stop")), NotStored::Refusal);
    let body = completion(r#"{"role":"assistant","content":null,"refusal":"no"}"#, "stop");
    assert_eq!(record_json(&body, RecordSettings::default(), false).recorded(), Err(NotStored::Refusal));
}

#[test]
fn case_10_a_lenient_upstream_may_omit_the_marker_but_not_the_finish() {
    let lenient = || RecordSettings { lenient_end: true, ..RecordSettings::default() };
    let finished = stream_of(&[&delta(HELLO[1]), &finish("stop")], false);
    assert_eq!(stored(&finished, lenient()).text, "Hel");
    let unfinished = stream_of(&[&delta(HELLO[1])], false);
    assert_eq!(record_stream(&unfinished, lenient(), false).recorded(), Err(NotStored::Incomplete));
}

#[test]
fn case_12_comments_and_crlf_are_not_recorded() {
    let stream = format!(": ping\n\n{}", ended(&HELLO, "stop")).replace('\n', "\r\n");
    assert_eq!(stored(&stream, RecordSettings::default()).text, "Hello");
}

#[test]
fn case_13_interleaved_tool_calls_are_joined_per_index() {
    let call = |index: u8, rest: &str| format!(r#""tool_calls":[{{"index":{index},{rest}}}]"#);
    let pieces = [
        call(1, r#""id":"b","type":"function","function":{"name":"g","arguments":"{\"y\""}"#),
        call(0, r#""id":"a","type":"function","function":{"name":"f","arguments":""}"#),
        call(1, r#""function":{"arguments":":2}"}"#),
        call(0, r#""function":{"arguments":"{\"x\":1}"}"#),
    ];
    let stream = ended(&pieces.each_ref().map(String::as_str), "tool_calls");
    assert_eq!(why(&stream), NotStored::FinishTool);
    let answer = stored(&stream, tools_allowed());
    assert!(answer.calls_tools());
    let expected = serde_json::json!([
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"y\":2}"}},
    ]);
    let body = json(&answer.body);
    assert_eq!(body["choices"][0]["message"]["tool_calls"], expected);
    assert_eq!(body["choices"][0]["message"]["content"], serde_json::Value::Null);
}

#[test]
fn tool_calls_without_an_index_are_told_apart_by_id() {
    let stream = ended(
        &[
            r#""tool_calls":[{"id":"a","function":{"name":"f","arguments":"1"}}]"#,
            r#""tool_calls":[{"id":"b","function":{"name":"g","arguments":"2"}}]"#,
            r#""tool_calls":[{"function":{"arguments":"3"}}]"#,
        ],
        "tool_calls",
    );
    let body = json(&stored(&stream, tools_allowed()).body);
    let calls = &body["choices"][0]["message"]["tool_calls"];
    assert_eq!((&calls[0]["function"]["arguments"], &calls[1]["function"]["arguments"]), (&"1".into(), &"23".into()));
}

#[test]
fn a_call_hidden_behind_stop_is_still_a_call() {
    let piece = r#""tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]"#;
    assert_eq!(why(&ended(&[piece], "stop")), NotStored::FinishTool);
}

#[test]
fn case_15_reasoning_is_concatenated() {
    let stream = ended(&[r#""reasoning_content":"Hmm, ""#, r#""reasoning_content":"yes.""#, HELLO[1]], "stop");
    let answer = stored(&stream, RecordSettings::default());
    assert_eq!(json(&answer.body)["choices"][0]["message"]["reasoning_content"], "Hmm, yes.");
    assert_eq!((answer.text.as_str(), answer.raw_stream), ("Hel", None));
}

#[test]
fn case_16_usage_on_the_last_content_chunk_is_kept() {
    let last = format!(r#"{},"usage":{{"prompt_tokens":1,"completion_tokens":2}}"#, finish("stop"));
    let answer = stored(&stream_of(&[&delta(HELLO[1]), &last], true), RecordSettings::default());
    assert_eq!(answer.usage, Some(Usage { input: 1, output: 2 }));
}

#[test]
fn case_18_an_error_body_with_status_200_is_not_stored() {
    let finished = record_json(r#"{"error":{"message":"no"}}"#, RecordSettings::default(), false);
    assert_eq!((finished.answer, finished.verdict), (None, Err(NotStored::ErrorBody)));
}

#[test]
fn case_48_an_answer_that_is_not_the_json_asked_for_is_not_stored() {
    let verdict = |text: &str| {
        record_stream(&ended(&[&format!(r#""content":{text}"#)], "stop"), RecordSettings::default(), true).verdict
    };
    assert_eq!(verdict(r#""{\"a\":1}""#), Ok(()));
    assert_eq!(verdict(r#""{\"a\":""#), Err(NotStored::NotJson));
}

#[test]
fn empty_and_malformed_answers_are_not_stored() {
    assert_eq!(why(&ended(&[r#""role":"assistant","content":"""#], "stop")), NotStored::EmptyAnswer);
    assert_eq!(why("data: [DONE]\n\n"), NotStored::EmptyAnswer);
    assert_eq!(why("data: {nope\n\ndata: [DONE]\n\n"), NotStored::Malformed);
    let second = r#""choices":[{"index":1,"delta":{"content":"x"},"finish_reason":"stop"}]"#;
    assert_eq!(why(&stream_of(&[second], true)), NotStored::Malformed);
    for body in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":[{"finish_reason":"stop"}]}"#] {
        assert_eq!(record_json(body, RecordSettings::default(), false).recorded(), Err(NotStored::Malformed), "{body}");
    }
}

#[test]
fn a_truncated_json_body_is_not_stored() {
    let body = Bytes::from(completion(r#"{"role":"assistant","content":"Hello"}"#, "stop"));
    let recorder = Recorder::new(Family::Chat, RecordSettings::default(), false);
    assert_eq!(recorder.finish_json(&body, false).recorded(), Err(NotStored::Incomplete));
}

#[test]
fn an_answer_above_the_size_kept_is_not_stored() {
    let small = || RecordSettings { max_bytes: 200, ..RecordSettings::default() };
    assert_eq!(record_stream(&ended(&HELLO, "stop"), small(), false).recorded(), Err(NotStored::TooLarge));
    let body = completion(r#"{"role":"assistant","content":"Hello"}"#, "stop");
    assert_eq!(record_json(&body, small(), false).recorded(), Err(NotStored::TooLarge));
}

#[test]
fn an_unknown_field_that_changes_keeps_the_frames() {
    let same = ended(&[r#""annotations":[{"url":"a"}],"content":"x""#], "stop");
    assert_eq!(stored(&same, RecordSettings::default()).raw_stream, None);
    let changing = ended(&[r#""parts":[1],"content":"x""#, r#""parts":[2]"#], "stop");
    let answer = stored(&changing, RecordSettings::default());
    assert_eq!(answer.raw_stream.as_deref(), Some(changing.as_bytes()));
    let text = ended(&[r#""thought":"a","content":"x""#, r#""thought":"b""#], "stop");
    let answer = stored(&text, RecordSettings::default());
    assert_eq!(json(&answer.body)["choices"][0]["message"]["thought"], "ab");
}

#[test]
fn a_first_chunk_without_choices_and_name_is_passed_over() {
    let azure =
        "data: {\"id\":\"\",\"model\":\"\",\"created\":0,\"choices\":[],\"prompt_filter_results\":[{\"x\":1}]}\n\n";
    let answer = stored(&[azure, &ended(&HELLO, "stop")].concat(), RecordSettings::default());
    let body = json(&answer.body);
    assert_eq!((&body["id"], &body["created"]), (&"chatcmpl-up".into(), &7.into()));
    assert_eq!(body["prompt_filter_results"][0]["x"], 1);
}

#[test]
fn the_head_may_forbid_storing() {
    let header =
        |name: header::HeaderName, value: &'static str| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
    let verdict = |status: StatusCode, headers: &HeaderMap| {
        let mut recorder = Recorder::new(Family::Chat, RecordSettings::default(), false);
        recorder.head(status, headers);
        recorder.finish_json(&Bytes::from(completion(r#"{"content":"Hello"}"#, "stop")), true).verdict
    };
    assert_eq!(verdict(StatusCode::OK, &HeaderMap::new()), Ok(()));
    assert_eq!(verdict(StatusCode::ACCEPTED, &HeaderMap::new()), Err(NotStored::Status));
    assert_eq!(verdict(StatusCode::OK, &header(header::CONTENT_ENCODING, "gzip")), Err(NotStored::Encoded));
    assert_eq!(verdict(StatusCode::OK, &header(header::CONTENT_ENCODING, "identity")), Ok(()));
    assert_eq!(
        verdict(StatusCode::OK, &header(header::CACHE_CONTROL, "max-age=0, Private")),
        Err(NotStored::UpstreamForbids)
    );
    assert_eq!(verdict(StatusCode::OK, &header(header::CACHE_CONTROL, "no-cache")), Ok(()));
}

#[test]
fn the_body_kind_follows_the_content_type() {
    let kind = |value: &'static str| {
        BodyKind::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
    };
    assert_eq!(kind("text/event-stream; charset=utf-8"), BodyKind::Stream);
    assert_eq!(kind("Application/JSON"), BodyKind::Json);
    assert_eq!(kind("text/html"), BodyKind::Other);
    assert_eq!(BodyKind::of(&HeaderMap::new()), BodyKind::Other);
}

#[test]
fn case_04_usage_that_the_client_did_not_ask_for_is_stripped() {
    let seen = |data: &str| {
        let frame = frames_of(format!("data: {data}\n\n").as_bytes()).remove(0);
        strip_usage(Family::Chat, &frame).map(|raw| String::from_utf8(raw.to_vec()).unwrap())
    };
    assert_eq!(seen(r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1}}"#), None);
    let text = r#"{"choices":[{"delta":{"content":"the \"usage\" of"}}]}"#;
    assert_eq!(seen(text), Some(format!("data: {text}\n\n")));
    let kept = "data: {\"choices\":[{\"delta\":{}}]}\n\n";
    assert_eq!(seen(r#"{"choices":[{"delta":{}}],"usage":null}"#).as_deref(), Some(kept));
    assert_eq!(seen(r#"{"usage":{"prompt_tokens":1},"choices":[{"delta":{}}]}"#).as_deref(), Some(kept));
    assert_eq!(seen("[DONE]").as_deref(), Some("data: [DONE]\n\n"));
    assert_eq!(seen(r#"{"choices":[],"usage":null}"#).as_deref(), Some("data: {\"choices\":[]}\n\n"));
}
