//! Which field of a request goes where: into the partition, into the last turn, nowhere, or past the cache.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands.

use bytes::Bytes;

use super::{ChatSettings, turns, upstream_body::upstream_bodies};
use crate::{
    outcome::BypassReason,
    wire::{
        Echo, ExactOnly, Family, Request, Shape,
        canonical::{self, Encoder, Node, Object},
        fields::{self, flag, is_default_temperature, is_empty, is_hot},
        openai::{IGNORED, USER, encode_function, is_pinned, searches},
    },
};

/// Fields that are no part of the key, or that are read on their own.
const READ_APART: [&str; 3] = ["store", "max_tokens", "max_completion_tokens"];

/// Parses a request body. `Err` when two readers could understand it differently or it is no chat request: it must go to
/// the upstream untouched, whose error is then the true one.
pub(in crate::wire) fn parse(body: &Bytes, settings: &ChatSettings) -> Result<Request, BypassReason> {
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = node.as_object().ok_or(BypassReason::Unparsable)?;
    let model = fields::model(root)?;
    let shape = shape(root)?;
    let turns = turns::read(root)?;
    let bypass = bypass(root, model, settings)?.or(turns.bypass);
    let max_tokens = max_tokens(root)?;
    let litellm = fields::litellm(root);

    let mut partition = Encoder::with_capacity(body.len() + 256);
    encode_fields(&mut partition, root, settings, litellm.is_some());
    turns.encode_earlier(&mut partition);
    let mut last_turn = Encoder::with_capacity(256);
    turns.encode_last(&mut last_turn);

    let stripped = litellm.as_ref().map(|(member, _)| *member);
    let bodies = upstream_bodies(body, root, shape, settings.add_usage && bypass.is_none(), stripped);
    let exact_only = turns.exact_only.or_else(|| is_pinned(root).then_some(ExactOnly::PinnedSampling));
    Ok(Request {
        family: Family::Chat,
        model: model.to_owned(),
        shape,
        partition: partition.into_bytes(),
        last_turn: last_turn.into_bytes(),
        query: fields::query(&turns.query, exact_only),
        user_turns: turns.user_turns,
        first_turn: turns.first_turn,
        system: turns.system,
        max_tokens,
        offers_tools: !fields::tools(root)?.is_empty()
            || root.get("functions").is_some_and(|functions| !is_empty(functions)),
        wants_json: wants_json(root),
        bypass,
        upstream_body: bodies.upstream,
        plain_body: bodies.plain,
        usage_added: bodies.usage_added,
        body_directives: litellm.map(|(_, directives)| directives).unwrap_or_default(),
        handles: None,
        echo: Echo::default(),
    })
}

/// The shape asked for: `stream`, and whether the usage chunk is.
pub(in crate::wire) fn shape(root: &Object<'_>) -> Result<Shape, BypassReason> {
    if !flag(root, "stream")? {
        return Ok(Shape::Json);
    }
    let include_usage = match root.get("stream_options") {
        None => false,
        Some(options) => flag(options.as_object().ok_or(BypassReason::Unparsable)?, "include_usage")?,
    };
    Ok(Shape::Stream { include_usage })
}

fn max_tokens(root: &Object<'_>) -> Result<Option<u64>, BypassReason> {
    let mut limit: Option<u64> = None;
    for key in ["max_tokens", "max_completion_tokens"] {
        if let Some(asked) = fields::count(root, key)? {
            limit = Some(limit.map_or(asked, |limit| limit.min(asked)));
        }
    }
    Ok(limit)
}

fn wants_json(root: &Object<'_>) -> bool {
    let kind = root.get("response_format").and_then(|format| format.get("type")).and_then(Node::as_str);
    matches!(kind, Some("json_object" | "json_schema"))
}

/// The first reason in the request's own fields not to consult the cache.
fn bypass(root: &Object<'_>, model: &str, settings: &ChatSettings) -> Result<Option<BypassReason>, BypassReason> {
    let n = root.get("n").map_or(Some(1), Node::as_u64).filter(|n| *n > 0).ok_or(BypassReason::Unparsable)?;
    let reasons = [
        (n > 1, BypassReason::SeveralChoices),
        (flag(root, "logprobs")? || root.get("top_logprobs").is_some(), BypassReason::Logprobs),
        (root.get("audio").is_some() || speaks(root), BypassReason::Audio),
        (root.get("prediction").is_some(), BypassReason::Prediction),
        (searches(root, model, settings) || has_hosted_tools(root)?, BypassReason::WebSearch),
        (flag(root, "store")?, BypassReason::ProviderStore),
        (is_hot(root, settings)?, BypassReason::HotSampling),
    ];
    Ok(reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason)))
}

fn speaks(root: &Object<'_>) -> bool {
    let modalities = root.get("modalities").and_then(Node::as_array).unwrap_or_default();
    modalities.iter().any(|mode| mode.as_str() == Some("audio"))
}

/// Whether a tool is the upstream's own, which looks things up.
fn has_hosted_tools(root: &Object<'_>) -> Result<bool, BypassReason> {
    let hosted = |tool: &Node<'_>| !matches!(tool.get("type").and_then(Node::as_str), Some("function" | "custom"));
    Ok(fields::tools(root)?.iter().any(hosted))
}

/// Every answer-shaping field but the messages; what equals its own absence is left out.
fn encode_fields(encoder: &mut Encoder, root: &Object<'_>, settings: &ChatSettings, litellm: bool) {
    let tools = root.get("tools").is_some_and(|tools| !is_empty(tools));
    encoder.open_object();
    for member in root.present() {
        let (key, node) = (member.key.as_ref(), &member.node);
        let absent = match key {
            "messages" => true,
            "cache" => litellm,
            // Anything else was refused or bypasses.
            "n" => true,
            "temperature" => is_default_temperature(node, settings),
            "tools" => !tools,
            "tool_choice" => tools && node.as_str() == Some("auto"),
            "logit_bias" => is_empty(node),
            "logprobs" => node.as_bool() == Some(false),
            _ => IGNORED.contains(&key) || READ_APART.contains(&key) || (!settings.per_user && USER.contains(&key)),
        };
        if absent {
            continue;
        }
        encoder.text(key);
        match (key, node.as_array()) {
            ("tools", Some(tools)) => encode_tools(encoder, tools),
            _ => encoder.value(node),
        }
    }
    encoder.close_object();
}

fn encode_tools(encoder: &mut Encoder, tools: &[Node<'_>]) {
    encoder.open_array();
    for tool in tools {
        let Some(object) = tool.as_object() else {
            encoder.value(tool);
            continue;
        };
        encoder.open_object();
        for member in object.present().filter(|member| member.key != "cache_control") {
            encoder.text(&member.key);
            match (member.key.as_ref(), member.node.as_object()) {
                ("function", Some(function)) => encode_function(encoder, function),
                _ => encoder.value(&member.node),
            }
        }
        encoder.close_object();
    }
    encoder.close_array();
}
