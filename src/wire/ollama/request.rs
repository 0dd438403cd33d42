//! Which field of a request goes where: into the partition, into the last turn, nowhere, or past the cache.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands.

use bytes::Bytes;

use crate::{
    outcome::BypassReason,
    wire::{
        Echo, ExactOnly, Family, Request, Shape,
        canonical::{self, Encoder, Node, Object},
        chat::ChatSettings,
        directives::Directives,
        fields::{self, is_empty},
    },
};

/// What a request says, whichever of the two paths it came by.
struct Said<'n, 'a> {
    /// Earlier messages.
    earlier: Vec<&'n Node<'a>>,
    /// The last one, or the prompt.
    last: &'n Node<'a>,
    /// Its text.
    query: String,
    /// The last message is the user's.
    asks: bool,
    system: Vec<&'n str>,
    user_turns: Vec<String>,
    first_turn: bool,
    exact_only: Option<ExactOnly>,
    bypass: Option<BypassReason>,
}

/// Parses a body that came to `path`. `Err` when two readers could understand it differently or it is none that the
/// upstream would answer.
pub(in crate::wire) fn parse(path: &str, body: &Bytes, settings: &ChatSettings) -> Result<Request, BypassReason> {
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = node.as_object().ok_or(BypassReason::Unparsable)?;
    let model = fields::model(root)?;
    let streams = root.get("stream").map_or(Some(true), Node::as_bool).ok_or(BypassReason::Unparsable)?;
    let options = match root.get("options") {
        None => None,
        Some(options) => Some(options.as_object().ok_or(BypassReason::Unparsable)?),
    };
    let generates = path.ends_with("/generate");
    let said = if generates { prompt(root)? } else { messages(root)? };
    let max_tokens = options.and_then(|options| options.get("num_predict")?.as_u64()).filter(|limit| *limit > 0);
    let hot = options.map_or(Ok(false), |options| fields::is_hot(options, settings))?;
    let logprobs = fields::flag(root, "logprobs")?;
    let bypass = said
        .bypass
        .or_else(|| logprobs.then_some(BypassReason::Logprobs))
        .or_else(|| hot.then_some(BypassReason::HotSampling));
    let seeded = options.is_some_and(|options| options.get("seed").is_some());
    let exact_only = said.exact_only.or_else(|| seeded.then_some(ExactOnly::PinnedSampling));

    let mut partition = Encoder::with_capacity(body.len() + 128);
    partition.text(if generates { "generate" } else { "chat" });
    encode_fields(&mut partition, root, options, max_tokens.is_some());
    partition.open_array();
    said.earlier.iter().for_each(|message| encode_message(&mut partition, message));
    partition.close_array();
    let mut last_turn = Encoder::with_capacity(256);
    match (generates, said.asks) {
        (true, _) => last_turn.text(&said.query),
        (false, true) => {
            encode_beside_content(&mut partition, said.last);
            last_turn.text(&said.query);
        }
        (false, false) => encode_message(&mut last_turn, said.last),
    }
    Ok(Request {
        family: Family::Ollama,
        model: model.to_owned(),
        shape: if streams { Shape::Stream { include_usage: true } } else { Shape::Json },
        partition: partition.into_bytes(),
        last_turn: last_turn.into_bytes(),
        query: fields::query(&said.query, exact_only),
        user_turns: said.user_turns,
        first_turn: said.first_turn,
        system: said.system.join("\n"),
        max_tokens,
        offers_tools: !fields::tools(root)?.is_empty(),
        wants_json: root.get("format").is_some_and(|format| format.as_str() != Some("")),
        bypass,
        upstream_body: body.clone(),
        plain_body: body.clone(),
        usage_added: false,
        body_directives: Directives::default(),
        handles: None,
        echo: Echo::default(),
    })
}

/// `/api/generate`: one prompt.
fn prompt<'n, 'a>(root: &'n Object<'a>) -> Result<Said<'n, 'a>, BypassReason> {
    // Without a prompt the server only loads or unloads the model.
    let last = root.get("prompt").ok_or(BypassReason::WarmUp)?;
    let query = last.as_str().ok_or(BypassReason::Unparsable)?.to_owned();
    let reasons = [
        (root.get("context").is_some_and(|context| !is_empty(context)), BypassReason::ProviderState),
        (root.get("images").is_some_and(|images| !is_empty(images)), BypassReason::UnknownItem),
        (fields::flag(root, "raw")? || suffix(root), BypassReason::UnknownItem),
        (query.is_empty(), BypassReason::WarmUp),
    ];
    Ok(Said {
        earlier: Vec::new(),
        last,
        user_turns: vec![query.clone()],
        query,
        asks: true,
        system: root.get("system").and_then(Node::as_str).into_iter().collect(),
        first_turn: true,
        exact_only: None,
        bypass: reasons.into_iter().find_map(|(holds, why)| holds.then_some(why)),
    })
}

fn suffix(root: &Object<'_>) -> bool {
    root.get("suffix").is_some_and(|suffix| suffix.as_str() != Some(""))
}

/// `/api/chat`: a conversation.
fn messages<'n, 'a>(root: &'n Object<'a>) -> Result<Said<'n, 'a>, BypassReason> {
    let messages = root.get("messages").map_or(Ok(&[][..]), |all| all.as_array().ok_or(BypassReason::Unparsable))?;
    let (last, earlier) = messages.split_last().ok_or(BypassReason::WarmUp)?;
    let role = |message: &'n Node<'a>| message.get("role").and_then(Node::as_str);
    let content = |message: &'n Node<'a>| message.get("content").map_or(Some(""), Node::as_str);
    if messages.iter().any(|message| role(message).is_none() || content(message).is_none()) {
        return Err(BypassReason::Unparsable);
    }
    let of = |wanted: &'static str| messages.iter().filter(move |message| role(message) == Some(wanted));
    let holds = |key: &str| messages.iter().any(|message| message.get(key).is_some_and(|value| !is_empty(value)));
    let asks = role(last) == Some("user");
    let exact_only = [
        (holds("tool_calls") || of("tool").next().is_some(), ExactOnly::ToolTurns),
        (!asks, ExactOnly::LastTurnNotUser),
    ];
    Ok(Said {
        last,
        query: content(last).unwrap_or_default().to_owned(),
        asks,
        system: of("system").filter_map(content).collect(),
        user_turns: of("user").filter_map(content).filter(|text| !text.is_empty()).map(str::to_owned).collect(),
        first_turn: !earlier.iter().any(|message| matches!(role(message), Some("user" | "assistant"))),
        earlier: earlier.iter().collect(),
        exact_only: exact_only.into_iter().find_map(|(holds, why)| holds.then_some(why)),
        bypass: holds("images").then_some(BypassReason::UnknownItem),
    })
}

/// Every answer-shaping field but what is said; what equals its own absence is left out.
fn encode_fields(encoder: &mut Encoder, root: &Object<'_>, options: Option<&Object<'_>>, limited: bool) {
    encoder.members(root.present().filter(|member| {
        let node = &member.node;
        !match member.key.as_ref() {
            // Read on their own, or of no meaning for the answer.
            "messages" | "prompt" | "stream" | "options" | "keep_alive" => true,
            "tools" | "images" | "context" => is_empty(node),
            "format" | "system" | "template" | "suffix" => node.as_str() == Some(""),
            "raw" | "logprobs" => node.as_bool() == Some(false),
            _ => false,
        }
    }));
    let unlimited = |node: &Node<'_>| node.as_f64() == Some(-1.0);
    let options = options.into_iter().flat_map(Object::present);
    encoder.members(options.filter(|member| member.key != "num_predict" || !(limited || unlimited(&member.node))));
}

fn encode_message(encoder: &mut Encoder, message: &Node<'_>) {
    match message.as_object() {
        Some(object) => encoder.members(object.present().filter(|member| says(&member.key, &member.node))),
        None => encoder.value(message),
    }
}

/// What the user's last message says beside its role and content.
fn encode_beside_content(encoder: &mut Encoder, message: &Node<'_>) {
    let members = message.as_object().into_iter().flat_map(Object::present);
    let beside = members.filter(|member| !matches!(member.key.as_ref(), "role" | "content"));
    encoder.members(beside.filter(|member| says(&member.key, &member.node)));
}

/// Whether a message's member says anything: SDKs send empty ones along.
fn says(key: &str, node: &Node<'_>) -> bool {
    key == "content" || !(is_empty(node) || node.as_str() == Some(""))
}
