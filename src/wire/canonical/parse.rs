//! A strict RFC 8259 reader: the whole text, one value, no duplicate keys, bounded depth.

use std::borrow::Cow;

use super::{Member, Node, NotJson, Object, Value};

/// Deepest nesting accepted, as in `serde_json`.
pub const MAX_DEPTH: usize = 127;

/// Reads `bytes` as exactly one JSON value.
pub fn parse(bytes: &[u8]) -> Result<Node<'_>, NotJson> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(NotJson::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotJson::Utf8)?;
    let mut parser = Parser { text, bytes, at: 0, depth: 0 };
    parser.blank();
    let node = parser.node()?;
    parser.blank();
    if parser.at == bytes.len() { Ok(node) } else { Err(parser.syntax()) }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// Offsets fit: the length was checked before the first of them was made.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl<'a> Parser<'a> {
    const fn syntax(&self) -> NotJson {
        NotJson::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.eat(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    fn node(&mut self) -> Result<Node<'a>, NotJson> {
        let start = offset(self.at);
        let value = match self.peek() {
            Some(b'"') => Value::String(self.string()?),
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b't') => self.literal("true", Value::Bool(true))?,
            Some(b'f') => self.literal("false", Value::Bool(false))?,
            Some(b'n') => self.literal("null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            _ => return Err(self.syntax()),
        };
        Ok(Node { value, start, end: offset(self.at) })
    }

    fn literal(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NotJson> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(value)
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value<'a>, NotJson>) -> Result<Value<'a>, NotJson> {
        if self.depth == MAX_DEPTH {
            return Err(NotJson::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        self.blank();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value<'a>, NotJson> {
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.node()?);
            self.blank();
            if self.eat(b']') {
                return Ok(Value::Array(items));
            }
            self.expect(b',')?;
            self.blank();
        }
    }

    fn object(&mut self) -> Result<Value<'a>, NotJson> {
        let mut members = Vec::new();
        if self.eat(b'}') {
            return Ok(Value::Object(Object(members)));
        }
        loop {
            let key_start = offset(self.at);
            let key = self.string()?;
            self.blank();
            self.expect(b':')?;
            self.blank();
            let node = self.node()?;
            members.push(Member { key, node, key_start });
            self.blank();
            if self.eat(b'}') {
                return sorted(members);
            }
            self.expect(b',')?;
            self.blank();
        }
    }

    fn number(&mut self) -> Result<&'a str, NotJson> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax()) } else { Ok(()) }
    }

    /// Moves to the next quote or backslash; control characters are not allowed before it.
    fn run(&mut self) -> Result<&'a str, NotJson> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let stop = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len());
        self.at += stop;
        match self.peek() {
            Some(b'"' | b'\\') => Ok(self.text.get(start..self.at).unwrap_or_default()),
            _ => Err(self.syntax()),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.expect(b'"')?;
        let plain = self.run()?;
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while !self.eat(b'"') {
            self.at += 1;
            text.push(self.escape()?);
            text.push_str(self.run()?);
        }
        Ok(Cow::Owned(text))
    }

    /// The character after a backslash.
    fn escape(&mut self) -> Result<char, NotJson> {
        let letter = self.peek().ok_or_else(|| self.syntax())?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.syntax()),
        })
    }

    /// A `\u` escape, or the surrogate pair that it begins. A lone surrogate is no character.
    fn unicode(&mut self) -> Result<char, NotJson> {
        let first = self.hex()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.syntax());
        }
        self.expect(b'\\')?;
        self.expect(b'u')?;
        let second = self.hex()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(self.syntax());
        }
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or_else(|| self.syntax())
    }

    fn hex(&mut self) -> Result<u32, NotJson> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16)).ok_or_else(|| self.syntax())?;
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }
}

fn sorted(mut members: Vec<Member<'_>>) -> Result<Value<'_>, NotJson> {
    members.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    if members.windows(2).any(|pair| matches!(pair, [a, b] if a.key == b.key)) {
        return Err(NotJson::DuplicateKey);
    }
    Ok(Value::Object(Object(members)))
}
