//! An event stream reduced to the object that the non-streaming API would have returned.
//!
//! Deltas are added to their block by index, counts are cumulative and replace, what `message_delta` says replaces what
//! `message_start` said. A delta of an unknown kind makes the stream none that can be kept; an unknown event or a member of
//! an event that has no place in the object is noted, and the stream then keeps its frames.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Member, Node, Object, Value, compact},
        extras::{Extra, Extras},
        sse::Frame,
    },
};

/// What the events so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction {
    message: Extras,
    usage: Extras,
    blocks: Vec<(u64, Block)>,
    began: bool,
    finished: bool,
    done: bool,
    lossy: bool,
}

/// A content block in pieces.
#[derive(Debug, Default)]
struct Block {
    kind: String,
    members: Extras,
    /// JSON of a tool's input, byte by byte.
    input: String,
    citations: Option<Vec<String>>,
    /// Nothing may be added any more.
    stopped: bool,
}

/// Members that an object begins with, in the API's own order.
const FIRST: [&str; 4] = ["id", "type", "role", "model"];
/// Members that follow the content.
const STOP: [&str; 2] = ["stop_reason", "stop_sequence"];

impl Reduction {
    /// Takes one frame; `Err` when no answer can come of this stream any more.
    pub(in crate::wire) fn frame(&mut self, frame: &Frame) -> Result<(), NotStored> {
        let Some(data) = frame.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(()) };
        if frame.event.as_deref() == Some(b"error") {
            return Err(NotStored::ErrorBody);
        }
        let node = canonical::parse(data).map_err(|_| NotStored::Malformed)?;
        let source = std::str::from_utf8(data).map_err(|_| NotStored::Malformed)?;
        let event = object(&node)?;
        let kind = text(event.get("type"))?;
        if frame.event.as_deref().is_some_and(|named| named != kind.as_bytes()) {
            return Err(NotStored::Malformed);
        }
        self.event(kind, event, source)
    }

    /// The terminal event was seen.
    pub(in crate::wire) const fn done(&self) -> bool {
        self.done
    }

    /// Something was lost: [`Self::into_body`] is not the whole answer.
    pub(in crate::wire) const fn lossy(&self) -> bool {
        self.lossy
    }

    fn event(&mut self, kind: &str, event: &Object<'_>, source: &str) -> Result<(), NotStored> {
        match kind {
            "ping" => return Ok(()),
            "error" => return Err(NotStored::ErrorBody),
            "message_start" if !self.began => self.start(member(event, "message")?, source)?,
            _ if !self.began => return Err(NotStored::Malformed),
            "content_block_start" | "content_block_delta" if self.finished => return Err(NotStored::Malformed),
            "content_block_start" => self.block_start(index(event)?, member(event, "content_block")?, source)?,
            "content_block_delta" => {
                let delta = member(event, "delta")?;
                self.lossy |= self.block(index(event)?)?.delta(delta, source)?;
            }
            "content_block_stop" => self.block(index(event)?)?.stopped = true,
            "message_delta" => self.delta(event, source)?,
            "message_stop" => self.stop()?,
            "message_start" => return Err(NotStored::Malformed),
            _ => self.lossy = true,
        }
        let known = ["type", "index", "message", "content_block", "delta"];
        self.lossy |= kind != "message_delta" && event.present().any(|member| !known.contains(&member.key.as_ref()));
        Ok(())
    }

    fn start(&mut self, message: &Object<'_>, source: &str) -> Result<(), NotStored> {
        self.began = true;
        for member in message.iter() {
            match (member.key.as_ref(), &member.node) {
                ("content", content) if content.as_array() == Some(&[]) => {}
                ("content", _) => return Err(NotStored::Malformed),
                ("usage", usage) => self.count(object(usage)?, source),
                _ => keep(&mut self.message, member, source),
            }
        }
        Ok(())
    }

    fn block_start(&mut self, index: u64, started: &Object<'_>, source: &str) -> Result<(), NotStored> {
        let mut block = Block { kind: text(started.get("type"))?.to_owned(), ..Block::default() };
        for member in started.iter() {
            match (member.key.as_ref(), member.node.as_array()) {
                ("citations", Some(cited)) => {
                    block.citations = Some(cited.iter().map(|citation| compact(citation, source)).collect());
                    // Keeps its place among the members.
                    block.members.set("citations", Extra::Raw(String::new()));
                }
                _ => keep(&mut block.members, member, source),
            }
        }
        match self.blocks.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(_) => Err(NotStored::Malformed),
            Err(at) => {
                self.blocks.insert(at, (index, block));
                Ok(())
            }
        }
    }

    fn block(&mut self, index: u64) -> Result<&mut Block, NotStored> {
        let found = self.blocks.iter_mut().find(|(known, block)| *known == index && !block.stopped);
        found.map(|(_, block)| block).ok_or(NotStored::Malformed)
    }

    fn delta(&mut self, event: &Object<'_>, source: &str) -> Result<(), NotStored> {
        for told in event.iter() {
            match told.key.as_ref() {
                "type" => {}
                "usage" => self.count(object(&told.node)?, source),
                "delta" => {
                    for changed in object(&told.node)?.iter() {
                        self.finished |= changed.key == "stop_reason" && !changed.node.is_null();
                        self.change(changed, source);
                    }
                }
                _ => self.change(told, source),
            }
        }
        Ok(())
    }

    /// What is said now counts; a `null` says only that there is such a member.
    fn change(&mut self, changed: &Member<'_>, source: &str) {
        if !changed.node.is_null() || self.message.get(&changed.key).is_none() {
            keep(&mut self.message, changed, source);
        }
    }

    fn count(&mut self, usage: &Object<'_>, source: &str) {
        for member in usage.iter() {
            if !member.node.is_null() || self.usage.get(&member.key).is_none() {
                keep(&mut self.usage, member, source);
            }
        }
    }

    fn stop(&mut self) -> Result<(), NotStored> {
        self.done = true;
        if !self.finished {
            return Err(NotStored::FinishOther);
        }
        self.blocks.iter_mut().try_for_each(|(_, block)| block.finish())
    }

    /// The canonical `message` object; `None` when none ever began.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        if !self.began {
            return None;
        }
        let mut out = String::with_capacity(1024);
        for key in FIRST {
            self.message.write_where(|known| known == key, &mut out);
        }
        out.push_str(",\"content\":[");
        for (at, (_, block)) in self.blocks.iter().enumerate() {
            out.push_str(if at > 0 { "," } else { "" });
            braced(&mut out, |out| block.members.write(out));
        }
        out.push(']');
        for key in STOP {
            self.message.write_where(|known| known == key, &mut out);
        }
        self.message.write_where(|known| !FIRST.contains(&known) && !STOP.contains(&known), &mut out);
        out.push_str(",\"usage\":");
        braced(&mut out, |out| self.usage.write(out));
        // Each member brought a comma.
        out.replace_range(..1, "{");
        out.push('}');
        Some(out)
    }
}

impl Block {
    /// Adds a delta; true when something of it has no place.
    fn delta(&mut self, delta: &Object<'_>, source: &str) -> Result<bool, NotStored> {
        let kind = text(delta.get("type"))?;
        let key = match (kind, self.kind.as_str()) {
            ("text_delta", "text") => {
                self.members.append("text", text(delta.get("text"))?);
                "text"
            }
            ("thinking_delta", "thinking") => {
                self.members.append("thinking", text(delta.get("thinking"))?);
                "thinking"
            }
            ("signature_delta", "thinking") => {
                self.members.set("signature", Extra::Text(text(delta.get("signature"))?.to_owned()));
                "signature"
            }
            ("input_json_delta", kind) if kind.ends_with("tool_use") => {
                self.input.push_str(text(delta.get("partial_json"))?);
                "partial_json"
            }
            ("citations_delta", "text") => {
                let citation = compact(delta.get("citation").ok_or(NotStored::Malformed)?, source);
                self.citations.get_or_insert_default().push(citation);
                "citation"
            }
            _ => return Err(NotStored::Malformed),
        };
        Ok(delta.present().any(|member| member.key != "type" && member.key != key))
    }

    /// Puts what came in pieces among the members.
    fn finish(&mut self) -> Result<(), NotStored> {
        if !self.input.is_empty() {
            let input = canonical::parse(self.input.as_bytes()).map_err(|_| NotStored::Malformed)?;
            self.members.set("input", Extra::Raw(compact(&input, &self.input)));
        }
        if let Some(citations) = &self.citations {
            self.members.set("citations", Extra::Raw(format!("[{}]", citations.join(","))));
        }
        Ok(())
    }
}

fn keep(members: &mut Extras, member: &Member<'_>, source: &str) {
    let value = match &member.node.value {
        Value::String(text) => Extra::Text(text.clone().into_owned()),
        _ => Extra::Raw(compact(&member.node, source)),
    };
    members.set(&member.key, value);
}

/// Appends an object of the members that `write` appends, each with its comma.
fn braced(out: &mut String, write: impl FnOnce(&mut String)) {
    let from = out.len();
    write(out);
    if out.len() > from {
        out.replace_range(from..=from, "{");
    } else {
        out.push('{');
    }
    out.push('}');
}

fn object<'n, 'a>(node: &'n Node<'a>) -> Result<&'n Object<'a>, NotStored> {
    node.as_object().ok_or(NotStored::Malformed)
}

fn member<'n, 'a>(event: &'n Object<'a>, key: &str) -> Result<&'n Object<'a>, NotStored> {
    event.get(key).and_then(Node::as_object).ok_or(NotStored::Malformed)
}

fn index(event: &Object<'_>) -> Result<u64, NotStored> {
    event.get("index").and_then(Node::as_u64).ok_or(NotStored::Malformed)
}

fn text<'n>(node: Option<&'n Node<'_>>) -> Result<&'n str, NotStored> {
    node.and_then(Node::as_str).ok_or(NotStored::Malformed)
}
