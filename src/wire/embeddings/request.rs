//! A batch taken apart: what all its elements share goes into the partition, each element has a key of its own.
//!
//! Fail closed: a field that is not named here is answer-shaping and goes into the partition as it stands.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    outcome::BypassReason,
    wire::{
        canonical::{self, Encoder, Node, Object, Value},
        chat::ChatSettings,
        directives::Directives,
        fields,
        openai::USER,
    },
};

/// A batch of more elements passes through; OpenAI takes no more either.
pub const MAX_ELEMENTS: usize = 2048;

/// Fields that shape no vector: the elements themselves, how vectors are written, and how the call is billed.
const IGNORED: [&str; 3] = ["input", "encoding_format", "service_tier"];

/// How a client wants vectors written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// An array of decimal numbers; what a request without `encoding_format` gets.
    Float,
    /// Little-endian f32 in base64.
    Base64,
}

/// One element of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Canonical bytes: text and token ids never encode alike.
    pub key: Vec<u8>,
    /// Bytes of text, or number of tokens: its share of the batch's usage.
    pub weight: u64,
    span: Range<usize>,
}

/// A parsed request.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The model named, literally.
    pub model: String,
    /// How vectors are to be written.
    pub encoding: Encoding,
    /// Canonical bytes of every field that shapes a vector, the elements left out.
    pub partition: Vec<u8>,
    /// The elements, in order; never empty.
    pub elements: Vec<Element>,
    /// LiteLLM's body `cache: {...}`, as directives.
    pub body_directives: Directives,
    body: Bytes,
    input: Range<usize>,
    stripped: Option<Range<usize>>,
}

impl Batch {
    /// Lengths of the elements at `wanted`, by which they share what they cost together.
    pub fn weights(&self, wanted: &[usize]) -> Vec<u64> {
        wanted.iter().map(|at| self.elements.get(*at).map_or(0, |element| element.weight)).collect()
    }

    /// The text of the element at `at`; `None` when it is none, but token ids.
    pub fn text(&self, at: usize) -> Option<String> {
        let element = self.elements.get(at)?;
        serde_json::from_slice(self.body.get(element.span.clone())?).ok()
    }

    /// The body that asks for everything: the client's own bytes, LiteLLM's `cache` taken out.
    pub fn whole_body(&self) -> Bytes {
        match &self.stripped {
            None => self.body.clone(),
            Some(range) => Bytes::from(canonical::splice(&self.body, &[(range.clone(), "")])),
        }
    }

    /// The body that asks for the elements at `wanted`, in that order, and for nothing else. A batch of which all is
    /// wanted is [`Self::whole_body`].
    pub fn body_for(&self, wanted: &[usize]) -> Bytes {
        if wanted.len() == self.elements.len() {
            return self.whole_body();
        }
        let raw = |at: &usize| self.body.get(self.elements.get(*at)?.span.clone());
        let parts: Vec<&[u8]> = wanted.iter().filter_map(raw).collect();
        // Parts of a body that parsed are UTF-8.
        let input = String::from_utf8([&b"["[..], &parts.join(&b','), b"]"].concat()).unwrap_or_default();
        let mut edits = vec![(self.input.clone(), input.as_str())];
        edits.extend(self.stripped.clone().map(|range| (range, "")));
        edits.sort_unstable_by_key(|(range, _)| range.start);
        Bytes::from(canonical::splice(&self.body, &edits))
    }
}

/// Parses a request body. `Err` when it is no request that the API documents: it must go to the upstream untouched, whose
/// error is then the true one.
pub fn parse(body: &Bytes, settings: &ChatSettings) -> Result<Batch, BypassReason> {
    let node = canonical::parse(body).map_err(|_| BypassReason::Unparsable)?;
    let root = node.as_object().ok_or(BypassReason::Unparsable)?;
    let model = fields::model(root)?;
    let input = root.get("input").ok_or(BypassReason::Unparsable)?;
    let litellm = fields::litellm(root);
    Ok(Batch {
        model: model.to_owned(),
        encoding: encoding(root)?,
        partition: partition(root, settings, litellm.is_some()),
        elements: elements(input)?,
        body: body.clone(),
        input: input.span(),
        stripped: litellm.as_ref().map(|(member, _)| canonical::removal(body, member)),
        body_directives: litellm.map(|(_, directives)| directives).unwrap_or_default(),
    })
}

fn encoding(root: &Object<'_>) -> Result<Encoding, BypassReason> {
    match root.get("encoding_format").map(Node::as_str) {
        None | Some(Some("float")) => Ok(Encoding::Float),
        Some(Some("base64")) => Ok(Encoding::Base64),
        Some(_) => Err(BypassReason::Unparsable),
    }
}

fn partition(root: &Object<'_>, settings: &ChatSettings, litellm: bool) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(128);
    encoder.members(root.present().filter(|member| {
        let key = member.key.as_ref();
        let ignored = match key {
            "cache" => litellm,
            _ => IGNORED.contains(&key) || (!settings.per_user && USER.contains(&key)),
        };
        !ignored
    }));
    encoder.into_bytes()
}

/// A text, a list of token ids, or a list of either.
fn elements(input: &Node<'_>) -> Result<Vec<Element>, BypassReason> {
    let found = match &input.value {
        Value::String(_) => vec![element(input)],
        Value::Array(items) if items.iter().all(is_token) => vec![element(input)],
        Value::Array(items) if items.len() > MAX_ELEMENTS => return Err(BypassReason::BodyTooLarge),
        Value::Array(items) => items.iter().map(element).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(BypassReason::Unparsable),
    };
    found.into_iter().collect::<Option<_>>().ok_or(BypassReason::Unparsable)
}

/// `None` for what the API refuses: an empty text or list, and anything but text and token ids.
fn element(node: &Node<'_>) -> Option<Element> {
    let length = match &node.value {
        Value::String(text) => text.len(),
        Value::Array(tokens) if tokens.iter().all(is_token) => tokens.len(),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => 0,
    };
    let mut key = Encoder::with_capacity(length + 8);
    key.value(node);
    (length > 0).then(|| Element { key: key.into_bytes(), weight: length as u64, span: node.span() })
}

fn is_token(node: &Node<'_>) -> bool {
    node.as_u64().is_some()
}
