//! [`Selector`] as SQL, but for nearness in meaning, which [`super::meaning`] looks at. Together they must agree with
//! [`Selector::selects`]; the conformance suite compares them.

use rusqlite::types::Value;

use crate::store::{
    Selector,
    sources::{Groups, SourceSelector, Versions},
};

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
        let Selector { entry, tag, category, scope, principals, generated_until, source, prefix, groups, near: _ } =
            selector;
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
        let mut selection = Self { condition: parts.join(" AND "), values };
        source.iter().for_each(|source| selection.and_source(source));
        prefix.iter().for_each(|prefix| selection.and_prefix(prefix));
        groups.iter().for_each(|groups| selection.and_groups(groups));
        selection
    }

    fn and(&mut self, part: &str, values: impl IntoIterator<Item = Value>) {
        self.condition.push_str(" AND ");
        self.condition.push_str(part);
        self.values.extend(values);
    }

    fn and_source(&mut self, SourceSelector { name, versions }: &SourceSelector) {
        const NAMED: &str = "entries.id IN (SELECT entry_id FROM entry_sources WHERE name = ?";
        const TAGGED: &str = "entries.id IN (SELECT entry_id FROM tags WHERE tag = ?)";
        let text = |text: &String| Value::Text(text.clone());
        match versions {
            Versions::Any => self.and(&format!("({NAMED}) OR {TAGGED})"), [text(name), text(name)]),
            Versions::Only(version) => self.and(&format!("{NAMED} AND version = ?)"), [text(name), text(version)]),
            Versions::Except(version) => {
                let part = format!("({NAMED} AND version <> ?) OR ({TAGGED} AND NOT {NAMED})))");
                self.and(&part, [text(name), text(version), text(name), text(name)]);
            }
        }
    }

    /// Compared as bytes: a text's length in characters ends at a NUL.
    fn and_prefix(&mut self, prefix: &str) {
        let begins = |column: &str| format!("substr(CAST({column} AS BLOB), 1, ?) = ?");
        let source = "name || CASE version WHEN '' THEN '' ELSE '@' || version END";
        let part = format!(
            "(entries.id IN (SELECT entry_id FROM tags WHERE {}) OR entries.id IN (SELECT entry_id FROM entry_sources WHERE {}))",
            begins("tag"),
            begins(source),
        );
        let length = Value::Integer(i64::try_from(prefix.len()).unwrap_or(i64::MAX));
        let bytes = Value::Blob(prefix.as_bytes().to_vec());
        self.and(&part, [length.clone(), bytes.clone(), length, bytes]);
    }

    fn and_groups(&mut self, Groups { tags, scopes }: &Groups) {
        let places = |count: usize| vec!["?"; count].join(", ");
        let part = format!(
            "entries.scope IN ({}) AND entries.id IN (SELECT entry_id FROM tags WHERE tag IN ({}))",
            places(scopes.len()),
            places(tags.len()),
        );
        let scopes = scopes.iter().map(|scope| Value::Blob(scope.as_bytes().to_vec()));
        self.and(&part, scopes.chain(tags.iter().cloned().map(Value::Text)));
    }
}
