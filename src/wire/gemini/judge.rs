//! What a response says, and whether it may be stored (wire.md 2.9).

use super::camel;
use crate::{
    outcome::NotStored,
    wire::{
        Description, RecordSettings, Usage,
        canonical::{self, Node},
        fields::judge_text,
        narrow,
    },
};

/// Reads what an [`Answer`](crate::wire::Answer) keeps beside its body. `None` when `body` is no response.
pub(in crate::wire) fn describe(body: &[u8]) -> Option<Description> {
    let root = canonical::parse(body).ok()?;
    let candidate = root.get("candidates")?.as_array()?.first()?;
    let id = root.get("responseId").filter(|id| id.as_str().is_some());
    Some(Description {
        id_span: id.map(Node::span).and_then(narrow),
        created_span: None,
        text: text(parts(candidate)),
        model: root.get("modelVersion").and_then(Node::as_str).unwrap_or_default().to_owned(),
        usage: tokens(&root),
    })
}

/// Whether a whole response may be stored.
pub(in crate::wire) fn judge(body: &[u8], settings: &RecordSettings, wants_json: bool) -> Result<(), NotStored> {
    let root = canonical::parse(body).map_err(|_| NotStored::Malformed)?;
    if root.get("error").is_some() {
        return Err(NotStored::ErrorBody);
    }
    if root.get("promptFeedback").is_some_and(|feedback| feedback.get("blockReason").is_some()) {
        return Err(NotStored::Refusal);
    }
    let candidates = root.get("candidates").and_then(Node::as_array);
    let Some([candidate]) = candidates else { return Err(NotStored::Malformed) };
    match candidate.get("finishReason").and_then(Node::as_str) {
        Some("STOP") => {}
        Some("MAX_TOKENS") => return Err(NotStored::FinishLength),
        Some("SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY") => {
            return Err(NotStored::FinishFilter);
        }
        None => return Err(NotStored::Incomplete),
        Some(_) => return Err(NotStored::FinishOther),
    }
    // Without a count it is not known to fit a limit.
    tokens(&root).ok_or(NotStored::Malformed)?;
    let parts = parts(candidate);
    if !parts.iter().all(|part| holds(part, &["text", "functionCall", "thoughtSignature"])) {
        return Err(NotStored::Malformed);
    }
    match parts.iter().any(is_call) {
        true if settings.allow_tool_calls => Ok(()),
        true => Err(NotStored::FinishTool),
        false => judge_text(&text(parts), wants_json),
    }
}

/// Whether the answer calls a function: such an answer may be found by fingerprint only.
pub(in crate::wire) fn calls_tools(body: &[u8]) -> bool {
    any_part(body, is_call)
}

/// Whether the answer shows its thinking or signs it: that is for the account that asked.
pub(in crate::wire) fn thinks(body: &[u8]) -> bool {
    any_part(body, |part| holds(part, &["thought", "thoughtSignature"]))
}

fn any_part(body: &[u8], wanted: impl Fn(&Node<'_>) -> bool) -> bool {
    let Ok(root) = canonical::parse(body) else { return false };
    let candidates = root.get("candidates").and_then(Node::as_array).unwrap_or_default();
    candidates.iter().flat_map(parts).any(wanted)
}

fn is_call(part: &Node<'_>) -> bool {
    holds(part, &["functionCall"])
}

fn holds(part: &Node<'_>, keys: &[&str]) -> bool {
    part.as_object().is_some_and(|part| part.present().any(|member| keys.contains(&camel(&member.key).as_ref())))
}

fn parts<'n, 'a>(candidate: &'n Node<'a>) -> &'n [Node<'a>] {
    candidate.get("content").and_then(|content| content.get("parts")?.as_array()).unwrap_or_default()
}

/// The texts that are said, without those that are only thought.
fn text(parts: &[Node<'_>]) -> String {
    let said = parts.iter().filter(|part| part.get("thought").and_then(Node::as_bool) != Some(true));
    said.filter_map(|part| part.get("text")?.as_str()).collect()
}

/// The counts: what was thought is paid for as output.
fn tokens(root: &Node<'_>) -> Option<Usage> {
    let usage = root.get("usageMetadata")?;
    let count = |key| usage.get(key).and_then(Node::as_u64);
    let thought = count("thoughtsTokenCount").unwrap_or_default();
    Some(Usage { input: count("promptTokenCount")?, output: count("candidatesTokenCount")?.saturating_add(thought) })
}
