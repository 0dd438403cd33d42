//! [`Selector`] as SQL. It must agree with [`Selector::selects`]; the conformance suite compares them.

use rusqlite::types::Value;

use crate::{key::Fingerprint, store::Selector};

/// A condition over `entries` and its values, in order.
#[derive(Debug)]
pub(super) struct Selection {
    /// Ready to stand after `WHERE`.
    pub(super) condition: String,
    /// One value for each `?`.
    pub(super) values: Vec<Value>,
}

impl Selection {
    pub(super) fn of(selector: &Selector) -> Self {
        let Selector { entry, tag, category, scope, principals, generated_until } = selector;
        let mut parts = vec!["TRUE".to_owned()];
        let mut values = Vec::new();
        let mut and = |part: &str, value| {
            parts.push(part.to_owned());
            values.push(value);
        };
        if let Some(entry) = entry {
            // No row has a negative id: an id out of range selects nothing.
            and("entries.id = ?", Value::Integer(i64::try_from(entry.0).unwrap_or(-1)));
        }
        if let Some(tag) = tag {
            and("entries.id IN (SELECT entry_id FROM tags WHERE tag = ?)", Value::Text(tag.clone()));
        }
        if let Some(category) = category {
            and("entries.category = ?", Value::Text(category.clone()));
        }
        if let Some(scope) = scope {
            and("entries.scope = ?", Value::Blob(scope.as_bytes().to_vec()));
        }
        if let Some(until) = generated_until {
            and("entries.generated_at <= ?", Value::Integer(until.as_millis()));
        }
        if !principals.is_empty() {
            let places = vec!["?"; principals.len()].join(", ");
            parts.push(format!("(entries.principal IS NULL OR entries.principal IN ({places}))"));
            values.extend(principals.iter().map(|principal| Value::Blob(principal.as_bytes().to_vec())));
        }
        Self { condition: parts.join(" AND "), values }
    }
}

/// The selector for the audit trail, with scopes as entries are listed with, and the fingerprint of the entry that it
/// names. Who was erased is not named: that something of somebody was is all that stays.
pub(super) fn as_json(selector: &Selector, fingerprint: Option<Fingerprint>, erased: bool) -> String {
    let Selector { entry, tag, category, scope, principals, generated_until } = selector;
    let named = principals.iter().map(|of| if erased { "erased".to_owned() } else { of.to_hex() });
    serde_json::json!({
        "entry": entry.map(|id| id.to_string()),
        "fingerprint": fingerprint.map(|of| of.to_hex()),
        "tag": tag,
        "category": category,
        "scope": scope.map(|scope| scope.to_hex()),
        "principals": named.take(1).collect::<Vec<_>>(),
        "generated_until": generated_until.map(crate::clock::Timestamp::as_millis),
    })
    .to_string()
}
