//! Fields and content parts that several protocols write alike.

use super::{
    ExactOnly,
    canonical::{Encoder, Member, Node, Object, Value},
    chat::ChatSettings,
    directives::Directives,
    parts,
};
use crate::outcome::{BypassReason, NotStored};

/// The model named; a request without one is the upstream's to refuse.
pub(super) fn model<'n>(root: &'n Object<'_>) -> Result<&'n str, BypassReason> {
    let model = root.get("model").and_then(Node::as_str).filter(|model| !model.is_empty());
    model.ok_or(BypassReason::Unparsable)
}

/// A boolean field; of the wrong kind it is refused, absent and `null` are `false`.
pub(super) fn flag(root: &Object<'_>, key: &str) -> Result<bool, BypassReason> {
    root.get(key).map_or(Ok(false), |node| node.as_bool().ok_or(BypassReason::Unparsable))
}

/// A whole number; of the wrong kind it is refused.
pub(super) fn count(root: &Object<'_>, key: &str) -> Result<Option<u64>, BypassReason> {
    root.get(key).map(|node| node.as_u64().ok_or(BypassReason::Unparsable)).transpose()
}

/// The tools that the model may call.
pub(super) fn tools<'n, 'a>(root: &'n Object<'a>) -> Result<&'n [Node<'a>], BypassReason> {
    root.get("tools").map_or(Ok(&[]), |tools| tools.as_array().ok_or(BypassReason::Unparsable))
}

/// An explicit temperature above the ceiling.
pub(super) fn is_hot(root: &Object<'_>, settings: &ChatSettings) -> Result<bool, BypassReason> {
    let Some(node) = root.get("temperature") else { return Ok(false) };
    Ok(node.as_f64().ok_or(BypassReason::Unparsable)? > settings.max_temperature)
}

/// The temperature that the upstream takes anyway, where that is known.
pub(super) fn is_default_temperature(node: &Node<'_>, settings: &ChatSettings) -> bool {
    settings.default_temperature.is_some() && node.as_f64() == settings.default_temperature
}

/// LiteLLM's member `cache`, when it is one, and what it asks for.
pub(super) fn litellm<'n, 'a>(root: &'n Object<'a>) -> Option<(&'n Member<'a>, Directives)> {
    let member = root.member("cache")?;
    Some((member, Directives::from_body(&member.node)?))
}

/// The text whose meaning may be used, or why none may.
pub(super) fn query(text: &str, exact_only: Option<ExactOnly>) -> Result<String, ExactOnly> {
    match exact_only {
        Some(why) => Err(why),
        None if text.trim().is_empty() => Err(ExactOnly::EmptyQuery),
        None => Ok(text.to_owned()),
    }
}

/// Whether a text is an answer that may be stored.
pub(super) fn judge_text(text: &str, wants_json: bool) -> Result<(), NotStored> {
    if text.trim().is_empty() {
        return Err(NotStored::EmptyAnswer);
    }
    if wants_json && !is_json(text) { Err(NotStored::NotJson) } else { Ok(()) }
}

/// `{}` or `[]`.
pub(super) fn is_empty(node: &Node<'_>) -> bool {
    node.as_object().is_some_and(Object::is_empty) || node.as_array().is_some_and(<[_]>::is_empty)
}

/// The text of a part that is nothing but text.
pub(super) fn plain_text<'n>(part: &'n Node<'_>) -> Option<&'n str> {
    parts::plain_text(part, &["text"])
}

/// Encodes `text` as the part `{"type": "text", "text": ...}`.
pub(super) fn encode_text_part(encoder: &mut Encoder, text: &str) {
    parts::encode_text(encoder, text, "text");
}

/// Whether a text is the JSON that was asked for.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether a part names content that lies elsewhere and may change: any URL but a data URL, any uploaded file.
pub(super) fn is_remote(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Object(object) => object.present().any(|member| {
            let key = member.key.as_ref();
            let file = key.ends_with("file_id");
            let url = key == "url" || key == "uri" || key.ends_with("_url") || key.ends_with("_uri");
            let elsewhere = |text: &str| file || (url && !text.starts_with("data:"));
            member.node.as_str().map_or_else(|| is_remote(&member.node), elsewhere)
        }),
        Value::Array(items) => items.iter().any(is_remote),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
