use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::Asked;
use crate::{
    outcome::{BypassReason, NotStored},
    wire::{
        Answer, ExactOnly, Family, Finished, Fresh, RecordSettings, Recorder, Request, Shape, chat::ChatSettings,
        error_body, parse, sse,
    },
};

const WHOLE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

fn parsed(path: &str, body: &Value) -> Result<Request, BypassReason> {
    parse(Family::Gemini, path, &Bytes::from(body.to_string()), &ChatSettings::default())
}

/// A request with one user turn and these further members.
fn asking(members: &Value) -> Request {
    let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "Capital of France?"}]}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    parsed(WHOLE, &body).unwrap()
}

fn key(request: Request) -> (Vec<u8>, Vec<u8>) {
    (request.partition, request.last_turn)
}

fn record(events: &[Value], settings: RecordSettings) -> Finished {
    let stream: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    let mut recorder = Recorder::new(Family::Gemini, settings, false);
    sse::frames(stream.as_bytes()).for_each(|frame| recorder.frame(&frame));
    recorder.finish_stream(true)
}

fn event(parts: &Value, finish: Option<&str>) -> Value {
    let mut event = json!({
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 14},
        "modelVersion": "gemini-2.5-flash-001",
        "responseId": "r1",
    });
    if let Some(finish) = finish {
        event["candidates"][0]["finishReason"] = json!(finish);
    }
    event
}

fn streamed(answer: &Answer, fresh: &Fresh) -> Vec<Value> {
    let stream = answer.render_stream(fresh, true);
    sse::frames(&stream).map(|frame| serde_json::from_slice(&frame.data.unwrap()).unwrap()).collect()
}

#[test]
fn the_path_says_model_and_shape() {
    assert_eq!(Asked::of(STREAM), Some(Asked { model: "gemini-2.5-flash", streams: true }));
    assert_eq!(Asked::of("/v1/models/tuned:x:generateContent"), Some(Asked { model: "tuned:x", streams: false }));
    assert_eq!(Asked::of("/v1beta/models/m:countTokens"), None);
    let body = json!({"contents": [{"parts": [{"text": "Capital of France?"}]}]});
    let (whole, stream) = (parsed(WHOLE, &body).unwrap(), parsed(STREAM, &body).unwrap());
    assert_eq!((whole.shape, stream.shape), (Shape::Json, Shape::Stream { include_usage: true }));
    assert_eq!(whole.model, "gemini-2.5-flash");
    assert_eq!(key(whole), key(stream));
    for path in [STREAM.trim_end_matches("?alt=sse"), &format!("{WHOLE}?alt=sse"), &format!("{WHOLE}?alt=proto")] {
        assert_eq!(parsed(path, &body).unwrap().bypass, Some(BypassReason::OtherForm), "{path}");
    }
    assert_ne!(key(asking(&json!({}))), key(parsed("/v1beta/models/other:generateContent", &body).unwrap()));
}

#[test]
fn either_spelling_and_what_says_nothing_give_one_key() {
    let plain = key(asking(&json!({})));
    for members in [
        json!({"tools": [], "safetySettings": []}),
        json!({"generationConfig": {}}),
        json!({"generation_config": {"candidate_count": 1, "temperature": 1}}),
        json!({"contents": [{"parts": [{"text": "Capital of France?"}]}]}),
    ] {
        assert_eq!(plain, key(asking(&members)), "{members}");
    }
    let system = |name: &str| key(asking(&json!({name: {"parts": [{"text": "Be brief."}]}})));
    assert_eq!(system("systemInstruction"), system("system_instruction"));
    let top = |name: &str| key(asking(&json!({"generationConfig": {name: 3}})));
    assert_eq!(top("topK"), top("top_k"));
    let doubled = json!({"contents": [], "system_instruction": {}, "systemInstruction": {}});
    assert_eq!(parsed(WHOLE, &doubled).err(), Some(BypassReason::Unparsable));
    let limited = asking(&json!({"generationConfig": {"max_output_tokens": 50}}));
    assert_eq!((limited.max_tokens, key(limited)), (Some(50), plain));
}

#[test]
fn what_shapes_an_answer_keeps_questions_apart() {
    let plain = asking(&json!({})).partition;
    for members in [
        json!({"systemInstruction": {"parts": [{"text": "Be brief."}]}}),
        json!({"generationConfig": {"temperature": 0.2}}),
        json!({"generationConfig": {"responseMimeType": "application/json"}}),
        json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        json!({"safetySettings": [{"category": "c", "threshold": "BLOCK_NONE"}]}),
        json!({"tools": [{"functionDeclarations": [{"name": "f"}]}]}),
        json!({"unheardOf": 1}),
        json!({"contents": [
            {"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hello"}]},
            {"role": "user", "parts": [{"text": "Capital of France?"}]},
        ]}),
    ] {
        assert_ne!(plain, asking(&members).partition, "{members}");
    }
}

#[test]
fn meaning_is_used_of_plain_questions_only() {
    let plain = asking(&json!({}));
    assert_eq!((plain.query.as_deref(), plain.first_turn), (Ok("Capital of France?"), true));
    let turns = |parts: Value| json!({"contents": [{"role": "user", "parts": parts}]});
    for (members, why) in [
        (json!({"generationConfig": {"seed": 1}}), ExactOnly::PinnedSampling),
        (turns(json!([{"text": " "}])), ExactOnly::EmptyQuery),
        (turns(json!([{"text": "What is this?"}, {"inlineData": {"data": "aGk="}}])), ExactOnly::NonText),
        (turns(json!([{"function_response": {"name": "f"}}])), ExactOnly::ToolTurns),
        (turns(json!([{"text": "a", "thoughtSignature": "x"}])), ExactOnly::Reasoning),
        (json!({"contents": [{"role": "model", "parts": [{"text": "Paris is"}]}]}), ExactOnly::LastTurnNotUser),
    ] {
        assert_eq!(asking(&members).query, Err(why), "{members}");
    }
}

#[test]
fn what_the_cache_has_no_part_in_passes() {
    let file = json!({"contents": [{"parts": [{"text": "Sum up."}, {"file_data": {"fileUri": "files/1"}}]}]});
    for (members, why) in [
        (file, BypassReason::RemoteContent),
        (json!({"cached_content": "cachedContents/1"}), BypassReason::ProviderState),
        (json!({"tools": [{"googleSearch": {}}]}), BypassReason::WebSearch),
        (json!({"tools": [{"code_execution": {}}]}), BypassReason::HostedTool),
        (json!({"generationConfig": {"candidateCount": 2}}), BypassReason::SeveralChoices),
        (json!({"generationConfig": {"responseLogprobs": true}}), BypassReason::Logprobs),
        (json!({"generationConfig": {"temperature": 1.5}}), BypassReason::HotSampling),
    ] {
        assert_eq!(asking(&members).bypass, Some(why), "{members}");
    }
    for body in [json!({}), json!({"contents": []}), json!({"contents": [{"parts": [{"text": 1}]}]}), json!([])] {
        assert_eq!(parsed(WHOLE, &body).err(), Some(BypassReason::Unparsable), "{body}");
    }
}

#[test]
fn case_65_a_stream_adds_up_to_the_whole_response_and_ends_with_its_reason() {
    let events = [
        event(&json!([{"text": "Hm.", "thought": true}]), None),
        event(&json!([{"text": "Par"}]), None),
        event(&json!([{"text": "ís."}]), Some("STOP")),
    ];
    let finished = record(&events, RecordSettings::default());
    assert_eq!(finished.verdict, Ok(()));
    let answer = finished.answer.unwrap();
    let expected = event(&json!([{"text": "Hm.", "thought": true}, {"text": "París."}]), Some("STOP"));
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), expected);
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("París.", "gemini-2.5-flash-001"));
    assert_eq!(answer.usage.map(|usage| (usage.input, usage.output)), Some((5, 9)));
    assert!(answer.is_bound_to_account(), "what is thought is for the account that asked");
    let fresh = Fresh { id: "new".to_owned(), ..Fresh::original(&answer) };
    let events = streamed(&answer, &fresh);
    assert!(events.iter().all(|event| event["responseId"] == "new"));
    let (last, before) = events.split_last().unwrap();
    assert_eq!(
        (&last["candidates"][0]["finishReason"], &last["usageMetadata"]["totalTokenCount"]),
        (&json!("STOP"), &json!(14))
    );
    assert!(before.iter().all(|event| event["candidates"][0].get("finishReason").is_none()));
    let said = |event: &Value| event["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(events.iter().map(said).collect::<String>(), "Hm.París.");
    assert!(last["candidates"][0]["content"]["parts"][0]["text"].as_str().is_some_and(|text| !text.is_empty()));
    let json: Value = serde_json::from_slice(&answer.render_json(&fresh)).unwrap();
    assert_eq!(json["responseId"], "new");
}

#[test]
fn only_what_stopped_by_itself_is_stored() {
    let text = json!([{"text": "Par"}]);
    for (finish, why) in [
        ("MAX_TOKENS", NotStored::FinishLength),
        ("SAFETY", NotStored::FinishFilter),
        ("RECITATION", NotStored::FinishFilter),
        ("MALFORMED_FUNCTION_CALL", NotStored::FinishOther),
    ] {
        assert_eq!(record(&[event(&text, Some(finish))], RecordSettings::default()).verdict, Err(why), "{finish}");
    }
    assert_eq!(record(&[event(&text, None)], RecordSettings::default()).verdict, Err(NotStored::Incomplete));
    let error = json!({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}});
    assert_eq!(record(&[event(&text, None), error], RecordSettings::default()).verdict, Err(NotStored::ErrorBody));
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}});
    let recorder = Recorder::new(Family::Gemini, RecordSettings::default(), false);
    assert_eq!(recorder.finish_json(&Bytes::from(blocked.to_string()), true).verdict, Err(NotStored::Refusal));
    let call = event(&json!([{"functionCall": {"name": "f", "args": {}}}]), Some("STOP"));
    assert_eq!(record(std::slice::from_ref(&call), RecordSettings::default()).verdict, Err(NotStored::FinishTool));
    let allowing = RecordSettings { allow_tool_calls: true, ..RecordSettings::default() };
    let answer = record(&[call], allowing).recorded().unwrap();
    assert!(answer.calls_tools());
    assert_eq!(streamed(&answer, &Fresh::original(&answer)).len(), 1);
    let image = event(&json!([{"inlineData": {"data": "aGk="}}]), Some("STOP"));
    assert_eq!(record(&[image], RecordSettings::default()).verdict, Err(NotStored::Malformed));
}

#[test]
fn an_error_of_ours_is_a_google_rpc_status() {
    let body =
        error_body(Family::Gemini, StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", "try \"again\"", "overloaded");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], 503);
    assert_eq!(body["error"]["status"], "UNAVAILABLE");
    assert_eq!(body["error"]["message"], "try \"again\"");
    assert_eq!(body["error"]["details"][0]["reason"], "overloaded");
}
