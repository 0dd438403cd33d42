//! Which field of a request goes where: into the partition, into the last turn, nowhere, or past the cache.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands. Several
//! prompts get several answers, which are not kept.

use bytes::Bytes;

use crate::{
    outcome::BypassReason,
    wire::{
        Echo, ExactOnly, Family, Request,
        canonical::{self, Encoder, Node, Object, Value},
        chat::{ChatSettings, shape, upstream_bodies},
        fields::{self, flag, is_default_temperature, is_empty, is_hot},
        openai::{IGNORED, USER},
    },
};

/// Parses a request body. `Err` when two readers could understand it differently or it is no completion request: it must
/// go to the upstream untouched, whose error is then the true one.
pub(in crate::wire) fn parse(body: &Bytes, settings: &ChatSettings) -> Result<Request, BypassReason> {
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = node.as_object().ok_or(BypassReason::Unparsable)?;
    let model = fields::model(root)?;
    let shape = shape(root)?;
    let prompt = Prompt::of(root.get("prompt"))?;
    let max_tokens = fields::count(root, "max_tokens")?;
    let bypass = bypass(root, settings)?.or_else(|| prompt.several.then_some(BypassReason::SeveralChoices));
    let litellm = fields::litellm(root);

    let mut last_turn = Encoder::with_capacity(256);
    last_turn.value(prompt.node);
    let stripped = litellm.as_ref().map(|(member, _)| *member);
    let bodies = upstream_bodies(body, root, shape, settings.add_usage && bypass.is_none(), stripped);
    Ok(Request {
        family: Family::Completions,
        model: model.to_owned(),
        shape,
        partition: partition(root, settings, litellm.is_some(), max_tokens.is_some()),
        last_turn: last_turn.into_bytes(),
        query: Err(ExactOnly::Completion),
        user_turns: prompt.texts,
        first_turn: true,
        system: String::new(),
        max_tokens,
        offers_tools: false,
        wants_json: false,
        bypass,
        upstream_body: bodies.upstream,
        plain_body: bodies.plain,
        usage_added: bodies.usage_added,
        body_directives: litellm.map(|(_, directives)| directives).unwrap_or_default(),
        handles: None,
        echo: Echo::default(),
    })
}

/// What the model is to go on with.
struct Prompt<'n, 'a> {
    /// The prompt, out of a list that holds nothing else.
    node: &'n Node<'a>,
    /// What can be read of it; nothing of token ids.
    texts: Vec<String>,
    several: bool,
}

impl<'n, 'a> Prompt<'n, 'a> {
    fn of(prompt: Option<&'n Node<'a>>) -> Result<Self, BypassReason> {
        let node = prompt.ok_or(BypassReason::Unparsable)?;
        let texts = |items: &[Node<'_>]| items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
        match &node.value {
            Value::String(text) => Ok(Self { node, texts: vec![text.clone().into_owned()], several: false }),
            Value::Array(items) if items.is_empty() => Err(BypassReason::Unparsable),
            Value::Array(tokens) if tokens.iter().all(|token| token.as_u64().is_some()) => {
                Ok(Self { node, texts: Vec::new(), several: false })
            }
            Value::Array(items) => match items.as_slice() {
                [only] => Ok(Self { node: only, texts: texts(items), several: false }),
                items => Ok(Self { node, texts: texts(items), several: true }),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(BypassReason::Unparsable),
        }
    }
}

/// The first reason in the request's own fields not to consult the cache.
fn bypass(root: &Object<'_>, settings: &ChatSettings) -> Result<Option<BypassReason>, BypassReason> {
    let count = |key| root.get(key).map_or(Some(1), Node::as_u64).filter(|n| *n > 0).ok_or(BypassReason::Unparsable);
    let reasons = [
        (count("n")? > 1 || count("best_of")? > 1, BypassReason::SeveralChoices),
        (root.get("logprobs").is_some(), BypassReason::Logprobs),
        (flag(root, "store")?, BypassReason::ProviderStore),
        (is_hot(root, settings)?, BypassReason::HotSampling),
    ];
    Ok(reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason)))
}

/// Every answer-shaping field but the prompt; what equals its own absence is left out.
///
/// How long an answer gets without a limit is the upstream's choice, and a short one at OpenAI: such requests share no
/// answers with those that name a limit.
fn partition(root: &Object<'_>, settings: &ChatSettings, litellm: bool, limited: bool) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(128);
    encoder.text(if limited { "limited" } else { "unlimited" });
    encoder.members(root.present().filter(|member| {
        let (key, node) = (member.key.as_ref(), &member.node);
        let absent = match key {
            // Read on their own.
            "prompt" | "max_tokens" | "store" => true,
            "cache" => litellm,
            // More was refused or bypasses.
            "n" | "best_of" => true,
            "temperature" => is_default_temperature(node, settings),
            "logit_bias" => is_empty(node),
            "echo" => node.as_bool() == Some(false),
            _ => IGNORED.contains(&key) || (!settings.per_user && USER.contains(&key)),
        };
        !absent
    }));
    encoder.into_bytes()
}
