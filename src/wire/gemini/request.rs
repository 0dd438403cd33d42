//! Which field of a request goes where: into the partition, into the last turn, nowhere, or past the cache.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands.

use bytes::Bytes;

use super::{
    Asked,
    contents::{self, Turn},
    members,
};
use crate::{
    outcome::BypassReason,
    wire::{
        Echo, ExactOnly, Family, Request, Shape,
        canonical::{self, Encoder, Node},
        chat::ChatSettings,
        directives::Directives,
        fields::{self, is_default_temperature, is_empty},
    },
};

/// What `generationConfig` says that is not answer-shaping alone.
#[derive(Default)]
struct Config {
    max_tokens: Option<u64>,
    wants_json: bool,
    seeded: bool,
    bypass: Option<BypassReason>,
}

/// Parses a body that came to this path. `Err` when two readers could understand it differently or it is none that the
/// upstream would answer.
pub(in crate::wire) fn parse(
    path_and_query: &str,
    body: &Bytes,
    settings: &ChatSettings,
) -> Result<Request, BypassReason> {
    let asked = Asked::of(path_and_query).ok_or(BypassReason::Passthrough)?;
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = members(node.as_object().ok_or(BypassReason::Unparsable)?)?;
    let member = |name: &str| root.iter().find(|(key, _)| key == name).map(|(_, node)| *node);

    let contents = member("contents").and_then(Node::as_array).ok_or(BypassReason::Unparsable)?;
    let contents = contents::read(contents)?;
    let tools = tools(member("tools"))?;
    let mut partition = Encoder::with_capacity(body.len() + 256);
    partition.text(asked.model);
    let (mut system, mut config) = (String::new(), Config::default());
    partition.open_object();
    for (key, node) in &root {
        match key.as_ref() {
            "contents" => {}
            "tools" | "safetySettings" if is_empty(node) => {}
            "systemInstruction" => {
                let turn = Turn::read(node)?;
                system = turn.text();
                partition.text(key);
                turn.encode_parts(&mut partition);
            }
            "generationConfig" => config = generation(node, settings, &mut partition)?,
            _ => {
                partition.text(key);
                partition.value(node);
            }
        }
    }
    partition.close_object();
    contents.encode_earlier(&mut partition);
    let bypass = [
        form(path_and_query, asked),
        contents.bypass,
        member("cachedContent").map(|_| BypassReason::ProviderState),
        tools.bypass,
        config.bypass,
    ];
    let exact_only = contents.exact_only.or_else(|| config.seeded.then_some(ExactOnly::PinnedSampling));
    Ok(Request {
        family: Family::Gemini,
        model: asked.model.to_owned(),
        shape: if asked.streams { Shape::Stream { include_usage: true } } else { Shape::Json },
        partition: partition.into_bytes(),
        last_turn: contents.last_turn(),
        query: fields::query(&contents.query, exact_only),
        user_turns: contents.user_turns,
        first_turn: contents.first_turn,
        system,
        max_tokens: config.max_tokens,
        offers_tools: tools.offered,
        wants_json: config.wants_json,
        bypass: bypass.into_iter().flatten().next(),
        upstream_body: body.clone(),
        plain_body: body.clone(),
        usage_added: false,
        body_directives: Directives::default(),
        handles: None,
        echo: Echo::default(),
    })
}

/// Why the answer comes in a form that is not read: a stream that is one JSON array, or what `alt` else asks for.
fn form(path_and_query: &str, asked: Asked<'_>) -> Option<BypassReason> {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let alts: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("alt=")).collect();
    let read = if asked.streams { alts == ["sse"] } else { alts.is_empty() || alts == ["json"] };
    (!read).then_some(BypassReason::OtherForm)
}

/// What `tools` offers.
#[derive(Default)]
struct Tools {
    offered: bool,
    bypass: Option<BypassReason>,
}

fn tools(tools: Option<&Node<'_>>) -> Result<Tools, BypassReason> {
    let mut found = Tools::default();
    let tools = tools.map_or(Ok(&[][..]), |tools| tools.as_array().ok_or(BypassReason::Unparsable))?;
    for tool in tools {
        for (key, node) in members(tool.as_object().ok_or(BypassReason::Unparsable)?)? {
            match key.as_ref() {
                "functionDeclarations" => found.offered |= !is_empty(node),
                key if key.starts_with("googleSearch") || key == "urlContext" => {
                    found.bypass.get_or_insert(BypassReason::WebSearch);
                }
                _ => {
                    found.bypass.get_or_insert(BypassReason::HostedTool);
                }
            }
        }
    }
    Ok(found)
}

/// Reads `generationConfig` and encodes what of it shapes the answer, if anything.
fn generation(node: &Node<'_>, settings: &ChatSettings, encoder: &mut Encoder) -> Result<Config, BypassReason> {
    let mut config = Config::default();
    let object = node.as_object().ok_or(BypassReason::Unparsable)?;
    let mut shaping = Vec::new();
    for (key, node) in members(object)? {
        match key.as_ref() {
            "maxOutputTokens" => config.max_tokens = Some(node.as_u64().ok_or(BypassReason::Unparsable)?),
            "candidateCount" => {
                let count = node.as_u64().ok_or(BypassReason::Unparsable)?;
                config.bypass = config.bypass.or((count > 1).then_some(BypassReason::SeveralChoices));
            }
            "temperature" if is_default_temperature(node, settings) => {}
            "responseLogprobs" if node.as_bool() == Some(false) => {}
            "responseLogprobs" | "logprobs" => config.bypass = config.bypass.or(Some(BypassReason::Logprobs)),
            "stopSequences" if is_empty(node) => {}
            _ => {
                config.seeded |= key == "seed";
                config.wants_json |= key == "responseMimeType" && node.as_str() == Some("application/json");
                shaping.push((key, node));
            }
        }
    }
    if fields::is_hot(object, settings)? {
        config.bypass = config.bypass.or(Some(BypassReason::HotSampling));
    }
    // An empty one says as much as none.
    if !shaping.is_empty() {
        encoder.text("generationConfig");
        encoder.open_object();
        for (key, node) in shaping {
            encoder.text(&key);
            encoder.value(node);
        }
        encoder.close_object();
    }
    Ok(config)
}
