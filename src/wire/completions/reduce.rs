//! What the chunks of a completion say: texts are concatenated.
//!
//! A member that changes from chunk to chunk has no way of adding up, and the stream then keeps its frames.

use crate::{
    outcome::NotStored,
    wire::{
        canonical::{Node, quote_into},
        chunks::reduce::{self, Said, text},
    },
};

/// What the chunks so far add up to.
pub(in crate::wire) type Reduction = reduce::Reduction<Text>;

/// The text of a completion.
#[derive(Debug, Default)]
pub(in crate::wire) struct Text(String);

impl Said for Text {
    const OBJECT: &'static str = "text_completion";
    const CHANGES_ARE_LOST: bool = true;

    fn member(&mut self, key: &str, node: &Node<'_>, _: &str) -> Result<bool, NotStored> {
        if key != "text" {
            return Ok(false);
        }
        self.0.push_str(text(node)?);
        Ok(true)
    }

    fn said(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut String) {
        out.push_str("\"text\":");
        quote_into(&self.0, out);
        out.push_str(",\"index\":0");
    }
}
