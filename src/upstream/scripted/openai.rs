//! The scripted model's side of OpenAI's API: chat completions in both shapes, the model list, and errors; responses,
//! completions and embeddings are next door.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Received, Reply, Step, completions, embeddings, responses};
use crate::headers::X_REQUEST_ID;

/// Model that answers when the request names none.
pub(super) const MODEL: &str = "semblance-demo";
/// The demo's `created` of a model: fixed, so that the list is the same every time.
const MODEL_CREATED: i64 = 1_790_000_000;

/// What varies from call to call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Counts calls from 1; makes the ids.
    pub(super) call: usize,
    /// Unix seconds.
    pub(super) created: i64,
    /// Between two words of a stream.
    pub(super) pause: Duration,
}

/// An error object in OpenAI's shape.
pub(super) fn error(kind: &str, message: &str, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// Refuses a request in OpenAI's shape.
pub(super) fn refuse(status: StatusCode, message: &str, code: Option<&str>) -> Reply {
    Reply::json(status, &error("invalid_request_error", message, code))
}

/// Answers as the model would; `answer` knows the text for a question.
pub(super) fn respond(request: &Received, context: &Context, answer: &dyn Fn(&str) -> String) -> Reply {
    let path = path(request);
    match (&request.method, path) {
        (&Method::POST, "/chat/completions") => chat(request, context, answer),
        (&Method::POST, "/responses") => responses::respond(request, context, answer),
        (&Method::POST, "/completions") => completions::respond(request, context, answer),
        (&Method::POST, "/embeddings") => embeddings::respond(request),
        (&Method::GET | &Method::HEAD, "/models") => {
            Reply::json(StatusCode::OK, &json!({"object": "list", "data": [model(MODEL), model("gpt-4o-mini")]}))
        }
        (&Method::GET | &Method::HEAD, _) if path.starts_with("/models/") => {
            Reply::json(StatusCode::OK, &model(path.trim_start_matches("/models/")))
        }
        (method, _) => refuse(
            StatusCode::NOT_FOUND,
            &format!(
                "The built-in demo model has no {method} {path}; it answers POST /v1/chat/completions, /v1/responses, /v1/completions and /v1/embeddings."
            ),
            Some("unknown_url"),
        ),
    }
}

/// The path without query and version.
fn path(request: &Received) -> &str {
    let path = request.path_and_query.split('?').next().unwrap_or_default();
    path.strip_prefix("/v1").unwrap_or(path)
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": MODEL_CREATED, "owned_by": "semblance"})
}

fn chat(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse(StatusCode::BAD_REQUEST, "We could not parse the JSON body of your request.", None);
    };
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "Missing required parameter: 'messages'.", None);
    };
    let question = messages
        .iter()
        .rfind(|message| message["role"] == "user")
        .map(|message| text_of(&message["content"]))
        .unwrap_or_default();
    let mut text = answer_to(&question);
    if matches!(body["response_format"]["type"].as_str(), Some("json_object" | "json_schema")) {
        text = json!({"answer": text}).to_string();
    }
    let (text, finish) = cut(&text, limit(&body));
    answer(request, context, &text, finish)
}

fn limit(body: &Value) -> Option<u64> {
    body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64())
}

/// Keeps the first `limit` tokens of `text`, as a real model does.
pub(super) fn cut(text: &str, limit: Option<u64>) -> (String, &'static str) {
    let words = words(text);
    match limit.and_then(|limit| usize::try_from(limit).ok()) {
        Some(limit) if limit < words.len() => (words.iter().take(limit).copied().collect(), "length"),
        _ => (text.to_owned(), "stop"),
    }
}

/// Text of a message's content, whichever way it is written.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// The model's tokens: words with the white space before them. Joined they are `text` again.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && in_word {
            words.extend(text.get(start..at));
            start = at;
        }
        in_word = !c.is_whitespace();
    }
    words.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    words
}

/// An assistant's answer, in the protocol that the request speaks and the shape that it asks for.
pub(super) fn answer(request: &Received, context: &Context, text: &str, finish: &str) -> Reply {
    match path(request) {
        "/responses" => return responses::answer(request, context, text, finish),
        "/completions" => return completions::answer(request, context, text, finish),
        _ => {}
    }
    let asked = request.json();
    let usage = usage(&asked, text);
    let frame = Frame { context, model: asked["model"].as_str().unwrap_or(MODEL), finish };
    let reply = if asked["stream"] == true {
        let include_usage = asked["stream_options"]["include_usage"] == true;
        frame.stream(text, include_usage.then_some(&usage))
    } else {
        frame.whole(text, usage)
    };
    with_request_id(reply, context)
}

/// With the id that real providers give each call.
pub(super) fn with_request_id(reply: Reply, context: &Context) -> Reply {
    match HeaderValue::from_str(&format!("req_demo{:06}", context.call)) {
        Ok(id) => reply.header(X_REQUEST_ID, id),
        Err(_) => reply,
    }
}

fn usage(asked: &Value, text: &str) -> Value {
    let messages = asked["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let prompt: usize = messages.iter().map(|message| words(&text_of(&message["content"])).len() + 4).sum();
    let completion = words(text).len();
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

struct Frame<'a> {
    context: &'a Context,
    model: &'a str,
    finish: &'a str,
}

impl Frame<'_> {
    fn object(&self, object: &str, choices: &Value) -> Value {
        json!({
            "id": format!("chatcmpl-demo{:06}", self.context.call),
            "object": object,
            "created": self.context.created,
            "model": self.model,
            "system_fingerprint": "fp_demo",
            "choices": choices,
        })
    }

    fn whole(&self, text: &str, usage: Value) -> Reply {
        let message = json!({"role": "assistant", "content": text, "refusal": null});
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish});
        let mut body = self.object("chat.completion", &json!([choice]));
        body["usage"] = usage;
        Reply::json(StatusCode::OK, &body)
    }

    fn stream(&self, text: &str, usage: Option<&Value>) -> Reply {
        let chunk = |delta: Value, finish: Option<&str>| {
            let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
            let mut frame = self.object("chat.completion.chunk", &json!([choice]));
            if usage.is_some() {
                frame["usage"] = Value::Null;
            }
            event(&frame)
        };
        let mut steps = vec![chunk(json!({"role": "assistant", "content": "", "refusal": null}), None)];
        for word in words(text) {
            if !self.context.pause.is_zero() {
                steps.push(Step::Pause(self.context.pause));
            }
            steps.push(chunk(json!({"content": word}), None));
        }
        steps.push(chunk(json!({}), Some(self.finish)));
        if let Some(usage) = usage {
            let mut last = self.object("chat.completion.chunk", &json!([]));
            last["usage"] = usage.clone();
            steps.push(event(&last));
        }
        steps.push(Step::Send(Bytes::from_static(b"data: [DONE]\n\n")));
        Reply::events(steps).header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

/// A frame of an event stream.
pub(super) fn event(frame: &Value) -> Step {
    Step::Send(Bytes::from(format!("data: {frame}\n\n")))
}
