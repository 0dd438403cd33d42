//! The scripted model's side of the legacy completions API: the answers it gives in a chat, as plain text.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Received, Reply, Step,
    openai::{self, Context, words},
};

pub(super) fn respond(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let body = request.json();
    let prompt = match &body["prompt"] {
        Value::String(text) => text.clone(),
        Value::Array(items) if !items.is_empty() => items.iter().map(Value::to_string).collect(),
        _ => return openai::refuse(StatusCode::BAD_REQUEST, "Missing required parameter: 'prompt'.", None),
    };
    let (text, finish) = openai::cut(&answer_to(&prompt), body["max_tokens"].as_u64());
    answer(request, context, &text, finish)
}

/// A completion, in the shape that the request asks for.
pub(super) fn answer(request: &Received, context: &Context, text: &str, finish: &str) -> Reply {
    let asked = request.json();
    let object = |text: &str, finish: Option<&str>| {
        json!({
            "id": format!("cmpl-demo{:06}", context.call),
            "object": "text_completion",
            "created": context.created,
            "model": asked["model"],
            "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}],
        })
    };
    let (prompt, completion) = (words(asked["prompt"].as_str().unwrap_or_default()).len(), words(text).len());
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion});
    if asked["stream"] != true {
        let mut body = object(text, Some(finish));
        body["usage"] = usage;
        return Reply::json(StatusCode::OK, &body);
    }
    let mut steps = Vec::new();
    for word in words(text) {
        if !context.pause.is_zero() {
            steps.push(Step::Pause(context.pause));
        }
        steps.push(openai::event(&object(word, None)));
    }
    steps.push(openai::event(&object("", Some(finish))));
    if asked["stream_options"]["include_usage"] == true {
        let mut last = object("", None);
        last["choices"] = json!([]);
        last["usage"] = usage;
        steps.push(openai::event(&last));
    }
    steps.push(Step::Send(bytes::Bytes::from_static(b"data: [DONE]\n\n")));
    Reply::events(steps).header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
}
