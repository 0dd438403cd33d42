//! What moving entries from store to store asks of one: a walk over ids, and the purges of the past.
//!
//! A purge wins over whatever was generated before it (I6), over a move and a restart too: what an import brings is held
//! against the trail. The trail names labels and ids, never a text, and not who was erased: of a purge that cannot be
//! matched against an entry exactly, [`PastPurge::covers`] says [`Cover::Perhaps`], and an import fails closed.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::{
    Page, Selector, StoreError,
    sources::{SourceSelector, Versions},
};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Scope},
};

/// The store's part in export and import.
pub trait Transfer: Send + Sync + std::fmt::Debug {
    /// Up to `limit` ids after `after` of what `selector` selects, ascending.
    fn ids(
        &self,
        selector: Selector,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<EntryId>, StoreError>>;

    /// Other wordings that lead to `entry`, without those still queued.
    fn aliases(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>>;

    /// Every purge that the trail tells of, oldest first.
    fn past_purges(&self) -> BoxFuture<'_, Result<Vec<PastPurge>, StoreError>>;
}

/// A purge of the past, as the trail tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct PastPurge {
    /// When.
    pub at: Timestamp,
    /// Gone, or made stale.
    pub is_hard: bool,
    /// How many entries it found.
    removed: u64,
    /// Its selector, member by member; `None` when that is no JSON object.
    selector: Option<Map<String, Value>>,
}

/// Whether a purge covers an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// The trail does not say enough to tell.
    Perhaps,
}

impl PastPurge {
    /// A row of the trail.
    pub fn of(at: Timestamp, selector: &str, is_hard: bool, removed: u64) -> Self {
        Self { at, is_hard, removed, selector: serde_json::from_str(selector).ok() }
    }

    /// Whether it covers `entry`, whose id is another store's or none. `nobodys`: the entry answers nobody in particular, so
    /// that no erasure of a person is about it.
    pub fn covers(&self, entry: &Entry, nobodys: bool) -> Cover {
        if entry.generated_at > self.at {
            return Cover::No;
        }
        let Some(selector) = &self.selector else { return Cover::Perhaps };
        let mut cover = Cover::Yes;
        for (key, value) in selector.iter().filter(|(_, value)| names_something(value)) {
            match self.matches((key, value), entry, nobodys) {
                Cover::No => return Cover::No,
                Cover::Perhaps => cover = Cover::Perhaps,
                Cover::Yes => {}
            }
        }
        cover
    }

    fn matches(&self, (key, value): (&str, &Value), entry: &Entry, nobodys: bool) -> Cover {
        let exactly = |holds: bool| if holds { Cover::Yes } else { Cover::No };
        let text = value.as_str().unwrap_or_default();
        match key {
            "tag" => exactly(entry.tags.iter().any(|tag| tag == text)),
            "category" => exactly(entry.category == text),
            "scope" => exactly(entry.scope.to_hex() == text),
            "generated_until" => {
                value.as_i64().map_or(Cover::Perhaps, |ms| exactly(entry.generated_at.as_millis() <= ms))
            }
            "fingerprint" => exactly(entry.fingerprint.to_hex() == text),
            // Where the entry was found, its fingerprint says it better than its id, which is its store's own.
            "entry" if self.names("fingerprint") => Cover::Yes,
            "entry" if self.removed == 0 => Cover::No,
            "principals" if nobodys => Cover::No,
            "principals" => {
                let named = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                let own = entry.principal.map(|of| of.to_hex());
                // Of several only the first is told, and of who was erased nobody.
                own.filter(|own| named.into_iter().any(|of| of == own)).map_or(Cover::Perhaps, |_| Cover::Yes)
            }
            // Of a version, or a part of one, that this one does not know.
            _ => Cover::Perhaps,
        }
    }

    fn names(&self, key: &str) -> bool {
        self.selector.as_ref().and_then(|selector| selector.get(key)).is_some_and(names_something)
    }
}

fn names_something(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

/// The selector for the audit trail, with scopes as entries are listed with, and the fingerprint of the entry that it
/// names. Who was erased is not named: that something of somebody was is all that stays, and of a purge by meaning only
/// that there was one.
pub(super) fn trail_of(selector: &Selector, fingerprint: Option<Fingerprint>, erased: bool) -> String {
    let Selector { entry, tag, category, scope, principals, generated_until, source, prefix, groups, near } = selector;
    let named = principals.iter().map(|of| if erased { "erased".to_owned() } else { of.to_hex() });
    let versions = |source: &SourceSelector| match &source.versions {
        Versions::Any => serde_json::json!({"name": source.name}),
        Versions::Only(version) => serde_json::json!({"name": source.name, "version": version}),
        Versions::Except(version) => serde_json::json!({"name": source.name, "not_version": version}),
    };
    serde_json::json!({
        "entry": entry.map(|id| id.to_string()),
        "fingerprint": fingerprint.map(|of| of.to_hex()),
        "tag": tag,
        "category": category,
        "scope": scope.map(|scope| scope.to_hex()),
        "principals": named.take(1).collect::<Vec<_>>(),
        "generated_until": generated_until.map(Timestamp::as_millis),
        "source": source.as_ref().map(versions),
        "prefix": prefix,
        "groups": groups.as_ref().map(|groups| &groups.tags),
        "scopes": groups.as_ref().map(|groups| groups.scopes.iter().map(Scope::to_hex).collect::<Vec<_>>()),
        // The text stands in the ban, sealed where texts are; how near is all that is told here.
        "near": near.as_ref().map(|near| near.radius),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    fn generated(at: Timestamp) -> Entry {
        Entry { generated_at: at, ..conformance::entry(EntryId(1), "q") }
    }

    const PURGED: Timestamp = Timestamp::from_millis(1_000_000);

    fn covers(selector: &str, removed: u64, entry: &Entry) -> Cover {
        PastPurge::of(PURGED, selector, true, removed).covers(entry, false)
    }

    #[test]
    fn a_purge_covers_what_it_names_and_nothing_that_came_after_it() {
        let (old, new) = (generated(PURGED), generated(PURGED.plus(std::time::Duration::from_millis(1))));
        let everything = r#"{"entry":null,"tag":null,"principals":[]}"#;
        assert_eq!((covers(everything, 9, &old), covers(everything, 9, &new)), (Cover::Yes, Cover::No));
        let by = |key: &str, value: &str| format!(r#"{{"{key}":"{value}"}}"#);
        for (selector, cover) in [
            (by("category", &old.category), Cover::Yes),
            (by("category", "another"), Cover::No),
            (by("scope", &old.scope.to_hex()), Cover::Yes),
            (r#"{"tag":"nowhere"}"#.to_owned(), Cover::No),
            (r#"{"generated_until":999999}"#.to_owned(), Cover::No),
            (format!(r#"{{"entry":"e77","fingerprint":"{}"}}"#, old.fingerprint.to_hex()), Cover::Yes),
            (format!(r#"{{"entry":"e1","fingerprint":"{}"}}"#, "0".repeat(64)), Cover::No),
        ] {
            assert_eq!(covers(&selector, 1, &old), cover, "{selector}");
        }
    }

    #[test]
    fn what_the_trail_does_not_tell_is_not_taken_for_harmless() {
        let old = generated(PURGED);
        for selector in [r#"{"entry":"e7"}"#, r#"{"principals":["erased"]}"#, r#"{"near":"a question"}"#, "damaged"] {
            assert_eq!(covers(selector, 1, &old), Cover::Perhaps, "{selector}");
        }
        assert_eq!(covers(r#"{"entry":"e7"}"#, 0, &old), Cover::No, "it found nothing");
        assert_eq!(covers(r#"{"principals":["erased"],"category":"another"}"#, 1, &old), Cover::No);
        let erased = PastPurge::of(PURGED, r#"{"principals":["erased"]}"#, true, 1);
        assert_eq!(erased.covers(&old, true), Cover::No, "it was nobody's");
    }
}
