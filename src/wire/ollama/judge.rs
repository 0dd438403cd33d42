//! What an answer says, and whether it may be stored (wire.md 2.8).

use crate::{
    outcome::NotStored,
    wire::{
        Description, RecordSettings, Usage,
        canonical::{self, Node},
        fields::judge_text,
    },
};

/// Reads what an [`Answer`](crate::wire::Answer) keeps beside its body. `None` when `body` is none of this protocol.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    root.get("model")?.as_str()?;
    let text = text(&root)?.to_owned();
    Some(Description { usage: tokens(&root), ..Description::of(&root, None, text, |_| None) })
}

/// Whether a whole answer may be stored.
pub(in crate::wire) fn judge(body: &[u8], settings: &RecordSettings, wants_json: bool) -> Result<(), NotStored> {
    let root = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    let text = text(&root).ok_or(NotStored::Malformed)?;
    if root.get("done").and_then(Node::as_bool) != Some(true) {
        return Err(NotStored::Incomplete);
    }
    match root.get("done_reason").and_then(Node::as_str) {
        Some("stop") => {}
        Some("length") => return Err(NotStored::FinishLength),
        _ => return Err(NotStored::FinishOther),
    }
    // Without a count it is not known to fit a limit.
    tokens(&root).ok_or(NotStored::Malformed)?;
    match holds_calls(&root) {
        true if settings.allow_tool_calls => Ok(()),
        true => Err(NotStored::FinishTool),
        false => judge_text(text, wants_json),
    }
}

/// Whether the answer calls a tool: such an answer may be found by fingerprint only.
pub(in crate::wire) fn calls_tools(body: &[u8]) -> bool {
    canonical::parse(body).is_ok_and(|root| holds_calls(&root))
}

fn holds_calls(root: &Node<'_>) -> bool {
    let calls = root.get("message").and_then(|message| message.get("tool_calls"));
    calls.and_then(Node::as_array).is_some_and(|calls| !calls.is_empty())
}

/// `/api/chat` answers with a message, `/api/generate` with a response.
fn text<'n>(root: &'n Node<'_>) -> Option<&'n str> {
    match root.get("message") {
        Some(message) => message.get("content").map_or(Some(""), Node::as_str),
        None => root.get("response")?.as_str(),
    }
}

/// The counts; a prompt that the server had read before is not counted.
fn tokens(root: &Node<'_>) -> Option<Usage> {
    let count = |key| root.get(key).and_then(Node::as_u64);
    Some(Usage { input: count("prompt_eval_count").unwrap_or_default(), output: count("eval_count")? })
}
