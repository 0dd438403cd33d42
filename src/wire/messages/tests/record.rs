use serde_json::{Value, json as value};

use super::*;
use crate::{
    outcome::NotStored,
    wire::{Usage, is_terminal},
};

fn why(stream: &str) -> NotStored {
    record_stream(stream, RecordSettings::default()).recorded().unwrap_err()
}

fn stored(stream: &str) -> Answer {
    record_stream(stream, tools_allowed()).recorded().unwrap()
}

fn hello() -> Vec<String> {
    block(
        0,
        r#"{"type":"text","text":""}"#,
        &[r#"{"type":"text_delta","text":"Hel"}"#, r#"{"type":"text_delta","text":"lo"}"#],
    )
}

#[test]
fn a_stream_becomes_the_object_of_the_json_api() {
    let answer = stored(&ended(&[hello()], "end_turn"));
    assert_eq!(json(&answer.body), json(message(r#"[{"type":"text","text":"Hello"}]"#, "end_turn").as_bytes()));
    assert_eq!((answer.text.as_str(), answer.model.as_str(), answer.id()), ("Hello", "claude-x-1", Some("msg_up")));
    assert_eq!(answer.usage, Some(Usage { input: 8, output: 9 }));
    assert_eq!((&answer.raw_stream, answer.calls_tools(), answer.is_bound_to_account()), (&None, false, false));
}

#[test]
fn counts_are_cumulative_and_the_last_ones_count() {
    let first =
        r#"{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"output_tokens":4}}"#;
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"},"usage":{"input_tokens":7,"output_tokens":9,"cache_read_input_tokens":null}}"#;
    let blocks = hello();
    let events: Vec<&str> =
        [START].into_iter().chain(blocks.iter().map(String::as_str)).chain([first, last, STOP]).collect();
    let body = json(&stored(&stream_of(&events)).body);
    assert_eq!((&body["stop_reason"], &body["stop_sequence"]), (&"stop_sequence".into(), &"END".into()));
    assert_eq!(
        body["usage"],
        value!({"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 9, "service_tier": "standard"})
    );
}

#[test]
fn a_stream_that_lost_its_order_is_not_stored() {
    let (mut late, end) = (hello(), ends("end_turn"));
    let last = late.len() - 1;
    late.swap(last - 1, last);
    assert_eq!(why(&ended(&[late], "end_turn")), NotStored::Malformed, "a delta behind its block's end");
    let more = text_block(1, "more");
    let blocks = hello();
    let order = blocks.iter().map(String::as_str).chain([end.as_str()]).chain(more.iter().map(String::as_str));
    let events: Vec<&str> = [START].into_iter().chain(order).chain([STOP]).collect();
    assert_eq!(why(&stream_of(&events)), NotStored::Malformed, "a block behind the stop reason");
    let headless: Vec<&str> = blocks.iter().map(String::as_str).chain([START, end.as_str(), STOP]).collect();
    assert_eq!(why(&stream_of(&headless)), NotStored::Malformed, "blocks before the message");
}

#[test]
fn case_05_a_stream_without_its_stop_is_not_stored_not_even_by_lenient_rules() {
    let whole = ended(&[hello()], "end_turn");
    let cut = whole.strip_suffix(&stream_of(&[STOP])).unwrap();
    assert_eq!(why(cut), NotStored::Incomplete);
    let lenient = RecordSettings { lenient_end: true, ..RecordSettings::default() };
    assert_eq!(record_stream(cut, lenient).recorded(), Err(NotStored::Incomplete));
    let blocks = hello();
    let early: Vec<&str> = [START].into_iter().chain(blocks.iter().map(String::as_str)).chain([STOP]).collect();
    assert_eq!(why(&stream_of(&early)), NotStored::FinishOther);
}

#[test]
fn case_12_pings_and_comments_are_not_recorded() {
    let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n: keepalive\n\n";
    let stream = [ping, &ended(&[hello()], "end_turn").replace("\n\n", &format!("\n\n{ping}"))].concat();
    let answer = stored(&stream.replace('\n', "\r\n"));
    assert_eq!((answer.text.as_str(), answer.raw_stream), ("Hello", None));
}

#[test]
fn case_22_an_input_without_deltas_or_with_empty_ones_is_an_empty_object() {
    let started = r#"{"type":"tool_use","id":"toolu_1","name":"now","input":{}}"#;
    for deltas in [&[][..], &[r#"{"type":"input_json_delta","partial_json":""}"#]] {
        let stream = ended(&[block(0, started, deltas)], "tool_use");
        assert_eq!(why(&stream), NotStored::FinishTool);
        let answer = stored(&stream);
        assert!(answer.calls_tools());
        assert_eq!(json(&answer.body)["content"][0]["input"], value!({}));
    }
}

#[test]
fn an_input_in_pieces_is_joined_and_must_be_json() {
    let started = r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#;
    let piece = |text: &str| value!({"type": "input_json_delta", "partial_json": text}).to_string();
    let stream = |pieces: &[&str]| {
        let deltas: Vec<String> = pieces.iter().map(|text| piece(text)).collect();
        let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
        ended(&[text_block(0, "Let me see."), block(1, started, &deltas)], "tool_use")
    };
    let body = json(&stored(&stream(&["", "{\"city\": \"Par", "is\", \"n\": 1", "}"])).body);
    assert_eq!(
        body["content"][1],
        value!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris", "n": 1}})
    );
    assert_eq!(record_stream(&stream(&["{\"city\": "]), tools_allowed()).recorded(), Err(NotStored::Malformed));
}

#[test]
fn case_29_thinking_keeps_its_signature_and_is_bound_to_the_account() {
    let thinking = block(
        0,
        r#"{"type":"thinking","thinking":"","signature":""}"#,
        &[
            r#"{"type":"thinking_delta","thinking":"Hm, "}"#,
            r#"{"type":"thinking_delta","thinking":"yes."}"#,
            r#"{"type":"signature_delta","signature":"c2ln"}"#,
        ],
    );
    let hidden = block(1, r#"{"type":"redacted_thinking","data":"ZGF0YQ=="}"#, &[]);
    let answer = stored(&ended(&[thinking, hidden, text_block(2, "Paris.")], "end_turn"));
    let content = &json(&answer.body)["content"];
    assert_eq!(content[0], value!({"type": "thinking", "thinking": "Hm, yes.", "signature": "c2ln"}));
    assert_eq!(content[1], value!({"type": "redacted_thinking", "data": "ZGF0YQ=="}));
    assert_eq!((answer.text.as_str(), answer.is_bound_to_account(), answer.calls_tools()), ("Paris.", true, false));
}

#[test]
fn citations_are_kept_in_order() {
    let cite =
        |n: u8| format!(r#"{{"type":"citations_delta","citation":{{"type":"char_location","cited_text":"{n}"}}}}"#);
    let (one, two) = (cite(1), cite(2));
    let deltas = [r#"{"type":"text_delta","text":"Blue"}"#, &one, r#"{"type":"text_delta","text":"."}"#, &two];
    for started in [r#"{"type":"text","text":""}"#, r#"{"citations":[],"type":"text","text":""}"#] {
        let answer = stored(&ended(&[block(0, started, &deltas)], "end_turn"));
        let block = &json(&answer.body)["content"][0];
        assert_eq!(block["text"], "Blue.");
        let cited: Vec<&Value> = block["citations"].as_array().unwrap().iter().map(|c| &c["cited_text"]).collect();
        assert_eq!(cited, ["1", "2"]);
    }
}

#[test]
fn case_23_an_error_event_is_not_stored() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    assert_eq!(why(&[&stream_of(&[START]), error].concat()), NotStored::ErrorBody);
    let unnamed = error.strip_prefix("event: error\n").unwrap();
    assert_eq!(why(&[&stream_of(&[START]), unnamed].concat()), NotStored::ErrorBody);
    let body = r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#;
    let finished = record_json(body, RecordSettings::default(), false);
    assert_eq!((finished.answer, finished.verdict), (None, Err(NotStored::ErrorBody)));
}

#[test]
fn case_24_other_stops_are_not_stored_but_whole() {
    for (reason, not_stored) in [
        ("max_tokens", NotStored::FinishLength),
        ("model_context_window_exceeded", NotStored::FinishLength),
        ("pause_turn", NotStored::FinishOther),
        ("refusal", NotStored::Refusal),
        ("compaction", NotStored::FinishOther),
    ] {
        let finished = record_stream(&ended(&[hello()], reason), RecordSettings::default());
        assert_eq!((finished.verdict, finished.whole), (Err(not_stored), true), "{reason}");
        assert_eq!(finished.answer.unwrap().text, "Hello");
        let body = message(r#"[{"type":"text","text":"Hello"}]"#, reason);
        assert_eq!(record_json(&body, RecordSettings::default(), false).verdict, Err(not_stored), "{reason}");
    }
    for reason in ["end_turn", "stop_sequence"] {
        assert_eq!(record_stream(&ended(&[hello()], reason), RecordSettings::default()).verdict, Ok(()), "{reason}");
    }
}

#[test]
fn case_48_an_answer_that_is_not_the_json_asked_for_is_not_stored() {
    let verdict = |text: &str| {
        let body = message(&value!([{"type": "text", "text": text}]).to_string(), "end_turn");
        record_json(&body, RecordSettings::default(), true).verdict
    };
    assert_eq!((verdict("{\"a\":1}"), verdict("{\"a\":")), (Ok(()), Err(NotStored::NotJson)));
}

#[test]
fn empty_and_malformed_answers_are_not_stored() {
    let verdict = |body: &str| record_json(body, tools_allowed(), false).recorded().unwrap_err();
    assert_eq!(verdict(&message("[]", "end_turn")), NotStored::EmptyAnswer);
    assert_eq!(verdict(&message(r#"[{"type":"text","text":" "}]"#, "end_turn")), NotStored::EmptyAnswer);
    assert_eq!(verdict(&message("[]", "tool_use")), NotStored::EmptyAnswer);
    let uncounted = message(r#"[{"type":"text","text":"x"}]"#, "end_turn").replace("output_tokens", "tokens");
    assert_eq!(verdict(&uncounted), NotStored::Malformed);
    let hosted = r#"[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"text","text":"x"}]"#;
    assert_eq!(verdict(&message(hosted, "end_turn")), NotStored::Malformed);
    for body in ["", "[]", "{}", r#"{"type":"message"}"#, r#"{"content":[]}"#] {
        assert_eq!(verdict(body), NotStored::Malformed, "{body}");
    }
}

#[test]
fn events_out_of_order_or_unlike_their_names_are_not_stored() {
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#;
    let end = ends("end_turn");
    assert_eq!(why(&stream_of(&[delta, START, &end, STOP])), NotStored::Malformed);
    assert_eq!(why(&stream_of(&[START, delta, &end, STOP])), NotStored::Malformed);
    assert_eq!(why(&stream_of(&[START, START, &end, STOP])), NotStored::Malformed);
    let misnamed = ended(&[hello()], "end_turn").replace("event: content_block_delta", "event: ping");
    assert_eq!(why(&misnamed), NotStored::Malformed);
    let unknown = block(0, r#"{"type":"text","text":""}"#, &[r#"{"type":"smell_delta","smell":"x"}"#]);
    assert_eq!(why(&ended(&[unknown, text_block(1, "x")], "end_turn")), NotStored::Malformed);
    assert_eq!(why("data: {nope\n\n"), NotStored::Malformed);
}

#[test]
fn events_without_names_are_recorded_all_the_same() {
    let stream: String = ended(&[hello()], "end_turn")
        .lines()
        .filter(|line| !line.starts_with("event:"))
        .flat_map(|l| [l, "\n"])
        .collect();
    assert_eq!(stored(&stream).text, "Hello");
}

#[test]
fn what_has_no_place_in_the_object_keeps_the_frames() {
    let padded = ended(&[hello()], "end_turn").replace(r#""index":0,"delta""#, r#""index":0,"padding":"xx","delta""#);
    assert_eq!(stored(&padded).raw_stream.as_deref(), Some(padded.as_bytes()));
    let novel = [&ended(&[hello()], "end_turn")].map(|s| {
        s.replace("event: message_delta", "event: novelty\ndata: {\"type\":\"novelty\"}\n\nevent: message_delta")
    });
    assert_eq!(stored(&novel[0]).raw_stream.as_deref(), Some(novel[0].as_bytes()));
}

#[test]
fn what_is_told_beside_the_delta_is_part_of_the_message() {
    let edits = r#","context_management":{"applied_edits":[]}}"#;
    let end = ends("end_turn").strip_suffix('}').unwrap().to_owned() + edits;
    let blocks = hello();
    let events: Vec<&str> = [START].into_iter().chain(blocks.iter().map(String::as_str)).chain([&*end, STOP]).collect();
    let answer = stored(&stream_of(&events));
    assert_eq!(json(&answer.body)["context_management"], value!({"applied_edits": []}));
    assert_eq!(answer.raw_stream, None);
    let told = events_of(&answer.render_stream(&fresh(), true));
    let beside = told.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(beside["context_management"], value!({"applied_edits": []}));
    assert!(told[0]["message"].get("context_management").is_none());
}

#[test]
fn only_the_stop_is_terminal() {
    let last: Vec<bool> = sse::frames(ended(&[hello()], "end_turn").as_bytes())
        .map(|frame| is_terminal(Family::Messages, &frame))
        .collect();
    assert_eq!(last.iter().filter(|last| **last).count(), 1);
    assert!(last.last().unwrap());
    let unnamed = |data: &str| {
        let frame = sse::frames(format!("data: {data}\n\n").as_bytes()).next().unwrap();
        is_terminal(Family::Messages, &frame)
    };
    assert!(unnamed(STOP));
    assert!(!unnamed(r#"{"type":"content_block_delta","delta":{"text":"message_stop"}}"#));
}
