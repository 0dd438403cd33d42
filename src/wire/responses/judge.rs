//! What a `response` object says, and whether it may be stored (wire.md 3.4).

use super::{kind, output};
use crate::{
    outcome::NotStored,
    wire::{
        Description, RecordSettings, Usage,
        canonical::{self, Node},
        fields::judge_text,
    },
};

/// Reads what an [`Answer`](crate::wire::Answer) keeps beside its body. `None` when `body` is no response that has come
/// to its end.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    output(&root)?;
    let ended = |status: &Node<'_>| matches!(status.as_str(), Some("completed" | "incomplete" | "failed"));
    root.get("status").is_none_or(ended).then_some(())?;
    Some(Description::of(&root, Some("created_at"), text(&root), tokens))
}

/// Whether a whole answer may be stored.
pub(in crate::wire) fn judge(body: &[u8], settings: &RecordSettings, wants_json: bool) -> Result<(), NotStored> {
    let root = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    let items = output(&root).ok_or(NotStored::Malformed)?;
    match root.get("status").and_then(Node::as_str) {
        Some("completed") => {}
        Some("incomplete") => return Err(incomplete(&root)),
        Some("failed") => return Err(NotStored::ErrorBody),
        _ => return Err(NotStored::FinishOther),
    }
    for item in items {
        judge_item(item, settings)?;
    }
    if items.iter().any(is_call) { Ok(()) } else { judge_text(&text(&root), wants_json) }
}

fn incomplete(root: &Node<'_>) -> NotStored {
    match root.get("incomplete_details").and_then(|details| details.get("reason")?.as_str()) {
        Some("max_output_tokens") => NotStored::FinishLength,
        Some("content_filter") => NotStored::FinishFilter,
        _ => NotStored::FinishOther,
    }
}

fn judge_item(item: &Node<'_>, settings: &RecordSettings) -> Result<(), NotStored> {
    if item.get("status").is_some_and(|status| status.as_str() != Some("completed")) {
        return Err(NotStored::FinishOther);
    }
    match kind(item) {
        "message" => {
            let parts = item.get("content").and_then(Node::as_array).ok_or(NotStored::Malformed)?;
            parts.iter().try_for_each(|part| match kind(part) {
                "output_text" => Ok(()),
                "refusal" => Err(NotStored::Refusal),
                _ => Err(NotStored::FinishOther),
            })
        }
        "reasoning" => Ok(()),
        _ if is_call(item) && settings.allow_tool_calls => Ok(()),
        _ if is_call(item) => Err(NotStored::FinishTool),
        // What a tool at the provider has done.
        _ => Err(NotStored::FinishOther),
    }
}

/// Whether an item calls a function of the client's.
fn is_call(item: &Node<'_>) -> bool {
    matches!(kind(item), "function_call" | "custom_tool_call")
}

/// Whether the answer calls a tool: such an answer may be found by fingerprint only.
pub(in crate::wire) fn calls_tools(body: &[u8]) -> bool {
    let Ok(root) = canonical::parse(body) else { return false };
    output(&root).unwrap_or_default().iter().any(is_call)
}

/// The texts of all messages joined, as the official clients' `output_text` does.
fn text(root: &Node<'_>) -> String {
    let messages = output(root).unwrap_or_default().iter().filter(|item| kind(item) == "message");
    let parts = messages.filter_map(|message| message.get("content")?.as_array()).flatten();
    parts.filter(|part| kind(part) == "output_text").filter_map(|part| part.get("text")?.as_str()).collect()
}

fn tokens(usage: &Node<'_>) -> Option<Usage> {
    let count = |key| usage.get(key).and_then(Node::as_u64);
    Some(Usage { input: count("input_tokens")?, output: count("output_tokens")? })
}
