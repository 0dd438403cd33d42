//! Taking answers out of circulation: by entry, tag, category, scope and age; soft or hard; counted first when asked.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared, entries::parse_id};
use crate::{
    entry::EntryId,
    key::Scope,
    store::{Hardness, Selector},
};

/// Ids named in an answer; the count is always exact.
const NAMED: usize = 100;

/// What to purge; everything given must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeRequest {
    entry: Option<String>,
    tag: Option<String>,
    category: Option<String>,
    /// 64 hex digits, as the entry list shows them.
    scope: Option<String>,
    /// `24h`: entries generated that long ago or earlier.
    older_than: Option<String>,
    /// Everything; needed when nothing else is given.
    #[serde(default)]
    all: bool,
    /// Stale instead of gone.
    #[serde(default)]
    soft: bool,
    /// Count only.
    #[serde(default)]
    dry_run: bool,
}

/// What was, or would be, purged.
#[derive(Debug, Serialize)]
pub(super) struct Purged {
    purged: usize,
    dry_run: bool,
    entries: Vec<String>,
}

impl Purged {
    pub(super) fn done(ids: &[EntryId]) -> Self {
        Self { purged: ids.len(), dry_run: false, entries: ids.iter().take(NAMED).map(EntryId::to_string).collect() }
    }
}

pub(super) async fn purge(
    State(control): Shared,
    Json(request): Json<PurgeRequest>,
) -> Result<Json<Purged>, AdminError> {
    let parts = control.gateway.parts();
    let now = parts.clock.now();
    let (soft, dry_run) = (request.soft, request.dry_run);
    let selector = selector(request, now)?;
    let hardness = if soft { Hardness::Soft(now) } else { Hardness::Hard };
    let ids = control.purge(selector, hardness, dry_run).await?;
    tracing::info!(purged = ids.len(), soft, dry_run, "purge");
    Ok(Json(Purged { dry_run, ..Purged::done(&ids) }))
}

fn selector(request: PurgeRequest, now: crate::clock::Timestamp) -> Result<Selector, AdminError> {
    let PurgeRequest { entry, tag, category, scope, older_than, all, soft: _, dry_run: _ } = request;
    let generated_until = older_than
        .map(|text| {
            humantime::parse_duration(&text).map(|age| now.minus(age)).map_err(|error| {
                AdminError::BadRequest(format!("older_than: {error}; write it like \"24h\" or \"7d\""))
            })
        })
        .transpose()?;
    let scope = scope
        .map(|hex| {
            Scope::from_hex(&hex).ok_or_else(|| {
                AdminError::BadRequest("scope: not 64 hex digits; take it from /semblance/entries".to_owned())
            })
        })
        .transpose()?;
    let entry = entry.as_deref().map(parse_id).transpose()?;
    let selector = Selector { entry, tag, category, scope, generated_until };
    if selector == Selector::default() && !all {
        return Err(AdminError::BadRequest(
            "say what to purge: entry, tag, category, scope or older_than; or \"all\": true".to_owned(),
        ));
    }
    Ok(selector)
}
