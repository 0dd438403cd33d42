//! What a `text_completion` object says, and whether it may be stored (wire.md 3.4).

use crate::{
    outcome::NotStored,
    wire::{
        Description,
        canonical::{self, Node},
        chat::tokens,
        fields::judge_text,
    },
};

/// Reads what an [`Answer`](crate::wire::Answer) keeps beside its body. `None` when `body` is no completion.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    let text = choices(&root).first()?.get("text")?.as_str()?;
    Some(Description::of(&root, Some("created"), text.to_owned(), tokens))
}

/// Whether a whole answer may be stored.
pub(in crate::wire) fn judge(body: &[u8]) -> Result<(), NotStored> {
    let root = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    let [choice] = choices(&root) else { return Err(NotStored::Malformed) };
    let text = choice.get("text").and_then(Node::as_str).ok_or(NotStored::Malformed)?;
    match choice.get("finish_reason").and_then(Node::as_str) {
        Some("stop") => judge_text(text, false),
        Some("length") => Err(NotStored::FinishLength),
        Some("content_filter") => Err(NotStored::FinishFilter),
        _ => Err(NotStored::FinishOther),
    }
}

fn choices<'n, 'a>(root: &'n Node<'a>) -> &'n [Node<'a>] {
    root.get("choices").and_then(Node::as_array).unwrap_or_default()
}
