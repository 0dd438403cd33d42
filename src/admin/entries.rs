//! What is cached.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared};
use crate::{
    entry::{Entry, EntryId},
    key::{Principal, Scope},
    store::{EntrySummary, Hardness, Selector},
};

/// Entries in one answer, unless asked otherwise.
const PAGE: u64 = 50;
/// Entries in one answer at most.
const LARGEST_PAGE: u64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    category: Option<String>,
    tag: Option<String>,
    scope: Option<String>,
    principal: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    entries: Vec<EntrySummary>,
}

pub(super) async fn list(State(control): Shared, Query(query): Query<ListQuery>) -> Result<Json<Listed>, AdminError> {
    let ListQuery { category, tag, scope, principal, offset, limit } = query;
    let not_hex = |what: &str| AdminError::BadRequest(format!("{what}: not 64 hex digits"));
    let scope = scope.map(|hex| Scope::from_hex(&hex).ok_or_else(|| not_hex("scope"))).transpose()?;
    let principal = principal.map(|hex| Principal::from_hex(&hex).ok_or_else(|| not_hex("principal"))).transpose()?;
    let principals = principal.into_iter().collect();
    let selector = Selector { category, tag, scope, principals, ..Selector::default() };
    let limit = limit.unwrap_or(PAGE).min(LARGEST_PAGE);
    let store = control.gateway.parts().cache.store();
    Ok(Json(Listed { entries: store.list(selector, offset.unwrap_or(0), limit).await? }))
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
    answer: serde_json::Value,
}

impl From<&Entry> for Shown {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            scope: entry.scope.to_hex(),
            principal: entry.principal.map(|principal| principal.to_hex()),
            category: entry.category.clone(),
            policy_revision: entry.policy_revision.clone(),
            query: entry.query.clone(),
            model: entry.answer.model.clone(),
            generated_at_ms: entry.generated_at.as_millis(),
            invalidated_at_ms: entry.invalidated_at.map(crate::clock::Timestamp::as_millis),
            embedder: entry.embedder.clone(),
            tags: entry.tags.clone(),
            answer: serde_json::from_slice(&entry.answer.body).unwrap_or_default(),
        }
    }
}

pub(super) async fn show(State(control): Shared, Path(id): Path<String>) -> Result<Json<Shown>, AdminError> {
    let entry = control.gateway.parts().cache.get(parse_id(&id)?).await?.ok_or(AdminError::NoEntry)?;
    Ok(Json(Shown::from(entry.as_ref())))
}

pub(super) async fn remove(
    State(control): Shared,
    Path(id): Path<String>,
) -> Result<Json<super::purge::Purged>, AdminError> {
    let selector = Selector { entry: Some(parse_id(&id)?), ..Selector::default() };
    let removed = control.purge(selector, Hardness::Hard, false).await?;
    if removed.is_empty() {
        return Err(AdminError::NoEntry);
    }
    Ok(Json(super::purge::Purged::done(&removed)))
}

pub(super) fn parse_id(text: &str) -> Result<EntryId, AdminError> {
    text.parse().map_err(|error: crate::entry::NotAnEntryId| AdminError::BadRequest(error.to_string()))
}
