//! A stored response as an event stream again, under a fresh id: pieces of its texts, the last with why it ended and
//! what was counted. Nothing follows the last event.

use bytes::Bytes;

use crate::wire::{
    Answer, Fresh,
    canonical::{self, Node, Object, compact, quote_into},
    rendering::{deltas, member_into},
};

/// The event stream, all frames.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh) -> Bytes {
    if let Some(frames) = &answer.raw_stream {
        return frames.clone();
    }
    let mut out = String::with_capacity(answer.body.len() * 4 + 512);
    if let Ok(root) = canonical::parse(&answer.body)
        && let (Some(root), Ok(source)) = (root.as_object(), std::str::from_utf8(&answer.body))
    {
        Writer { out: &mut out, source, root, fresh }.answer();
    }
    Bytes::from(out)
}

struct Writer<'w, 's, 'a> {
    out: &'w mut String,
    source: &'s str,
    root: &'w Object<'a>,
    fresh: &'w Fresh,
}

impl Writer<'_, '_, '_> {
    fn answer(&mut self) {
        let candidates = self.root.get("candidates").and_then(Node::as_array).unwrap_or_default();
        let candidate = candidates.first().and_then(Node::as_object);
        let content = candidate.and_then(|candidate| candidate.get("content")?.as_object());
        let parts = content.and_then(|content| content.get("parts")?.as_array()).unwrap_or_default();
        let pieces: Vec<String> = parts.iter().flat_map(|part| self.pieces(part)).collect();
        let role = content.and_then(|content| content.get("role")).map_or("\"model\"", |role| role.raw(self.source));
        let (last, before) = match pieces.split_last() {
            Some((last, before)) => (last.as_str(), before),
            None => ("", &[][..]),
        };
        for piece in before {
            self.event(role, piece, None);
        }
        self.event(role, last, candidate);
    }

    /// A part in pieces: text in deltas, anything else whole.
    fn pieces(&self, part: &Node<'_>) -> Vec<String> {
        let plain = part.as_object().filter(|part| {
            part.present().all(|member| matches!(member.key.as_ref(), "text" | "thought")) && part.get("text").is_some()
        });
        let Some(plain) = plain else { return vec![compact(part, self.source)] };
        let thought = plain.get("thought").and_then(Node::as_bool) == Some(true);
        let end = if thought { "\",\"thought\":true}" } else { "\"}" };
        let texts = plain.get("text").into_iter().flat_map(|text| deltas(text, self.source));
        texts.map(|piece| format!("{{\"text\":\"{piece}{end}")).collect()
    }

    /// One event; the last tells the rest of the `candidate` and of the response.
    fn event(&mut self, role: &str, part: &str, candidate: Option<&Object<'_>>) {
        for text in ["data: {\"candidates\":[{\"content\":{\"parts\":[", part, "],\"role\":", role, "}"] {
            self.out.push_str(text);
        }
        match candidate {
            Some(candidate) => {
                for told in candidate.iter().filter(|told| told.key != "content") {
                    member_into(&told.key, &told.node, self.source, self.out);
                }
            }
            None => self.out.push_str(",\"index\":0"),
        }
        self.out.push_str("}]");
        for told in self.root.iter() {
            match told.key.as_ref() {
                "candidates" => {}
                "responseId" => {
                    self.out.push_str(",\"responseId\":");
                    quote_into(&self.fresh.id, self.out);
                }
                "modelVersion" => member_into(&told.key, &told.node, self.source, self.out),
                _ if candidate.is_some() => member_into(&told.key, &told.node, self.source, self.out),
                _ => {}
            }
        }
        self.out.push_str("}\r\n\r\n");
    }
}
