//! The request that a client will send for a written question, whose it is, and the answer as its provider would send it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::line::WrittenLine;
use crate::{
    clock::Timestamp,
    gateway::{Call, warm::Owner},
    headers,
    key::Principal,
    keys,
    otel::Trace,
    wire::{Family, Usage},
};

/// Bytes of text that count as a token where nobody has counted: a little fewer than most models take to one, so that an
/// answer is rather thought too long for a client's limit than too short.
const BYTES_A_TOKEN: usize = 3;
/// The families in which a question can be written down.
const WRITABLE: &str = "chat, messages, ollama and gemini";
/// What the official clients of Anthropic's protocol send.
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The request for `line`'s question to `model`.
pub(super) fn call(line: &WrittenLine, family: Family, model: &str) -> Result<Call, String> {
    let body = body(line, family, model)?;
    Ok(Call {
        family: Some(family),
        method: Method::POST,
        path_and_query: path(family, model),
        headers: headers_of(line, family)?,
        body: Bytes::from(body.to_string()),
        holder: None,
        trace: Trace::default(),
    })
}

/// The family of this name, if a question can be written down in it.
pub(super) fn family(name: &str) -> Result<Family, String> {
    match Family::from_name(name) {
        Some(family @ (Family::Chat | Family::Messages | Family::Ollama | Family::Gemini)) => Ok(family),
        Some(_) => Err(format!("family: questions can be written in {WRITABLE}; entries of {name} can be exported")),
        None => Err(format!("family: no protocol is called {name:?}; write one of {WRITABLE}")),
    }
}

fn path(family: Family, model: &str) -> String {
    match family {
        Family::Messages => "/v1/messages".to_owned(),
        Family::Ollama => "/api/chat".to_owned(),
        Family::Gemini => format!("/v1beta/models/{model}:generateContent"),
        _ => "/v1/chat/completions".to_owned(),
    }
}

fn body(line: &WrittenLine, family: Family, model: &str) -> Result<Value, String> {
    let WrittenLine { question, system, params, .. } = line;
    let user = json!({"role": "user", "content": question});
    let with_system = || match system {
        Some(system) => json!([{"role": "system", "content": system}, user]),
        None => json!([user]),
    };
    let mut body = match family {
        Family::Messages => json!({"model": model, "max_tokens": 4096, "messages": [user]}),
        Family::Ollama => json!({"model": model, "messages": with_system(), "stream": false}),
        Family::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": question}]}]}),
        _ => json!({"model": model, "messages": with_system()}),
    };
    match (family, system) {
        (Family::Messages, Some(system)) => body["system"] = json!(system),
        (Family::Gemini, Some(system)) => body["systemInstruction"] = json!({"parts": [{"text": system}]}),
        _ => {}
    }
    merge(&mut body, params)?;
    Ok(body)
}

fn merge(body: &mut Value, params: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in params {
        if body.get(key).is_some() && key != "max_tokens" {
            return Err(format!("params: {key} is told by the line's other members"));
        }
        body[key] = value.clone();
    }
    Ok(())
}

fn headers_of(line: &WrittenLine, family: Family) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    if family == Family::Messages {
        map.insert(ANTHROPIC_VERSION.0, HeaderValue::from_static(ANTHROPIC_VERSION.1));
    }
    let namespace = line.namespace.as_ref().map(|namespace| ("x-semblance-namespace", namespace.as_str()));
    let given = line.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in given.chain(namespace) {
        let wrong = |error: &dyn std::fmt::Display| format!("headers: {name}: {error}");
        let name = HeaderName::try_from(name).map_err(|error| wrong(&error))?;
        map.insert(name.clone(), HeaderValue::try_from(value).map_err(|error| wrong(&error))?);
    }
    if headers::credential(&map, "").is_some() {
        return Err("headers: a credential has no place in a file; name the variable that holds it in credential_env"
            .to_owned());
    }
    Ok(map)
}

/// The answer as the provider of `model` would send it, made at `at`.
pub(super) fn answer(line: &WrittenLine, family: Family, model: &str, at: Timestamp) -> Bytes {
    let text = &line.answer;
    let Usage { input, output } = line.usage.unwrap_or_else(|| Usage {
        input: tokens(&line.question) + line.system.as_deref().map_or(0, tokens),
        output: tokens(text),
    });
    let body = match family {
        Family::Messages => json!({
            "id": "imported", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": input, "output_tokens": output},
        }),
        Family::Ollama => json!({
            "model": model, "created_at": super::moment::text(at).unwrap_or_default(),
            "message": {"role": "assistant", "content": text}, "done": true, "done_reason": "stop",
            "total_duration": 0, "load_duration": 0, "prompt_eval_count": input, "prompt_eval_duration": 0,
            "eval_count": output, "eval_duration": 0,
        }),
        Family::Gemini => json!({
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {
                "promptTokenCount": input, "candidatesTokenCount": output,
                "totalTokenCount": input.saturating_add(output),
            },
            "modelVersion": model, "responseId": "imported",
        }),
        _ => json!({
            "id": "imported", "object": "chat.completion", "created": at.as_secs(), "model": model,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
            },
        }),
    };
    Bytes::from(body.to_string())
}

fn tokens(text: &str) -> u64 {
    text.len().div_ceil(BYTES_A_TOKEN) as u64
}

/// Whose answer a written line says that it is.
pub(super) fn owner(line: &WrittenLine) -> Result<Owner, String> {
    if line.credential_env.is_some() {
        return Err(
            "credential_env: only the command line reads variables; send credential, holder or principal".to_owned()
        );
    }
    let shared = match line.scope.as_deref() {
        None => false,
        Some("shared") => true,
        Some(other) => {
            return Err(format!(
                "scope: {other:?} is not \"shared\"; for one credential alone give credential_env, holder or principal"
            ));
        }
    };
    match (shared, &line.credential, &line.holder, &line.principal) {
        (_, None, None, None) => Ok(Owner::Nobody),
        (false, Some(secret), None, None) if !secret.trim().is_empty() => {
            Ok(Owner::Credential(secret.trim().to_owned()))
        }
        (false, None, Some(name), None) if keys::is_name(name) => Ok(Owner::Holder(name.clone())),
        (false, None, None, Some(hex)) => Principal::from_hex(hex)
            .map(Owner::Principal)
            .ok_or_else(|| "principal: not 64 hex digits; take it from /semblance/entries".to_owned()),
        (true, ..) => {
            Err("scope: what is shared is nobody's; leave out credential_env, holder and principal".to_owned())
        }
        (false, Some(_), None, None) => Err("credential: it is empty".to_owned()),
        (false, None, Some(_), None) => Err("holder: no key can have this name".to_owned()),
        _ => Err("give one of credential_env, holder and principal".to_owned()),
    }
}

/// Labels for group purge.
pub(super) fn labels(line: &WrittenLine) -> Vec<String> {
    line.tags.iter().filter(|label| !label.trim().is_empty()).cloned().collect()
}
