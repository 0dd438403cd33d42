//! Content of messages: a text, or a list of parts. What is the same in every protocol that writes it so.

use super::{
    canonical::{Encoder, Member, Node, Value},
    fields::is_empty,
};

/// Whether a part's member says anything: markers of prompt caches and empty lists of notes do not.
fn counts(member: &Member<'_>) -> bool {
    match member.key.as_ref() {
        "cache_control" | "prompt_cache_breakpoint" => false,
        "annotations" | "logprobs" => !is_empty(&member.node),
        _ => true,
    }
}

/// Content as a list of parts: a string is a list of one text part of type `kind`.
pub(super) fn encode(encoder: &mut Encoder, content: &Node<'_>, kind: &str) {
    match &content.value {
        Value::String(text) => {
            encoder.open_array();
            encode_text(encoder, text, kind);
            encoder.close_array();
        }
        Value::Array(parts) => {
            encoder.open_array();
            for part in parts {
                match part.as_object() {
                    Some(object) => encoder.members(object.present().filter(|member| counts(member))),
                    None => encoder.value(part),
                }
            }
            encoder.close_array();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => encoder.value(content),
    }
}

/// Encodes `text` as the part `{"type": kind, "text": ...}`.
pub(super) fn encode_text(encoder: &mut Encoder, text: &str, kind: &str) {
    encoder.open_object();
    for word in ["text", text, "type", kind] {
        encoder.text(word);
    }
    encoder.close_object();
}

/// The text of a part that is nothing but text of a type in `kinds`.
pub(super) fn plain_text<'n>(part: &'n Node<'_>, kinds: &[&str]) -> Option<&'n str> {
    let object = part.as_object()?;
    let only = object.present().filter(|member| counts(member)).all(|m| matches!(m.key.as_ref(), "type" | "text"));
    let is_text = object.get("type").and_then(Node::as_str).is_some_and(|kind| kinds.contains(&kind));
    object.get("text").and_then(Node::as_str).filter(|_| only && is_text)
}

/// A message's text, plain text parts of a type in `kinds` joined by newlines.
pub(super) fn text(content: Option<&Node<'_>>, kinds: &[&str]) -> String {
    let Some(content) = content else { return String::new() };
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.as_array().unwrap_or_default();
    parts.iter().filter_map(|part| plain_text(part, kinds)).collect::<Vec<_>>().join("\n")
}

/// Every text of a message joined by newlines, also those of parts that say more than their text.
pub(super) fn all_text(content: Option<&Node<'_>>) -> String {
    let Some(content) = content else { return String::new() };
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.as_array().unwrap_or_default();
    parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
}
