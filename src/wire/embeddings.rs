//! OpenAI embeddings: bodies of `/v1/embeddings`, in which each element of `input` is a question of its own.
//!
//! `request` takes a batch apart into elements and puts the missing ones together again for the upstream, `answer` turns
//! the upstream's answer into one [`Answer`](super::Answer) for each element, `render` makes any elements, old and new,
//! one answer in the encoding asked for.
//!
//! # What is kept of an element
//! One JSON object: `embedding` (the vector's f32, little-endian, in base64), `model`, and the element's share of
//! `usage`. As base64 that is a copy. As decimals it is the numbers that the upstream wrote, value for value: `decimals`
//! says whether these were the shortest ones that name each f32 (`"short"`) or, when it is absent, the f32's exact value.
//! A vector whose numbers are no f32, or whole numbers throughout, is kept as the array it came as.
//!
//! # Decisions
//! - Anything beside what the API documents (another member, another count, a vector of another length) is not taken
//!   apart: such an answer passes as it is and is not kept.
//! - An upstream counts tokens for a batch. Each element gets the share of its length, in bytes of text or in tokens, and
//!   the shares add up to the count exactly; so a batch asked again reports what it reported the first time.
//! - Vectors of two models, or of two lengths, never stand in one answer: a model behind an unchanged name was replaced.

mod answer;
mod render;
mod request;
#[cfg(test)]
mod tests;

pub(super) use answer::describe;
pub use answer::read;
pub use render::render;
pub use request::{Batch, Element, Encoding, MAX_ELEMENTS, parse};
