use bytes::Bytes;

use crate::{
    clock::Timestamp,
    wire::{
        Answer, Family, Finished, Fresh, RecordSettings, Recorder, Request,
        chat::ChatSettings,
        parse,
        sse::{self, Frame},
    },
};

mod record;
mod render;
mod request;

fn read(body: &str) -> Request {
    parse(Family::Messages, "", &Bytes::copy_from_slice(body.as_bytes()), &ChatSettings::default()).expect(body)
}

/// A body with one user turn and these further members.
fn asking(members: &str) -> String {
    with_turns(r#"[{"role":"user","content":"Capital of France?"}]"#, members)
}

fn with_turns(turns: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"model":"claude-x","messages":{turns}{comma}{members}}}"#)
}

/// A stream of these events, each named by the type in its data.
fn stream_of(events: &[&str]) -> String {
    let named = |data: &&str| {
        let kind = json(data.as_bytes())["type"].as_str().unwrap().to_owned();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    events.iter().map(named).collect()
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_up","type":"message","role":"assistant","model":"claude-x-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_read_input_tokens":3,"output_tokens":1,"service_tier":"standard"}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn ends(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":9}}}}"#
    )
}

/// The events of one block.
fn block(index: u8, started: &str, deltas: &[&str]) -> Vec<String> {
    let mut events = vec![format!(r#"{{"type":"content_block_start","index":{index},"content_block":{started}}}"#)];
    let delta = |delta: &&str| format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
    events.extend(deltas.iter().map(delta));
    events.push(format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
    events
}

fn text_block(index: u8, text: &str) -> Vec<String> {
    block(index, r#"{"type":"text","text":""}"#, &[&format!(r#"{{"type":"text_delta","text":"{text}"}}"#)])
}

/// A whole stream of these blocks that stops for `reason`.
fn ended(blocks: &[Vec<String>], reason: &str) -> String {
    let end = ends(reason);
    let blocks = blocks.iter().flatten().map(String::as_str);
    let events: Vec<&str> = [START].into_iter().chain(blocks).chain([end.as_str(), STOP]).collect();
    stream_of(&events)
}

fn record_stream(stream: &str, settings: RecordSettings) -> Finished {
    let mut recorder = Recorder::new(Family::Messages, settings, false);
    sse::frames(stream.as_bytes()).for_each(|frame| recorder.frame(&frame));
    recorder.finish_stream(true)
}

fn record_json(body: &str, settings: RecordSettings, wants_json: bool) -> Finished {
    let recorder = Recorder::new(Family::Messages, settings, wants_json);
    recorder.finish_json(&Bytes::copy_from_slice(body.as_bytes()), true)
}

fn tools_allowed() -> RecordSettings {
    RecordSettings { allow_tool_calls: true, ..RecordSettings::default() }
}

fn fresh() -> Fresh {
    Fresh::new(Family::Messages, Timestamp::from_millis(1_700_000_000_000))
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("json")
}

fn message(content: &str, stop_reason: &str) -> String {
    format!(
        r#"{{"id":"msg_up","type":"message","role":"assistant","model":"claude-x-1","content":{content},"stop_reason":"{stop_reason}","stop_sequence":null,"usage":{{"input_tokens":5,"cache_read_input_tokens":3,"output_tokens":9,"service_tier":"standard"}}}}"#
    )
}

fn answer(body: &str) -> Answer {
    Answer::new(Family::Messages, Bytes::copy_from_slice(body.as_bytes()), None).expect(body)
}

/// The events of a rendered stream; each must have a name, and the last one must be the stop.
fn events_of(stream: &[u8]) -> Vec<serde_json::Value> {
    let frames: Vec<Frame> = sse::frames(stream).collect();
    let rejoined: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.iter().copied()).collect();
    assert_eq!(rejoined, stream);
    let event = |frame: &Frame| {
        let data = json(frame.data.as_ref().unwrap());
        assert_eq!(frame.event.as_deref(), data["type"].as_str().map(str::as_bytes), "{frame:?}");
        data
    };
    let events: Vec<_> = frames.iter().map(event).collect();
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    events
}

/// The message that the official SDKs add up from events.
fn added_up(events: &[serde_json::Value]) -> serde_json::Value {
    let mut message = events[0]["message"].clone();
    let mut inputs: Vec<String> = Vec::new();
    for event in &events[1..] {
        let at = usize::try_from(event["index"].as_u64().unwrap_or_default()).unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(at, message["content"].as_array().unwrap().len());
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => add(&mut message["content"][at], &mut inputs[at], &event["delta"]),
            "message_delta" => {
                for (key, value) in event["delta"].as_object().unwrap() {
                    message[key] = value.clone();
                }
                for (key, value) in event["usage"].as_object().unwrap() {
                    message["usage"][key] = value.clone();
                }
            }
            "content_block_stop" | "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    message
}

fn add(block: &mut serde_json::Value, input: &mut String, delta: &serde_json::Value) {
    let joined = |key: &str| [block[key].as_str().unwrap(), delta[key].as_str().unwrap()].concat().into();
    match delta["type"].as_str().unwrap() {
        "text_delta" => block["text"] = joined("text"),
        "thinking_delta" => block["thinking"] = joined("thinking"),
        "signature_delta" => block["signature"] = delta["signature"].clone(),
        "citations_delta" => block["citations"].as_array_mut().unwrap().push(delta["citation"].clone()),
        "input_json_delta" => {
            input.push_str(delta["partial_json"].as_str().unwrap());
            block["input"] = json(input.as_bytes());
        }
        other => panic!("{other}"),
    }
}
