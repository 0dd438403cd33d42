use bytes::Bytes;

use super::ChatSettings;
use crate::{
    clock::Timestamp,
    wire::{
        Answer, Family, Finished, Fresh, RecordSettings, Recorder, Request, parse,
        sse::{Frame, Reader},
    },
};

mod record;
mod render;
mod request;

fn settings() -> ChatSettings {
    ChatSettings::default()
}

fn read(body: &str) -> Request {
    parse(Family::Chat, "", &Bytes::copy_from_slice(body.as_bytes()), &settings()).expect(body)
}

/// A body with one user turn and these further members.
fn asking(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Capital of France?"}}]{comma}{members}}}"#
    )
}

fn with_messages(messages: &str) -> String {
    format!(r#"{{"model":"gpt-4o-mini","messages":{messages}}}"#)
}

fn frames_of(stream: &[u8]) -> Vec<Frame> {
    let (mut reader, mut frames) = (Reader::new(1 << 20), Vec::new());
    reader.feed(stream, &mut frames).unwrap();
    let ending = reader.finish();
    frames.extend(ending.frame);
    assert!(ending.leftover.is_empty(), "{:?}", ending.leftover);
    frames
}

/// The stream whose chunks have these choices and further members; `[DONE]` when `done`.
fn stream_of(chunks: &[&str], done: bool) -> String {
    let head = r#"{"id":"chatcmpl-up","object":"chat.completion.chunk","created":7,"model":"gpt-4o-mini-2024","#;
    let mut stream: String = chunks.iter().map(|chunk| format!("data: {head}{chunk}}}\n\n")).collect();
    stream.push_str(if done { "data: [DONE]\n\n" } else { "" });
    stream
}

fn delta(members: &str) -> String {
    format!(r#""choices":[{{"index":0,"delta":{{{members}}},"finish_reason":null}}]"#)
}

fn finish(reason: &str) -> String {
    format!(r#""choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]"#)
}

fn record_stream(stream: &str, settings: RecordSettings, wants_json: bool) -> Finished {
    let mut recorder = Recorder::new(Family::Chat, settings, wants_json);
    frames_of(stream.as_bytes()).iter().for_each(|frame| recorder.frame(frame));
    recorder.finish_stream(true)
}

fn record_json(body: &str, settings: RecordSettings, wants_json: bool) -> Finished {
    let recorder = Recorder::new(Family::Chat, settings, wants_json);
    recorder.finish_json(&Bytes::copy_from_slice(body.as_bytes()), true)
}

fn tools_allowed() -> RecordSettings {
    RecordSettings { allow_tool_calls: true, ..RecordSettings::default() }
}

fn fresh() -> Fresh {
    Fresh::new(Family::Chat, Timestamp::from_millis(1_700_000_000_000))
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("json")
}

/// The chunks of a rendered stream, which must end with its marker.
fn chunks_of(stream: &[u8]) -> Vec<serde_json::Value> {
    let mut data: Vec<Bytes> = frames_of(stream).into_iter().filter_map(|frame| frame.data).collect();
    assert_eq!(data.pop().as_deref(), Some(&b"[DONE]"[..]));
    data.iter().map(|data| json(data)).collect()
}

fn completion(message: &str, finish: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-up","object":"chat.completion","created":7,"model":"m","choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"{finish}"}}],"usage":{{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}},"system_fingerprint":"fp_1"}}"#
    )
}

fn answer(body: &str) -> Answer {
    Answer::new(Family::Chat, Bytes::copy_from_slice(body.as_bytes()), None).expect(body)
}
