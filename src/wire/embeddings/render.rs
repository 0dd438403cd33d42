//! Kept elements, from wherever they came, as one answer.

use std::fmt::Write;

use bytes::Bytes;

use super::{
    Encoding,
    answer::{Decimals, decode, dimensions_of, encode, floats},
};
use crate::wire::{
    Answer, Usage,
    canonical::{self, Node, Value, compact_into, quote_into},
};

/// The answer of which `elements` are the parts, in order. `None` when they do not belong together (another model, another
/// length), or one is damaged: then none of them may be served beside the others.
pub fn render(elements: &[&Answer], encoding: Encoding) -> Option<Bytes> {
    let first = elements.first()?;
    let mut out = String::with_capacity(elements.iter().map(|element| element.body.len() * 3).sum());
    out.push_str("{\"object\":\"list\",\"data\":[");
    let mut length = None;
    for (at, element) in elements.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, "{{\"object\":\"embedding\",\"index\":{at},\"embedding\":");
        let dimensions = vector(element, encoding, &mut out)?;
        if element.model != first.model || *length.get_or_insert(dimensions) != dimensions {
            return None;
        }
        out.push('}');
    }
    out.push_str("],\"model\":");
    quote_into(&first.model, &mut out);
    if let Some(Usage { input, .. }) = usage(elements) {
        let _ = write!(out, ",\"usage\":{{\"prompt_tokens\":{input},\"total_tokens\":{input}}}");
    }
    out.push('}');
    Some(Bytes::from(out))
}

/// What the elements took together, when that is known of each.
fn usage(elements: &[&Answer]) -> Option<Usage> {
    let input = elements.iter().map(|element| Some(element.usage?.input)).sum::<Option<u64>>()?;
    Some(Usage { input, output: 0 })
}

/// Appends a vector and returns its length.
fn vector(element: &Answer, encoding: Encoding, out: &mut String) -> Option<usize> {
    let root = canonical::parse(&element.body).ok()?;
    let kept = root.get("embedding")?;
    let source = std::str::from_utf8(&element.body).ok()?;
    match (&kept.value, encoding) {
        (Value::String(text), Encoding::Base64) => {
            quote_into(text, out);
            Some(dimensions_of(text))
        }
        (Value::String(text), Encoding::Float) => {
            let short = root.get("decimals").and_then(Node::as_str) == Some("short");
            let decimals = if short { Decimals::Short } else { Decimals::Exact };
            let values = decode(text)?;
            for (at, value) in values.iter().enumerate() {
                out.push(if at > 0 { ',' } else { '[' });
                decimals.write(*value, out);
            }
            out.push(']');
            Some(values.len())
        }
        (Value::Array(numbers), Encoding::Base64) => {
            let values = floats(numbers)?;
            quote_into(&encode(&values), out);
            Some(values.len())
        }
        (Value::Array(numbers), Encoding::Float) => {
            compact_into(kept.raw(source), out);
            Some(numbers.len())
        }
        _ => None,
    }
}
