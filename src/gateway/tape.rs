//! Records an event stream while it passes.
//!
//! The terminal marker is held back until the answer is kept, so that a client that has seen the end finds the answer in
//! the cache.

use bytes::Bytes;

use super::flight::Chunk;
use crate::{
    outcome::NotStored,
    wire::{self, Family, Recorder, sse},
};

/// The recorder's ear on a passing stream.
#[derive(Debug)]
pub(super) struct Tape {
    family: Family,
    reader: sse::Reader,
    recorder: Recorder,
    held: Vec<Chunk>,
    /// The terminal marker has come.
    done: bool,
    /// A frame was too large: from then on bytes pass unread.
    unread: bool,
}

/// What a stream came to.
#[derive(Debug)]
pub(super) struct Reel {
    /// What was held back.
    pub(super) rest: Vec<Chunk>,
    /// What was recorded.
    pub(super) finished: wire::Finished,
    /// Whether the upstream said all it had to say; otherwise clients must see an abort.
    pub(super) ended: bool,
}

impl Tape {
    pub(super) fn new(family: Family, recorder: Recorder, largest_frame: usize) -> Self {
        Self {
            family,
            reader: sse::Reader::of(family, largest_frame),
            recorder,
            held: Vec::new(),
            done: false,
            unread: false,
        }
    }

    /// Whether the terminal marker has come, after which nothing more is waited for.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Takes bytes of the body and returns what may pass.
    pub(super) fn record(&mut self, bytes: &Bytes) -> Vec<Chunk> {
        if self.unread {
            return vec![Chunk::plain(bytes.clone())];
        }
        let mut frames = Vec::new();
        let fed = self.reader.feed(bytes, &mut frames);
        let mut ready: Vec<Chunk> = frames.into_iter().filter_map(|frame| self.take(&frame)).collect();
        if fed.is_err() {
            self.recorder.refuse(NotStored::TooLarge);
            self.unread = true;
            ready.append(&mut self.held);
            let reader = std::mem::replace(&mut self.reader, sse::Reader::new(0));
            ready.push(Chunk::plain(reader.finish().leftover));
        }
        ready
    }

    /// Records a frame and returns it, unless it is held back.
    fn take(&mut self, frame: &sse::Frame) -> Option<Chunk> {
        self.recorder.frame(frame);
        let chunk = Chunk { without_usage: wire::strip_usage(self.family, frame), raw: frame.raw.clone() };
        self.done |= wire::is_terminal(self.family, frame);
        if self.done {
            self.held.push(chunk);
            return None;
        }
        Some(chunk)
    }

    /// Ends the recording; `clean` when the body ended as its framing promised.
    pub(super) fn finish(mut self, clean: bool) -> Reel {
        let reader = std::mem::replace(&mut self.reader, sse::Reader::new(0));
        let ending = reader.finish();
        let last = ending.frame.and_then(|frame| self.take(&frame));
        let clean = clean && ending.leftover.is_empty();
        let Self { recorder, held, done, .. } = self;
        let mut rest: Vec<Chunk> = last.into_iter().chain(held).collect();
        if !ending.leftover.is_empty() {
            rest.push(Chunk::plain(ending.leftover));
        }
        let mut finished = recorder.finish_stream(clean);
        let ended = done || finished.whole || finished.verdict == Err(NotStored::ErrorBody);
        if !ended {
            finished.answer = None;
        }
        Reel { rest, finished, ended }
    }
}
