//! The scripted model's side of Anthropic's API: messages in both shapes, their token count, the model list, and errors.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Received, Reply, Step,
    openai::{Context, MODEL, cut, text_of, words},
};
use crate::headers::ANTHROPIC_REQUEST_ID;

/// An error object in Anthropic's shape.
pub(super) fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": null})
}

fn refuse(message: &str) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, &error("invalid_request_error", message))
}

/// Answers as the model would; `answer` knows the text for a question.
pub(super) fn respond(request: &Received, context: &Context, answer: &dyn Fn(&str) -> String) -> Reply {
    let path = request.path_and_query.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    match (&request.method, path) {
        (&Method::POST, "/messages") => messages(request, context, answer),
        (&Method::POST, "/messages/count_tokens") => {
            Reply::json(StatusCode::OK, &json!({"input_tokens": prompt_tokens(&request.json())}))
        }
        (&Method::GET | &Method::HEAD, "/models") => Reply::json(StatusCode::OK, &models(&request.path_and_query)),
        (&Method::GET | &Method::HEAD, _) if path.starts_with("/models/") => {
            Reply::json(StatusCode::OK, &model(path.trim_start_matches("/models/")))
        }
        (method, _) => {
            let message = format!("The built-in demo model has no {method} {path}; it answers POST /v1/messages.");
            Reply::json(StatusCode::NOT_FOUND, &error("not_found_error", &message))
        }
    }
}

fn model(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-09-21T00:00:00Z"})
}

/// One page; behind its last model there is none.
fn models(path_and_query: &str) -> Value {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    if query.split('&').any(|pair| pair.starts_with("after_id=")) {
        return json!({"data": [], "has_more": false, "first_id": null, "last_id": null});
    }
    json!({"data": [model(MODEL)], "has_more": false, "first_id": MODEL, "last_id": MODEL})
}

fn messages(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse("The request body is not valid JSON.");
    };
    let Some(turns) = body["messages"].as_array().filter(|turns| !turns.is_empty()) else {
        return refuse("messages: Field required");
    };
    let Some(limit) = body["max_tokens"].as_u64() else {
        return refuse("max_tokens: Field required");
    };
    let asked = turns.iter().rfind(|turn| turn["role"] == "user").map(|turn| text_of(&turn["content"]));
    let mut text = answer_to(&asked.unwrap_or_default());
    if body["output_config"]["format"]["type"] == "json_schema" {
        text = json!({"answer": text}).to_string();
    }
    let (text, finish) = cut(&text, Some(limit));
    answer(request, context, &text, finish)
}

/// An assistant's answer, in the shape that the request asks for; `finish` is a chat completion's, or one of this API's.
pub(super) fn answer(request: &Received, context: &Context, text: &str, finish: &str) -> Reply {
    let asked = request.json();
    let stop_reason = match finish {
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        other => other,
    };
    let whole = json!({
        "id": format!("msg_demo{:06}", context.call),
        "type": "message",
        "role": "assistant",
        "model": asked["model"].as_str().unwrap_or(MODEL),
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {
            "input_tokens": prompt_tokens(&asked),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": words(text).len(),
            "service_tier": "standard",
        },
    });
    let reply =
        if asked["stream"] == true { stream(whole, text, context) } else { Reply::json(StatusCode::OK, &whole) };
    let id = HeaderValue::from_str(&format!("req_demo{:06}", context.call));
    id.map_or_else(|_| reply.clone(), |id| reply.clone().header(ANTHROPIC_REQUEST_ID, id))
}

fn prompt_tokens(asked: &Value) -> usize {
    let turns = asked["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let said: usize = turns.iter().map(|turn| words(&text_of(&turn["content"])).len() + 4).sum();
    said + words(&text_of(&asked["system"])).len()
}

fn stream(mut message: Value, text: &str, context: &Context) -> Reply {
    let (stop_reason, output) = (message["stop_reason"].take(), message["usage"]["output_tokens"].clone());
    message["content"] = json!([]);
    message["usage"]["output_tokens"] = json!(1);
    let mut steps = vec![
        event("message_start", &json!({ "message": message })),
        event("content_block_start", &json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
        event("ping", &json!({})),
    ];
    for word in words(text) {
        if !context.pause.is_zero() {
            steps.push(Step::Pause(context.pause));
        }
        steps.push(event("content_block_delta", &json!({"index": 0, "delta": {"type": "text_delta", "text": word}})));
    }
    steps.push(event("content_block_stop", &json!({"index": 0})));
    let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
    steps.push(event("message_delta", &json!({"delta": delta, "usage": {"output_tokens": output}})));
    steps.push(event("message_stop", &json!({})));
    Reply::events(steps).header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
}

fn event(kind: &str, members: &Value) -> Step {
    let mut data = members.clone();
    data["type"] = json!(kind);
    Step::Send(Bytes::from(format!("event: {kind}\ndata: {data}\n\n")))
}
