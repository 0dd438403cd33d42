//! Taking answers out of circulation: by entry, tag, source, category, scope, age and meaning; soft or hard; counted first
//! when asked.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{AdminError, Control, Shared, entries::parse_id};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::{Principal, Scope},
    similarity::Similarity,
    store::{
        Browse, Hardness, Selector,
        bans::{BANS_KEPT, Ban, Near},
        sources::SourceSelector,
    },
    wire::directives::SourceRef,
};

/// Ids named in an answer; the count is always exact.
const NAMED: usize = 100;
/// How near a purge by meaning reaches, unless asked otherwise.
const RADIUS: f32 = 0.85;
/// Bytes of a text that entries are near to.
const LONGEST_TEXT: usize = 8192;

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
    /// The same as a moment: entries generated until then.
    until_ms: Option<i64>,
    /// `doc:42`, or `doc:42@v7` for that version only.
    source: Option<String>,
    /// Of a tag, or of a source.
    prefix: Option<String>,
    /// A text: entries whose question is near to it in meaning, now and whatever arrives later that was generated before.
    near: Option<String>,
    /// How near at least.
    radius: Option<f32>,
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
    /// Of a purge by meaning that is only counted: entries that would have been looked at and are found by their own wording
    /// only, so that nobody knows what they are near to.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_meaning: Option<u64>,
}

impl Purged {
    pub(super) fn done(ids: &[EntryId]) -> Self {
        Self {
            purged: ids.len(),
            dry_run: false,
            entries: ids.iter().take(NAMED).map(EntryId::to_string).collect(),
            without_meaning: None,
        }
    }
}

pub(super) async fn purge(
    State(control): Shared,
    Json(request): Json<PurgeRequest>,
) -> Result<Json<Purged>, AdminError> {
    let parts = control.gateway.parts();
    let now = parts.clock.now();
    let (soft, dry_run) = (request.soft, request.dry_run);
    let selector = request.selector(&control, now).await?;
    if selector.near.is_some() && !dry_run && parts.cache.bans().len() >= BANS_KEPT {
        return Err(AdminError::BadRequest(format!(
            "near: {BANS_KEPT} bans are kept and none may be dropped before its time; delete some of /semblance/bans"
        )));
    }
    let hardness = if soft { Hardness::Soft(now) } else { Hardness::Hard };
    let ids = control.purge(selector.clone(), hardness, dry_run).await?;
    let without_meaning = if dry_run { without_meaning(&control, selector).await? } else { None };
    tracing::info!(purged = ids.len(), soft, dry_run, "purge");
    Ok(Json(Purged { dry_run, without_meaning, ..Purged::done(&ids) }))
}

/// Of the entries that a purge by meaning is held to, those that have none.
async fn without_meaning(control: &Control, selector: Selector) -> Result<Option<u64>, AdminError> {
    let Some(near) = selector.near.clone() else { return Ok(None) };
    let any = Near { radius: Similarity::OPPOSITE, ..near };
    let all = Browse { selector: Selector { near: None, ..selector.clone() }, ..Browse::default() };
    let with = Browse { selector: Selector { near: Some(any), ..selector }, ..Browse::default() };
    let (all, with) = (control.store.browse(all).await?, control.store.browse(with).await?);
    Ok(Some(all.total.saturating_sub(with.total)))
}

impl PurgeRequest {
    async fn selector(self, control: &Control, now: Timestamp) -> Result<Selector, AdminError> {
        let until = self.until(now)?;
        let bad = |what: &str| Err(AdminError::BadRequest(what.to_owned()));
        let Self { entry, tag, category, scope, principal, credential, source, prefix, near, radius, all, .. } = self;
        let scope = scope
            .map(|hex| {
                Scope::from_hex(&hex).ok_or_else(|| {
                    AdminError::BadRequest("scope: not 64 hex digits; take it from /semblance/entries".to_owned())
                })
            })
            .transpose()?;
        let selector = Selector {
            entry: entry.as_deref().map(parse_id).transpose()?,
            tag,
            category,
            scope,
            principals: principals(control, principal.as_deref(), credential.as_deref())?,
            generated_until: until,
            source: source.as_deref().map(self::source).transpose()?,
            prefix,
            ..Selector::default()
        };
        let Some(text) = near else {
            return match radius {
                Some(_) => bad("radius: it says how near; give near as well"),
                None if selector == Selector::default() && !all => bad(
                    "say what to purge: entry, tag, source, prefix, category, scope, principal, credential, older_than, until_ms or near; or \"all\": true",
                ),
                None if selector.prefix.as_deref() == Some("") => bad("prefix: it is empty"),
                None => Ok(selector),
            };
        };
        let near = self::near(control, text, radius.unwrap_or(RADIUS)).await?;
        let selector = Selector { near: Some(near), generated_until: until.or(Some(now)), ..selector };
        // A ban holds for later arrivals, and is told by no more than that.
        match Ban::of(&selector, Hardness::Hard) {
            Some(_) => Ok(selector),
            None => bad("near: beside it give category, scope, and a time (older_than or until_ms), and nothing else"),
        }
    }

    fn until(&self, now: Timestamp) -> Result<Option<Timestamp>, AdminError> {
        let bad = |what: String| Err(AdminError::BadRequest(what));
        match (&self.older_than, self.until_ms) {
            (Some(_), Some(_)) => bad("give either older_than or until_ms".to_owned()),
            (None, Some(ms)) if ms > now.as_millis() => {
                bad("until_ms: it has not come yet; what is generated after a purge is good".to_owned())
            }
            (None, until) => Ok(until.map(Timestamp::from_millis)),
            (Some(text), None) => match humantime::parse_duration(text) {
                Ok(age) => Ok(Some(now.minus(age))),
                Err(error) => bad(format!("older_than: {error}; write it like \"24h\" or \"7d\"")),
            },
        }
    }
}

/// A document, in a version or in all.
pub(super) fn source(text: &str) -> Result<SourceSelector, AdminError> {
    let read = SourceRef::parse(text).map(SourceSelector::of);
    read.ok_or_else(|| AdminError::BadRequest("source: write it like doc:42 or doc:42@v7".to_owned()))
}

/// Nearness to a text.
pub(super) async fn near(control: &Control, text: String, radius: f32) -> Result<Near, AdminError> {
    let bad = |what: &str| Err(AdminError::BadRequest(what.to_owned()));
    let Some(radius) = Similarity::new(radius).filter(|_| (0.0..=1.0).contains(&radius)) else {
        return bad("radius: a cosine from 0 to 1; the nearer to 1, the fewer");
    };
    if text.trim().is_empty() || text.len() > LONGEST_TEXT {
        return bad("near: give a text of at most 8192 bytes");
    }
    let embedder = &control.gateway.parts().embedder;
    let vector = embedder.embed(&text).await?;
    Ok(Near { text, vector, embedder: embedder.fingerprint().to_owned(), radius })
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
