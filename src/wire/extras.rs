//! Members of an answer that a reduction has no field of its own for.

use super::canonical::quote_into;

/// Such members, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Extras(Vec<(String, Extra)>);

/// What a member says.
#[derive(Debug, PartialEq)]
pub(super) enum Extra {
    /// Text, unescaped; more may be appended.
    Text(String),
    /// JSON as written, on one line.
    Raw(String),
}

impl Extras {
    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Extra> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Sets `key`; true when another value was overwritten.
    pub(super) fn set(&mut self, key: &str, value: Extra) -> bool {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => {
                let changed = *known != value;
                *known = value;
                changed
            }
            None => {
                self.0.push((key.to_owned(), value));
                false
            }
        }
    }

    /// Appends to the text of `key`; true when a value of another kind was overwritten.
    pub(super) fn append(&mut self, key: &str, piece: &str) -> bool {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, Extra::Text(text))) => {
                text.push_str(piece);
                false
            }
            _ => self.set(key, Extra::Text(piece.to_owned())),
        }
    }

    /// Appends each member as `,"key":value`.
    pub(super) fn write(&self, out: &mut String) {
        self.write_where(|_| true, out);
    }

    /// As [`Self::write`], of the members with a `wanted` key.
    pub(super) fn write_where(&self, wanted: impl Fn(&str) -> bool, out: &mut String) {
        for (key, value) in self.0.iter().filter(|(key, _)| wanted(key)) {
            out.push(',');
            quote_into(key, out);
            out.push(':');
            value.write(out);
        }
    }
}

impl Extra {
    /// Appends the value as JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => quote_into(text, out),
            Self::Raw(raw) => out.push_str(raw),
        }
    }
}
