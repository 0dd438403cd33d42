//! The input: earlier turns by their bytes, the last one apart, and whether meaning may be used at all.
//!
//! One program says the same thing in several ways (wire.md 0.3, 1.3): a text is one user message; instructions are
//! system or developer messages that come first; a message may leave out its type and may carry an id and a status.
//!
//! # Decisions
//! 2026-11: instructions and leading system messages have one key, as clients of one app mix them. An answer's
//! `instructions` member is then the asker's own (`echo`), but the provider remembers the answer as it was made: a turn
//! that continues it by id finds there what the first asker sent.

use crate::{
    outcome::BypassReason,
    wire::{
        ExactOnly,
        canonical::{Encoder, Node, Object, Value},
        fields::is_remote,
        parts,
    },
};

/// The type of a text part that is said to the model.
const SAID: &[&str] = &["input_text"];
/// Types of text parts in the model's own turns.
const TEXT: &[&str] = &["input_text", "output_text"];

/// An input, read once.
#[derive(Debug, Default)]
pub(super) struct Input<'n, 'a> {
    /// Contents of instructions and of system and developer messages that come first.
    leading: Vec<&'n Node<'a>>,
    earlier: Vec<&'n Object<'a>>,
    last: Option<Last<'n, 'a>>,
    /// Text of the last turn, text parts joined by newlines.
    pub(super) query: String,
    /// System and developer texts joined by newlines.
    pub(super) system: String,
    /// Texts of all user messages, oldest first.
    pub(super) user_turns: Vec<String>,
    /// No earlier user or assistant turns.
    pub(super) first_turn: bool,
    /// Why only the fingerprint may match.
    pub(super) exact_only: Option<ExactOnly>,
    /// Why the cache must not be consulted.
    pub(super) bypass: Option<BypassReason>,
}

/// The last turn.
#[derive(Debug, Clone, Copy)]
enum Last<'n, 'a> {
    /// The input is one text.
    Text(&'n Node<'a>),
    /// The last item.
    Item(&'n Object<'a>),
}

/// Reads `instructions` and `input`; `Err` when they are not what an upstream would accept.
pub(super) fn read<'n, 'a>(root: &'n Object<'a>) -> Result<Input<'n, 'a>, BypassReason> {
    let instructions = root.get("instructions");
    if instructions.is_some_and(|node| node.as_str().is_none()) {
        return Err(BypassReason::Unparsable);
    }
    let input = root.get("input").ok_or(BypassReason::Unparsable)?;
    let (mut earlier, last) = match &input.value {
        Value::String(_) => (Vec::new(), Last::Text(input)),
        Value::Array(items) => {
            let objects: Option<Vec<_>> = items.iter().map(Node::as_object).collect();
            let mut earlier = objects.ok_or(BypassReason::Unparsable)?;
            let last = earlier.pop().ok_or(BypassReason::Unparsable)?;
            (earlier, Last::Item(last))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(BypassReason::Unparsable),
    };
    let mut facts = Facts::default();
    facts.system.extend(instructions.and_then(Node::as_str).map(str::to_owned));
    for item in earlier.iter().copied().chain(last.item()) {
        facts.item(item)?;
    }
    let first_turn = !earlier.iter().any(|item| !is_system(item));
    let users = earlier.iter().copied().chain(last.item()).filter(|item| is_from(item, "user"));
    let mut user_turns: Vec<String> = users.map(|item| parts::all_text(item.get("content"))).collect();
    user_turns.extend(last.text().map(str::to_owned));
    let leads = |item: &&Object<'_>| is_system(item) && item.present().all(|m| is_label(&m.key) || m.key == "content");
    let leading = earlier.iter().take_while(|item| leads(item)).count();
    let contents = earlier.drain(..leading).filter_map(|item| item.get("content"));
    Ok(Input {
        leading: instructions.into_iter().chain(contents).collect(),
        query: parts::text(last.content(), SAID),
        system: facts.system.join("\n"),
        user_turns,
        first_turn,
        exact_only: facts.exact_only(last),
        bypass: facts.bypass,
        last: Some(last),
        earlier,
    })
}

impl<'n, 'a> Last<'n, 'a> {
    const fn item(self) -> Option<&'n Object<'a>> {
        match self {
            Self::Text(_) => None,
            Self::Item(item) => Some(item),
        }
    }

    fn text(self) -> Option<&'n str> {
        match self {
            Self::Text(text) => text.as_str(),
            Self::Item(_) => None,
        }
    }

    fn content(self) -> Option<&'n Node<'a>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Item(item) => item.get("content"),
        }
    }

    /// What the user says in it; `None` when the turn is not the user's.
    fn of_user(self) -> Option<&'n Node<'a>> {
        self.content().filter(|_| self.item().is_none_or(|item| is_from(item, "user")))
    }
}

impl Input<'_, '_> {
    /// All turns but the last, and what the last one says beside its content.
    pub(super) fn encode_earlier(&self, encoder: &mut Encoder) {
        encoder.open_array();
        for content in &self.leading {
            parts::encode(encoder, content, "input_text");
        }
        encoder.close_array();
        encoder.open_array();
        for item in &self.earlier {
            encode_item(encoder, item, true);
        }
        match self.last {
            Some(Last::Item(item)) if is_from(item, "user") => encode_item(encoder, item, false),
            Some(Last::Text(_)) => {
                encoder.open_object();
                encoder.text("role");
                encoder.text("user");
                encoder.close_object();
            }
            Some(Last::Item(_)) | None => {}
        }
        encoder.close_array();
    }

    /// The last turn: the user's content, or the whole item when it is not the user's.
    pub(super) fn encode_last(&self, encoder: &mut Encoder) {
        let Some(last) = self.last else { return };
        match (last.of_user(), last.item()) {
            (Some(content), _) => parts::encode(encoder, content, "input_text"),
            (None, Some(item)) => encode_item(encoder, item, true),
            (None, None) => {}
        }
    }
}

/// A message without what only labels it; any other item as it is. With or without its `content`.
fn encode_item(encoder: &mut Encoder, item: &Object<'_>, content: bool) {
    if role(item).is_none() {
        encoder.members(item.present().filter(|member| member.key != "cache_control"));
        return;
    }
    let spoken = if role(item) == Some("assistant") { "output_text" } else { "input_text" };
    encoder.open_object();
    for member in item.present().filter(|member| !is_label(&member.key)) {
        match member.key.as_ref() {
            "role" => {}
            "content" if content => {
                encoder.text("content");
                parts::encode(encoder, &member.node, spoken);
            }
            "content" => {}
            key => {
                encoder.text(key);
                encoder.value(&member.node);
            }
        }
    }
    encoder.text("role");
    encoder.text(role(item).unwrap_or_default());
    encoder.close_object();
}

/// Members of a message that do not change what it says.
fn is_label(key: &str) -> bool {
    matches!(key, "type" | "role" | "id" | "status" | "cache_control")
}

/// A message's role; `None` for other items.
fn role<'n>(item: &'n Object<'_>) -> Option<&'n str> {
    let is_message = item.get("type").is_none_or(|kind| kind.as_str() == Some("message"));
    item.get("role").and_then(Node::as_str).filter(|_| is_message)
}

fn is_from(item: &Object<'_>, who: &str) -> bool {
    role(item) == Some(who)
}

fn is_system(item: &Object<'_>) -> bool {
    matches!(role(item), Some("system" | "developer"))
}

/// What the items say together.
#[derive(Default)]
struct Facts {
    system: Vec<String>,
    tools: bool,
    reasoning: bool,
    other_than_text: bool,
    bypass: Option<BypassReason>,
}

impl Facts {
    fn item(&mut self, item: &Object<'_>) -> Result<(), BypassReason> {
        if let Some(role) = role(item) {
            return self.message(item, role);
        }
        match item.get("type").map(|kind| kind.as_str().ok_or(BypassReason::Unparsable)).transpose()? {
            Some("function_call" | "custom_tool_call") => self.tools = true,
            Some("function_call_output" | "custom_tool_call_output") => {
                self.tools = true;
                if item.get("output").is_some_and(is_remote) {
                    self.bypass.get_or_insert(BypassReason::RemoteContent);
                }
            }
            Some("reasoning") => self.reasoning = true,
            // The type of a reference may be left out.
            Some("item_reference") => self.bypass = Some(BypassReason::ItemReference),
            None if item.get("id").is_some() => self.bypass = Some(BypassReason::ItemReference),
            Some("message") | None => return Err(BypassReason::Unparsable),
            Some(kind) if is_hosted(kind) => {
                self.bypass.get_or_insert(BypassReason::HostedTool);
            }
            Some(_) => {
                self.bypass.get_or_insert(BypassReason::UnknownItem);
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &Object<'_>, role: &str) -> Result<(), BypassReason> {
        let content = message.get("content").ok_or(BypassReason::Unparsable)?;
        if matches!(role, "system" | "developer") {
            self.system.push(parts::text(Some(content), SAID));
        }
        match &content.value {
            Value::String(_) => {}
            Value::Array(parts) if !parts.is_empty() => {
                let kinds = if role == "assistant" { TEXT } else { SAID };
                parts.iter().for_each(|part| self.part(part, kinds));
            }
            Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(BypassReason::Unparsable);
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &Node<'_>, kinds: &[&str]) {
        if parts::plain_text(part, kinds).is_some() {
            return;
        }
        self.other_than_text = true;
        if super::kind(part) == "input_audio" {
            self.bypass.get_or_insert(BypassReason::Audio);
        } else if is_remote(part) {
            self.bypass.get_or_insert(BypassReason::RemoteContent);
        }
    }

    fn exact_only(&self, last: Last<'_, '_>) -> Option<ExactOnly> {
        let reasons = [
            (self.tools, ExactOnly::ToolTurns),
            (self.reasoning, ExactOnly::Reasoning),
            (last.of_user().is_none(), ExactOnly::LastTurnNotUser),
            (self.other_than_text, ExactOnly::NonText),
        ];
        reasons.into_iter().find_map(|(holds, why)| holds.then_some(why))
    }
}

/// Traces of tools that ran at the provider.
fn is_hosted(kind: &str) -> bool {
    kind.ends_with("_call") || kind.ends_with("_call_output") || kind.starts_with("mcp_")
}
