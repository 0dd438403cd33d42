//! The scripted model's side of Ollama: chat and generation in both shapes, the list of models, and errors.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Received, Reply, Step,
    openai::{Context, MODEL, cut, text_of, words},
};

fn refuse(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, &json!({ "error": message }))
}

/// Answers as the model would; `answer_to` knows the text for a question.
pub(super) fn respond(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let path = request.path_and_query.split('?').next().unwrap_or_default();
    match (&request.method, path) {
        (&Method::POST, "/api/chat" | "/api/generate") => said(request, context, answer_to),
        (&Method::GET | &Method::HEAD, "/api/tags") => {
            Reply::json(StatusCode::OK, &json!({"models": [{"name": MODEL, "model": MODEL}]}))
        }
        (&Method::GET | &Method::HEAD, "/api/version") => {
            Reply::json(StatusCode::OK, &json!({"version": "0.0.0-demo"}))
        }
        (method, path) => {
            let message = format!("the built-in demo model has no {method} {path}; it answers POST /api/chat");
            refuse(StatusCode::NOT_FOUND, &message)
        }
    }
}

fn said(request: &Received, context: &Context, answer_to: &dyn Fn(&str) -> String) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse(StatusCode::BAD_REQUEST, "the request body is not valid JSON");
    };
    let turns = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let asked = turns.iter().rfind(|turn| turn["role"] == "user").map(|turn| text_of(&turn["content"]));
    let asked = asked.unwrap_or_else(|| text_of(&body["prompt"]));
    let mut text = answer_to(&asked);
    if !body["format"].is_null() {
        text = json!({ "answer": text }).to_string();
    }
    let (text, finish) = cut(&text, body["options"]["num_predict"].as_u64());
    answer(request, context, &text, finish)
}

/// An assistant's answer, in the shape that the request asks for.
pub(super) fn answer(request: &Received, context: &Context, text: &str, finish: &str) -> Reply {
    let asked = request.json();
    let chats = request.path_and_query.starts_with("/api/chat");
    let line = |text: &str| {
        let mut line = json!({
            "model": asked["model"].as_str().unwrap_or(MODEL),
            "created_at": "2026-09-21T00:00:00Z",
            "done": false,
        });
        match chats {
            true => line["message"] = json!({"role": "assistant", "content": text}),
            false => line["response"] = json!(text),
        }
        line
    };
    let last = |text: &str, answer: &str| {
        let mut line = line(text);
        line["done"] = json!(true);
        line["done_reason"] = json!(finish);
        line["total_duration"] = json!(1_000_000 + context.call);
        line["prompt_eval_count"] = json!(words(&asked.to_string()).len());
        line["eval_count"] = json!(words(answer).len());
        line
    };
    if asked["stream"] == false {
        return Reply::json(StatusCode::OK, &last(text, text));
    }
    let mut steps = Vec::new();
    for word in words(text) {
        if !context.pause.is_zero() {
            steps.push(Step::Pause(context.pause));
        }
        steps.push(Step::Send(Bytes::from(format!("{}\n", line(word)))));
    }
    steps.push(Step::Send(Bytes::from(format!("{}\n", last("", text)))));
    Reply::steps(StatusCode::OK, steps).header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))
}
