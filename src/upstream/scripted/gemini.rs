//! The scripted model's side of Gemini: content in both shapes, the count of tokens, the list of models, and errors.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Received, Reply, Step,
    openai::{Context, MODEL, cut, words},
};
use crate::wire::gemini::Asked;

fn refuse(status: StatusCode, name: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": status.as_u16(), "message": message, "status": name}}))
}

/// Answers as the model would; `answer_to` knows the text for a question.
pub(super) fn respond(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let path = request.path_and_query.split('?').next().unwrap_or_default();
    match &request.method {
        &Method::POST if Asked::of(path).is_some() => content(request, context, answer_to),
        &Method::POST if path.ends_with(":countTokens") => {
            Reply::json(StatusCode::OK, &json!({"totalTokens": words(&request.json().to_string()).len()}))
        }
        &Method::GET if path.ends_with("/models") => {
            Reply::json(StatusCode::OK, &json!({"models": [{"name": format!("models/{MODEL}")}]}))
        }
        method => {
            let message = format!("The built-in demo model has no {method} {path}; it answers generateContent.");
            refuse(StatusCode::NOT_FOUND, "NOT_FOUND", &message)
        }
    }
}

fn content(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "Invalid JSON payload received.");
    };
    let turns = body["contents"].as_array().map_or(&[][..], Vec::as_slice);
    let asked = turns.iter().rfind(|turn| turn["role"] != "model").map(|turn| texts(&turn["parts"]));
    let mut text = answer_to(&asked.unwrap_or_default());
    let config = &body["generationConfig"];
    if config["responseMimeType"] == "application/json" {
        text = json!({ "answer": text }).to_string();
    }
    let (text, finish) = cut(&text, config["maxOutputTokens"].as_u64());
    answer(request, context, &text, finish)
}

fn texts(parts: &Value) -> String {
    let parts = parts.as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// A model's answer, in the shape that the request asks for; `finish` is a chat completion's, or one of this API's.
pub(super) fn answer(request: &Received, context: &Context, text: &str, finish: &str) -> Reply {
    let asked = Asked::of(&request.path_and_query).unwrap_or(Asked { model: MODEL, streams: false });
    let reason = match finish {
        "stop" => "STOP",
        "length" => "MAX_TOKENS",
        other => other,
    };
    let prompt = words(&request.json().to_string()).len();
    let response = |text: &str, said: usize, reason: Option<&str>| {
        let mut response = json!({
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": prompt, "candidatesTokenCount": said, "totalTokenCount": prompt + said,
            },
            "modelVersion": asked.model,
            "responseId": format!("demo{:06}", context.call),
        });
        if let Some(reason) = reason {
            response["candidates"][0]["finishReason"] = json!(reason);
        }
        response
    };
    let said = words(text);
    if !asked.streams {
        return Reply::json(StatusCode::OK, &response(text, said.len(), Some(reason)));
    }
    let mut steps = Vec::new();
    for (at, word) in said.iter().enumerate() {
        if !context.pause.is_zero() {
            steps.push(Step::Pause(context.pause));
        }
        let last = at + 1 == said.len();
        let event = response(word, at + 1, last.then_some(reason));
        steps.push(Step::Send(Bytes::from(format!("data: {event}\r\n\r\n"))));
    }
    Reply::events(steps)
}
