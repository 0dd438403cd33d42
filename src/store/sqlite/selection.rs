//! [`Selector`] as SQL. It must agree with [`Selector::selects`]; the conformance suite compares them.

use rusqlite::types::Value;

use crate::store::Selector;

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
        let Selector { entry, tag, category, scope, generated_until } = selector;
        let mut parts = vec!["TRUE"];
        let mut values = Vec::new();
        let mut and = |part, value| {
            parts.push(part);
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
        Self { condition: parts.join(" AND "), values }
    }
}

/// The selector for the audit trail.
pub(super) fn as_json(selector: &Selector) -> String {
    let Selector { entry, tag, category, scope, generated_until } = selector;
    serde_json::json!({
        "entry": entry.map(|id| id.to_string()),
        "tag": tag,
        "category": category,
        "scope": scope.map(|scope| scope.to_string()),
        "generated_until": generated_until.map(crate::clock::Timestamp::as_millis),
    })
    .to_string()
}
