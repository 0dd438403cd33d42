//! Events added up to the response that the non-streaming method would have returned.
//!
//! Each event is a response with a piece of the one candidate: neighbouring parts of plain text become one, other parts
//! stay what they are, of everything else the last word counts. Where more than that came, the stream keeps its frames.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Member, Node, Object, Value, compact, quote_into},
        extras::{Extra, Extras},
        sse::Frame,
    },
};

/// Members of a candidate of which the last word is the whole.
const LAST_WORD: [&str; 5] = ["finishReason", "finishMessage", "index", "safetyRatings", "tokenCount"];

/// What the events so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction {
    members: Extras,
    candidate: Extras,
    role: Option<String>,
    parts: Vec<Part>,
    began: bool,
    finished: bool,
    lossy: bool,
}

#[derive(Debug)]
enum Part {
    /// Text alone, and whether it is a thought.
    Text { text: String, thought: bool },
    /// Any other, as written.
    Other(String),
}

impl Reduction {
    /// Takes one frame; `Err` when no answer can come of this stream any more.
    pub(in crate::wire) fn frame(&mut self, frame: &Frame) -> Result<(), NotStored> {
        let Some(data) = frame.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(()) };
        let node = canonical::parse(data).map_err(|_| NotStored::Malformed)?;
        let source = std::str::from_utf8(data).map_err(|_| NotStored::Malformed)?;
        let event = node.as_object().ok_or(NotStored::Malformed)?;
        if event.get("error").is_some() {
            return Err(NotStored::ErrorBody);
        }
        for told in event.present() {
            if told.key != "candidates" {
                keep(&mut self.members, told, source);
                continue;
            }
            match told.node.as_array().ok_or(NotStored::Malformed)? {
                [] => {}
                [candidate] => self.candidate(candidate.as_object().ok_or(NotStored::Malformed)?, source)?,
                _ => return Err(NotStored::Malformed),
            }
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: &Object<'_>, source: &str) -> Result<(), NotStored> {
        self.began = true;
        for told in candidate.present() {
            match told.key.as_ref() {
                "content" => self.content(told.node.as_object().ok_or(NotStored::Malformed)?, source)?,
                key => {
                    self.finished |= key == "finishReason";
                    let changed = keep(&mut self.candidate, told, source);
                    self.lossy |= changed && !LAST_WORD.contains(&key);
                }
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &Object<'_>, source: &str) -> Result<(), NotStored> {
        for told in content.present() {
            match (told.key.as_ref(), told.node.as_array(), told.node.as_str()) {
                ("parts", Some(parts), _) => {
                    for part in parts {
                        self.part(part, source)?;
                    }
                }
                ("role", _, Some(role)) => self.role = Some(role.to_owned()),
                _ => return Err(NotStored::Malformed),
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &Node<'_>, source: &str) -> Result<(), NotStored> {
        let object = part.as_object().ok_or(NotStored::Malformed)?;
        let plain = object.present().all(|member| matches!(member.key.as_ref(), "text" | "thought"));
        let Some(text) = object.get("text").and_then(Node::as_str).filter(|_| plain) else {
            self.parts.push(Part::Other(compact(part, source)));
            return Ok(());
        };
        let thought = object.get("thought").and_then(Node::as_bool) == Some(true);
        match self.parts.last_mut() {
            Some(Part::Text { text: said, thought: same }) if *same == thought => said.push_str(text),
            _ => self.parts.push(Part::Text { text: text.to_owned(), thought }),
        }
        Ok(())
    }

    /// The candidate said why it ended; what is counted may still come.
    pub(in crate::wire) const fn finished(&self) -> bool {
        self.finished
    }

    /// Something was lost: [`Self::into_body`] is not the whole answer.
    pub(in crate::wire) const fn lossy(&self) -> bool {
        self.lossy
    }

    /// The whole response; `None` when no candidate ever began.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        if !self.began {
            return None;
        }
        let mut out = String::from("{\"candidates\":[{\"content\":{\"parts\":[");
        for (at, part) in self.parts.iter().enumerate() {
            out.push_str(if at > 0 { "," } else { "" });
            match part {
                Part::Other(raw) => out.push_str(raw),
                Part::Text { text, thought } => {
                    out.push_str("{\"text\":");
                    quote_into(text, &mut out);
                    out.push_str(if *thought { ",\"thought\":true}" } else { "}" });
                }
            }
        }
        out.push_str("],\"role\":");
        quote_into(self.role.as_deref().unwrap_or("model"), &mut out);
        out.push('}');
        self.candidate.write(&mut out);
        out.push_str("}]");
        self.members.write(&mut out);
        out.push('}');
        Some(out)
    }
}

/// Sets a member; true when another value was overwritten.
fn keep(members: &mut Extras, told: &Member<'_>, source: &str) -> bool {
    let value = match &told.node.value {
        Value::String(text) => Extra::Text(text.clone().into_owned()),
        _ => Extra::Raw(compact(&told.node, source)),
    };
    members.set(&told.key, value)
}
