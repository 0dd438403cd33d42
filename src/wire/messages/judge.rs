//! What a `message` object says, and whether it may be stored (wire.md 3.4).

use crate::{
    outcome::NotStored,
    wire::{
        Description, RecordSettings, Usage,
        canonical::{self, Node},
        fields::judge_text,
    },
};

/// Reads what an [`Answer`](crate::wire::Answer) keeps beside its body. `None` when `body` is no message.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    let content = content(&root)?;
    Some(Description::of(&root, None, text(content), tokens))
}

/// Whether a whole answer may be stored.
pub(in crate::wire) fn judge(body: &[u8], settings: &RecordSettings, wants_json: bool) -> Result<(), NotStored> {
    let root = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    let content = content(&root).ok_or(NotStored::Malformed)?;
    let calls = content.iter().any(|block| kind(block) == Some("tool_use"));
    match root.get("stop_reason").and_then(Node::as_str) {
        Some("end_turn" | "stop_sequence") if !calls => {}
        Some("end_turn" | "stop_sequence" | "tool_use") if !settings.allow_tool_calls => {
            return Err(NotStored::FinishTool);
        }
        Some("end_turn" | "stop_sequence" | "tool_use") if calls => {}
        Some("tool_use") => return Err(NotStored::EmptyAnswer),
        Some("max_tokens" | "model_context_window_exceeded") => return Err(NotStored::FinishLength),
        Some("refusal") => return Err(NotStored::Refusal),
        _ => return Err(NotStored::FinishOther),
    }
    // Without a count it is not known to fit a limit, and the API always counts.
    let known =
        content.iter().all(|block| matches!(kind(block), Some("text" | "tool_use" | "thinking" | "redacted_thinking")));
    if !known || root.get("usage").and_then(tokens).is_none() {
        return Err(NotStored::Malformed);
    }
    if calls { Ok(()) } else { judge_text(&text(content), wants_json) }
}

/// Whether the answer calls a tool: such an answer may be found by fingerprint only.
pub(in crate::wire) fn calls_tools(body: &[u8]) -> bool {
    holds(body, |kind| kind == "tool_use")
}

/// Whether the answer shows its thinking, which is signed for the account that asked.
pub(in crate::wire) fn thinks(body: &[u8]) -> bool {
    holds(body, |kind| matches!(kind, "thinking" | "redacted_thinking"))
}

fn holds(body: &[u8], wanted: impl Fn(&str) -> bool) -> bool {
    let Ok(root) = canonical::parse(body) else { return false };
    content(&root).unwrap_or_default().iter().filter_map(kind).any(wanted)
}

fn content<'n, 'a>(root: &'n Node<'a>) -> Option<&'n [Node<'a>]> {
    let is_message = root.get("type").and_then(Node::as_str) == Some("message");
    root.get("content").filter(|_| is_message)?.as_array()
}

fn kind<'n>(block: &'n Node<'_>) -> Option<&'n str> {
    block.get("type").and_then(Node::as_str)
}

/// The texts of all text blocks; citations cut one sentence into several.
fn text(content: &[Node<'_>]) -> String {
    content.iter().filter(|block| kind(block) == Some("text")).filter_map(|block| block.get("text")?.as_str()).collect()
}

/// The counts of a `usage` object: tokens read from and written to the provider's prompt cache are prompt tokens too.
fn tokens(usage: &Node<'_>) -> Option<Usage> {
    let count = |key| usage.get(key).and_then(Node::as_u64);
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"].map(|key| count(key).unwrap_or_default());
    let input = cached.iter().fold(count("input_tokens")?, |sum, tokens| sum.saturating_add(*tokens));
    Some(Usage { input, output: count("output_tokens")? })
}
