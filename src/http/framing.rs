//! A connection's bytes on their way to the HTTP library, watched for what it lets pass: a head that gives the length of
//! its body in two ways.
//!
//! Of a head with both `Content-Length` and `Transfer-Encoding` the library drops the first without a word, although
//! whoever passed the request on may have gone by it (RFC 9112 6.1 and 6.3: request smuggling).

use std::{
    io::{self, BufRead},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The names that matter, each with its colon.
const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";

/// Mark of a request whose head gave two lengths.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramedTwice;

/// What is known of the heads that a connection's [`Watched`] stream has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Arc<AtomicBool>);

impl Heads {
    /// Marks the request whose head was read last, if it gave two lengths.
    pub(super) fn mark<B>(&self, request: &mut Request<B>) {
        if self.0.swap(false, Ordering::Relaxed) {
            request.extensions_mut().insert(FramedTwice);
        }
    }
}

/// A stream whose reads are watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    lines: Lines,
    heads: Heads,
}

impl<S> Watched<S> {
    /// `inner` and what is known of the heads read from it. HTTP/2 has no such lines, so none is found in it.
    pub(super) fn new(inner: S) -> (Self, Heads) {
        let heads = Heads::default();
        (Self { inner, lines: Lines::default(), heads: heads.clone() }, heads)
    }
}

/// The lines of the block that is being read: a head is one, and ends with an empty line.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of the current line.
    line: Vec<u8>,
    length: bool,
    coding: bool,
}

impl Lines {
    /// Reads on; true when a block ended that has both names.
    fn read(&mut self, bytes: &[u8]) -> bool {
        let mut both = false;
        let mut rest = bytes;
        // As fast as memory is read; a slice gives no error.
        while let Ok(length @ 1..) = (&mut &*rest).skip_until(b'\n') {
            let (line, after) = rest.split_at(length);
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    self.begin(line);
                    both |= self.end();
                }
                None => self.begin(line),
            }
            rest = after;
        }
        both
    }

    fn begin(&mut self, part: &[u8]) {
        let room = CODING.len().saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
    }

    fn end(&mut self) -> bool {
        let named = |name: &[u8]| self.line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let (length, coding) = (named(LENGTH), named(CODING));
        let blank = matches!(self.line.as_slice(), [] | [b'\r']);
        self.line.clear();
        if blank {
            let both = self.length && self.coding;
            (self.length, self.coding) = (false, false);
            return both;
        }
        self.length |= length;
        self.coding |= coding;
        false
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.lines.read(buf.filled().get(before..).unwrap_or_default()) {
            self.heads.0.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a head in `bytes`, read in pieces of any length, gave two lengths.
    fn twice(bytes: &str) -> bool {
        let found: Vec<bool> = (1..=bytes.len())
            .map(|step| {
                let mut lines = Lines::default();
                bytes.as_bytes().chunks(step).fold(false, |both, piece| lines.read(piece) | both)
            })
            .collect();
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{bytes:?}");
        found[0]
    }

    #[test]
    fn a_head_with_both_lengths_is_seen_in_any_order_and_case_and_however_it_is_cut() {
        let head = |lines: &str| format!("POST /v1/x HTTP/1.1\r\nhost: h\r\n{lines}\r\nbody");
        assert!(twice(&head("content-length: 4\r\ntransfer-encoding: chunked\r\n")));
        assert!(twice(&head("Transfer-Encoding: chunked\r\na: b\r\nCONTENT-LENGTH:4\r\n")));
        assert!(twice("POST /v1/x HTTP/1.1\ncontent-length: 4\ntransfer-encoding: chunked\n\n"));
        assert!(!twice(&head("content-length: 4\r\ncontent-length: 4\r\n")));
        assert!(!twice(&head("x-transfer-encoding: chunked\r\ncontent-length: 4\r\n")));
        let two = format!("{}\r\n{}", head("content-length: 4\r\n"), head("transfer-encoding: chunked\r\n"));
        assert!(!twice(&two), "one each in two heads");
    }
}
