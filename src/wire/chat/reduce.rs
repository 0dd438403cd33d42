//! An event stream reduced to the object that the non-streaming API would have returned.
//!
//! Text is concatenated, tool calls are merged by index, the last finish reason and the last usage count. What cannot be
//! reduced without loss (an unknown field that is not text and changes from chunk to chunk) is noted, and the stream then
//! keeps its frames.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Node, Object, Value, compact, compact_into, quote_into},
        extras::{Extra, Extras},
        sse::Frame,
    },
};

/// What the chunks so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction {
    id: Option<String>,
    created: Option<String>,
    model: Option<String>,
    usage: Option<String>,
    finish: Option<String>,
    role: Option<String>,
    content: Option<String>,
    refusal: Option<String>,
    calls: Vec<(u64, Call)>,
    function_call: Option<Call>,
    message: Extras,
    choice: Extras,
    top: Extras,
    began: bool,
    done: bool,
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

impl Reduction {
    /// Takes one frame; `Err` when no answer can come of this stream any more.
    pub(in crate::wire) fn frame(&mut self, frame: &Frame) -> Result<(), NotStored> {
        let Some(data) = frame.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(()) };
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return Ok(());
        }
        if frame.event.as_deref() == Some(b"error") {
            return Err(NotStored::ErrorBody);
        }
        let chunk = canonical::parse(data).map_err(|_| NotStored::Malformed)?;
        let source = std::str::from_utf8(data).map_err(|_| NotStored::Malformed)?;
        self.chunk(chunk.as_object().ok_or(NotStored::Malformed)?, source)
    }

    /// The terminal marker was seen.
    pub(in crate::wire) const fn done(&self) -> bool {
        self.done
    }

    /// Something was lost: [`Self::into_body`] is not the whole answer.
    pub(in crate::wire) const fn lossy(&self) -> bool {
        self.lossy
    }

    /// A finish reason was seen.
    pub(in crate::wire) const fn finished(&self) -> bool {
        self.finish.is_some()
    }

    fn chunk(&mut self, chunk: &Object<'_>, source: &str) -> Result<(), NotStored> {
        for member in chunk.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match key {
                "error" => return Err(NotStored::ErrorBody),
                "object" | "obfuscation" => {}
                // Some servers send an empty id or model in a first chunk without choices.
                "id" => first(&mut self.id, node.as_str()),
                "model" => first(&mut self.model, node.as_str()),
                "created" => first(&mut self.created, node.as_f64().map(|_| node.raw(source)).filter(|n| *n != "0")),
                "usage" => self.usage = Some(compact(node, source)),
                "choices" => {
                    for choice in node.as_array().ok_or(NotStored::Malformed)? {
                        self.choice(choice.as_object().ok_or(NotStored::Malformed)?, source)?;
                    }
                }
                _ => {
                    self.top.set(key, Extra::Raw(compact(node, source)));
                }
            }
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Object<'_>, source: &str) -> Result<(), NotStored> {
        self.began = true;
        for member in choice.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match key {
                "index" if node.as_u64() != Some(0) => return Err(NotStored::Malformed),
                "index" => {}
                "finish_reason" => self.finish = Some(text(node)?.to_owned()),
                "logprobs" => self.lossy = true,
                "delta" => self.delta(node.as_object().ok_or(NotStored::Malformed)?, source)?,
                _ => {
                    self.choice.set(key, Extra::Raw(compact(node, source)));
                }
            }
        }
        Ok(())
    }

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
                    Value::String(piece) => self.lossy |= self.message.append(key, piece),
                    _ => self.lossy |= self.message.set(key, Extra::Raw(compact(node, source))),
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

    /// The canonical `chat.completion` object; `None` when no choice ever came.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        if !self.began {
            return None;
        }
        let mut out = String::with_capacity(self.content.as_ref().map_or(0, String::len) + 512);
        out.push_str("{\"id\":");
        quote_into(self.id.as_deref().unwrap_or_default(), &mut out);
        out.push_str(",\"object\":\"chat.completion\",\"created\":");
        out.push_str(self.created.as_deref().unwrap_or("0"));
        out.push_str(",\"model\":");
        quote_into(self.model.as_deref().unwrap_or_default(), &mut out);
        out.push_str(",\"choices\":[{\"index\":0,\"message\":");
        self.write_message(&mut out);
        out.push_str(",\"logprobs\":null,\"finish_reason\":");
        quote_or_null(self.finish.as_deref(), &mut out);
        self.choice.write(&mut out);
        out.push_str("}]");
        if let Some(usage) = &self.usage {
            out.push_str(",\"usage\":");
            out.push_str(usage);
        }
        self.top.write(&mut out);
        out.push('}');
        Some(out)
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
        self.message.write(out);
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

/// Keeps the first value that says something.
pub(in crate::wire) fn first(slot: &mut Option<String>, value: Option<&str>) {
    if slot.is_none() {
        *slot = value.filter(|value| !value.is_empty()).map(str::to_owned);
    }
}

/// A value that must be text.
pub(in crate::wire) fn text<'n>(node: &'n Node<'_>) -> Result<&'n str, NotStored> {
    node.as_str().ok_or(NotStored::Malformed)
}

/// Appends text as JSON, `null` for none.
pub(in crate::wire) fn quote_or_null(text: Option<&str>, out: &mut String) {
    match text {
        Some(text) => quote_into(text, out),
        None => out.push_str("null"),
    }
}
