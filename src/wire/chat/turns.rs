//! The conversation: earlier turns by their bytes, the last one apart, and whether meaning may be used at all.

use crate::{
    outcome::BypassReason,
    wire::{
        ExactOnly,
        canonical::{Encoder, Member, Node, Object, Value},
        fields::{is_remote, plain_text},
        parts,
    },
};

/// A conversation, read once.
#[derive(Debug)]
pub(super) struct Turns<'n, 'a> {
    earlier: Vec<&'n Object<'a>>,
    last: &'n Object<'a>,
    last_is_user: bool,
    /// Text of the last message, text parts joined by newlines.
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

/// Reads `messages`; `Err` when they are not a conversation that an upstream would accept.
pub(super) fn read<'n, 'a>(root: &'n Object<'a>) -> Result<Turns<'n, 'a>, BypassReason> {
    let messages = root.get("messages").and_then(Node::as_array).ok_or(BypassReason::Unparsable)?;
    let objects: Option<Vec<_>> = messages.iter().map(Node::as_object).collect();
    let mut earlier = objects.ok_or(BypassReason::Unparsable)?;
    let last = earlier.pop().ok_or(BypassReason::Unparsable)?;
    let mut facts = Facts::default();
    for message in earlier.iter().copied().chain([last]) {
        facts.message(message)?;
    }
    let last_is_user = role(last) == Some("user");
    let exact_only = [
        (facts.tools, ExactOnly::ToolTurns),
        (!last_is_user, ExactOnly::LastTurnNotUser),
        (facts.other_than_text, ExactOnly::NonText),
    ];
    Ok(Turns {
        last_is_user,
        query: text(last),
        system: facts.system.join("\n"),
        user_turns: user_turns(&earlier, last),
        first_turn: !earlier.iter().any(|message| matches!(role(message), Some("user" | "assistant"))),
        exact_only: exact_only.into_iter().find_map(|(holds, why)| holds.then_some(why)),
        bypass: facts.bypass,
        earlier,
        last,
    })
}

impl Turns<'_, '_> {
    /// All turns but the last, and what the last one says beside its content (its `name`, say).
    pub(super) fn encode_earlier(&self, encoder: &mut Encoder) {
        encoder.open_array();
        for message in &self.earlier {
            encode_message(encoder, message, |_| true);
        }
        if self.last_is_user {
            encode_message(encoder, self.last, |member| member.key != "content");
        }
        encoder.close_array();
    }

    /// The last turn: the user's content, or the whole message when it is not the user's.
    pub(super) fn encode_last(&self, encoder: &mut Encoder) {
        let user = self.last_is_user;
        encode_message(encoder, self.last, |member| !user || member.key == "content");
    }
}

fn user_turns(earlier: &[&Object<'_>], last: &Object<'_>) -> Vec<String> {
    let users = earlier.iter().copied().chain([last]).filter(|message| role(message) == Some("user"));
    users.map(|message| parts::all_text(message.get("content"))).collect()
}

fn encode_message(encoder: &mut Encoder, message: &Object<'_>, wanted: impl Fn(&Member<'_>) -> bool) {
    encoder.open_object();
    for member in message.present().filter(|member| member.key != "cache_control" && wanted(member)) {
        encoder.text(&member.key);
        if member.key == "content" { parts::encode(encoder, &member.node, "text") } else { encoder.value(&member.node) }
    }
    encoder.close_object();
}

fn role<'n>(message: &'n Object<'_>) -> Option<&'n str> {
    message.get("role").and_then(Node::as_str)
}

/// A message's text, text parts joined by newlines.
fn text(message: &Object<'_>) -> String {
    parts::text(message.get("content"), &["text"])
}

/// What the messages say together.
#[derive(Default)]
struct Facts {
    system: Vec<String>,
    tools: bool,
    other_than_text: bool,
    bypass: Option<BypassReason>,
}

impl Facts {
    fn message(&mut self, message: &Object<'_>) -> Result<(), BypassReason> {
        let role = role(message).ok_or(BypassReason::Unparsable)?;
        let calls = ["tool_calls", "function_call"].iter().any(|key| message.get(key).is_some());
        self.tools |= calls || matches!(role, "tool" | "function");
        if matches!(role, "system" | "developer") {
            self.system.push(text(message));
        }
        if message.get("audio").is_some() {
            self.bypass = Some(BypassReason::Audio);
        }
        let speechless =
            role == "assistant" && (calls || ["refusal", "audio"].iter().any(|key| message.get(key).is_some()));
        match message.get("content").map(|content| &content.value) {
            None if speechless => Ok(()),
            Some(Value::String(_)) => Ok(()),
            Some(Value::Array(parts)) if !parts.is_empty() => {
                parts.iter().for_each(|part| self.part(part));
                Ok(())
            }
            _ => Err(BypassReason::Unparsable),
        }
    }

    fn part(&mut self, part: &Node<'_>) {
        if plain_text(part).is_some() {
            return;
        }
        self.other_than_text = true;
        if part.get("type").and_then(Node::as_str) == Some("input_audio") {
            self.bypass = Some(BypassReason::Audio);
        } else if is_remote(part) {
            self.bypass.get_or_insert(BypassReason::RemoteContent);
        }
    }
}
