//! A stored answer back as an event stream of chunks, under a fresh id.

use bytes::Bytes;

use crate::wire::{
    Answer, Fresh,
    canonical::{self, Node, Object, quote_into},
    chat::strip_usage,
    rendering::member_into,
    sse,
};

/// How a family writes its chunks.
pub(in crate::wire) struct Style {
    /// Their `object` member.
    pub(in crate::wire) object: &'static str,
    /// Members of the answer that each chunk repeats.
    pub(in crate::wire) repeated: &'static [&'static str],
    /// The member of the whole choice that goes out in pieces.
    pub(in crate::wire) said: &'static str,
    /// The first members of a choice that says nothing.
    pub(in crate::wire) silent: &'static str,
    /// Writes the chunks that say what a choice says.
    pub(in crate::wire) say: fn(&mut Writer<'_>, &Object<'_>),
}

/// The event stream, all frames; with the usage chunk when the client asked for it.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh, include_usage: bool, style: &Style) -> Bytes {
    if let Some(frames) = &answer.raw_stream {
        return replay(frames, fresh, include_usage);
    }
    let parsed = canonical::parse(&answer.body).ok().zip(std::str::from_utf8(&answer.body).ok());
    let mut out = String::with_capacity(answer.body.len() * 10 + 2048);
    if let Some((root, source)) = &parsed
        && let Some(root) = root.as_object()
    {
        let head = head(root, source, fresh, style);
        Writer { head: &head, source, include_usage, out: &mut out }.answer(root, style);
    }
    out.push_str("data: [DONE]\n\n");
    Bytes::from(out)
}

/// What all chunks begin with, up to their choices.
fn head(root: &Object<'_>, source: &str, fresh: &Fresh, style: &Style) -> String {
    let mut head = String::from("data: {\"id\":");
    quote_into(&fresh.id, &mut head);
    for part in [",\"object\":\"", style.object, "\",\"created\":", &fresh.created.to_string()] {
        head.push_str(part);
    }
    for key in style.repeated {
        if let Some(node) = root.get(key) {
            member_into(key, node, source, &mut head);
        }
    }
    head.push_str(",\"choices\":[");
    head
}

/// Writes chunks.
pub(in crate::wire) struct Writer<'w> {
    head: &'w str,
    /// What the answer was read from.
    pub(in crate::wire) source: &'w str,
    include_usage: bool,
    out: &'w mut String,
}

impl Writer<'_> {
    fn answer(&mut self, root: &Object<'_>, style: &Style) {
        let choice = root.get("choices").and_then(Node::as_array).and_then(<[_]>::first).and_then(Node::as_object);
        if let Some(choice) = choice {
            (style.say)(self, choice);
            self.finish(root, choice, style);
        }
        if let Some(usage) = root.get("usage").filter(|_| self.include_usage) {
            self.out.push_str(self.head);
            self.out.push(']');
            member_into("usage", usage, self.source, self.out);
            self.out.push_str("}\n\n");
        }
    }

    /// One chunk; `write` appends the first members of its choice.
    pub(in crate::wire) fn chunk(&mut self, write: impl FnOnce(&mut String, &str)) {
        self.out.push_str(self.head);
        self.out.push('{');
        write(self.out, self.source);
        self.out.push_str(",\"logprobs\":null,\"finish_reason\":null}]");
        self.end();
    }

    /// The finish chunk also carries what the choice and the answer say beside what was said.
    fn finish(&mut self, root: &Object<'_>, choice: &Object<'_>, style: &Style) {
        for part in [self.head, "{", style.silent, ",\"logprobs\":null"] {
            self.out.push_str(part);
        }
        match choice.get("finish_reason") {
            Some(reason) => member_into("finish_reason", reason, self.source, self.out),
            None => self.out.push_str(",\"finish_reason\":null"),
        }
        let known = |key: &str| key == style.said || matches!(key, "index" | "logprobs" | "finish_reason");
        for member in choice.present().filter(|member| !known(&member.key)) {
            member_into(&member.key, &member.node, self.source, self.out);
        }
        self.out.push_str("}]");
        let written = |key: &str| {
            matches!(key, "id" | "object" | "created" | "choices" | "usage") || style.repeated.contains(&key)
        };
        for member in root.present().filter(|member| !written(&member.key)) {
            member_into(&member.key, &member.node, self.source, self.out);
        }
        self.end();
    }

    fn end(&mut self) {
        self.out.push_str(if self.include_usage { ",\"usage\":null}\n\n" } else { "}\n\n" });
    }
}

/// Stored frames again, under a fresh id.
fn replay(frames: &Bytes, fresh: &Fresh, include_usage: bool) -> Bytes {
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
