//! OpenAI's legacy completions: bodies and streams of `/v1/completions`.
//!
//! A prompt is text to go on with, not a question: its answers are found by fingerprint only. Framing, errors and the
//! usage chunk are those of [`chat`](super::chat); `request` says what goes into the key, `reduce` what a stream adds up
//! to, `judge` what may be stored, `render` how it becomes a stream again.

mod judge;
mod reduce;
mod render;
mod request;
#[cfg(test)]
mod tests;

pub(super) use judge::{describe, judge};
pub(super) use reduce::Reduction;
pub(super) use render::render_stream;
pub(super) use request::parse;
