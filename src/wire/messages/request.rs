//! Which field of a request goes where: into the partition, into the last turn, nowhere, or past the cache.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands; a tool that is
//! not known to run at the client's is the provider's.

use bytes::Bytes;

use super::{blocks, turns};
use crate::{
    outcome::BypassReason,
    wire::{
        Echo, Family, Request, Shape,
        canonical::{self, Encoder, Node, Object},
        chat::ChatSettings,
        fields::{self, flag, is_default_temperature, is_empty, is_hot},
    },
};

/// Fields that shape no answer.
const IGNORED: [&str; 6] = [
    "stream",
    "service_tier",
    "cache_control",
    "diagnostics",
    "speed",
    // Read on its own, below.
    "max_tokens",
];

/// Types of tools that the API defines and the client runs, as they begin; their ends are dates.
const CLIENT_TOOLS: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];

/// Parses a request body. `Err` when two readers could understand it differently or it is no messages request: it must go
/// to the upstream untouched, whose error is then the true one.
pub(in crate::wire) fn parse(body: &Bytes, settings: &ChatSettings) -> Result<Request, BypassReason> {
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = node.as_object().ok_or(BypassReason::Unparsable)?;
    let model = fields::model(root)?;
    // The API counts tokens on every stream.
    let shape = if flag(root, "stream")? { Shape::Stream { include_usage: true } } else { Shape::Json };
    let turns = turns::read(root)?;
    let max_tokens = fields::count(root, "max_tokens")?;
    let bypass = bypass(root, max_tokens, settings)?.or(turns.bypass);
    let litellm = fields::litellm(root);

    let mut partition = Encoder::with_capacity(body.len() + 256);
    encode_fields(&mut partition, root, settings, litellm.is_some());
    turns.encode_earlier(&mut partition);
    let mut last_turn = Encoder::with_capacity(256);
    turns.encode_last(&mut last_turn);

    let upstream_body = canonical::without(body, litellm.as_ref().map(|(member, _)| *member));
    Ok(Request {
        family: Family::Messages,
        model: model.to_owned(),
        shape,
        partition: partition.into_bytes(),
        last_turn: last_turn.into_bytes(),
        query: fields::query(&turns.query, turns.exact_only),
        user_turns: turns.user_turns,
        first_turn: turns.first_turn,
        system: turns.system,
        max_tokens,
        offers_tools: !fields::tools(root)?.is_empty(),
        wants_json: wants_json(root),
        bypass,
        plain_body: upstream_body.clone(),
        upstream_body,
        usage_added: false,
        body_directives: litellm.map(|(_, directives)| directives).unwrap_or_default(),
        handles: None,
        echo: Echo::default(),
    })
}

fn wants_json(root: &Object<'_>) -> bool {
    let nested = root.get("output_config").and_then(|config| config.get("format"));
    // The second is the field's name while the feature was in beta.
    [nested, root.get("output_format")]
        .into_iter()
        .flatten()
        .any(|format| format.get("type").and_then(Node::as_str) == Some("json_schema"))
}

/// The first reason in the request's own fields not to consult the cache.
fn bypass(
    root: &Object<'_>,
    max_tokens: Option<u64>,
    settings: &ChatSettings,
) -> Result<Option<BypassReason>, BypassReason> {
    let kept = ["container", "thread"].iter().any(|key| root.get(key).is_some());
    let servers = root.get("mcp_servers").is_some_and(|servers| !is_empty(servers));
    let reasons = [
        (kept, Some(BypassReason::ProviderState)),
        (servers, Some(BypassReason::HostedTool)),
        (true, hosted_tool(root)?),
        (max_tokens == Some(0), Some(BypassReason::WarmUp)),
        (is_hot(root, settings)?, Some(BypassReason::HotSampling)),
    ];
    Ok(reasons.into_iter().find_map(|(holds, reason)| reason.filter(|_| holds)))
}

/// Why a tool's answers are not the client's, if there is such a tool.
fn hosted_tool(root: &Object<'_>) -> Result<Option<BypassReason>, BypassReason> {
    Ok(fields::tools(root)?.iter().find_map(|tool| match tool.get("type").and_then(Node::as_str) {
        None if tool.get("type").is_none() => None,
        Some("custom") => None,
        Some(kind) if CLIENT_TOOLS.iter().any(|known| kind.starts_with(known)) => None,
        Some(kind) if kind.starts_with("web_") => Some(BypassReason::WebSearch),
        _ => Some(BypassReason::HostedTool),
    }))
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
            "metadata" => !settings.per_user,
            "temperature" => is_default_temperature(node, settings),
            "tools" => !tools,
            "tool_choice" => tools && is_auto(node),
            "system" | "stop_sequences" | "mcp_servers" => is_empty(node),
            _ => IGNORED.contains(&key),
        };
        if absent {
            continue;
        }
        encoder.text(key);
        match (key, node.as_array()) {
            ("system", _) => blocks::encode_content(encoder, node),
            ("tools", Some(tools)) => encode_tools(encoder, tools),
            _ => encoder.value(node),
        }
    }
    encoder.close_object();
}

/// `{"type": "auto"}` and nothing else: what holds when tools are given and no choice is.
fn is_auto(choice: &Node<'_>) -> bool {
    let only = choice.as_object().is_some_and(|object| object.present().all(|member| member.key == "type"));
    only && choice.get("type").and_then(Node::as_str) == Some("auto")
}

/// Tools by what they say; inside a schema nothing is taken for a default.
fn encode_tools(encoder: &mut Encoder, tools: &[Node<'_>]) {
    encoder.open_array();
    for tool in tools {
        match tool.as_object() {
            None => encoder.value(tool),
            Some(object) => encoder.members(object.present().filter(|member| {
                let word = member.node.as_str();
                !matches!(
                    (member.key.as_ref(), word),
                    ("cache_control", _) | ("description", Some("")) | ("type", Some("custom"))
                )
            })),
        }
    }
    encoder.close_array();
}
