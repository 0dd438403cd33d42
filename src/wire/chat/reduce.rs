//! What the chunks of a chat completion say: text is concatenated, tool calls are merged by index.
//!
//! An unknown field that is not text and changes from chunk to chunk cannot be reduced without loss.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{Node, Object, Value, compact, compact_into, quote_into},
        chunks::reduce::{self, Said, first, quote_or_null, text},
        extras::{Extra, Extras},
    },
};

/// What the chunks so far add up to.
pub(in crate::wire) type Reduction = reduce::Reduction<Message>;

/// An assistant's message in pieces.
#[derive(Debug, Default)]
pub(in crate::wire) struct Message {
    role: Option<String>,
    content: Option<String>,
    refusal: Option<String>,
    calls: Vec<(u64, Call)>,
    function_call: Option<Call>,
    rest: Extras,
    lossy: bool,
}

/// A tool call in pieces.
#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    kind: Option<String>,
    custom: bool,
    name: Option<String>,
    /// `function.arguments` or `custom.input`, byte by byte.
    input: String,
    rest: Extras,
}

impl Said for Message {
    const OBJECT: &'static str = "chat.completion";
    const CHANGES_ARE_LOST: bool = false;

    fn member(&mut self, key: &str, node: &Node<'_>, source: &str) -> Result<bool, NotStored> {
        if key != "delta" {
            return Ok(false);
        }
        self.delta(node.as_object().ok_or(NotStored::Malformed)?, source)?;
        Ok(true)
    }

    fn lossy(&self) -> bool {
        self.lossy
    }

    fn said(&self) -> usize {
        let texts = [&self.content, &self.refusal].into_iter().flatten().map(String::len).sum::<usize>();
        let calls = self.calls.iter().map(|(_, call)| call).chain(&self.function_call);
        texts + self.calls.len() + calls.map(|call| call.input.len()).sum::<usize>()
    }

    fn write(&self, out: &mut String) {
        out.push_str("\"index\":0,\"message\":");
        self.write_message(out);
    }
}

impl Message {
    fn delta(&mut self, delta: &Object<'_>, source: &str) -> Result<(), NotStored> {
        for member in delta.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match key {
                "role" => first(&mut self.role, node.as_str()),
                "content" => self.content.get_or_insert_default().push_str(text(node)?),
                "refusal" => self.refusal.get_or_insert_default().push_str(text(node)?),
                "obfuscation" => {}
                "function_call" => self.function_call.get_or_insert_default().body(node, source),
                "tool_calls" => {
                    for call in node.as_array().ok_or(NotStored::Malformed)? {
                        let call = call.as_object().ok_or(NotStored::Malformed)?;
                        let slot = self.slot(call);
                        slot.merge(call, source);
                    }
                }
                _ => match &node.value {
                    Value::String(piece) => self.lossy |= self.rest.append(key, piece),
                    _ => self.lossy |= self.rest.set(key, Extra::Raw(compact(node, source))),
                },
            }
        }
        Ok(())
    }

    /// The call that a piece belongs to: by index; without one, an id that is new begins a new call.
    fn slot(&mut self, piece: &Object<'_>) -> &mut Call {
        let id = piece.get("id").and_then(Node::as_str).filter(|id| !id.is_empty());
        let index = piece.get("index").and_then(Node::as_u64).unwrap_or_else(|| {
            let known = self.calls.iter().find(|(_, call)| call.id.as_deref() == id).map(|(index, _)| *index);
            let last = self.calls.last().map(|(index, _)| *index);
            let next = last.map_or(0, |last| last + 1);
            if id.is_some() { known.unwrap_or(next) } else { last.unwrap_or(0) }
        });
        let at = self.calls.binary_search_by_key(&index, |(index, _)| *index).unwrap_or_else(|at| {
            self.calls.insert(at, (index, Call::default()));
            at
        });
        &mut self.calls[at].1
    }

    fn write_message(&self, out: &mut String) {
        out.push_str("{\"role\":");
        quote_into(self.role.as_deref().unwrap_or("assistant"), out);
        let calls = !self.calls.is_empty() || self.function_call.is_some();
        out.push_str(",\"content\":");
        match self.content.as_deref() {
            Some("") | None if calls => out.push_str("null"),
            content => quote_into(content.unwrap_or_default(), out),
        }
        out.push_str(",\"refusal\":");
        quote_or_null(self.refusal.as_deref().filter(|refusal| !refusal.is_empty()), out);
        self.rest.write(out);
        if let Some(call) = &self.function_call {
            out.push_str(",\"function_call\":");
            call.write_body(out);
        }
        if !self.calls.is_empty() {
            out.push_str(",\"tool_calls\":[");
            for (at, (_, call)) in self.calls.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                call.write(out);
            }
            out.push(']');
        }
        out.push('}');
    }
}

impl Call {
    fn merge(&mut self, piece: &Object<'_>, source: &str) {
        for member in piece.present() {
            match member.key.as_ref() {
                "index" => {}
                "id" => first(&mut self.id, member.node.as_str()),
                "type" => first(&mut self.kind, member.node.as_str()),
                "function" => self.body(&member.node, source),
                "custom" => {
                    self.custom = true;
                    self.body(&member.node, source);
                }
                key => {
                    self.rest.set(key, Extra::Raw(compact(&member.node, source)));
                }
            }
        }
    }

    /// A piece of what is called and with what.
    fn body(&mut self, node: &Node<'_>, source: &str) {
        first(&mut self.name, node.get("name").and_then(Node::as_str));
        let key = if self.custom { "input" } else { "arguments" };
        match node.get(key) {
            Some(Node { value: Value::String(piece), .. }) => self.input.push_str(piece),
            // Some servers send the arguments as an object; the API's type is text.
            Some(other) => compact_into(other.raw(source), &mut self.input),
            None => {}
        }
    }

    fn write(&self, out: &mut String) {
        let kind = if self.custom { "custom" } else { "function" };
        out.push_str("{\"id\":");
        quote_into(self.id.as_deref().unwrap_or_default(), out);
        out.push_str(",\"type\":");
        quote_into(self.kind.as_deref().unwrap_or(kind), out);
        out.push_str(",\"");
        out.push_str(kind);
        out.push_str("\":");
        self.write_body(out);
        self.rest.write(out);
        out.push('}');
    }

    fn write_body(&self, out: &mut String) {
        out.push_str("{\"name\":");
        quote_into(self.name.as_deref().unwrap_or_default(), out);
        out.push_str(if self.custom { ",\"input\":" } else { ",\"arguments\":" });
        quote_into(&self.input, out);
        out.push('}');
    }
}
