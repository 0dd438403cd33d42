//! What a `chat.completion` object says, and whether it may be stored (wire.md 3.4).

use super::usage;
use crate::{
    outcome::NotStored,
    wire::{
        Description, RecordSettings,
        canonical::{self, Node, Object, Value},
        fields::judge_text,
    },
};

/// Reads what an [`Answer`](crate::wire::Answer) keeps beside its body. `None` when `body` is no chat completion.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    let message = choices(&root).first()?.get("message")?;
    let text = message.get("content").map(content_text).unwrap_or_default();
    Some(Description::of(&root, Some("created"), text, usage::tokens))
}

/// Whether a whole answer may be stored.
pub(in crate::wire) fn judge(body: &[u8], settings: &RecordSettings, wants_json: bool) -> Result<(), NotStored> {
    let root = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    let [choice] = choices(&root) else { return Err(NotStored::Malformed) };
    let message = choice.get("message").and_then(Node::as_object).ok_or(NotStored::Malformed)?;
    if message.get("refusal").is_some_and(|refusal| refusal.as_str() != Some("")) {
        return Err(NotStored::Refusal);
    }
    match choice.get("finish_reason").and_then(Node::as_str) {
        Some("stop") if !has_calls(message) => judge_text(&said(message), wants_json),
        Some("stop" | "tool_calls" | "function_call") if !settings.allow_tool_calls => Err(NotStored::FinishTool),
        Some("stop" | "tool_calls" | "function_call") if has_calls(message) => Ok(()),
        Some("stop" | "tool_calls" | "function_call") => Err(NotStored::EmptyAnswer),
        Some("length") => Err(NotStored::FinishLength),
        Some("content_filter") => Err(NotStored::FinishFilter),
        _ => Err(NotStored::FinishOther),
    }
}

/// Whether the answer calls a tool: such an answer may be found by fingerprint only.
pub(in crate::wire) fn calls_tools(body: &[u8]) -> bool {
    let Ok(root) = canonical::parse(body) else { return false };
    let messages = choices(&root).iter().filter_map(|choice| choice.get("message")?.as_object());
    messages.into_iter().any(has_calls)
}

fn said(message: &Object<'_>) -> String {
    message.get("content").map(content_text).unwrap_or_default()
}

fn choices<'n, 'a>(root: &'n Node<'a>) -> &'n [Node<'a>] {
    root.get("choices").and_then(Node::as_array).unwrap_or_default()
}

fn has_calls(message: &Object<'_>) -> bool {
    let tools = message.get("tool_calls").is_some_and(|calls| calls.as_array() != Some(&[]));
    tools || message.get("function_call").is_some()
}

/// Content as text; of a list of parts, their texts.
fn content_text(content: &Node<'_>) -> String {
    match &content.value {
        Value::String(text) => text.clone().into_owned(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
