//! Which field of a request goes where: into the partition, into the last turn, nowhere, or past the cache.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands.

use std::time::Duration;

use bytes::Bytes;

use super::input::{self, Input};
use crate::{
    outcome::BypassReason,
    wire::{
        Echo, ExactOnly, Family, Request, Shape,
        canonical::{self, Encoder, Member, Node, Object, Value},
        chat::ChatSettings,
        fields::{self, flag, is_default_temperature, is_empty, is_hot},
        openai::{IGNORED, USER, encode_function, is_pinned, searches},
    },
};

/// How long an answer's ids serve as handles. `OpenAI` keeps a response for 30 days; a turn that builds on a hit must
/// still find it.
const HANDLES: Duration = Duration::from_secs(28 * 24 * 3600);

/// Fields that are read on their own.
const READ_APART: [&str; 6] = ["input", "instructions", "background", "max_output_tokens", "store", "top_logprobs"];

/// What a response repeats of its request although it is not in the key, and what it says where the request is silent.
const ECHOED: [(&str, &str); 6] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("prompt_cache_key", "null"),
    ("safety_identifier", "null"),
    ("user", "null"),
];

/// Parses a request body. `Err` when two readers could understand it differently or it is no such request: it must go to
/// the upstream untouched, whose error is then the true one.
pub(in crate::wire) fn parse(body: &Bytes, settings: &ChatSettings) -> Result<Request, BypassReason> {
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = node.as_object().ok_or(BypassReason::Unparsable)?;
    let source = std::str::from_utf8(body).map_err(|_| BypassReason::Unparsable)?;
    let model = root.get("model").and_then(Node::as_str).unwrap_or_default();
    let litellm = fields::litellm(root);
    let (bypass, input) = match bypass(root, model, settings)? {
        // What the provider's memory completes need not be whole here.
        Some(why) => (Some(why), Input::default()),
        None if model.is_empty() => return Err(BypassReason::Unparsable),
        None => input::read(root).map(|input| (input.bypass, input))?,
    };

    let mut partition = Encoder::with_capacity(body.len() + 256);
    encode_fields(&mut partition, root, settings, litellm.is_some());
    let kept_upstream = root.get("store").map_or(Ok(true), |node| node.as_bool().ok_or(BypassReason::Unparsable))?;
    partition.text(if kept_upstream { "stored" } else { "not stored" });
    input.encode_earlier(&mut partition);
    let mut last_turn = Encoder::with_capacity(256);
    input.encode_last(&mut last_turn);

    let upstream_body = canonical::without(body, litellm.as_ref().map(|(member, _)| *member));
    let exact_only = input.exact_only.or_else(|| is_pinned(root).then_some(ExactOnly::PinnedSampling));
    Ok(Request {
        family: Family::Responses,
        model: model.to_owned(),
        shape: if flag(root, "stream")? { Shape::Stream { include_usage: true } } else { Shape::Json },
        partition: partition.into_bytes(),
        last_turn: last_turn.into_bytes(),
        query: fields::query(&input.query, exact_only),
        user_turns: input.user_turns,
        first_turn: input.first_turn,
        system: input.system,
        max_tokens: fields::count(root, "max_output_tokens")?,
        offers_tools: !fields::tools(root)?.is_empty(),
        wants_json: wants_json(root),
        bypass,
        plain_body: upstream_body.clone(),
        upstream_body,
        usage_added: false,
        body_directives: litellm.map(|(_, directives)| directives).unwrap_or_default(),
        handles: Some(HANDLES),
        echo: Echo::of(root, source, &ECHOED),
    })
}

fn wants_json(root: &Object<'_>) -> bool {
    let format = root.get("text").and_then(|text| text.get("format"));
    matches!(format.map(super::kind), Some("json_object" | "json_schema"))
}

/// The first reason in the request's own fields not to consult the cache.
fn bypass(root: &Object<'_>, model: &str, settings: &ChatSettings) -> Result<Option<BypassReason>, BypassReason> {
    let reasons = [
        (root.get("previous_response_id").is_some(), BypassReason::PreviousResponse),
        (root.get("conversation").is_some(), BypassReason::Conversation),
        (root.get("prompt").is_some(), BypassReason::PromptTemplate),
        (flag(root, "background")?, BypassReason::Background),
        (is_warm_up(root), BypassReason::WarmUp),
        (asks_logprobs(root), BypassReason::Logprobs),
        (searches(root, model, settings), BypassReason::WebSearch),
        (is_hot(root, settings)?, BypassReason::HotSampling),
    ];
    let hosted = hosted_tool(root)?;
    Ok(reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason)).or(hosted))
}

/// Asks that the provider reads the prompt ahead, and for no answer.
fn is_warm_up(root: &Object<'_>) -> bool {
    let flagged = |node: Option<&Node<'_>>, value: bool| node.and_then(Node::as_bool) == Some(value);
    flagged(root.get("prompt_cache_options").and_then(|options| options.get("prewarm")), true)
        || flagged(root.get("generate"), false)
}

fn asks_logprobs(root: &Object<'_>) -> bool {
    let included = root.get("include").and_then(Node::as_array).unwrap_or_default();
    included.iter().filter_map(Node::as_str).any(|name| name.ends_with("logprobs"))
        || root.get("top_logprobs").is_some_and(|node| node.as_u64() != Some(0))
}

/// Whether a tool runs at the provider: all but functions, which run at the client.
fn hosted_tool(root: &Object<'_>) -> Result<Option<BypassReason>, BypassReason> {
    Ok(fields::tools(root)?.iter().find_map(|tool| match super::kind(tool) {
        "function" | "custom" => None,
        kind if kind.starts_with("web_search") => Some(BypassReason::WebSearch),
        _ => Some(BypassReason::HostedTool),
    }))
}

/// Every answer-shaping field but the input; what equals its own absence is left out.
fn encode_fields(encoder: &mut Encoder, root: &Object<'_>, settings: &ChatSettings, litellm: bool) {
    let tools = root.get("tools").is_some_and(|tools| !is_empty(tools));
    encoder.open_object();
    for member in root.present() {
        let (key, node) = (member.key.as_ref(), &member.node);
        let absent = match key {
            "cache" => litellm,
            "temperature" => is_default_temperature(node, settings),
            "tools" => !tools,
            "tool_choice" => tools && node.as_str() == Some("auto"),
            "include" | "logit_bias" => is_empty(node),
            "text" | "reasoning" => node.as_object().is_some_and(|object| !object.present().any(says_something)),
            _ => IGNORED.contains(&key) || READ_APART.contains(&key) || (!settings.per_user && USER.contains(&key)),
        };
        if absent {
            continue;
        }
        encoder.text(key);
        match (key, &node.value) {
            ("tools", Value::Array(tools)) => encode_tools(encoder, tools),
            ("text" | "reasoning", Value::Object(object)) => {
                encoder.members(object.present().filter(|member| says_something(member)));
            }
            _ => encoder.value(node),
        }
    }
    encoder.close_object();
}

/// Whether a member of `text` or `reasoning` differs from its absence: plain text is the format anyway.
fn says_something(member: &Member<'_>) -> bool {
    let plain = |object: &Object<'_>| object.present().all(|m| m.key == "type" && m.node.as_str() == Some("text"));
    member.key != "format" || !member.node.as_object().is_some_and(plain)
}

fn encode_tools(encoder: &mut Encoder, tools: &[Node<'_>]) {
    encoder.open_array();
    for tool in tools {
        match tool.as_object() {
            Some(function) => encode_function(encoder, function),
            None => encoder.value(tool),
        }
    }
    encoder.close_array();
}
