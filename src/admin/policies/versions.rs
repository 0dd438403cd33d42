//! Versions of the policies that were in use, and the way back to one.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};

use super::{super::Shared, Refused, files::in_full};
use crate::policy::{Change, Order, Saved, Texts, Version, VersionTexts, diff, propose};

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Listed {
    versions: Vec<Version>,
}

/// The newest first; none for a gateway on its built-in policies.
pub(in crate::admin) async fn list(State(control): Shared) -> Result<Json<Listed>, Refused> {
    let versions = match &control.policies {
        Some(directory) => directory.versions().await?,
        None => Vec::new(),
    };
    Ok(Json(Listed { versions }))
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Shown {
    #[serde(flatten)]
    version: VersionTexts,
    /// What it changed of the version before; empty for the first one that is kept.
    changes: Vec<Change>,
}

pub(in crate::admin) async fn show(State(control): Shared, Path(number): Path<u64>) -> Result<Json<Shown>, Refused> {
    let Some(directory) = &control.policies else { return Err(Refused::NoVersion(number)) };
    let (version, before) = directory.version(number).await?.ok_or(Refused::NoVersion(number))?;
    let after = version.files.clone();
    let comparing = before.map(|before| tokio::task::spawn_blocking(move || changes(&before.files, &after)));
    let changes = match comparing {
        Some(comparing) => comparing.await.unwrap_or_default(),
        None => Vec::new(),
    };
    Ok(Json(Shown { version, changes }))
}

/// Of sets that both still compile.
fn changes(before: &Texts, after: &Texts) -> Vec<Change> {
    let made = |files| propose(files, &std::collections::BTreeMap::new(), std::path::Path::new("policies"));
    match (made(before), made(after)) {
        (Ok((before, _)), Ok((after, _))) => diff(&before, &after),
        _ => Vec::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct RestoreRequest {
    version: u64,
    #[serde(default)]
    who: String,
    #[serde(default)]
    note: String,
}

pub(in crate::admin) async fn restore(
    State(control): Shared,
    Json(request): Json<RestoreRequest>,
) -> Result<Json<Saved>, Refused> {
    let RestoreRequest { version, who, note } = request;
    in_full(&control, Order::Restore(version), &who, &note).await
}
