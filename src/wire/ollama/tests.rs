use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    outcome::{BypassReason, NotStored},
    wire::{
        Answer, ExactOnly, Family, Finished, Fresh, RecordSettings, Recorder, Request, Shape,
        chat::ChatSettings,
        parse,
        sse::{Frame, Reader},
    },
};

fn parsed(path: &str, body: &Value) -> Result<Request, BypassReason> {
    parse(Family::Ollama, path, &Bytes::from(body.to_string()), &ChatSettings::default())
}

/// A chat with one user turn and these further members.
fn asking(members: &Value) -> Request {
    let mut body = json!({"model": "llama3", "messages": [{"role": "user", "content": "Capital of France?"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    parsed("/api/chat", &body).unwrap()
}

fn generating(members: &Value) -> Result<Request, BypassReason> {
    let mut body = json!({"model": "llama3", "prompt": "Capital of France?"});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    parsed("/api/generate", &body)
}

fn partition(members: &Value) -> Vec<u8> {
    asking(members).partition
}

fn lines(stream: &[u8]) -> Vec<Frame> {
    let (mut reader, mut frames) = (Reader::of_lines(1 << 20), Vec::new());
    reader.feed(stream, &mut frames).unwrap();
    let ending = reader.finish();
    assert!(ending.leftover.is_empty());
    frames.into_iter().chain(ending.frame).collect()
}

fn record(stream: &str, settings: RecordSettings) -> Finished {
    let mut recorder = Recorder::new(Family::Ollama, settings, false);
    lines(stream.as_bytes()).iter().for_each(|line| recorder.frame(line));
    recorder.finish_stream(true)
}

fn streamed(answer: &Answer) -> Vec<Value> {
    let stream = answer.render_stream(&Fresh::original(answer), true);
    assert!(stream.ends_with(b"\n"));
    lines(&stream).iter().map(|line| serde_json::from_slice(line.data.as_ref().unwrap()).unwrap()).collect()
}

const HEAD: &str = r#""model":"llama3","created_at":"2026-11-26T10:00:00.5Z""#;
const END: &str = r#""done_reason":"stop","done":true,"total_duration":5,"prompt_eval_count":26,"eval_count":3}"#;

fn whole(message: &str) -> String {
    format!("{{{HEAD},\"message\":{message},{END}")
}

#[test]
fn case_64_a_body_without_stream_asks_for_one() {
    assert_eq!(asking(&json!({})).shape, Shape::Stream { include_usage: true });
    assert_eq!(asking(&json!({"stream": true})).shape, Shape::Stream { include_usage: true });
    assert_eq!(asking(&json!({"stream": false})).shape, Shape::Json);
    assert_eq!(
        parsed("/api/chat", &json!({"model": "m", "messages": [], "stream": 1})).err(),
        Some(BypassReason::Unparsable)
    );
}

#[test]
fn what_does_not_shape_an_answer_is_in_no_key() {
    let plain = asking(&json!({}));
    for members in [
        json!({"stream": false}),
        json!({"keep_alive": "5m"}),
        json!({"options": {}}),
        json!({"options": {"num_predict": -1}}),
        json!({"tools": [], "format": "", "template": ""}),
    ] {
        let other = asking(&members);
        assert_eq!((&plain.partition, &plain.last_turn), (&other.partition, &other.last_turn), "{members}");
    }
    let limited = asking(&json!({"options": {"num_predict": 50}}));
    assert_eq!((limited.max_tokens, limited.partition), (Some(50), plain.partition));
}

#[test]
fn what_shapes_an_answer_keeps_questions_apart() {
    let plain = partition(&json!({}));
    for members in [
        json!({"model": "llama3:70b"}),
        json!({"options": {"temperature": 0.2}}),
        json!({"options": {"num_ctx": 4096}}),
        json!({"options": {"num_predict": -2}}),
        json!({"format": "json"}),
        json!({"think": true}),
        json!({"template": "{{ .Prompt }}"}),
        json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
        json!({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital of France?"}]}),
        json!({"messages": [{"role": "user", "content": "Capital of France?", "name": "Ann"}]}),
        json!({"unheard_of": 1}),
    ] {
        assert_ne!(plain, partition(&members), "{members}");
    }
    let (chat, generate) = (asking(&json!({})), generating(&json!({})).unwrap());
    assert_ne!(chat.partition, generate.partition, "their answers differ in form");
    assert_ne!(generate.partition, generating(&json!({"system": "Be brief."})).unwrap().partition);
}

#[test]
fn meaning_is_used_of_plain_questions_only() {
    assert_eq!(asking(&json!({})).query.as_deref(), Ok("Capital of France?"));
    assert_eq!(generating(&json!({})).unwrap().query.as_deref(), Ok("Capital of France?"));
    for (members, why) in [
        (json!({"options": {"seed": 1}}), ExactOnly::PinnedSampling),
        (json!({"messages": [{"role": "user", "content": " "}]}), ExactOnly::EmptyQuery),
        (
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            ExactOnly::LastTurnNotUser,
        ),
        (
            json!({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}, {"role": "tool", "content": "4"}]}),
            ExactOnly::ToolTurns,
        ),
    ] {
        assert_eq!(asking(&members).query, Err(why), "{members}");
    }
}

#[test]
fn what_the_cache_has_no_part_in_passes() {
    for (members, why) in [
        (json!({"messages": [{"role": "user", "content": "a", "images": ["aGk="]}]}), BypassReason::UnknownItem),
        (json!({"options": {"temperature": 1.5}}), BypassReason::HotSampling),
        (json!({"logprobs": true}), BypassReason::Logprobs),
    ] {
        assert_eq!(asking(&members).bypass, Some(why), "{members}");
    }
    for (members, why) in [
        (json!({"context": [1, 2]}), BypassReason::ProviderState),
        (json!({"raw": true}), BypassReason::UnknownItem),
        (json!({"suffix": "end"}), BypassReason::UnknownItem),
        (json!({"images": ["aGk="]}), BypassReason::UnknownItem),
        (json!({"prompt": ""}), BypassReason::WarmUp),
    ] {
        assert_eq!(generating(&members).unwrap().bypass, Some(why), "{members}");
    }
    let model = json!({"model": "llama3"});
    assert_eq!(parsed("/api/generate", &model).err(), Some(BypassReason::WarmUp), "only loads the model");
    assert_eq!(parsed("/api/chat", &model).err(), Some(BypassReason::WarmUp));
}

#[test]
fn a_stream_adds_up_to_the_whole_answer_and_is_streamed_again() {
    let stream = format!(
        "{{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Hm.\"}},\"done\":false}}\n\
         {{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\"Par\\u00eds\"}},\"done\":false}}\n\n\
         {{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\".\"}},\"done\":false}}\n\
         {{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\"\"}},{END}"
    );
    let finished = record(&stream, RecordSettings::default());
    assert_eq!(finished.verdict, Ok(()));
    let answer = finished.answer.unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let expected = whole(r#"{"role":"assistant","content":"París.","thinking":"Hm."}"#);
    assert_eq!(body, serde_json::from_str::<Value>(&expected).unwrap());
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("París.", "llama3"));
    assert_eq!(answer.usage.map(|usage| (usage.input, usage.output)), Some((26, 3)));
    let lines = streamed(&answer);
    let said = |key: &str| lines.iter().filter_map(|line| line["message"][key].as_str()).collect::<String>();
    assert_eq!((said("content").as_str(), said("thinking").as_str()), ("París.", "Hm."));
    let (last, before) = lines.split_last().unwrap();
    assert!(before.iter().all(|line| line["done"] == false && line["model"] == "llama3"));
    assert_eq!((&last["done"], &last["done_reason"], &last["eval_count"]), (&json!(true), &json!("stop"), &json!(3)));
    assert_eq!(last["message"], json!({"role": "assistant", "content": ""}));
}

#[test]
fn a_generation_is_streamed_as_responses() {
    let body = format!("{{{HEAD},\"response\":\"Paris.\",\"context\":[1,2],{END}");
    let finished =
        Recorder::new(Family::Ollama, RecordSettings::default(), false).finish_json(&Bytes::from(body), true);
    assert_eq!(finished.verdict, Ok(()));
    let lines = streamed(&finished.answer.unwrap());
    assert_eq!(lines.iter().filter_map(|line| line["response"].as_str()).collect::<String>(), "Paris.");
    assert_eq!(lines.last().unwrap()["context"], json!([1, 2]));
}

#[test]
fn tool_calls_are_kept_where_allowed_and_stream_whole() {
    let calls = r#"[{"function":{"name":"f","arguments":{"x":1.50}}}]"#;
    let stream = format!(
        "{{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":{calls}}},\"done\":false}}\n\
         {{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\"\"}},{END}\n"
    );
    assert_eq!(record(&stream, RecordSettings::default()).verdict, Err(NotStored::FinishTool));
    let allowing = RecordSettings { allow_tool_calls: true, ..RecordSettings::default() };
    let answer = record(&stream, allowing).recorded().unwrap();
    assert!(answer.calls_tools());
    assert!(std::str::from_utf8(&answer.body).unwrap().contains(calls), "as written");
    let lines = streamed(&answer);
    assert_eq!(lines[0]["message"]["tool_calls"], serde_json::from_str::<Value>(calls).unwrap());
}

#[test]
fn only_what_stopped_by_itself_is_stored() {
    let ending = |end: &str| format!("{{{HEAD},\"message\":{{\"role\":\"assistant\",\"content\":\"Par\"}},{end}}}\n");
    for (end, why) in [
        (r#""done":true,"done_reason":"length","eval_count":3"#, NotStored::FinishLength),
        (r#""done":true,"done_reason":"unload","eval_count":3"#, NotStored::FinishOther),
        (r#""done":true,"eval_count":3"#, NotStored::FinishOther),
        (r#""done":true,"done_reason":"stop""#, NotStored::Malformed),
        (r#""done":false"#, NotStored::Incomplete),
    ] {
        assert_eq!(record(&ending(end), RecordSettings::default()).verdict, Err(why), "{end}");
    }
    let error = record("{\"error\":\"out of memory\"}\n", RecordSettings::default());
    assert_eq!(error.verdict, Err(NotStored::ErrorBody));
    let cut = &whole(r#"{"role":"assistant","content":"Paris."}"#)[..60];
    assert_eq!(record(cut, RecordSettings::default()).verdict, Err(NotStored::Malformed));
}
