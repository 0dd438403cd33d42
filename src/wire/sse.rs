//! Framing of streams, of events or of lines: bytes in any pieces to whole frames and back.
//!
//! A frame is everything up to and including its blank line, so that the frames' raw bytes, in order, are the stream
//! (I11). How the stream was cut into pieces never changes the frames. Lines end in LF, CRLF or CR; a CR that ends the
//! bytes so far waits for the next byte, which may belong to it.

#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use super::{BodyKind, Family};

/// One block of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The bytes as received, terminator included.
    pub raw: Bytes,
    /// Value of the `event` field; the last one counts.
    pub event: Option<Bytes>,
    /// Values of the `data` fields joined by newlines; `None` when there is none (a comment, a blank line).
    pub data: Option<Bytes>,
}

/// A frame grew beyond the bound. Feed no more: what was not yet a frame is in [`Reader::finish`]'s leftover, and the rest
/// of the stream can only be passed on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event-stream frame is larger than {limit} bytes")]
pub struct FrameTooLarge {
    /// The bound, in bytes.
    pub limit: usize,
}

impl FrameTooLarge {
    /// Stable reason for metrics and logs.
    pub const fn reason(self) -> &'static str {
        "frame-too-large"
    }
}

/// What was held back when a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// A last frame whose terminator was only certain at the end.
    pub frame: Option<Frame>,
    /// Bytes of a frame without its blank line; empty after a whole stream.
    pub leftover: Bytes,
}

/// Turns pieces of an event stream into frames.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    /// Bytes of `buffer` already looked at.
    scanned: usize,
    /// Where the current line begins.
    line: usize,
    begun: bool,
    /// Each line is a frame, and its data.
    by_line: bool,
    limit: usize,
}

impl Reader {
    /// A reader that refuses frames above `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, line: 0, begun: false, by_line: false, limit }
    }

    /// A reader of lines (NDJSON): each is a frame of its own, and its data. The last may lack its line break.
    pub fn of_lines(limit: usize) -> Self {
        Self { by_line: true, ..Self::new(limit) }
    }

    /// A reader of the streams of `family`.
    pub fn of(family: Family, limit: usize) -> Self {
        match family.streams_as() {
            BodyKind::Lines => Self::of_lines(limit),
            _ => Self::new(limit),
        }
    }

    /// Takes the next piece and appends the frames it completes to `frames`.
    pub fn feed(&mut self, piece: &[u8], frames: &mut Vec<Frame>) -> Result<(), FrameTooLarge> {
        self.buffer.extend_from_slice(piece);
        while let Some(end) = self.frame_end(false) {
            if end > self.limit {
                return Err(FrameTooLarge { limit: self.limit });
            }
            frames.push(self.take(end));
        }
        if self.buffer.len() > self.limit { Err(FrameTooLarge { limit: self.limit }) } else { Ok(()) }
    }

    /// Ends the stream.
    pub fn finish(mut self) -> Ending {
        let frame = self.frame_end(true).filter(|end| *end <= self.limit).map(|end| self.take(end));
        Ending { frame, leftover: self.buffer.freeze() }
    }

    /// Where the first frame ends, if it does. Keeps its place, so that many small pieces cost no more than one.
    fn frame_end(&mut self, at_end: bool) -> Option<usize> {
        if self.by_line {
            return self.line_end(at_end);
        }
        while let Some(&byte) = self.buffer.get(self.scanned) {
            let width = match (byte, self.buffer.get(self.scanned + 1)) {
                (b'\n', _) => 1,
                (b'\r', Some(b'\n')) => 2,
                (b'\r', None) if !at_end => return None,
                (b'\r', _) => 1,
                _ => {
                    self.scanned += 1;
                    continue;
                }
            };
            let blank = self.scanned == self.line;
            self.scanned += width;
            self.line = self.scanned;
            if blank {
                return Some(self.scanned);
            }
        }
        None
    }

    fn line_end(&mut self, at_end: bool) -> Option<usize> {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        let found = rest.iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at + 1);
        self.scanned = self.buffer.len();
        found.or_else(|| (at_end && !self.buffer.is_empty()).then_some(self.buffer.len()))
    }

    fn take(&mut self, end: usize) -> Frame {
        let raw = self.buffer.split_to(end).freeze();
        self.scanned = 0;
        self.line = 0;
        if self.by_line {
            let line = raw.trim_ascii();
            let data = (!line.is_empty()).then(|| raw.slice_ref(line));
            return Frame { raw, event: None, data };
        }
        let skip = if !self.begun && raw.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        self.begun = true;
        Frame::read(raw, skip)
    }
}

/// The frames of a whole stream that is already in memory.
pub(super) fn frames(stream: &[u8]) -> impl Iterator<Item = Frame> {
    let (mut reader, mut read) = (Reader::new(usize::MAX), Vec::new());
    // Without a limit no frame is too large.
    let _whole = reader.feed(stream, &mut read);
    read.into_iter().chain(reader.finish().frame)
}

impl Frame {
    fn read(raw: Bytes, skip: usize) -> Self {
        let (mut event, mut data) = (None, None::<Bytes>);
        for (from, to) in lines(&raw, skip) {
            let line = raw.get(from..to).unwrap_or_default();
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let mut value = (from + colon + 1).min(to);
            value += usize::from(raw.get(value..to).is_some_and(|rest| rest.starts_with(b" ")));
            let value = raw.slice(value..to);
            match line.get(..colon).unwrap_or_default() {
                b"event" => event = Some(value),
                b"data" => data = Some(data.map_or_else(|| value.clone(), |before| joined(&before, &value))),
                _ => {}
            }
        }
        Self { raw, event, data }
    }

    /// The same frame with other data; event name kept, comments dropped. JSON data is one line wherever its strings
    /// end, so a line break in it stands between tokens and becomes a `data` line of its own.
    pub(super) fn with_data(&self, data: &[u8]) -> Self {
        let mut raw = BytesMut::with_capacity(data.len() + 16);
        if let Some(event) = &self.event {
            raw.extend_from_slice(b"event: ");
            raw.extend_from_slice(event);
            raw.extend_from_slice(b"\n");
        }
        for line in data.split(|byte| *byte == b'\n') {
            raw.extend_from_slice(b"data: ");
            raw.extend_from_slice(line);
            raw.extend_from_slice(b"\n");
        }
        raw.extend_from_slice(b"\n");
        Self { raw: raw.freeze(), event: self.event.clone(), data: Some(Bytes::copy_from_slice(data)) }
    }
}

fn joined(before: &[u8], value: &[u8]) -> Bytes {
    Bytes::from([before, b"\n", value].concat())
}

/// Byte ranges of the lines of `raw` from `at` on, without their terminators.
fn lines(raw: &[u8], mut at: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    std::iter::from_fn(move || {
        let rest = raw.get(at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
        let line = (at, at + length);
        let crlf = rest.get(length..).is_some_and(|end| end.starts_with(b"\r\n"));
        at += length + if crlf { 2 } else { 1 };
        Some(line)
    })
}
