//! Events in their frames: named, numbered from 0, one line of data each.

use bytes::Bytes;

use crate::wire::canonical::compact_into;

/// A stream being written.
#[derive(Debug)]
pub(super) struct Stream {
    out: String,
    events: usize,
}

/// An event being written.
#[derive(Debug)]
pub(super) struct Event<'s>(&'s mut String);

impl Stream {
    /// An empty stream with room for `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { out: String::with_capacity(capacity), events: 0 }
    }

    /// One event; `write` appends the members after its type and number.
    pub(super) fn event(&mut self, name: &str, write: impl FnOnce(&mut Event<'_>)) {
        let number = self.events.to_string();
        self.events += 1;
        self.out.extend(["event: ", name, "\ndata: {\"type\":\"", name, "\",\"sequence_number\":", &number]);
        write(&mut Event(&mut self.out));
        self.out.push_str("}\n\n");
    }

    /// All frames.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from(self.out)
    }
}

impl Event<'_> {
    /// A member whose value is JSON text.
    pub(super) fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        compact_into(json, self.0);
    }

    /// A member whose value is the inside of a JSON string.
    pub(super) fn text(&mut self, key: &str, inside: &str) {
        self.key(key);
        self.0.extend(["\"", inside, "\""]);
    }

    /// A member whose value is a number.
    pub(super) fn number(&mut self, key: &str, number: usize) {
        self.key(key);
        self.0.push_str(&number.to_string());
    }

    fn key(&mut self, key: &str) {
        self.0.extend([",\"", key, "\":"]);
    }
}
