//! A stored answer back as an event stream, under a fresh id.

use bytes::Bytes;

use super::strip_usage;
use crate::wire::{
    Answer, Fresh,
    canonical::{self, Node, Object, Value, quote_into},
    rendering::{deltas, member_into},
    sse,
};

/// The event stream, all frames.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh, include_usage: bool) -> Bytes {
    if let Some(frames) = &answer.raw_stream {
        return replay(frames, fresh, include_usage);
    }
    let parsed = canonical::parse(&answer.body).ok().zip(std::str::from_utf8(&answer.body).ok());
    let mut out = String::with_capacity(answer.body.len() * 10 + 2048);
    if let Some((root, source)) = &parsed
        && let Some(root) = root.as_object()
    {
        let head = head(root, source, fresh);
        Writer { head: &head, source, include_usage, out: &mut out }.answer(root);
    }
    out.push_str("data: [DONE]\n\n");
    Bytes::from(out)
}

/// What all chunks begin with, up to their choices.
fn head(root: &Object<'_>, source: &str, fresh: &Fresh) -> String {
    let mut head = String::from("data: {\"id\":");
    quote_into(&fresh.id, &mut head);
    head.push_str(",\"object\":\"chat.completion.chunk\",\"created\":");
    head.push_str(&fresh.created.to_string());
    for key in ["model", "system_fingerprint", "service_tier"] {
        if let Some(node) = root.get(key) {
            member_into(key, node, source, &mut head);
        }
    }
    head.push_str(",\"choices\":[");
    head
}

struct Writer<'w> {
    head: &'w str,
    source: &'w str,
    include_usage: bool,
    out: &'w mut String,
}

impl Writer<'_> {
    fn answer(&mut self, root: &Object<'_>) {
        let choice = root.get("choices").and_then(Node::as_array).and_then(<[_]>::first).and_then(Node::as_object);
        if let Some(choice) = choice {
            if let Some(message) = choice.get("message").and_then(Node::as_object) {
                self.message(message);
            }
            self.finish(root, choice);
        }
        if let Some(usage) = root.get("usage").filter(|_| self.include_usage) {
            self.out.push_str(self.head);
            self.out.push(']');
            member_into("usage", usage, self.source, self.out);
            self.out.push_str("}\n\n");
        }
    }

    fn message(&mut self, message: &Object<'_>) {
        let speechless = message.get("content").is_none();
        self.chunk(|delta, source| {
            delta.push_str("\"role\":");
            match message.get("role") {
                Some(role) => delta.push_str(role.raw(source)),
                None => delta.push_str("\"assistant\""),
            }
            delta.push_str(if speechless { ",\"content\":null" } else { ",\"content\":\"\"" });
            delta.push_str(",\"refusal\":null");
        });
        for key in ["reasoning_content", "reasoning", "content", "refusal"] {
            if let Some(node) = message.get(key) {
                self.text(key, node);
            }
        }
        for member in message.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match (key, node.as_array()) {
                ("role" | "content" | "refusal" | "reasoning_content" | "reasoning", _) | (_, Some([])) => {}
                ("tool_calls", Some(calls)) => self.chunk(|delta, source| tool_calls_into(calls, source, delta)),
                _ => self.chunk(|delta, source| member_into(key, node, source, delta)),
            }
        }
    }

    /// Text in deltas; anything else in one.
    fn text(&mut self, key: &str, node: &Node<'_>) {
        match &node.value {
            Value::String(_) => {
                for piece in deltas(node, self.source) {
                    self.chunk(|delta, _| {
                        for part in ["\"", key, "\":\"", piece, "\""] {
                            delta.push_str(part);
                        }
                    });
                }
            }
            _ => self.chunk(|delta, source| member_into(key, node, source, delta)),
        }
    }

    /// One chunk; `write` appends the delta's members.
    fn chunk(&mut self, write: impl FnOnce(&mut String, &str)) {
        self.out.push_str(self.head);
        self.out.push_str("{\"index\":0,\"delta\":{");
        let from = self.out.len();
        write(self.out, self.source);
        // A first member appended as a further one brings its comma.
        if self.out.get(from..).is_some_and(|delta| delta.starts_with(',')) {
            self.out.remove(from);
        }
        self.out.push_str("},\"logprobs\":null,\"finish_reason\":null}]");
        self.end();
    }

    /// The finish chunk also carries what the choice and the answer say beside the message.
    fn finish(&mut self, root: &Object<'_>, choice: &Object<'_>) {
        self.out.push_str(self.head);
        self.out.push_str("{\"index\":0,\"delta\":{},\"logprobs\":null");
        match choice.get("finish_reason") {
            Some(reason) => member_into("finish_reason", reason, self.source, self.out),
            None => self.out.push_str(",\"finish_reason\":null"),
        }
        let known = |key: &str| matches!(key, "index" | "message" | "logprobs" | "finish_reason");
        for member in choice.present().filter(|member| !known(&member.key)) {
            member_into(&member.key, &member.node, self.source, self.out);
        }
        self.out.push_str("}]");
        let written = ["id", "object", "created", "model", "system_fingerprint", "service_tier", "choices", "usage"];
        for member in root.present().filter(|member| !written.contains(&member.key.as_ref())) {
            member_into(&member.key, &member.node, self.source, self.out);
        }
        self.end();
    }

    fn end(&mut self) {
        self.out.push_str(if self.include_usage { ",\"usage\":null}\n\n" } else { "}\n\n" });
    }
}

/// All calls in one delta. Each needs an `index`, which the JSON shape does not have.
fn tool_calls_into(calls: &[Node<'_>], source: &str, out: &mut String) {
    out.push_str("\"tool_calls\":[");
    for (at, call) in calls.iter().enumerate() {
        out.push_str(if at > 0 { ",{\"index\":" } else { "{\"index\":" });
        out.push_str(&at.to_string());
        for member in call.as_object().into_iter().flat_map(Object::present).filter(|member| member.key != "index") {
            member_into(&member.key, &member.node, source, out);
        }
        out.push('}');
    }
    out.push(']');
}

/// Stored frames again, under a fresh id.
pub(in crate::wire) fn replay(frames: &Bytes, fresh: &Fresh, include_usage: bool) -> Bytes {
    let mut out = Vec::with_capacity(frames.len() + 1024);
    for frame in sse::frames(frames) {
        let Some(data) = &frame.data else { continue };
        let frame = frame.with_data(&renamed(data, fresh));
        let shown = if include_usage { Some(frame.raw.clone()) } else { strip_usage(&frame) };
        out.extend_from_slice(shown.as_deref().unwrap_or_default());
    }
    Bytes::from(out)
}

/// A chunk with its `id` and `created` replaced; anything else as it is.
fn renamed(data: &Bytes, fresh: &Fresh) -> Bytes {
    let Ok(chunk) = canonical::parse(data) else { return data.clone() };
    let mut id = String::new();
    quote_into(&fresh.id, &mut id);
    let created = fresh.created.to_string();
    let mut edits = Vec::with_capacity(2);
    edits.extend(chunk.get("id").map(|node| (node.span(), id.as_str())));
    edits.extend(chunk.get("created").map(|node| (node.span(), created.as_str())));
    edits.sort_unstable_by_key(|(range, _)| range.start);
    Bytes::from(canonical::splice(data, &edits))
}
