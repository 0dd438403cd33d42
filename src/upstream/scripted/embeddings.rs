//! The scripted model's embeddings: unit vectors that follow from model and text alone, of no meaning.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Received, Reply, openai};
use crate::similarity::Embedding;

/// Length of a vector when the request names none.
const DIMENSIONS: u64 = 1536;
/// No vector is longer.
const MOST: u64 = 4096;

pub(super) fn respond(request: &Received) -> Reply {
    let body = request.json();
    let Some(elements) = elements(&body["input"]) else {
        return openai::refuse(StatusCode::BAD_REQUEST, "Missing or invalid parameter: 'input'.", None);
    };
    let model = body["model"].as_str().unwrap_or("semblance-demo-embedding");
    let dimensions = body["dimensions"].as_u64().unwrap_or(DIMENSIONS).clamp(1, MOST);
    let data: Vec<Value> = elements
        .iter()
        .enumerate()
        .map(|(index, element)| {
            let values = vector(model, element, dimensions);
            let vector = match body["encoding_format"].as_str() {
                Some("base64") => {
                    json!(STANDARD.encode(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()))
                }
                _ => json!(values),
            };
            json!({"object": "embedding", "index": index, "embedding": vector})
        })
        .collect();
    let tokens: usize = elements.iter().map(tokens).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Reply::json(StatusCode::OK, &json!({"object": "list", "data": data, "model": model, "usage": usage}))
}

/// The elements of an input: texts or lists of token ids.
fn elements(input: &Value) -> Option<Vec<Value>> {
    match input {
        Value::String(text) if !text.is_empty() => Some(vec![input.clone()]),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) if items.iter().all(Value::is_u64) => Some(vec![input.clone()]),
        Value::Array(items) => items.iter().map(|item| elements(item)?.pop()).collect(),
        _ => None,
    }
}

fn tokens(element: &Value) -> usize {
    element.as_array().map_or_else(|| openai::words(element.as_str().unwrap_or_default()).len(), Vec::len)
}

fn vector(model: &str, element: &Value, dimensions: u64) -> Vec<f32> {
    let mut bytes = vec![0; usize::try_from(dimensions).unwrap_or_default() * 2];
    blake3::Hasher::new().update(format!("{model}\n{element}").as_bytes()).finalize_xof().fill(&mut bytes);
    let (pairs, _) = bytes.as_chunks::<2>();
    let values = pairs.iter().map(|pair| f32::from(i16::from_le_bytes(*pair))).collect();
    Embedding::normalised(values).map(|vector| vector.values().to_vec()).unwrap_or_default()
}
