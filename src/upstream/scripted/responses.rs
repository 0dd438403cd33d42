//! The scripted model's side of OpenAI's responses API, in both shapes.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Received, Reply, Step,
    openai::{Context, MODEL, cut, refuse, text_of, with_request_id, words},
};

/// Answers a request; `answer_to` knows the text for a question.
pub(super) fn respond(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse(StatusCode::BAD_REQUEST, "We could not parse the JSON body of your request.", None);
    };
    let turns = turns(&body["input"]);
    if turns.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "Missing required parameter: 'input'.", None);
    }
    let question = turns.iter().rfind(|turn| turn["role"] == "user").map(|turn| text_of(&turn["content"]));
    let mut text = answer_to(&question.unwrap_or_default());
    if matches!(body["text"]["format"]["type"].as_str(), Some("json_object" | "json_schema")) {
        text = json!({"answer": text}).to_string();
    }
    let (text, finish) = cut(&text, body["max_output_tokens"].as_u64());
    answer(request, context, &text, finish)
}

/// The items of an input; a text is one user message.
fn turns(input: &Value) -> Vec<Value> {
    match input {
        Value::String(text) => vec![json!({"role": "user", "content": text})],
        Value::Array(items) => items.clone(),
        _ => Vec::new(),
    }
}

/// An answer in the shape that the request asks for; `finish` in the words of chat completions.
pub(super) fn answer(request: &Received, context: &Context, text: &str, finish: &str) -> Reply {
    let asked = request.json();
    let response = Response { context, asked: &asked, text, finish };
    let reply =
        if asked["stream"] == true { response.stream() } else { Reply::json(StatusCode::OK, &response.object(true)) };
    with_request_id(reply, context)
}

struct Response<'a> {
    context: &'a Context,
    asked: &'a Value,
    text: &'a str,
    finish: &'a str,
}

impl Response<'_> {
    fn status(&self) -> &'static str {
        match self.finish {
            "stop" => "completed",
            "error" => "failed",
            _ => "incomplete",
        }
    }

    /// The response, at its end or at its beginning.
    fn object(&self, ended: bool) -> Value {
        let or_null = |key: &str| self.asked.get(key).cloned().unwrap_or_default();
        let or = |key: &str, absent: Value| self.asked.get(key).cloned().unwrap_or(absent);
        let reason = if self.finish == "length" { "max_output_tokens" } else { self.finish };
        let incomplete = ended && self.status() == "incomplete";
        let failed = ended && self.status() == "failed";
        json!({
            "id": format!("resp_demo{:06}", self.context.call),
            "object": "response",
            "created_at": self.context.created,
            "status": if ended { self.status() } else { "in_progress" },
            "background": false,
            "completed_at": ended.then_some(self.context.created),
            "error": failed.then(|| json!({"code": "server_error", "message": "The model failed."})),
            "incomplete_details": incomplete.then(|| json!({"reason": reason})),
            "instructions": or_null("instructions"),
            "max_output_tokens": or_null("max_output_tokens"),
            "max_tool_calls": null,
            "metadata": or("metadata", json!({})),
            "model": or("model", json!(MODEL)),
            "output": if ended { json!([self.message(true)]) } else { json!([]) },
            "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
            "previous_response_id": or_null("previous_response_id"),
            "prompt_cache_key": or_null("prompt_cache_key"),
            "reasoning": {"effort": null, "summary": null},
            "safety_identifier": or_null("safety_identifier"),
            "service_tier": "default",
            "store": or("store", json!(true)),
            "temperature": or("temperature", json!(1.0)),
            "text": or("text", json!({"format": {"type": "text"}})),
            "tool_choice": or("tool_choice", json!("auto")),
            "tools": or("tools", json!([])),
            "top_logprobs": 0,
            "top_p": or("top_p", json!(1.0)),
            "truncation": or("truncation", json!("disabled")),
            "usage": ended.then(|| self.usage()),
            "user": or_null("user"),
        })
    }

    fn id(&self) -> String {
        format!("msg_demo{:06}", self.context.call)
    }

    fn message(&self, ended: bool) -> Value {
        let status = match (ended, self.status()) {
            (false, _) => "in_progress",
            (true, "completed") => "completed",
            (true, _) => "incomplete",
        };
        let content = if ended { json!([part(self.text)]) } else { json!([]) };
        json!({"id": self.id(), "type": "message", "status": status, "role": "assistant", "content": content})
    }

    fn usage(&self) -> Value {
        let turns = turns(&self.asked["input"]);
        let mut input: usize = turns.iter().map(|turn| words(&text_of(&turn["content"])).len() + 4).sum();
        input += words(self.asked["instructions"].as_str().unwrap_or_default()).len();
        let output = words(self.text).len();
        json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input + output,
        })
    }

    fn stream(&self) -> Reply {
        let at = json!({"item_id": self.id(), "output_index": 0, "content_index": 0});
        let mut events = Events { steps: Vec::new(), sent: 0 };
        for name in ["response.created", "response.in_progress"] {
            events.push(name, &json!({"response": self.object(false)}), &Value::Null);
        }
        let item = |ended: bool| json!({"output_index": 0, "item": self.message(ended)});
        events.push("response.output_item.added", &item(false), &Value::Null);
        events.push("response.content_part.added", &at, &json!({"part": part("")}));
        for word in words(self.text) {
            if !self.context.pause.is_zero() {
                events.steps.push(Step::Pause(self.context.pause));
            }
            events.push("response.output_text.delta", &at, &json!({"delta": word, "logprobs": []}));
        }
        events.push("response.output_text.done", &at, &json!({"text": self.text, "logprobs": []}));
        events.push("response.content_part.done", &at, &json!({"part": part(self.text)}));
        events.push("response.output_item.done", &item(true), &Value::Null);
        let ended = format!("response.{}", self.status());
        events.push(&ended, &json!({"response": self.object(true)}), &Value::Null);
        Reply::events(events.steps).header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

struct Events {
    steps: Vec<Step>,
    sent: usize,
}

impl Events {
    /// One event with the members of both objects.
    fn push(&mut self, name: &str, members: &Value, further: &Value) {
        let mut event = json!({"type": name, "sequence_number": self.sent});
        self.sent += 1;
        for (key, value) in [members, further].into_iter().filter_map(Value::as_object).flatten() {
            event[key.as_str()] = value.clone();
        }
        self.steps.push(Step::Send(Bytes::from(format!("event: {name}\ndata: {event}\n\n"))));
    }
}
