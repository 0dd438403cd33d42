//! JSON as the key sees it: one tree with the place of every value, and one encoding per meaning.
//!
//! Two bodies that say the same thing have the same canonical bytes: members are sorted, numbers compare by value, white
//! space and escapes do not count. Two that say different things never do: strings and numbers are length-prefixed,
//! arrays and objects are closed. A body that two readers could understand differently (duplicate keys, bad UTF-8, lone
//! surrogates) is refused, not guessed. Spans let a caller change one member of the original bytes and leave the rest.
//!
//! # Decisions
//! The parser is our own: neither a serde visitor nor `serde_json::Value` gives spans, and both lose integers beyond 64
//! bits. A property test and a fuzz target hold it to `serde_json`'s judgement of what is JSON.

mod number;
mod parse;
#[cfg(test)]
pub(super) mod strategies;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

pub use parse::{MAX_DEPTH, parse};

/// Why bytes are not taken as one unambiguous JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// Not JSON at this byte offset.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// An object names a member twice.
    #[error("a key stands twice in one object")]
    DuplicateKey,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
    /// Longer than spans can count (4 GiB).
    #[error("too large")]
    TooLarge,
}

/// A value and where it stands in the bytes it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<'a> {
    /// What it is.
    pub value: Value<'a>,
    start: u32,
    end: u32,
}

/// A JSON value. Numbers keep their text, so none is out of range.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as written.
    Number(&'a str),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// An array, in order.
    Array(Vec<Node<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// Members of an object, sorted by key, without duplicates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object<'a>(Vec<Member<'a>>);

/// One member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member<'a> {
    /// Its key, unescaped.
    pub key: Cow<'a, str>,
    /// Its value.
    pub node: Node<'a>,
    key_start: u32,
}

impl<'a> Node<'a> {
    /// Byte range of the value in the text it was read from.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The value's own text inside `source`, the text it was read from.
    pub fn raw<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.span()).unwrap_or_default()
    }

    /// True for `null`.
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The number as a float, if it is one; infinite when out of range.
    pub fn as_f64(&self) -> Option<f64> {
        match self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The number as a whole number, if it is one by value (`50`, `50.0`, `5e1`).
    pub fn as_u64(&self) -> Option<u64> {
        match self.value {
            Value::Number(text) => number::as_u64(text),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub const fn as_object(&self) -> Option<&Object<'a>> {
        match &self.value {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The member `key` of an object, unless absent or `null`.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }
}

impl<'a> Object<'a> {
    /// The value of `key`, unless absent or `null`.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.member(key).map(|member| &member.node).filter(|node| !node.is_null())
    }

    /// The member `key`, `null` or not.
    pub fn member(&self, key: &str) -> Option<&Member<'a>> {
        self.0.binary_search_by(|member| member.key.as_ref().cmp(key)).ok().and_then(|at| self.0.get(at))
    }

    /// All members, sorted by key.
    pub fn iter(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.0.iter()
    }

    /// Members that are not `null`, sorted by key.
    pub fn present(&self) -> impl Iterator<Item = &Member<'a>> {
        self.0.iter().filter(|member| !member.node.is_null())
    }

    /// True without any member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Member<'_> {
    /// Byte range from the key's opening quote to the end of the value.
    pub fn span(&self) -> Range<usize> {
        self.key_start as usize..self.node.end as usize
    }
}

/// Appends canonical bytes. Values of different meaning never encode alike, whatever follows them.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An empty encoder with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.prefixed(b's', text.as_bytes());
    }

    /// Opens an array.
    pub fn open_array(&mut self) {
        self.0.push(b'[');
    }

    /// Closes an array.
    pub fn close_array(&mut self) {
        self.0.push(b']');
    }

    /// Opens an object; keys and values follow in turn, keys sorted.
    pub fn open_object(&mut self) {
        self.0.push(b'{');
    }

    /// Closes an object.
    pub fn close_object(&mut self) {
        self.0.push(b'}');
    }

    /// A whole value. `null` members are kept: in a schema or a vendor's own field they may differ from absence.
    pub fn value(&mut self, node: &Node<'_>) {
        match &node.value {
            Value::Null => self.0.push(b'z'),
            Value::Bool(true) => self.0.push(b't'),
            Value::Bool(false) => self.0.push(b'f'),
            Value::Number(text) => self.number(text),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.open_array();
                items.iter().for_each(|item| self.value(item));
                self.close_array();
            }
            Value::Object(object) => self.members(object.iter()),
        }
    }

    /// An object of these members, which must be sorted by key.
    pub fn members<'m, 'a: 'm>(&mut self, members: impl Iterator<Item = &'m Member<'a>>) {
        self.open_object();
        for member in members {
            self.text(&member.key);
            self.value(&member.node);
        }
        self.close_object();
    }

    fn number(&mut self, text: &str) {
        match number::normalise(text) {
            Some(normal) => self.prefixed(b'n', normal.as_bytes()),
            // An exponent beyond 64 bits: no value to compare by, so the text is the value.
            None => self.prefixed(b'N', text.as_bytes()),
        }
    }

    fn prefixed(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }
}

/// Canonical bytes of a whole JSON text, `null` members dropped at no depth.
pub fn canonical(bytes: &[u8]) -> Result<Vec<u8>, NotJson> {
    let node = parse(bytes)?;
    let mut encoder = Encoder::with_capacity(bytes.len());
    encoder.value(&node);
    Ok(encoder.into_bytes())
}

/// Appends the JSON text `raw` without the white space between its tokens.
pub fn compact_into(raw: &str, out: &mut String) {
    let (mut in_string, mut escaped, mut from) = (false, false, 0);
    for (at, byte) in raw.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else if byte == b'"' {
            in_string = true;
        } else if byte.is_ascii_whitespace() {
            out.push_str(raw.get(from..at).unwrap_or_default());
            from = at + 1;
        }
    }
    out.push_str(raw.get(from..).unwrap_or_default());
}

/// The JSON text of `node`, which was read from `source`, without the white space between its tokens.
pub fn compact(node: &Node<'_>, source: &str) -> String {
    let mut out = String::new();
    compact_into(node.raw(source), &mut out);
    out
}

/// Appends `text` as a JSON string, quotes included.
pub fn quote_into(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        if escape.is_empty() {
            out.push_str("\\u00");
            out.push(char::from(b'0' + (byte >> 4)));
            out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

/// Replaces byte ranges of `source`, which must be in order and apart.
pub fn splice(source: &[u8], edits: &[(Range<usize>, &str)]) -> Vec<u8> {
    let grown: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(source.len() + grown);
    let mut from = 0;
    for (range, text) in edits {
        out.extend_from_slice(source.get(from..range.start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(source.get(from..).unwrap_or_default());
    out
}

/// `source` without `member`; the same bytes when there is none to leave out.
pub fn without(source: &Bytes, member: Option<&Member<'_>>) -> Bytes {
    member.map_or_else(|| source.clone(), |member| Bytes::from(splice(source, &[(removal(source, member), "")])))
}

/// The byte range that removes `member` from its object in `source`, together with one comma if it has a neighbour.
pub fn removal(source: &[u8], member: &Member<'_>) -> Range<usize> {
    let Range { start, end } = member.span();
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let after = source.get(end..).unwrap_or_default().iter().position(|b| !blank(b)).map_or(end, |skip| end + skip);
    if source.get(after) == Some(&b',') {
        return start..after + 1;
    }
    let before = source.get(..start).unwrap_or_default().iter().rposition(|b| !blank(b)).unwrap_or(start);
    if source.get(before) == Some(&b',') { before..end } else { start..end }
}
