//! What OpenAI's protocols have in common: fields that mean the same in each, function tools, errors.

use bytes::Bytes;

use super::{
    canonical::{self, Encoder, Node, Object},
    chat::ChatSettings,
    fields::is_empty,
};

/// Fields that shape no answer.
pub(super) const IGNORED: [&str; 10] = [
    "stream",
    "stream_options",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "cache_control",
    "diagnostics",
    "speed",
    "keep_alive",
];

/// Who asks, in the app's own words.
pub(super) const USER: [&str; 3] = ["user", "safety_identifier", "metadata"];

/// Sampling was pinned or biased: such a request is found by its fingerprint only.
pub(super) fn is_pinned(root: &Object<'_>) -> bool {
    root.get("seed").is_some() || root.get("logit_bias").is_some_and(|bias| !is_empty(bias))
}

/// Whether the upstream looks things up by itself, by model or by option.
pub(super) fn searches(root: &Object<'_>, model: &str, settings: &ChatSettings) -> bool {
    settings.search_models.iter().any(|part| model.contains(part.as_str()))
        || ["web_search_options", "search_parameters"].iter().any(|key| root.get(key).is_some())
        || root.get("enable_search").is_some_and(|node| node.as_bool() != Some(false))
        || root.get("plugins").is_some_and(|node| !is_empty(node))
}

/// A function's own members; inside its `parameters`, a schema, nothing is taken for a default.
pub(super) fn encode_function(encoder: &mut Encoder, function: &Object<'_>) {
    let blank = |key: &str, node: &Node<'_>| key == "description" && node.as_str() == Some("");
    let members = function.present().filter(|m| m.key != "cache_control" && !blank(&m.key, &m.node));
    encoder.members(members);
}

/// An error of ours in OpenAI's shape.
pub(super) fn error_body(kind: &str, message: &str, code: &str) -> Bytes {
    let mut body = String::with_capacity(message.len() + 96);
    body.push_str("{\"error\":{\"message\":");
    canonical::quote_into(message, &mut body);
    body.push_str(",\"type\":");
    canonical::quote_into(kind, &mut body);
    body.push_str(",\"param\":null,\"code\":");
    canonical::quote_into(code, &mut body);
    body.push_str("}}");
    Bytes::from(body)
}
