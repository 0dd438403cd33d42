//! A stored completion as an event stream again, under a fresh id.

use bytes::Bytes;

use crate::wire::{
    Answer, Fresh,
    canonical::{self, Node, Object, quote_into},
    chat::replay,
    rendering::{deltas, member_into},
};

/// The event stream, all frames; with the usage chunk when the client asked for it.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh, include_usage: bool) -> Bytes {
    if let Some(frames) = &answer.raw_stream {
        return replay(frames, fresh, include_usage);
    }
    let parsed = canonical::parse(&answer.body).ok().zip(std::str::from_utf8(&answer.body).ok());
    let mut out = String::with_capacity(answer.body.len() * 8 + 1024);
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
    head.push_str(",\"object\":\"text_completion\",\"created\":");
    head.push_str(&fresh.created.to_string());
    for key in ["model", "system_fingerprint"] {
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
            let text = choice.get("text").into_iter();
            for piece in text.flat_map(|text| deltas(text, self.source)) {
                self.chunk(piece);
                self.out.push_str(",\"finish_reason\":null}]");
                self.end();
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

    /// Begins a chunk with a piece of text, escaped as it stands.
    fn chunk(&mut self, piece: &str) {
        for part in [self.head, "{\"text\":\"", piece, "\",\"index\":0,\"logprobs\":null"] {
            self.out.push_str(part);
        }
    }

    /// The finish chunk also carries what the choice and the answer say beside the text.
    fn finish(&mut self, root: &Object<'_>, choice: &Object<'_>) {
        self.chunk("");
        match choice.get("finish_reason") {
            Some(reason) => member_into("finish_reason", reason, self.source, self.out),
            None => self.out.push_str(",\"finish_reason\":null"),
        }
        let known = |key: &str| matches!(key, "index" | "text" | "logprobs" | "finish_reason");
        for member in choice.present().filter(|member| !known(&member.key)) {
            member_into(&member.key, &member.node, self.source, self.out);
        }
        self.out.push_str("}]");
        let written = ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"];
        for member in root.present().filter(|member| !written.contains(&member.key.as_ref())) {
            member_into(&member.key, &member.node, self.source, self.out);
        }
        self.end();
    }

    fn end(&mut self) {
        self.out.push_str(if self.include_usage { ",\"usage\":null}\n\n" } else { "}\n\n" });
    }
}
