//! A stored answer as lines again: pieces of its texts, then what the last line tells.

use bytes::Bytes;

use crate::wire::{
    Answer,
    canonical::{self, Node, Object},
    rendering::{deltas, member_into},
};

/// All lines.
pub(in crate::wire) fn render_stream(answer: &Answer) -> Bytes {
    if let Some(lines) = &answer.raw_stream {
        return lines.clone();
    }
    let mut writer = Writer { out: String::with_capacity(answer.body.len() * 6 + 512), source: "" };
    if let Ok(root) = canonical::parse(&answer.body)
        && let (Some(root), Ok(source)) = (root.as_object(), std::str::from_utf8(&answer.body))
    {
        writer.source = source;
        writer.answer(root);
    }
    Bytes::from(writer.out)
}

struct Writer<'s> {
    out: String,
    source: &'s str,
}

impl Writer<'_> {
    fn answer(&mut self, root: &Object<'_>) {
        let message = root.get("message").and_then(Node::as_object);
        match message {
            Some(message) => {
                self.texts(root, Some(message), "thinking", |piece| {
                    format!("\"content\":\"\",\"thinking\":\"{piece}\"")
                });
                self.texts(root, Some(message), "content", |piece| format!("\"content\":\"{piece}\""));
                if let Some(calls) = message.get("tool_calls") {
                    let calls = canonical::compact(calls, self.source);
                    self.piece(root, Some(message), &format!("\"content\":\"\",\"tool_calls\":{calls}"));
                }
            }
            None => {
                self.texts(root, None, "thinking", |piece| format!("\"response\":\"\",\"thinking\":\"{piece}\""));
                self.texts(root, None, "response", |piece| format!("\"response\":\"{piece}\""));
            }
        }
        self.last(root, message);
    }

    /// The text of `key`, of the message where there is one, in pieces.
    fn texts(&mut self, root: &Object<'_>, message: Option<&Object<'_>>, key: &str, said: impl Fn(&str) -> String) {
        let source = self.source;
        for piece in message.unwrap_or(root).get(key).into_iter().flat_map(|text| deltas(text, source)) {
            self.piece(root, message, &said(piece));
        }
    }

    /// A line that is not the last; `said` are members of the message, or of the line itself.
    fn piece(&mut self, root: &Object<'_>, message: Option<&Object<'_>>, said: &str) {
        self.begin(root);
        match message {
            Some(message) => {
                self.message(message);
                for part in [said, "}"] {
                    self.out.push_str(part);
                }
            }
            None => {
                for part in [",", said] {
                    self.out.push_str(part);
                }
            }
        }
        self.out.push_str(",\"done\":false}\n");
    }

    fn last(&mut self, root: &Object<'_>, message: Option<&Object<'_>>) {
        self.begin(root);
        if let Some(message) = message {
            self.message(message);
            self.out.push_str("\"content\":\"\"}");
        }
        for told in root.iter() {
            match told.key.as_ref() {
                "model" | "created_at" | "message" | "thinking" => {}
                "response" => self.out.push_str(",\"response\":\"\""),
                _ => member_into(&told.key, &told.node, self.source, &mut self.out),
            }
        }
        self.out.push_str("}\n");
    }

    /// Begins a line with what every line repeats.
    fn begin(&mut self, root: &Object<'_>) {
        self.out.push('{');
        let from = self.out.len();
        for key in ["model", "created_at"] {
            if let Some(told) = root.member(key) {
                member_into(&told.key, &told.node, self.source, &mut self.out);
            }
        }
        if self.out.len() > from {
            self.out.remove(from);
        }
    }

    /// Begins a message with its role.
    fn message(&mut self, message: &Object<'_>) {
        self.out.push_str(",\"message\":{\"role\":");
        let role = message.get("role").map_or("\"assistant\"", |role| role.raw(self.source));
        for part in [role, ","] {
            self.out.push_str(part);
        }
    }
}
