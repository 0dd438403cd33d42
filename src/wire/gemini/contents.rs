//! The conversation: earlier turns by their bytes, the last one apart, and whether meaning may be used at all.

use super::{camel, members};
use crate::{
    outcome::BypassReason,
    wire::{
        ExactOnly,
        canonical::{Encoder, Node},
    },
};

/// A turn of the conversation: who says what.
#[derive(Debug)]
pub(super) struct Turn<'n, 'a> {
    role: &'n str,
    parts: &'n [Node<'a>],
}

/// What parts hold, all turns together.
#[derive(Debug, Default)]
struct Held {
    tools: bool,
    thoughts: bool,
    other_than_text: bool,
    remote: bool,
    hosted: bool,
}

impl<'n, 'a> Turn<'n, 'a> {
    /// Reads a `Content`: a turn, or the system's instruction. A role that is not named is the user's.
    pub(super) fn read(content: &'n Node<'a>) -> Result<Self, BypassReason> {
        let (mut role, mut parts) = ("user", &[][..]);
        for (key, node) in members(content.as_object().ok_or(BypassReason::Unparsable)?)? {
            match key.as_ref() {
                "role" => role = node.as_str().ok_or(BypassReason::Unparsable)?,
                "parts" => parts = node.as_array().ok_or(BypassReason::Unparsable)?,
                _ => return Err(BypassReason::UnknownItem),
            }
        }
        Ok(Self { role, parts })
    }

    /// Its texts joined by newlines.
    pub(super) fn text(&self) -> String {
        let texts: Vec<&str> = self.parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
        texts.join("\n")
    }

    /// Appends its parts.
    pub(super) fn encode_parts(&self, encoder: &mut Encoder) {
        encoder.open_array();
        self.parts.iter().for_each(|part| encoder.value(part));
        encoder.close_array();
    }

    fn encode(&self, encoder: &mut Encoder) {
        encoder.open_array();
        encoder.text(self.role);
        self.encode_parts(encoder);
        encoder.close_array();
    }

    fn note(&self, held: &mut Held) -> Result<(), BypassReason> {
        for part in self.parts {
            let object = part.as_object().ok_or(BypassReason::Unparsable)?;
            for member in object.present() {
                match camel(&member.key).as_ref() {
                    "text" if member.node.as_str().is_none() => return Err(BypassReason::Unparsable),
                    "text" => {}
                    "functionCall" | "functionResponse" => held.tools = true,
                    "thought" | "thoughtSignature" => held.thoughts = true,
                    "fileData" => held.remote = true,
                    "executableCode" | "codeExecutionResult" | "toolCall" | "toolResponse" => held.hosted = true,
                    _ => held.other_than_text = true,
                }
            }
        }
        Ok(())
    }
}

/// A conversation, read once.
#[derive(Debug)]
pub(super) struct Contents<'n, 'a> {
    earlier: Vec<Turn<'n, 'a>>,
    last: Turn<'n, 'a>,
    /// Text of the last turn.
    pub(super) query: String,
    /// Texts of all user turns that have some, oldest first.
    pub(super) user_turns: Vec<String>,
    /// No earlier turns.
    pub(super) first_turn: bool,
    /// Why only the fingerprint may match.
    pub(super) exact_only: Option<ExactOnly>,
    /// Why the cache must not be consulted.
    pub(super) bypass: Option<BypassReason>,
}

/// Reads `contents`; `Err` when they are not a conversation that an upstream would accept.
pub(super) fn read<'n, 'a>(contents: &'n [Node<'a>]) -> Result<Contents<'n, 'a>, BypassReason> {
    let mut earlier = contents.iter().map(Turn::read).collect::<Result<Vec<_>, _>>()?;
    let mut held = Held::default();
    earlier.iter().try_for_each(|turn| turn.note(&mut held))?;
    let user_turns = earlier.iter().filter(|turn| turn.role == "user").map(Turn::text);
    let user_turns = user_turns.filter(|text| !text.is_empty()).collect();
    let last = earlier.pop().ok_or(BypassReason::Unparsable)?;
    let exact_only = [
        (held.tools, ExactOnly::ToolTurns),
        (last.role != "user", ExactOnly::LastTurnNotUser),
        (held.thoughts, ExactOnly::Reasoning),
        (held.other_than_text, ExactOnly::NonText),
    ];
    let bypass = [(held.remote, BypassReason::RemoteContent), (held.hosted, BypassReason::HostedTool)];
    Ok(Contents {
        query: last.text(),
        user_turns,
        first_turn: earlier.is_empty(),
        exact_only: exact_only.into_iter().find_map(|(holds, why)| holds.then_some(why)),
        bypass: bypass.into_iter().find_map(|(holds, why)| holds.then_some(why)),
        earlier,
        last,
    })
}

impl Contents<'_, '_> {
    /// All turns but the last.
    pub(super) fn encode_earlier(&self, encoder: &mut Encoder) {
        encoder.open_array();
        self.earlier.iter().for_each(|turn| turn.encode(encoder));
        encoder.close_array();
    }

    /// The last turn: the user's parts, or the whole turn when it is not the user's.
    pub(super) fn last_turn(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(256);
        if self.last.role == "user" {
            self.last.encode_parts(&mut encoder);
        } else {
            self.last.encode(&mut encoder);
        }
        encoder.into_bytes()
    }
}
