//! The conversation: earlier turns by their bytes, the last one apart, and whether meaning may be used at all.
//!
//! The API joins neighbouring turns of one role, so they are joined here before anything is keyed.

use super::blocks::{self, Block, Meaning};
use crate::{
    outcome::BypassReason,
    wire::{
        ExactOnly,
        canonical::{Encoder, Member, Node, Object},
    },
};

/// A conversation, read once.
#[derive(Debug)]
pub(super) struct Turns<'n, 'a> {
    earlier: Vec<Turn<'n, 'a>>,
    last: Turn<'n, 'a>,
    /// Text of the last turn, text blocks joined by newlines.
    pub(super) query: String,
    /// System texts joined by newlines.
    pub(super) system: String,
    /// Texts of all user turns that have some, oldest first.
    pub(super) user_turns: Vec<String>,
    /// No earlier user or assistant turns.
    pub(super) first_turn: bool,
    /// Why only the fingerprint may match.
    pub(super) exact_only: Option<ExactOnly>,
    /// Why the cache must not be consulted.
    pub(super) bypass: Option<BypassReason>,
}

/// What one role says until another one speaks.
#[derive(Debug)]
struct Turn<'n, 'a> {
    role: &'n str,
    blocks: Vec<Block<'n, 'a>>,
    /// Members beside role and content; a turn with some is joined with no other.
    others: Vec<&'n Member<'a>>,
}

/// Reads `messages` and `system`; `Err` when they are not a conversation that an upstream would accept.
pub(super) fn read<'n, 'a>(root: &'n Object<'a>) -> Result<Turns<'n, 'a>, BypassReason> {
    let messages = root.get("messages").and_then(Node::as_array).ok_or(BypassReason::Unparsable)?;
    let mut turns: Vec<Turn<'n, 'a>> = Vec::with_capacity(messages.len());
    for message in messages {
        let turn = Turn::read(message).ok_or(BypassReason::Unparsable)?;
        match turns.last_mut().filter(|before| before.joins(&turn)) {
            Some(before) => before.blocks.extend(turn.blocks),
            None => turns.push(turn),
        }
    }
    let mut system = match root.get("system") {
        None => Vec::new(),
        Some(content) if content.as_array().is_some_and(<[_]>::is_empty) => Vec::new(),
        Some(content) => texts(&blocks::read(content).ok_or(BypassReason::Unparsable)?),
    };
    system.extend(turns.iter().filter(|turn| turn.role == "system").flat_map(|turn| texts(&turn.blocks)));
    let system = system.join("\n");
    let mut meaning = Meaning::default();
    turns.iter().flat_map(|turn| &turn.blocks).for_each(|block| block.note(&mut meaning));
    let user_turns = turns.iter().filter(|turn| turn.role == "user").map(|turn| texts(&turn.blocks).join("\n"));
    let user_turns = user_turns.filter(|text| !text.is_empty()).collect();
    let last = turns.pop().ok_or(BypassReason::Unparsable)?;
    let exact_only = [
        (meaning.tools, ExactOnly::ToolTurns),
        (last.role != "user", ExactOnly::LastTurnNotUser),
        (meaning.other_than_text, ExactOnly::NonText),
    ];
    Ok(Turns {
        query: texts(&last.blocks).join("\n"),
        system,
        user_turns,
        first_turn: !turns.iter().any(|turn| matches!(turn.role, "user" | "assistant")),
        exact_only: exact_only.into_iter().find_map(|(holds, why)| holds.then_some(why)),
        bypass: meaning.remote.then_some(BypassReason::RemoteContent),
        earlier: turns,
        last,
    })
}

fn texts<'n>(blocks: &[Block<'n, '_>]) -> Vec<&'n str> {
    blocks.iter().filter_map(|block| block.text()).collect()
}

impl Turns<'_, '_> {
    /// All turns but the last, and what the last one says beside its content.
    pub(super) fn encode_earlier(&self, encoder: &mut Encoder) {
        encoder.open_array();
        self.earlier.iter().for_each(|turn| turn.encode(encoder));
        if self.last.role == "user" {
            self.last.encode_others(encoder);
        }
        encoder.close_array();
    }

    /// The last turn: the user's content, or the whole turn when it is not the user's.
    pub(super) fn encode_last(&self, encoder: &mut Encoder) {
        if self.last.role == "user" { self.last.encode_blocks(encoder) } else { self.last.encode(encoder) }
    }
}

impl<'n, 'a> Turn<'n, 'a> {
    fn read(message: &'n Node<'a>) -> Option<Self> {
        let object = message.as_object()?;
        let beside = |member: &&Member<'_>| !matches!(member.key.as_ref(), "role" | "content" | "cache_control");
        Some(Self {
            role: object.get("role")?.as_str()?,
            blocks: blocks::read(object.get("content")?)?,
            others: object.present().filter(beside).collect(),
        })
    }

    fn joins(&self, next: &Self) -> bool {
        let spoken = matches!(self.role, "user" | "assistant");
        spoken && self.role == next.role && self.others.is_empty() && next.others.is_empty()
    }

    fn encode(&self, encoder: &mut Encoder) {
        encoder.open_array();
        encoder.text(self.role);
        self.encode_blocks(encoder);
        self.encode_others(encoder);
        encoder.close_array();
    }

    fn encode_blocks(&self, encoder: &mut Encoder) {
        encoder.open_array();
        self.blocks.iter().for_each(|block| block.encode(encoder));
        encoder.close_array();
    }

    fn encode_others(&self, encoder: &mut Encoder) {
        encoder.members(self.others.iter().copied());
    }
}
