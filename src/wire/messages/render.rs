//! A stored answer back as an event stream, under a fresh id.
//!
//! A block begins empty and is filled by deltas; what has no delta of its own comes with the block's beginning. What the
//! API says only at the end (why it stopped, how much it counted) is said there, as SDKs read it there and nowhere else.

use bytes::Bytes;

use crate::wire::{
    Answer, Fresh,
    canonical::{self, Member, Node, Object, compact, quote_into},
    rendering::{deltas, member_into},
    sse,
};

/// Members of the answer that `message_delta` tells inside its `delta`,
const DELTA: [&str; 4] = ["stop_reason", "stop_sequence", "stop_details", "container"];
/// and beside it.
const BESIDE_DELTA: [&str; 2] = ["context_management", "input_transformations"];
/// Counts that `message_delta` tells once more, all of them cumulative: some clients read them there and nowhere else.
const COUNTED: [&str; 6] = [
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
];

/// The event stream, all frames.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh) -> Bytes {
    if let Some(frames) = &answer.raw_stream {
        return replay(frames, fresh);
    }
    let parsed = canonical::parse(&answer.body).ok().zip(std::str::from_utf8(&answer.body).ok());
    let mut writer = Writer { out: String::with_capacity(answer.body.len() * 6 + 2048), source: "" };
    if let Some((root, source)) = &parsed
        && let Some(root) = root.as_object()
    {
        writer.source = source;
        writer.answer(root, fresh);
    }
    Bytes::from(writer.out)
}

struct Writer<'s> {
    out: String,
    source: &'s str,
}

impl Writer<'_> {
    fn answer(&mut self, root: &Object<'_>, fresh: &Fresh) {
        self.event("message_start", |out, source| start(root, fresh, source, out));
        let content = root.get("content").and_then(Node::as_array).unwrap_or_default();
        for (at, block) in content.iter().enumerate() {
            let Some(block) = block.as_object() else { continue };
            self.block(&at.to_string(), block);
        }
        self.event("message_delta", |out, source| {
            out.push_str(",\"delta\":");
            object(out, root.iter().filter(|told| DELTA.contains(&told.key.as_ref())), source);
            for told in root.iter().filter(|told| BESIDE_DELTA.contains(&told.key.as_ref())) {
                member_into(&told.key, &told.node, source, out);
            }
            out.push_str(",\"usage\":");
            let counts = members(root.get("usage"));
            object(out, counts.filter(|count| COUNTED.contains(&count.key.as_ref())), source);
        });
        self.event("message_stop", |_, _| {});
    }

    /// One frame; `write` appends the members behind `type`, each with its comma.
    fn event(&mut self, kind: &str, write: impl FnOnce(&mut String, &str)) {
        for part in ["event: ", kind, "\ndata: {\"type\":\"", kind, "\""] {
            self.out.push_str(part);
        }
        write(&mut self.out, self.source);
        self.out.push_str("}\n\n");
    }

    fn block(&mut self, index: &str, block: &Object<'_>) {
        self.event("content_block_start", |out, source| {
            for part in [",\"index\":", index, ",\"content_block\":{"] {
                out.push_str(part);
            }
            let from = out.len();
            for told in block.iter() {
                match empty(block, told) {
                    Some(nothing) => {
                        for part in [",\"", &told.key, "\":", nothing] {
                            out.push_str(part);
                        }
                    }
                    None => member_into(&told.key, &told.node, source, out),
                }
            }
            trim_comma(out, from);
            out.push('}');
        });
        let source = self.source;
        for (key, kind) in [("text", "text_delta"), ("thinking", "thinking_delta")] {
            let text = block.member(key).filter(|told| empty(block, told).is_some());
            for piece in text.into_iter().flat_map(|told| deltas(&told.node, source)) {
                self.delta(index, kind, key, |out| {
                    for part in ["\"", piece, "\""] {
                        out.push_str(part);
                    }
                });
            }
        }
        for told in block.iter().filter(|told| empty(block, told).is_some()) {
            match told.key.as_ref() {
                "signature" => self.delta(index, "signature_delta", "signature", |out| {
                    out.push_str(told.node.raw(source));
                }),
                "input" => self.delta(index, "input_json_delta", "partial_json", |out| {
                    quote_into(&compact(&told.node, source), out);
                }),
                "citations" => {
                    for citation in told.node.as_array().unwrap_or_default() {
                        self.delta(index, "citations_delta", "citation", |out| {
                            out.push_str(&compact(citation, source));
                        });
                    }
                }
                _ => {}
            }
        }
        self.event("content_block_stop", |out, _| {
            out.push_str(",\"index\":");
            out.push_str(index);
        });
    }

    fn delta(&mut self, index: &str, kind: &str, key: &str, write: impl FnOnce(&mut String)) {
        self.event("content_block_delta", |out, _| {
            for part in [",\"index\":", index, ",\"delta\":{\"type\":\"", kind, "\",\"", key, "\":"] {
                out.push_str(part);
            }
            write(out);
            out.push('}');
        });
    }
}

/// What a member of a block that deltas fill begins with; `None` for one that comes whole.
fn empty(block: &Object<'_>, told: &Member<'_>) -> Option<&'static str> {
    let kind = block.get("type").and_then(Node::as_str)?;
    let (text, list) = (told.node.as_str().is_some(), told.node.as_array().is_some());
    match (kind, told.key.as_ref()) {
        ("text", "text") | ("thinking", "thinking" | "signature") if text => Some("\"\""),
        ("text", "citations") if list => Some("[]"),
        ("tool_use", "input") => Some("{}"),
        _ => None,
    }
}

/// The message without what comes later.
fn start(root: &Object<'_>, fresh: &Fresh, source: &str, out: &mut String) {
    out.push_str(",\"message\":{\"id\":");
    quote_into(&fresh.id, out);
    let first = ["type", "role", "model"];
    for told in first.iter().filter_map(|key| root.member(key)) {
        member_into(&told.key, &told.node, source, out);
    }
    out.push_str(",\"content\":[]");
    for told in root.iter() {
        match told.key.as_ref() {
            "id" | "type" | "role" | "model" | "content" | "usage" => {}
            key if BESIDE_DELTA.contains(&key) => {}
            key if DELTA.contains(&key) => {
                for part in [",\"", key, "\":null"] {
                    out.push_str(part);
                }
            }
            key => member_into(key, &told.node, source, out),
        }
    }
    out.push_str(",\"usage\":{");
    let from = out.len();
    for count in members(root.get("usage")) {
        match count.key.as_ref() {
            // Nothing but the beginning of an answer has been made yet.
            "output_tokens" if count.node.as_u64().is_some_and(|tokens| tokens > 0) => {
                out.push_str(",\"output_tokens\":1");
            }
            key => member_into(key, &count.node, source, out),
        }
    }
    trim_comma(out, from);
    out.push_str("}}");
}

fn members<'n, 'a>(node: Option<&'n Node<'a>>) -> impl Iterator<Item = &'n Member<'a>> {
    node.and_then(Node::as_object).into_iter().flat_map(Object::iter)
}

fn object<'n, 'a: 'n>(out: &mut String, members: impl Iterator<Item = &'n Member<'a>>, source: &str) {
    out.push('{');
    let from = out.len();
    members.for_each(|told| member_into(&told.key, &told.node, source, out));
    trim_comma(out, from);
    out.push('}');
}

/// A first member appended as a further one brought its comma.
fn trim_comma(out: &mut String, from: usize) {
    if out.get(from..).is_some_and(|members| members.starts_with(',')) {
        out.remove(from);
    }
}

/// Stored frames again, under a fresh id.
fn replay(frames: &Bytes, fresh: &Fresh) -> Bytes {
    let mut out = Vec::with_capacity(frames.len() + 256);
    for frame in sse::frames(frames) {
        let Some(data) = &frame.data else { continue };
        out.extend_from_slice(&frame.with_data(&renamed(data, fresh)).raw);
    }
    Bytes::from(out)
}

/// An event with its message's `id` replaced; anything else as it is.
fn renamed(data: &Bytes, fresh: &Fresh) -> Bytes {
    let Ok(event) = canonical::parse(data) else { return data.clone() };
    let Some(id) = event.get("message").and_then(|message| message.get("id")) else { return data.clone() };
    let mut quoted = String::new();
    quote_into(&fresh.id, &mut quoted);
    Bytes::from(canonical::splice(data, &[(id.span(), quoted.as_str())]))
}
