//! A stored completion as an event stream again, under a fresh id.

use bytes::Bytes;

use crate::wire::{
    Answer, Fresh,
    canonical::Object,
    chunks::render::{self, Style, Writer},
    rendering::deltas,
};

static STYLE: Style = Style {
    object: "text_completion",
    repeated: &["model", "system_fingerprint"],
    said: "text",
    silent: "\"text\":\"\",\"index\":0",
    say,
};

/// The event stream, all frames; with the usage chunk when the client asked for it.
pub(in crate::wire) fn render_stream(answer: &Answer, fresh: &Fresh, include_usage: bool) -> Bytes {
    render::render_stream(answer, fresh, include_usage, &STYLE)
}

/// The text in deltas, escaped as it stands.
fn say(writer: &mut Writer<'_>, choice: &Object<'_>) {
    for piece in choice.get("text").into_iter().flat_map(|text| deltas(text, writer.source)) {
        writer.chunk(|choice, _| {
            for part in ["\"text\":\"", piece, "\",\"index\":0"] {
                choice.push_str(part);
            }
        });
    }
}
