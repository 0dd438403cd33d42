//! An event stream reduced to the object that the non-streaming API would have returned: the `response` of its last event.
//!
//! The deltas before it say nothing that it does not say; how many items were finished is compared with what it holds.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Node},
        sse::Frame,
    },
};

/// Events that end a stream and hold the response as it came out.
const TERMINAL: [&str; 4] = ["response.completed", "response.incomplete", "response.failed", "response.cancelled"];

/// What the events so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction {
    response: Option<String>,
    items: usize,
}

impl Reduction {
    /// Takes one frame; `Err` when no answer can come of this stream any more.
    pub(in crate::wire) fn frame(&mut self, frame: &Frame) -> Result<(), NotStored> {
        let Some(data) = frame.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(()) };
        // Some servers end with chat's marker, which says nothing here.
        if data.starts_with(b"[DONE]") {
            return Ok(());
        }
        let event = canonical::parse(data).map_err(|_| NotStored::Malformed)?;
        let source = std::str::from_utf8(data).map_err(|_| NotStored::Malformed)?;
        match name(frame, &event) {
            "error" => Err(NotStored::ErrorBody),
            _ if event.get("error").is_some() => Err(NotStored::ErrorBody),
            "response.output_item.done" => {
                self.items += 1;
                Ok(())
            }
            kind if TERMINAL.contains(&kind) => {
                let response = event.get("response").ok_or(NotStored::Malformed)?;
                let items = super::output(response).ok_or(NotStored::Malformed)?.len();
                if kind == "response.completed" && self.items > 0 && self.items != items {
                    return Err(NotStored::Malformed);
                }
                self.response = Some(response.raw(source).to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A terminal event was seen.
    pub(in crate::wire) const fn done(&self) -> bool {
        self.response.is_some()
    }

    /// The `response` object; `None` when there was no terminal event.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        self.response
    }
}

/// Whether a frame is the last event of a stream.
pub(in crate::wire) fn is_terminal(frame: &Frame) -> bool {
    let Some(data) = frame.data.as_deref() else { return false };
    // A look at the bytes spares most frames a second parse.
    let may_be = TERMINAL.iter().any(|name| data.windows(name.len()).any(|part| part == name.as_bytes()));
    may_be && canonical::parse(data).is_ok_and(|event| TERMINAL.contains(&name(frame, &event)))
}

/// An event's type: its own `type`, which clients go by, or else the frame's name.
fn name<'e>(frame: &'e Frame, event: &'e Node<'_>) -> &'e str {
    let named = frame.event.as_deref().and_then(|name| std::str::from_utf8(name).ok());
    event.get("type").and_then(Node::as_str).or(named).unwrap_or_default()
}
