//! The policy files as texts: shown, tried and saved.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    super::{Control, Shared},
    Refused,
};
use crate::{
    jobs,
    metrics::Reload,
    policy::{self, Change, Edit, NotSaved, OnDisk, Order, PolicySet, Problem, Saved, Signed, diff, plain},
};

/// Longest name and note that are kept, in characters.
const LONGEST_WHO: usize = 100;
/// See [`LONGEST_WHO`].
const LONGEST_NOTE: usize = 2000;

#[derive(Debug, Serialize)]
pub(in crate::admin) struct Files {
    /// Revision of these texts: what a save names as the one it was made from.
    revision: String,
    /// Revision in use: another one while an edit by hand waits or was refused.
    in_use: String,
    editable: bool,
    files: Vec<FileText>,
    /// What is wrong with these texts.
    problems: Vec<Problem>,
}

/// A file; without category and plain words while the files have problems.
#[derive(Debug, Serialize)]
struct FileText {
    file: String,
    category: String,
    text: String,
    plain: Vec<String>,
}

pub(in crate::admin) async fn list(State(control): Shared) -> Json<Files> {
    let in_use = control.gateway.parts().policies.current();
    let in_use_revision = in_use.revision().to_owned();
    let editable = control.policies.is_some();
    let shown =
        |revision, files, problems| Json(Files { revision, in_use: in_use_revision, editable, files, problems });
    let Some(directory) = &control.policies else {
        return shown(in_use.revision().to_owned(), texts(&in_use), Vec::new());
    };
    match directory.look().await {
        Ok(OnDisk { revision, set: Ok(set), .. }) => shown(revision, texts(&set), Vec::new()),
        Ok(OnDisk { revision, set: Err(problems), files }) => {
            let file = |(file, text)| FileText { file, category: String::new(), text, plain: Vec::new() };
            shown(revision, files.into_iter().map(file).collect(), problems)
        }
        Err(problems) => shown(String::new(), Vec::new(), problems),
    }
}

fn texts(set: &PolicySet) -> Vec<FileText> {
    let text = |(policy, source): (&policy::Policy, &policy::Source)| FileText {
        file: source.file.clone(),
        category: policy.category.clone(),
        text: source.text.clone(),
        plain: plain(policy, &source.typed),
    };
    set.with_sources().map(text).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct CheckRequest {
    files: Edit,
}

#[derive(Debug, Default, Serialize)]
pub(in crate::admin) struct Checked {
    ok: bool,
    /// Revision that a save would lead to.
    revision: String,
    problems: Vec<Problem>,
    plain: BTreeMap<String, Vec<String>>,
    /// What differs from the set in use.
    changes: Vec<Change>,
}

/// What a save would lead to; nothing is changed.
pub(in crate::admin) async fn check(State(control): Shared, Json(request): Json<CheckRequest>) -> Json<Checked> {
    let in_use = control.gateway.parts().policies.current();
    Json(match proposed(&control, request.files).await {
        Ok(set) => Checked {
            ok: true,
            revision: set.revision().to_owned(),
            problems: Vec::new(),
            plain: set
                .with_sources()
                .map(|(policy, source)| (policy.category.clone(), plain(policy, &source.typed)))
                .collect(),
            changes: diff(&in_use, &set),
        },
        Err(problems) => Checked { problems, ..Checked::default() },
    })
}

/// The set that today's files make with `edit` laid over them.
pub(in crate::admin) async fn proposed(control: &Control, edit: Edit) -> Result<PolicySet, Vec<Problem>> {
    let files = match &control.policies {
        Some(directory) => directory.texts().await?,
        None => control.gateway.parts().policies.current().texts(),
    };
    let place = control.policies.as_ref().map_or(Path::new("policies"), |directory| directory.path()).to_owned();
    // Compiling every pattern takes longer than a request may keep a thread.
    let compiling = tokio::task::spawn_blocking(move || policy::propose(&files, &edit, &place).map(|(set, _)| set));
    compiling.await.unwrap_or_else(|_| Err(Vec::new()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct SaveRequest {
    files: Edit,
    base_revision: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    note: String,
}

/// Writes the files and puts them to use.
pub(in crate::admin) async fn save(
    State(control): Shared,
    Json(request): Json<SaveRequest>,
) -> Result<Json<Saved>, Refused> {
    let SaveRequest { files, base_revision: base, who, note } = request;
    in_full(&control, Order::Edit { files, base }, &who, &note).await
}

/// Saves to the end, also when the operator's connection is gone half-way.
pub(super) async fn in_full(
    control: &Arc<Control>,
    order: Order,
    who: &str,
    note: &str,
) -> Result<Json<Saved>, Refused> {
    let Some(directory) = control.policies.clone() else { return Err(Refused::NoDirectory) };
    let signed = Signed { who: kept(who, LONGEST_WHO), note: kept(note, LONGEST_NOTE) };
    let (tell, told) = tokio::sync::oneshot::channel();
    let here = Arc::clone(control);
    control.gateway.parts().tasks.spawn("save-policies", async move {
        let parts = here.gateway.parts();
        let saved = directory.save(&parts.policies, order, signed, parts.clock.now()).await;
        match &saved {
            Ok(saved) => {
                tracing::info!(revision = saved.revision, version = saved.version, "policies saved");
                parts.metrics.policy_reload(Reload::Accepted);
                here.gateway.policies_changed();
                jobs::relearn(&here.gateway, here.store.as_ref()).await;
            }
            Err(_) => parts.metrics.policy_reload(Reload::Refused),
        }
        // Nobody may be waiting any more.
        let _ = tell.send(saved);
    });
    let saved = told.await.unwrap_or(Err(NotSaved::Interrupted));
    Ok(Json(saved?))
}

/// What is kept of a text that somebody typed: one paragraph without control characters, of bounded length.
fn kept(text: &str, longest: usize) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(visible).take(longest).collect()
}
