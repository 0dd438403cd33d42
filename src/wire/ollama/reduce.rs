//! Lines reduced to the object that the same request would have got with `"stream": false`.
//!
//! Texts are added up, tool calls are collected, of everything else the last word counts.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Member, Node, Value, compact},
        extras::{Extra, Extras},
        sse::Frame,
    },
};

/// Members that an answer begins with.
const FIRST: [&str; 2] = ["model", "created_at"];
/// Members that hold a piece of text.
const TEXTS: [&str; 3] = ["content", "thinking", "response"];

/// What the lines so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction {
    members: Extras,
    message: Option<Extras>,
    tool_calls: Vec<String>,
    done: bool,
    lossy: bool,
}

impl Reduction {
    /// Takes one line; `Err` when no answer can come of this stream any more.
    pub(in crate::wire) fn frame(&mut self, frame: &Frame) -> Result<(), NotStored> {
        let Some(data) = frame.data.as_deref() else { return Ok(()) };
        let node = canonical::parse(data).map_err(|_| NotStored::Malformed)?;
        let source = std::str::from_utf8(data).map_err(|_| NotStored::Malformed)?;
        let line = node.as_object().ok_or(NotStored::Malformed)?;
        if line.get("error").is_some() {
            return Err(NotStored::ErrorBody);
        }
        self.done = line.get("done").and_then(Node::as_bool).ok_or(NotStored::Malformed)?;
        for told in line.iter() {
            if told.key != "message" {
                add(&mut self.members, told, source);
                continue;
            }
            let message = self.message.get_or_insert_default();
            for said in told.node.as_object().ok_or(NotStored::Malformed)?.present() {
                match (said.key.as_ref(), said.node.as_array()) {
                    ("tool_calls", Some(calls)) => {
                        self.tool_calls.extend(calls.iter().map(|call| compact(call, source)));
                    }
                    ("role" | "content" | "thinking", _) => self.lossy |= add(message, said, source),
                    // How pieces of it add up is not known.
                    _ => {
                        self.lossy = true;
                        add(message, said, source);
                    }
                }
            }
        }
        Ok(())
    }

    /// The last line was seen.
    pub(in crate::wire) const fn done(&self) -> bool {
        self.done
    }

    /// Something was lost: [`Self::into_body`] is not the whole answer.
    pub(in crate::wire) const fn lossy(&self) -> bool {
        self.lossy
    }

    /// The whole answer; `None` when nothing ever came.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        let Self { members, message, tool_calls, .. } = self;
        let mut out = String::with_capacity(512);
        members.write_where(|key| FIRST.contains(&key), &mut out);
        if let Some(mut message) = message {
            if !tool_calls.is_empty() {
                message.set("tool_calls", Extra::Raw(format!("[{}]", tool_calls.join(","))));
            }
            out.push_str(",\"message\":");
            let from = out.len();
            message.write(&mut out);
            match out.len() {
                // Each member brought a comma.
                len if len > from => out.replace_range(from..=from, "{"),
                _ => out.push('{'),
            }
            out.push('}');
        }
        members.write_where(|key| !FIRST.contains(&key), &mut out);
        if out.is_empty() {
            return None;
        }
        out.replace_range(..1, "{");
        out.push('}');
        Some(out)
    }
}

/// Adds text to text and lets the last word count of everything else; true when a text was overwritten.
fn add(members: &mut Extras, told: &Member<'_>, source: &str) -> bool {
    match &told.node.value {
        Value::String(text) if TEXTS.contains(&told.key.as_ref()) => members.append(&told.key, text),
        Value::String(text) => {
            members.set(&told.key, Extra::Text(text.clone().into_owned()));
            false
        }
        _ => {
            members.set(&told.key, Extra::Raw(compact(&told.node, source)));
            false
        }
    }
}
