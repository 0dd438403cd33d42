//! A BERT encoder's arithmetic: summed vectors of tokens in, hidden states out, on int8 weights and one thread.
//!
//! A crate of its own so that it is optimised in debug builds too, where the tests run it. It knows nothing of files,
//! vocabularies and heads; `semblance::model` does.

mod linear;
mod transformer;

pub use linear::{Linear, PANEL};
pub use transformer::{Encoder, Layer, Norm, Workspace};
