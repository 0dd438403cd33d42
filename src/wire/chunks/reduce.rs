//! An event stream reduced to the object that the non-streaming API would have returned.
//!
//! The last finish reason and the last usage count. Nothing is said after a finish reason: a stream in which something is
//! has lost its order, and no answer comes of it. What cannot be reduced without loss is noted, and the stream then
//! keeps its frames.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Node, Object, compact, quote_into},
        extras::{Extra, Extras},
        sse::Frame,
    },
};

/// What a family's chunks say inside their choice, added up.
pub(in crate::wire) trait Said: Default {
    /// The `object` member of the whole answer.
    const OBJECT: &'static str;
    /// Whether a member of the choice that nobody knows, and that changes from chunk to chunk, is a loss.
    const CHANGES_ARE_LOST: bool;

    /// Takes a member of a choice; false when it is none of the family's own.
    fn member(&mut self, key: &str, node: &Node<'_>, source: &str) -> Result<bool, NotStored>;

    /// Something was lost.
    fn lossy(&self) -> bool {
        false
    }

    /// Bytes said so far.
    fn said(&self) -> usize;

    /// Appends the first members of the whole choice, `index` among them.
    fn write(&self, out: &mut String);
}

/// What the chunks so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction<S> {
    id: Option<String>,
    created: Option<String>,
    model: Option<String>,
    usage: Option<String>,
    finish: Option<String>,
    said: S,
    choice: Extras,
    top: Extras,
    began: bool,
    done: bool,
    lossy: bool,
}

impl<S: Said> Reduction<S> {
    /// Takes one frame; `Err` when no answer can come of this stream any more.
    pub(in crate::wire) fn frame(&mut self, frame: &Frame) -> Result<(), NotStored> {
        let Some(data) = frame.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(()) };
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return Ok(());
        }
        if frame.event.as_deref() == Some(b"error") {
            return Err(NotStored::ErrorBody);
        }
        let chunk = canonical::parse(data).map_err(|_| NotStored::Malformed)?;
        let source = std::str::from_utf8(data).map_err(|_| NotStored::Malformed)?;
        self.chunk(chunk.as_object().ok_or(NotStored::Malformed)?, source)
    }

    /// The terminal marker was seen.
    pub(in crate::wire) const fn done(&self) -> bool {
        self.done
    }

    /// Something was lost: [`Self::into_body`] is not the whole answer.
    pub(in crate::wire) fn lossy(&self) -> bool {
        self.lossy || self.said.lossy()
    }

    /// A finish reason was seen.
    pub(in crate::wire) const fn finished(&self) -> bool {
        self.finish.is_some()
    }

    fn chunk(&mut self, chunk: &Object<'_>, source: &str) -> Result<(), NotStored> {
        for member in chunk.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match key {
                "error" => return Err(NotStored::ErrorBody),
                "object" | "obfuscation" => {}
                // Some servers send an empty id or model in a first chunk without choices.
                "id" => first(&mut self.id, node.as_str()),
                "model" => first(&mut self.model, node.as_str()),
                "created" => first(&mut self.created, node.as_f64().map(|_| node.raw(source)).filter(|n| *n != "0")),
                "usage" => self.usage = Some(compact(node, source)),
                "choices" => {
                    for choice in node.as_array().ok_or(NotStored::Malformed)? {
                        self.choice(choice.as_object().ok_or(NotStored::Malformed)?, source)?;
                    }
                }
                _ => {
                    self.top.set(key, Extra::Raw(compact(node, source)));
                }
            }
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Object<'_>, source: &str) -> Result<(), NotStored> {
        self.began = true;
        let (finished, said) = (self.finished(), self.said.said());
        for member in choice.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match key {
                "index" if node.as_u64() != Some(0) => return Err(NotStored::Malformed),
                "index" => {}
                "finish_reason" => self.finish = Some(text(node)?.to_owned()),
                "logprobs" => self.lossy = true,
                _ => {
                    if !self.said.member(key, node, source)? {
                        let changed = self.choice.set(key, Extra::Raw(compact(node, source)));
                        self.lossy |= changed && S::CHANGES_ARE_LOST;
                    }
                }
            }
        }
        if finished && self.said.said() > said { Err(NotStored::Malformed) } else { Ok(()) }
    }

    /// The canonical object; `None` when no choice ever came.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        if !self.began {
            return None;
        }
        let mut out = String::from("{\"id\":");
        quote_into(self.id.as_deref().unwrap_or_default(), &mut out);
        for part in [",\"object\":\"", S::OBJECT, "\",\"created\":", self.created.as_deref().unwrap_or("0")] {
            out.push_str(part);
        }
        out.push_str(",\"model\":");
        quote_into(self.model.as_deref().unwrap_or_default(), &mut out);
        out.push_str(",\"choices\":[{");
        self.said.write(&mut out);
        out.push_str(",\"logprobs\":null,\"finish_reason\":");
        quote_or_null(self.finish.as_deref(), &mut out);
        self.choice.write(&mut out);
        out.push_str("}]");
        if let Some(usage) = &self.usage {
            out.push_str(",\"usage\":");
            out.push_str(usage);
        }
        self.top.write(&mut out);
        out.push('}');
        Some(out)
    }
}

/// Keeps the first value that says something.
pub(in crate::wire) fn first(slot: &mut Option<String>, value: Option<&str>) {
    if slot.is_none() {
        *slot = value.filter(|value| !value.is_empty()).map(str::to_owned);
    }
}

/// A value that must be text.
pub(in crate::wire) fn text<'n>(node: &'n Node<'_>) -> Result<&'n str, NotStored> {
    node.as_str().ok_or(NotStored::Malformed)
}

/// Appends text as JSON, `null` for none.
pub(in crate::wire) fn quote_or_null(text: Option<&str>, out: &mut String) {
    match text {
        Some(text) => quote_into(text, out),
        None => out.push_str("null"),
    }
}
