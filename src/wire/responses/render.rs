//! A stored answer back in either shape, under its own ids, repeating the asker's own words.
//!
//! The stream is the one that the API would have sent: each item is announced empty, filled and closed, and the last
//! event holds the whole response.

use std::ops::Range;

use bytes::Bytes;

use super::{kind, output, stream::Stream};
use crate::wire::{
    Answer, Fresh,
    canonical::{self, Node, splice},
    rendering::deltas,
};

/// The JSON body: the stored one with what it repeats of the request replaced.
pub(in crate::wire) fn render_json(answer: &Answer, fresh: &Fresh) -> Bytes {
    let parsed = canonical::parse(&answer.body).ok();
    let edits = parsed.as_ref().and_then(Node::as_object).map(|root| fresh.echo.edits(root)).unwrap_or_default();
    if edits.is_empty() { answer.body.clone() } else { Bytes::from(splice(&answer.body, &edits)) }
}

/// The event stream, all frames.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh) -> Bytes {
    let body = render_json(answer, fresh);
    let mut stream = Stream::with_capacity(body.len() * 8 + 2048);
    if let (Ok(root), Ok(source)) = (canonical::parse(&body), std::str::from_utf8(&body)) {
        Writer { source, stream: &mut stream }.response(&root);
    }
    stream.into_bytes()
}

struct Writer<'w> {
    source: &'w str,
    stream: &'w mut Stream,
}

/// Where in an answer an event belongs.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// The item's id, as JSON text.
    item: &'p str,
    /// The item's index.
    at: usize,
    /// Name and value of the part's index.
    part: Option<(&'static str, usize)>,
}

impl Writer<'_> {
    fn response(&mut self, root: &Node<'_>) {
        let begun = self.edited(
            root,
            &[
                ("status", "\"in_progress\""),
                ("output", "[]"),
                ("usage", "null"),
                ("completed_at", "null"),
                ("incomplete_details", "null"),
                ("error", "null"),
            ],
        );
        for event in ["response.created", "response.in_progress"] {
            self.stream.event(event, |event| event.raw("response", &begun));
        }
        for (at, item) in output(root).unwrap_or_default().iter().enumerate() {
            self.item(at, item);
        }
        let ended = match root.get("status").and_then(Node::as_str) {
            Some("failed") => "response.failed",
            Some("incomplete") => "response.incomplete",
            _ => "response.completed",
        };
        let whole = root.raw(self.source);
        self.stream.event(ended, |event| event.raw("response", whole));
    }

    fn item(&mut self, at: usize, item: &Node<'_>) {
        let announced = match kind(item) {
            "message" => self.edited(item, &[("status", "\"in_progress\""), ("content", "[]")]),
            "reasoning" => self.edited(item, &[("status", "\"in_progress\""), ("summary", "[]"), ("content", "[]")]),
            "function_call" => self.edited(item, &[("status", "\"in_progress\""), ("arguments", "\"\"")]),
            "custom_tool_call" => self.edited(item, &[("status", "\"in_progress\""), ("input", "\"\"")]),
            _ => item.raw(self.source).to_owned(),
        };
        self.stream.event("response.output_item.added", |event| {
            event.number("output_index", at);
            event.raw("item", &announced);
        });
        let id = item.get("id").map_or("\"\"", |id| id.raw(self.source));
        let place = Place { item: id, at, part: None };
        match kind(item) {
            "message" => self.parts(place, item.get("content")),
            "reasoning" => {
                self.summary(place, item.get("summary"));
                self.parts(place, item.get("content"));
            }
            "function_call" => self.arguments(place, item),
            "custom_tool_call" => self.filled("custom_tool_call_input", "input", place, item.get("input")),
            _ => {}
        }
        let whole = item.raw(self.source);
        self.stream.event("response.output_item.done", |event| {
            event.number("output_index", at);
            event.raw("item", whole);
        });
    }

    /// The parts of a message, or of reasoning given in full.
    fn parts(&mut self, place: Place<'_>, content: Option<&Node<'_>>) {
        for (index, part) in content.and_then(Node::as_array).unwrap_or_default().iter().enumerate() {
            let place = Place { part: Some(("content_index", index)), ..place };
            self.part("content_part", place, part, |writer| match kind(part) {
                "output_text" => writer.output_text(place, part),
                "refusal" => writer.filled("refusal", "refusal", place, part.get("refusal")),
                "reasoning_text" => writer.filled("reasoning_text", "text", place, part.get("text")),
                _ => {}
            });
        }
    }

    fn summary(&mut self, place: Place<'_>, summary: Option<&Node<'_>>) {
        for (index, part) in summary.and_then(Node::as_array).unwrap_or_default().iter().enumerate() {
            let place = Place { part: Some(("summary_index", index)), ..place };
            self.part("reasoning_summary_part", place, part, |writer| {
                writer.filled("reasoning_summary_text", "text", place, part.get("text"));
            });
        }
    }

    /// A part: announced empty, filled by `fill`, closed.
    fn part(&mut self, name: &str, place: Place<'_>, part: &Node<'_>, fill: impl FnOnce(&mut Self)) {
        let emptied = [("text", "\"\""), ("refusal", "\"\""), ("annotations", "[]"), ("logprobs", "[]")];
        let announced = self.edited(part, &emptied);
        self.stream.placed(&format!("response.{name}.added"), place, |event| event.raw("part", &announced));
        fill(self);
        let whole = part.raw(self.source);
        self.stream.placed(&format!("response.{name}.done"), place, |event| event.raw("part", whole));
    }

    fn output_text(&mut self, place: Place<'_>, part: &Node<'_>) {
        let Some(text) = part.get("text") else { return };
        let (raw, source) = (text.raw(self.source), self.source);
        for piece in deltas(text, source) {
            self.stream.placed("response.output_text.delta", place, |event| {
                event.text("delta", piece);
                event.raw("logprobs", "[]");
            });
        }
        for (index, note) in part.get("annotations").and_then(Node::as_array).unwrap_or_default().iter().enumerate() {
            self.stream.placed("response.output_text.annotation.added", place, |event| {
                event.number("annotation_index", index);
                event.raw("annotation", note.raw(source));
            });
        }
        self.stream.placed("response.output_text.done", place, |event| {
            event.raw("text", raw);
            event.raw("logprobs", "[]");
        });
    }

    /// Deltas of a text, then all of it as the member `key`.
    fn filled(&mut self, name: &str, key: &str, place: Place<'_>, text: Option<&Node<'_>>) {
        let Some(text) = text.filter(|text| text.as_str().is_some()) else { return };
        let raw = text.raw(self.source);
        for piece in deltas(text, self.source) {
            self.stream.placed(&format!("response.{name}.delta"), place, |event| event.text("delta", piece));
        }
        self.stream.placed(&format!("response.{name}.done"), place, |event| event.raw(key, raw));
    }

    /// The arguments of a call, whose last event says once more which function they are for.
    fn arguments(&mut self, place: Place<'_>, call: &Node<'_>) {
        let Some(text) = call.get("arguments").filter(|text| text.as_str().is_some()) else { return };
        for piece in deltas(text, self.source) {
            self.stream.placed("response.function_call_arguments.delta", place, |event| event.text("delta", piece));
        }
        let (name, whole) = (call.get("name").map(|name| name.raw(self.source)), text.raw(self.source));
        self.stream.placed("response.function_call_arguments.done", place, |event| {
            name.into_iter().for_each(|name| event.raw("name", name));
            event.raw("arguments", whole);
        });
    }

    /// The text of an object with other values for those of its members that these name.
    fn edited(&self, node: &Node<'_>, members: &[(&str, &str)]) -> String {
        let (raw, from) = (node.raw(self.source), node.span().start);
        let Some(object) = node.as_object() else { return raw.to_owned() };
        let within = |span: Range<usize>| span.start - from..span.end - from;
        let mut edits: Vec<(Range<usize>, &str)> =
            members.iter().filter_map(|(key, text)| Some((within(object.get(key)?.span()), *text))).collect();
        edits.sort_unstable_by_key(|(range, _)| range.start);
        String::from_utf8(splice(raw.as_bytes(), &edits)).unwrap_or_default()
    }
}

impl Stream {
    /// An event about an item, or a part of one.
    fn placed(&mut self, name: &str, place: Place<'_>, write: impl FnOnce(&mut super::stream::Event<'_>)) {
        self.event(name, |event| {
            event.raw("item_id", place.item);
            event.number("output_index", place.at);
            if let Some((key, index)) = place.part {
                event.number(key, index);
            }
            write(event);
        });
    }
}
