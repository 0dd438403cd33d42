//! The upstream's answer to a batch, as one answer for each element.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    outcome::NotStored,
    wire::{
        Answer, Description, Family, Usage,
        canonical::{self, Node, Object, Value, compact_into, quote_into},
    },
};

/// Members of an answer; `id` and `created` name the call, not the vectors.
const KNOWN: [&str; 6] = ["object", "data", "model", "usage", "id", "created"];

/// Takes an upstream's answer apart: one answer for each element asked for, in the order asked for, whatever the order in
/// which they came. `weights` are the elements' shares of the usage. `Err` says why nothing of it may be kept.
pub fn read(body: &Bytes, weights: &[u64]) -> Result<Vec<Answer>, NotStored> {
    let node = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    let source = std::str::from_utf8(body).map_err(|_| NotStored::Malformed)?;
    let root = node.as_object().ok_or(NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    let model = root.get("model").and_then(Node::as_str).ok_or(NotStored::Malformed)?;
    let data = root.get("data").and_then(Node::as_array).ok_or(NotStored::Malformed)?;
    let known = root.present().all(|member| KNOWN.contains(&member.key.as_ref()));
    if !known || data.len() != weights.len() {
        return Err(NotStored::Malformed);
    }
    let shares = usage(root.get("usage"))?.map(|total| shares(total, weights));
    let mut answers = vec![None; weights.len()];
    let mut length = None;
    for item in data {
        let (index, vector) = item_of(item).ok_or(NotStored::Malformed)?;
        let (written, dimensions) = written(vector, source).ok_or(NotStored::Malformed)?;
        let usage = shares.as_ref().and_then(|shares| shares.get(index).copied());
        let slot = answers.get_mut(index).filter(|slot| slot.is_none()).ok_or(NotStored::Malformed)?;
        if *length.get_or_insert(dimensions) != dimensions {
            return Err(NotStored::Malformed);
        }
        *slot = Answer::new(Family::Embeddings, Bytes::from(kept(&written, model, usage)), None).ok();
    }
    answers.into_iter().collect::<Option<_>>().ok_or(NotStored::Malformed)
}

/// The index and the vector of one item.
fn item_of<'n, 'a>(item: &'n Node<'a>) -> Option<(usize, &'n Node<'a>)> {
    let object: &Object<'a> = item.as_object()?;
    let known = |key: &str| matches!(key, "object" | "index" | "embedding");
    let whole = object.present().all(|member| known(&member.key))
        && object.get("object").and_then(Node::as_str) == Some("embedding");
    let index = usize::try_from(object.get("index")?.as_u64()?).ok()?;
    Some((index, object.get("embedding")?)).filter(|_| whole)
}

/// Tokens of the whole batch. An embedding has no completion: another total is another way of counting.
fn usage(usage: Option<&Node<'_>>) -> Result<Option<u64>, NotStored> {
    let Some(usage) = usage else { return Ok(None) };
    let count = |key| usage.get(key).and_then(Node::as_u64);
    match (count("prompt_tokens"), count("total_tokens")) {
        (Some(prompt), Some(total)) if prompt == total => Ok(Some(total)),
        _ => Err(NotStored::Malformed),
    }
}

/// Splits `total` in proportion to `weights`; the parts add up to it.
pub(super) fn shares(total: u64, weights: &[u64]) -> Vec<u64> {
    let whole: u128 = weights.iter().map(|weight| u128::from(*weight)).sum::<u128>().max(1);
    let (mut weight, mut given) = (0u128, 0u128);
    let share = |part: &u64| {
        weight += u128::from(*part);
        let until = u128::from(total) * weight / whole;
        let share = until - given;
        given = until;
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    weights.iter().map(share).collect()
}

/// A vector as the members that keep it, `"embedding":...` and what belongs to it, and its length.
fn written(vector: &Node<'_>, source: &str) -> Option<(String, usize)> {
    let mut out = String::from("\"embedding\":");
    let dimensions = match &vector.value {
        Value::String(text) => {
            quote_into(text, &mut out);
            decode(text)?.len()
        }
        Value::Array(numbers) => {
            let values = floats(numbers)?;
            match Decimals::of(numbers, &values, source) {
                Some(decimals) => {
                    quote_into(&encode(&values), &mut out);
                    out.push_str(if decimals == Decimals::Short { ",\"decimals\":\"short\"" } else { "" });
                }
                None => compact_into(vector.raw(source), &mut out),
            }
            values.len()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    Some((out, dimensions))
}

fn kept(written: &str, model: &str, usage: Option<u64>) -> String {
    let mut out = format!("{{\"object\":\"embedding\",{written},\"model\":");
    quote_into(model, &mut out);
    if let Some(tokens) = usage {
        // Writing to a String cannot fail.
        let _ = write!(out, ",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}");
    }
    out.push('}');
    out
}

/// Reads what an [`Answer`] keeps beside its body. `None` when `body` is no kept element.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    let vector = root.get("embedding")?;
    vector.as_str().map(|_| ()).or_else(|| vector.as_array().map(|_| ()))?;
    let tokens = root.get("usage").and_then(|usage| usage.get("prompt_tokens")).and_then(Node::as_u64);
    Some(Description {
        id_span: None,
        created_span: None,
        text: String::new(),
        model: root.get("model").and_then(Node::as_str)?.to_owned(),
        usage: tokens.map(|input| Usage { input, output: 0 }),
    })
}

/// How an f32 is written as a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decimals {
    /// With the fewest digits that name it among all f32.
    Short,
    /// With the fewest digits that name its exact value among all f64.
    Exact,
}

impl Decimals {
    /// The way of writing that gives back `numbers`, value for value as a reader of f64 sees them. `None` when neither
    /// does, and for whole numbers, which a reader may want as such.
    fn of(numbers: &[Node<'_>], values: &[f32], source: &str) -> Option<Self> {
        if numbers.iter().all(|number| !number.raw(source).contains(['.', 'e', 'E'])) {
            return None;
        }
        let mut text = String::new();
        [Self::Short, Self::Exact].into_iter().find(|decimals| {
            numbers.iter().zip(values).all(|(number, value)| {
                text.clear();
                decimals.write(*value, &mut text);
                number.as_f64() == text.parse().ok()
            })
        })
    }

    /// Appends `value` as JSON.
    pub(super) fn write(self, value: f32, out: &mut String) {
        // Writing to a String cannot fail. The debug form has an exponent where digits would be many.
        let _ = match self {
            Self::Short => write!(out, "{value:?}"),
            Self::Exact => write!(out, "{:?}", f64::from(value)),
        };
    }
}

/// Numbers as f32, each the nearest one. `None` when one is out of range, or there is none.
pub(super) fn floats(numbers: &[Node<'_>]) -> Option<Vec<f32>> {
    let float = |number: &Node<'_>| match number.value {
        Value::Number(text) => text.parse::<f32>().ok().filter(|value| value.is_finite()),
        _ => None,
    };
    Some(numbers.iter().map(float).collect::<Option<Vec<f32>>>()?).filter(|values| !values.is_empty())
}

/// Little-endian f32 in base64.
pub(super) fn encode(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// The inverse of [`encode`]; `None` when the text is something else, has no value or one that is not finite.
pub(super) fn decode(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (chunks, rest) = bytes.as_chunks::<4>();
    let values: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    (rest.is_empty() && !values.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
}

/// Numbers of a vector that is kept in base64, without decoding it.
pub(super) const fn dimensions_of(text: &str) -> usize {
    let padding = match text.as_bytes() {
        [.., b'=', b'='] => 2,
        [.., b'='] => 1,
        _ => 0,
    };
    (text.len() / 4 * 3 - padding) / 4
}
