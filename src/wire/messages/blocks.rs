//! Content blocks: one canonical form for the ways to write them, and what each kind means for the cache.

use crate::wire::{
    canonical::{Encoder, Node, Object, Value},
    fields::{encode_text_part, is_remote, plain_text},
};

/// A block of a turn's content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Block<'n, 'a> {
    /// Content that was written as a string.
    Text(&'n str),
    /// A block as written.
    Node(&'n Node<'a>),
}

/// What blocks mean for the cache.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Meaning {
    /// A tool was called or has answered.
    pub(super) tools: bool,
    /// Something other than plain text.
    pub(super) other_than_text: bool,
    /// Content that lies elsewhere.
    pub(super) remote: bool,
}

/// The blocks of `content`; `None` when it is neither text nor a list of blocks that each have a type.
pub(super) fn read<'n, 'a>(content: &'n Node<'a>) -> Option<Vec<Block<'n, 'a>>> {
    if let Some(text) = content.as_str() {
        return Some(vec![Block::Text(text)]);
    }
    let blocks = content.as_array().filter(|blocks| !blocks.is_empty())?;
    let typed = blocks.iter().all(|block| kind(block).is_some());
    typed.then(|| blocks.iter().map(Block::Node).collect())
}

fn kind<'n>(block: &'n Node<'_>) -> Option<&'n str> {
    block.get("type").and_then(Node::as_str)
}

impl<'n> Block<'n, '_> {
    /// Its text, if it is a text block.
    pub(super) fn text(self) -> Option<&'n str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Node(block) if kind(block) == Some("text") => block.get("text").and_then(Node::as_str),
            Self::Node(_) => None,
        }
    }

    /// Adds what it means to `meaning`.
    pub(super) fn note(self, meaning: &mut Meaning) {
        let Self::Node(block) = self else { return };
        match kind(block).unwrap_or_default() {
            // Citations name URLs; what they quote is in the text.
            "text" => meaning.other_than_text |= plain_text(block).is_none(),
            // A URL among the arguments is an argument.
            kind if kind.ends_with("tool_use") => meaning.tools = true,
            kind if kind.ends_with("tool_result") => {
                meaning.tools = true;
                let inner = block.get("content").and_then(Node::as_array).unwrap_or_default();
                inner.iter().for_each(|block| Self::Node(block).note(meaning));
            }
            _ => {
                meaning.other_than_text = true;
                meaning.remote |= is_remote(block);
            }
        }
    }

    /// Encodes it, without its `cache_control`.
    pub(super) fn encode(self, encoder: &mut Encoder) {
        match self {
            Self::Text(text) => encode_text_part(encoder, text),
            Self::Node(block) => encode_block(encoder, block),
        }
    }
}

/// Encodes content as a list of blocks: a string is a list of one text block.
pub(super) fn encode_content(encoder: &mut Encoder, content: &Node<'_>) {
    match &content.value {
        Value::String(text) => {
            encoder.open_array();
            encode_text_part(encoder, text);
            encoder.close_array();
        }
        Value::Array(blocks) => {
            encoder.open_array();
            blocks.iter().for_each(|block| encode_block(encoder, block));
            encoder.close_array();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => encoder.value(content),
    }
}

/// Blocks hold further blocks as their `content` (a tool's result) or as their source's (a document).
fn encode_block(encoder: &mut Encoder, block: &Node<'_>) {
    let Some(object) = block.as_object() else { return encoder.value(block) };
    encoder.open_object();
    for member in object.present().filter(|member| member.key != "cache_control") {
        encoder.text(&member.key);
        match (member.key.as_ref(), member.node.as_object()) {
            ("content", _) => encode_content(encoder, &member.node),
            ("source", Some(source)) => encode_source(encoder, source),
            _ => encoder.value(&member.node),
        }
    }
    encoder.close_object();
}

fn encode_source(encoder: &mut Encoder, source: &Object<'_>) {
    encoder.open_object();
    for member in source.present() {
        encoder.text(&member.key);
        match member.key.as_ref() {
            "content" => encode_content(encoder, &member.node),
            _ => encoder.value(&member.node),
        }
    }
    encoder.close_object();
}
