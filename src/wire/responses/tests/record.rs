use super::*;
use crate::{
    outcome::NotStored,
    wire::{Usage, error_event, is_terminal, strip_usage},
};

fn why(body: &Value) -> NotStored {
    record_json(&body.to_string(), RecordSettings::default(), false).recorded().unwrap_err()
}

fn of_stream(stream: &str) -> Result<Answer, NotStored> {
    record_stream(stream.as_bytes(), RecordSettings::default()).recorded()
}

#[test]
fn a_stream_becomes_the_response_of_its_last_event_verbatim() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    let answer = of_stream(&stream_of("response.completed", &whole)).unwrap();
    assert_eq!(answer.body, whole.to_string());
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("Paris.", "gpt-5-mini-2025"));
    assert_eq!(answer.usage, Some(Usage { input: 5, output: 9 }));
    assert_eq!((answer.id(), answer.raw_stream.as_ref()), (Some("resp_up1"), None));
}

#[test]
fn case_35_a_stream_without_its_completion_is_not_stored() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    let stream = stream_of("response.completed", &whole);
    let (begun, _) = stream.rsplit_once("event: ").unwrap();
    assert_eq!(of_stream(begun), Err(NotStored::Incomplete));
    let lenient = RecordSettings { lenient_end: true, ..RecordSettings::default() };
    assert_eq!(record_stream(begun.as_bytes(), lenient).recorded(), Err(NotStored::Incomplete));
    let mut recorder = Recorder::new(Family::Responses, RecordSettings::default(), false);
    frames_of(stream.as_bytes()).iter().for_each(|frame| recorder.frame(frame));
    assert_eq!(recorder.finish_stream(false).recorded(), Err(NotStored::Incomplete), "a broken body");
}

#[test]
fn case_35_other_ends_are_whole_but_not_stored() {
    let cut = |reason: &str| json!({"status": "incomplete", "incomplete_details": {"reason": reason}});
    for (kind, members, not_stored) in [
        ("response.incomplete", cut("max_output_tokens"), NotStored::FinishLength),
        ("response.incomplete", cut("content_filter"), NotStored::FinishFilter),
        ("response.incomplete", cut("steered"), NotStored::FinishOther),
        ("response.failed", json!({"status": "failed", "error": {"code": "server_error"}}), NotStored::ErrorBody),
        ("response.cancelled", json!({"status": "cancelled"}), NotStored::FinishOther),
        ("response.completed", json!({"status": "in_progress"}), NotStored::FinishOther),
    ] {
        let response = response(&json!([message("Par")]), &members);
        let finished = record_stream(stream_of(kind, &response).as_bytes(), RecordSettings::default());
        assert_eq!((finished.verdict, finished.whole), (Err(not_stored), true), "{members}");
        assert_eq!(why(&response), not_stored, "{members}");
        let ended = matches!(response["status"].as_str(), Some("incomplete" | "failed"));
        assert_eq!(finished.answer.is_some(), ended, "what has come to its end can change its shape");
    }
}

#[test]
fn case_07_an_error_event_is_not_stored() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    let completed = event("response.completed", &json!({"response": whole}));
    for error in [
        event("error", &json!({"code": "server_error", "message": "no"})),
        "event: error\ndata: {\"message\":\"no\"}\n\n".to_owned(),
        "data: {\"error\":{\"message\":\"no\"}}\n\n".to_owned(),
    ] {
        assert_eq!(of_stream(&[error.as_str(), &completed].concat()), Err(NotStored::ErrorBody), "{error}");
    }
    assert_eq!(of_stream(&["data: {nope\n\n", &completed].concat()), Err(NotStored::Malformed));
}

#[test]
fn names_of_events_may_be_missing_and_chats_marker_may_follow() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    let stream = stream_of("response.completed", &whole);
    let unnamed: String = stream.lines().filter(|line| !line.starts_with("event:")).map(|l| format!("{l}\n")).collect();
    assert!(of_stream(&format!("{unnamed}data: [DONE]\n\n")).is_ok());
    let terminal: Vec<bool> =
        frames_of(unnamed.as_bytes()).iter().map(|frame| is_terminal(Family::Responses, frame)).collect();
    assert_eq!(terminal, [false, false, true]);
    let quoted = event("response.output_text.delta", &json!({"delta": "\"response.completed\""}));
    assert!(!is_terminal(Family::Responses, &frames_of(quoted.as_bytes())[0]));
}

#[test]
fn a_completion_that_lost_items_is_not_stored() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    let item = |at: usize| event("response.output_item.done", &json!({"output_index": at, "item": message("x")}));
    let completed = event("response.completed", &json!({"response": whole}));
    assert!(of_stream(&[item(0), completed.clone()].concat()).is_ok());
    assert_eq!(of_stream(&[item(0), item(1), completed].concat()), Err(NotStored::Malformed));
}

#[test]
fn case_09_34_refusals_traces_of_hosted_tools_and_unfinished_items_are_not_stored() {
    let refusal = json!([{"type": "refusal", "refusal": "I cannot."}]);
    let refused = with(message(""), &json!({"content": refusal}));
    let unfinished = with(message("Par"), &json!({"status": "in_progress"}));
    let searched = json!({"id": "ws_1", "type": "web_search_call", "status": "completed"});
    for (output, not_stored) in [
        (json!([refused]), NotStored::Refusal),
        (json!([unfinished]), NotStored::FinishOther),
        (json!([searched, message("Paris.")]), NotStored::FinishOther),
        (json!([]), NotStored::EmptyAnswer),
        (json!([message(" ")]), NotStored::EmptyAnswer),
        (json!([call("f", "{}")]), NotStored::FinishTool),
        (json!([message("Let me see."), call("f", "{}")]), NotStored::FinishTool),
    ] {
        assert_eq!(why(&response(&output, &json!({}))), not_stored, "{output}");
    }
    assert_eq!(why(&response(&json!([]), &json!({"status": "queued"}))), NotStored::FinishOther);
}

#[test]
fn tool_calls_are_stored_where_allowed_and_are_known_as_such() {
    let body = response(&json!([call("f", "{\"x\":1}")]), &json!({}));
    let answer = record_json(&body.to_string(), tools_allowed(), true).recorded().unwrap();
    assert!(answer.calls_tools());
    let text = record_json(&response(&json!([message("x")]), &json!({})).to_string(), tools_allowed(), false);
    assert!(!text.recorded().unwrap().calls_tools());
}

#[test]
fn case_18_error_bodies_and_other_json_are_not_answers() {
    let verdict = |body: &str| record_json(body, RecordSettings::default(), false);
    let error = verdict(r#"{"error":{"message":"no"}}"#);
    assert_eq!((error.answer, error.verdict), (None, Err(NotStored::ErrorBody)));
    for body in ["", "[]", "{}", r#"{"status":"completed"}"#, r#"{"output":{}}"#] {
        assert_eq!(verdict(body).recorded(), Err(NotStored::Malformed), "{body}");
    }
}

#[test]
fn case_48_an_answer_that_is_not_the_json_asked_for_is_not_stored() {
    let verdict = |text: &str| {
        let body = response(&json!([message(text)]), &json!({}));
        record_json(&body.to_string(), RecordSettings::default(), true).verdict
    };
    assert_eq!(verdict("{\"a\":1}"), Ok(()));
    assert_eq!(verdict("{\"a\":"), Err(NotStored::NotJson));
}

#[test]
fn only_the_last_event_counts_towards_the_size_kept() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    let deltas = event("response.output_text.delta", &json!({"delta": "x"})).repeat(200);
    let small = || RecordSettings { max_bytes: 2048, ..RecordSettings::default() };
    let stream = [deltas, stream_of("response.completed", &whole)].concat();
    assert!(record_stream(stream.as_bytes(), small()).recorded().is_ok());
    let long = response(&json!([message(&"x".repeat(3000))]), &json!({}));
    let stream = stream_of("response.completed", &long);
    assert_eq!(record_stream(stream.as_bytes(), small()).recorded(), Err(NotStored::TooLarge));
}

#[test]
fn usage_is_never_kept_from_a_client() {
    let stream = stream_of("response.completed", &response(&json!([message("Paris.")]), &json!({})));
    for frame in frames_of(stream.as_bytes()) {
        assert_eq!(strip_usage(Family::Responses, &frame), Some(frame.raw.clone()));
    }
}

#[test]
fn an_error_body_becomes_an_event_that_every_client_raises() {
    let body = br#"{ "error": { "message": "no \"capacity\"", "type": "server_error", "code": null } }"#;
    let event = error_event(Family::Responses, body).unwrap();
    let [frame] = &frames_of(&event)[..] else { panic!("one event") };
    assert_eq!(frame.event.as_deref(), Some(&b"error"[..]));
    let data = parsed(frame.data.as_deref().unwrap());
    let error = json!({"message": "no \"capacity\"", "type": "server_error", "code": null});
    let expected = json!({"type": "error", "sequence_number": 0, "code": null, "message": "no \"capacity\"",
        "param": null, "error": error});
    assert_eq!(data, expected);
    let told = error_event(Family::Responses, br#"{"error":"busy"}"#).unwrap();
    assert_eq!(parsed(frames_of(&told)[0].data.as_deref().unwrap())["message"], "busy");
    assert_eq!(error_event(Family::Responses, br#"{"error":null}"#), None);
}
