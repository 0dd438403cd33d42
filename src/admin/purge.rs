//! Taking answers out of circulation: by entry, tag, category, scope and age; soft or hard; counted first when asked.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{AdminError, Control, Shared, entries::parse_id};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::{Principal, Scope},
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
    /// 64 hex digits, as the entry list shows them: erases whoever that is.
    principal: Option<String>,
    /// A key or token: erases whoever asks with it.
    credential: Option<String>,
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
    let selector = selector(&control, request, now)?;
    let hardness = if soft { Hardness::Soft(now) } else { Hardness::Hard };
    let ids = control.purge(selector, hardness, dry_run).await?;
    tracing::info!(purged = ids.len(), soft, dry_run, "purge");
    Ok(Json(Purged { dry_run, ..Purged::done(&ids) }))
}

fn selector(control: &Control, request: PurgeRequest, now: Timestamp) -> Result<Selector, AdminError> {
    let PurgeRequest { entry, tag, category, scope, principal, credential, older_than, all, soft: _, dry_run: _ } =
        request;
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
    let principals = principals(control, principal.as_deref(), credential.as_deref())?;
    let selector = Selector { entry, tag, category, scope, principals, generated_until };
    if selector == Selector::default() && !all {
        return Err(AdminError::BadRequest(
            "say what to purge: entry, tag, category, scope, principal, credential or older_than; or \"all\": true"
                .to_owned(),
        ));
    }
    Ok(selector)
}

/// Whom a purge is about; none when it names nobody.
fn principals(
    control: &Control,
    principal: Option<&str>,
    credential: Option<&str>,
) -> Result<Vec<Principal>, AdminError> {
    let bad = |what: &str| Err(AdminError::BadRequest(what.to_owned()));
    match (principal, credential) {
        (None, None) => Ok(Vec::new()),
        (Some(_), Some(_)) => bad("give either principal or credential"),
        (Some(hex), None) => match Principal::from_hex(hex) {
            Some(principal) => Ok(vec![principal]),
            None => bad("principal: not 64 hex digits; take it from /semblance/entries, or give the credential"),
        },
        (None, Some(secret)) => match control.gateway.principals_of(secret.trim()) {
            named if named.is_empty() || secret.trim().is_empty() => bad("credential: no header can carry it"),
            named => Ok(named),
        },
    }
}
