//! What is cached.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};

use super::{AdminError, Control, Shared, purge};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    freshness::{self, Verdict},
    key::{Principal, Scope},
    similarity::Similarity,
    store::{Browse, Browsed, EntrySummary, Hardness, Selector},
    wire::directives::SourceRef,
};

/// Entries in one answer, unless asked otherwise.
pub(super) const PAGE: u64 = 50;
/// Entries in one answer at most.
pub(super) const LARGEST_PAGE: u64 = 1000;
/// How near a question found by meaning is at least, unless asked otherwise: wider than a purge, for one looks before one
/// purges.
const RADIUS: f32 = 0.5;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    category: Option<String>,
    tag: Option<String>,
    scope: Option<String>,
    principal: Option<String>,
    /// Words of the question, in any case.
    text: Option<String>,
    /// A text that the question is near to in meaning; the nearest come first.
    near: Option<String>,
    /// How near at least.
    radius: Option<f32>,
    /// `doc:42`, or `doc:42@v7` for that version only.
    source: Option<String>,
    /// Of a tag or a source.
    prefix: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

/// An entry as listed, with what time makes of it.
#[derive(Debug, Serialize)]
pub(super) struct ListedEntry {
    #[serde(flatten)]
    summary: EntrySummary,
    #[serde(flatten)]
    age: Age,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<Similarity>,
}

impl ListedEntry {
    pub(super) fn of(control: &Control, (summary, similarity): (EntrySummary, Option<Similarity>)) -> Self {
        let facts = freshness::Facts {
            generated_at: Timestamp::from_millis(summary.generated_at_ms),
            invalidated_at: summary.invalidated_at_ms.map(Timestamp::from_millis),
            ttl_limit: summary.ttl_limit_ms.map(Duration::from_millis),
        };
        let age = Age::of(control, &summary.category, &facts);
        Self { summary, age, similarity }
    }
}

/// How old an entry is, and what today's policy makes of that.
#[derive(Debug, Serialize)]
struct Age {
    freshness: &'static str,
    age_ms: u64,
}

impl Age {
    fn of(control: &Control, category: &str, facts: &freshness::Facts) -> Self {
        let parts = control.gateway.parts();
        let policies = parts.policies.current();
        let policy = policies.get(category).unwrap_or_else(|| policies.default_policy());
        let assessed = freshness::assess(facts, &policy.freshness, &freshness::Bounds::default(), parts.clock.now());
        let freshness = match assessed.verdict {
            Verdict::Fresh { .. } => "fresh",
            Verdict::Expired => "expired",
            Verdict::StaleWhileRevalidate { .. } | Verdict::StaleAsked { .. } | Verdict::StaleIfErrorOnly { .. } => {
                "stale"
            }
        };
        Self { freshness, age_ms: u64::try_from(assessed.age.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    entries: Vec<ListedEntry>,
    total: u64,
}

pub(super) async fn list(State(control): Shared, Query(query): Query<ListQuery>) -> Result<Json<Listed>, AdminError> {
    let ListQuery { category, tag, scope, principal, text, near, radius, source, prefix, offset, limit } = query;
    let not_hex = |what: &str| AdminError::BadRequest(format!("{what}: not 64 hex digits"));
    let scope = scope.map(|hex| Scope::from_hex(&hex).ok_or_else(|| not_hex("scope"))).transpose()?;
    let principal = principal.map(|hex| Principal::from_hex(&hex).ok_or_else(|| not_hex("principal"))).transpose()?;
    let near = match near {
        Some(text) => Some(purge::near(&control, text, radius.unwrap_or(RADIUS)).await?),
        None => None,
    };
    let selector = Selector {
        category,
        tag,
        scope,
        principals: principal.into_iter().collect(),
        source: source.as_deref().map(purge::source).transpose()?,
        prefix,
        near,
        ..Selector::default()
    };
    let (offset, limit) = (offset.unwrap_or(0), limit.unwrap_or(PAGE).min(LARGEST_PAGE));
    let text = text.filter(|text| !text.is_empty());
    let Browsed { entries, total } = control.store.browse(Browse { selector, text, offset, limit }).await?;
    let entries = entries.into_iter().map(|listed| ListedEntry::of(&control, listed)).collect();
    Ok(Json(Listed { entries, total }))
}

/// One entry with its answer.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: String,
    scope: String,
    principal: Option<String>,
    category: String,
    policy_revision: String,
    query: Option<String>,
    model: String,
    generated_at_ms: i64,
    invalidated_at_ms: Option<i64>,
    embedder: Option<String>,
    tags: Vec<String>,
    sources: Vec<String>,
    #[serde(flatten)]
    age: Age,
    answer: serde_json::Value,
}

impl Shown {
    fn of(control: &Control, entry: &Entry) -> Self {
        let facts = freshness::Facts {
            generated_at: entry.generated_at,
            invalidated_at: entry.invalidated_at,
            ttl_limit: entry.ttl_limit_ms.map(Duration::from_millis),
        };
        Self {
            id: entry.id.to_string(),
            scope: entry.scope.to_hex(),
            principal: entry.principal.map(|principal| principal.to_hex()),
            category: entry.category.clone(),
            policy_revision: entry.policy_revision.clone(),
            query: entry.query.clone(),
            model: entry.answer.model.clone(),
            generated_at_ms: entry.generated_at.as_millis(),
            invalidated_at_ms: entry.invalidated_at.map(Timestamp::as_millis),
            embedder: entry.embedder.clone(),
            tags: entry.tags.clone(),
            sources: entry.sources.iter().map(SourceRef::to_string).collect(),
            age: Age::of(control, &entry.category, &facts),
            answer: serde_json::from_slice(&entry.answer.body).unwrap_or_default(),
        }
    }
}

pub(super) async fn show(State(control): Shared, Path(id): Path<String>) -> Result<Json<Shown>, AdminError> {
    let entry = control.gateway.parts().cache.get(parse_id(&id)?).await?.ok_or(AdminError::NoEntry)?;
    Ok(Json(Shown::of(&control, &entry)))
}

pub(super) async fn remove(State(control): Shared, Path(id): Path<String>) -> Result<Json<purge::Purged>, AdminError> {
    let selector = Selector { entry: Some(parse_id(&id)?), ..Selector::default() };
    let removed = control.purge(selector, Hardness::Hard, false).await?;
    if removed.is_empty() {
        return Err(AdminError::NoEntry);
    }
    Ok(Json(purge::Purged::done(&removed)))
}

pub(super) fn parse_id(text: &str) -> Result<EntryId, AdminError> {
    text.parse().map_err(|error: crate::entry::NotAnEntryId| AdminError::BadRequest(error.to_string()))
}
