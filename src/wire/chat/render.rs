//! A stored answer back as an event stream, under a fresh id.

use bytes::Bytes;

use crate::wire::{
    Answer, Fresh,
    canonical::{Node, Object, Value},
    chunks::render::{self, Style, Writer},
    rendering::{deltas, member_into},
};

static STYLE: Style = Style {
    object: "chat.completion.chunk",
    repeated: &["model", "system_fingerprint", "service_tier"],
    said: "message",
    silent: "\"index\":0,\"delta\":{}",
    say,
};

/// The event stream, all frames; with the usage chunk when the client asked for it.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh, include_usage: bool) -> Bytes {
    render::render_stream(answer, fresh, include_usage, &STYLE)
}

fn say(writer: &mut Writer<'_>, choice: &Object<'_>) {
    if let Some(message) = choice.get("message").and_then(Node::as_object) {
        say_message(writer, message);
    }
}

fn say_message(writer: &mut Writer<'_>, message: &Object<'_>) {
    let speechless = message.get("content").is_none();
    delta(writer, |delta, source| {
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
            text(writer, key, node);
        }
    }
    for member in message.present() {
        let (key, node) = (member.key.as_ref(), &member.node);
        match (key, node.as_array()) {
            ("role" | "content" | "refusal" | "reasoning_content" | "reasoning", _) | (_, Some([])) => {}
            ("tool_calls", Some(calls)) => delta(writer, |delta, source| tool_calls_into(calls, source, delta)),
            _ => delta(writer, |delta, source| member_into(key, node, source, delta)),
        }
    }
}

/// Text in deltas; anything else in one.
fn text(writer: &mut Writer<'_>, key: &str, node: &Node<'_>) {
    match &node.value {
        Value::String(_) => {
            for piece in deltas(node, writer.source) {
                delta(writer, |delta, _| {
                    for part in ["\"", key, "\":\"", piece, "\""] {
                        delta.push_str(part);
                    }
                });
            }
        }
        _ => delta(writer, |delta, source| member_into(key, node, source, delta)),
    }
}

/// One chunk; `write` appends the delta's members.
fn delta(writer: &mut Writer<'_>, write: impl FnOnce(&mut String, &str)) {
    writer.chunk(|choice, source| {
        choice.push_str("\"index\":0,\"delta\":{");
        let from = choice.len();
        write(choice, source);
        // A first member appended as a further one brings its comma.
        if choice.get(from..).is_some_and(|delta| delta.starts_with(',')) {
            choice.remove(from);
        }
        choice.push('}');
    });
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
