//! An event stream reduced to the `text_completion` object that the non-streaming API would have returned.
//!
//! Texts are concatenated; the last finish reason and the last usage count. A member that changes from chunk to chunk and
//! has no way of adding up is noted, and the stream then keeps its frames.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{self, Object, compact, quote_into},
        chat::reduce::{first, quote_or_null, text},
        extras::{Extra, Extras},
        sse::Frame,
    },
};

/// What the chunks so far add up to.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reduction {
    id: Option<String>,
    created: Option<String>,
    model: Option<String>,
    usage: Option<String>,
    finish: Option<String>,
    text: String,
    choice: Extras,
    top: Extras,
    began: bool,
    done: bool,
    lossy: bool,
}

impl Reduction {
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
    pub(in crate::wire) const fn lossy(&self) -> bool {
        self.lossy
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
        for member in choice.present() {
            let (key, node) = (member.key.as_ref(), &member.node);
            match key {
                "index" if node.as_u64() != Some(0) => return Err(NotStored::Malformed),
                "index" => {}
                "text" => self.text.push_str(text(node)?),
                "finish_reason" => self.finish = Some(text(node)?.to_owned()),
                "logprobs" => self.lossy = true,
                _ => self.lossy |= self.choice.set(key, Extra::Raw(compact(node, source))),
            }
        }
        Ok(())
    }

    /// The canonical `text_completion` object; `None` when no choice ever came.
    pub(in crate::wire) fn into_body(self) -> Option<String> {
        if !self.began {
            return None;
        }
        let mut out = String::with_capacity(self.text.len() + 256);
        out.push_str("{\"id\":");
        quote_into(self.id.as_deref().unwrap_or_default(), &mut out);
        out.push_str(",\"object\":\"text_completion\",\"created\":");
        out.push_str(self.created.as_deref().unwrap_or("0"));
        out.push_str(",\"model\":");
        quote_into(self.model.as_deref().unwrap_or_default(), &mut out);
        out.push_str(",\"choices\":[{\"text\":");
        quote_into(&self.text, &mut out);
        out.push_str(",\"index\":0,\"logprobs\":null,\"finish_reason\":");
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
