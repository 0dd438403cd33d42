use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    clock::Timestamp,
    wire::{
        Answer, Family, Finished, Fresh, RecordSettings, Recorder, Request,
        chat::ChatSettings,
        parse,
        sse::{Frame, Reader},
    },
};

mod record;
mod render;
mod request;

fn read(body: &Value) -> Request {
    parse(Family::Responses, "", &Bytes::from(body.to_string()), &ChatSettings::default()).expect("a request")
}

/// `base` with these further members.
fn with(mut base: Value, members: &Value) -> Value {
    for (key, value) in members.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

/// A request of one text with these further members.
fn asking(members: &Value) -> Value {
    with(json!({"model": "gpt-5-mini", "input": "Capital of France?"}), members)
}

/// A request of these items.
fn of_items(items: &Value) -> Value {
    json!({"model": "gpt-5-mini", "input": items})
}

fn message(text: &str) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    json!({"id": "msg_up1", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
}

fn call(name: &str, arguments: &str) -> Value {
    json!({"id": "fc_up1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": name,
        "arguments": arguments})
}

/// A response as the API gives it, of these items.
fn response(output: &Value, members: &Value) -> Value {
    let whole = json!({
        "id": "resp_up1", "object": "response", "created_at": 7, "status": "completed", "completed_at": 8,
        "error": null, "incomplete_details": null, "instructions": "Be brief.", "max_output_tokens": null,
        "metadata": {"who": "first"}, "model": "gpt-5-mini-2025", "output": output, "store": true, "user": null,
        "usage": {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14},
    });
    with(whole, members)
}

fn event(kind: &str, members: &Value) -> String {
    let data = with(json!({"type": kind, "sequence_number": 0}), members);
    format!("event: {kind}\ndata: {data}\n\n")
}

/// The shortest stream that ends in `kind` with `response`.
fn stream_of(kind: &str, response: &Value) -> String {
    let begun = event("response.created", &json!({"response": {"id": "resp_up1", "output": []}}));
    let delta = event("response.output_text.delta", &json!({"delta": "Par", "output_index": 0, "content_index": 0}));
    [begun, delta, event(kind, &json!({"response": response}))].concat()
}

fn frames_of(stream: &[u8]) -> Vec<Frame> {
    let (mut reader, mut frames) = (Reader::new(1 << 20), Vec::new());
    reader.feed(stream, &mut frames).unwrap();
    let ending = reader.finish();
    frames.extend(ending.frame);
    assert!(ending.leftover.is_empty(), "{:?}", ending.leftover);
    frames
}

fn record_stream(stream: &[u8], settings: RecordSettings) -> Finished {
    let mut recorder = Recorder::new(Family::Responses, settings, false);
    frames_of(stream).iter().for_each(|frame| recorder.frame(frame));
    recorder.finish_stream(true)
}

fn record_json(body: &str, settings: RecordSettings, wants_json: bool) -> Finished {
    let recorder = Recorder::new(Family::Responses, settings, wants_json);
    recorder.finish_json(&Bytes::copy_from_slice(body.as_bytes()), true)
}

fn tools_allowed() -> RecordSettings {
    RecordSettings { allow_tool_calls: true, ..RecordSettings::default() }
}

fn answer(body: &Value) -> Answer {
    Answer::new(Family::Responses, Bytes::from(body.to_string()), None).expect("an answer")
}

fn fresh() -> Fresh {
    Fresh::new(Family::Responses, Timestamp::from_millis(1_700_000_000_000))
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("json")
}

/// The events of a rendered stream: each has its name on a line of its own and the next number.
fn events_of(stream: &[u8]) -> Vec<Value> {
    let frames = frames_of(stream);
    let events: Vec<Value> = frames.iter().map(|frame| parsed(frame.data.as_deref().unwrap())).collect();
    for (number, (frame, event)) in frames.iter().zip(&events).enumerate() {
        assert_eq!(frame.event.as_deref(), event["type"].as_str().map(str::as_bytes));
        assert_eq!(event["sequence_number"], number);
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}
