//! The documents that answers are built from: their versions, what depends on them, and a door for whatever publishes them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};

use super::{
    AdminError, Control, Shared,
    entries::{LARGEST_PAGE, ListedEntry, PAGE},
};
use crate::{
    entry::EntryId,
    metrics::RemovalCause,
    store::{
        Browse, Hardness, Selector,
        sources::{SourceSelector, SourceSummary, SourceUpdate, Versions},
    },
    wire::directives::{MAX_NAME, SourceRef},
};

/// Ids named in an answer; the count is always exact.
const NAMED: usize = 100;
/// Events in one call of the webhook.
const EVENTS: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    text: Option<String>,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    sources: Vec<SourceSummary>,
    total: u64,
}

pub(super) async fn list(State(control): Shared, Query(query): Query<ListQuery>) -> Result<Json<Listed>, AdminError> {
    let ListQuery { text, offset, limit } = query;
    let limit = limit.unwrap_or(PAGE).min(LARGEST_PAGE);
    let (sources, total) = control.store.sources(text, offset.unwrap_or(0), limit).await?;
    Ok(Json(Listed { sources, total }))
}

/// One document with what depends on it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    source: SourceSummary,
    dependents: Vec<ListedEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    offset: Option<u64>,
    limit: Option<u64>,
}

pub(super) async fn show(
    State(control): Shared,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Json<Shown>, AdminError> {
    let source = control.store.source(name.clone()).await?.ok_or(AdminError::NoSource)?;
    let selector = Selector { source: Some(SourceSelector { name, versions: Versions::Any }), ..Selector::default() };
    let (offset, limit) = (part.offset.unwrap_or(0), part.limit.unwrap_or(PAGE).min(LARGEST_PAGE));
    let browsed = control.store.browse(Browse { selector, text: None, offset, limit }).await?;
    let dependents = browsed.entries.into_iter().map(|listed| ListedEntry::of(&control, listed)).collect();
    Ok(Json(Shown { source, dependents }))
}

/// Today's version of a document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    version: String,
    /// Gone instead of stale.
    #[serde(default)]
    hard: bool,
}

/// What an update made stale, or removed.
#[derive(Debug, Serialize)]
pub(super) struct Affected {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    affected: usize,
    entries: Vec<String>,
}

impl Affected {
    fn of(source: String, version: Option<String>, ids: &[EntryId]) -> Self {
        let entries = ids.iter().take(NAMED).map(EntryId::to_string).collect();
        Self { source, version, affected: ids.len(), entries }
    }
}

pub(super) async fn update(
    State(control): Shared,
    Path(name): Path<String>,
    Json(request): Json<UpdateRequest>,
) -> Result<Json<Affected>, AdminError> {
    let UpdateRequest { version, hard } = request;
    let event = Event { source: name, version: Some(version), action: Action::Updated, hard };
    event.check()?;
    Ok(Json(control.heed(event).await?))
}

pub(super) async fn remove(State(control): Shared, Path(name): Path<String>) -> Result<Json<Affected>, AdminError> {
    let removed = control.forget_source(name.clone()).await?.ok_or(AdminError::NoSource)?;
    Ok(Json(Affected::of(name, None, &removed)))
}

/// What a content system tells.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookRequest {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    source: String,
    /// Without it everything that is built on the document is old.
    version: Option<String>,
    #[serde(default)]
    action: Action,
    /// Gone instead of stale; what is deleted always is.
    #[serde(default)]
    hard: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Updated,
    Deleted,
}

impl Event {
    /// Whether a request could name this document, in this version.
    fn check(&self) -> Result<(), AdminError> {
        // In front of a version, so that an `@` in the name divides nothing.
        let text = format!("{}@{}", self.source, self.version.as_deref().unwrap_or("v"));
        match SourceRef::parse(&text).filter(|read| read.name == self.source && text.len() <= MAX_NAME) {
            Some(_) => Ok(()),
            None => Err(AdminError::BadRequest(format!(
                "source {:?}: no request can name it in that version; a name such as doc:42 and a version such as v8 have no spaces, commas or control characters, the version no @, and both together at most {MAX_NAME} bytes",
                self.source
            ))),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Heeded {
    results: Vec<Affected>,
}

pub(super) async fn webhook(
    State(control): Shared,
    Json(request): Json<WebhookRequest>,
) -> Result<Json<Heeded>, AdminError> {
    let WebhookRequest { events } = request;
    if events.len() > EVENTS {
        return Err(AdminError::BadRequest(format!("events: at most {EVENTS} in one call")));
    }
    // None is heeded when one cannot be understood: a sender repeats the whole call.
    events.iter().try_for_each(Event::check)?;
    let mut results = Vec::with_capacity(events.len());
    for event in events {
        results.push(control.heed(event).await?);
    }
    Ok(Json(Heeded { results }))
}

impl Control {
    async fn heed(&self, event: Event) -> Result<Affected, AdminError> {
        let Event { source, version, action, hard } = event;
        if action == Action::Deleted {
            let removed = self.forget_source(source.clone()).await?.unwrap_or_default();
            return Ok(Affected::of(source, None, &removed));
        }
        let parts = self.gateway.parts();
        let at = parts.clock.now();
        let hardness = if hard { Hardness::Hard } else { Hardness::Soft(at) };
        let update = SourceUpdate { name: source.clone(), version: version.clone(), hardness, at };
        let (cache, metrics) = (Arc::clone(&parts.cache), Arc::clone(&parts.metrics));
        let ids = self
            .to_the_end("source-update", async move {
                let ids = cache.update_source(update).await?;
                if hard {
                    metrics.removed(RemovalCause::Purged, ids.len() as u64);
                }
                Ok(ids)
            })
            .await?;
        tracing::info!(affected = ids.len(), hard, "a source has a new version");
        Ok(Affected::of(source, version, &ids))
    }

    async fn forget_source(&self, name: String) -> Result<Option<Vec<EntryId>>, AdminError> {
        let parts = self.gateway.parts();
        let (cache, metrics) = (Arc::clone(&parts.cache), Arc::clone(&parts.metrics));
        let removed = self
            .to_the_end("source-update", async move {
                let removed = cache.forget_source(name).await?;
                metrics.removed(RemovalCause::Purged, removed.as_ref().map_or(0, Vec::len) as u64);
                Ok(removed)
            })
            .await?;
        tracing::info!(removed = removed.as_ref().map_or(0, Vec::len), "a source is forgotten");
        Ok(removed)
    }
}
