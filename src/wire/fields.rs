//! Fields and content parts that several protocols write alike.

use super::{
    canonical::{Encoder, Node, Object, Value},
    parts,
};
use crate::outcome::BypassReason;

/// The model named; a request without one is the upstream's to refuse.
pub(super) fn model<'n>(root: &'n Object<'_>) -> Result<&'n str, BypassReason> {
    let model = root.get("model").and_then(Node::as_str).filter(|model| !model.is_empty());
    model.ok_or(BypassReason::Unparsable)
}

/// A boolean field; of the wrong kind it is refused, absent and `null` are `false`.
pub(super) fn flag(root: &Object<'_>, key: &str) -> Result<bool, BypassReason> {
    root.get(key).map_or(Ok(false), |node| node.as_bool().ok_or(BypassReason::Unparsable))
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
pub(super) fn is_json(text: &str) -> bool {
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
