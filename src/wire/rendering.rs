//! What rendering is made of, whatever the protocol: members on one line, and text cut into deltas.
//!
//! Text is never unescaped: deltas are cut out of the JSON string as it stands, between characters and escapes.

use bytes::Bytes;

use super::{
    Answer, Fresh,
    canonical::{self, Node, compact_into, quote_into},
};

/// A delta is cut before the first space after this many bytes,
const SHORT: usize = 20;
/// and at the latest here.
const LONG: usize = 40;

/// The stored body with its `id` and `created` replaced.
pub(super) fn renamed_body(answer: &Answer, fresh: &Fresh) -> Bytes {
    let (mut id, mut edits) = (String::new(), Vec::with_capacity(2));
    quote_into(&fresh.id, &mut id);
    let created = fresh.created.to_string();
    edits.extend(answer.id_span.map(|(from, to)| (from as usize..to as usize, id.as_str())));
    edits.extend(answer.created_span.map(|(from, to)| (from as usize..to as usize, created.as_str())));
    edits.sort_unstable_by_key(|(range, _)| range.start);
    Bytes::from(canonical::splice(&answer.body, &edits))
}

/// Appends `,"key":value` on one line; `source` is what `node` was read from.
pub(super) fn member_into(key: &str, node: &Node<'_>, source: &str, out: &mut String) {
    out.push(',');
    quote_into(key, out);
    out.push(':');
    compact_into(node.raw(source), out);
}

/// The inside of a JSON string as written, cut into deltas; nothing of any other value.
pub(super) fn deltas<'s>(node: &Node<'_>, source: &'s str) -> impl Iterator<Item = &'s str> {
    let raw = if node.as_str().is_some() { node.raw(source) } else { "" };
    pieces(raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default())
}

/// Cuts the inside of a JSON string into deltas, never inside a character, an escape or a surrogate pair.
fn pieces(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() && end < LONG && (end < SHORT || bytes.get(end) != Some(&b' ')) {
            end = (end + unit(bytes.get(end..).unwrap_or_default())).min(bytes.len());
        }
        let (piece, after) = rest.split_at_checked(end).filter(|(piece, _)| !piece.is_empty())?;
        rest = after;
        Some(piece)
    })
}

/// Bytes of the first character as written.
fn unit(text: &[u8]) -> usize {
    match text {
        [b'\\', b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B', ..] => 12,
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        [0xF0..=0xFF, ..] => 4,
        [0xE0..=0xFF, ..] => 3,
        [0xC0..=0xFF, ..] => 2,
        _ => 1,
    }
}
