//! Today's policies, reading them anew, and editing them with their history.

pub(super) mod files;
mod versions;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

pub(super) use self::{
    files::{check, list as files, save},
    versions::{list as history, restore, show as version},
};
use super::Shared;
use crate::{
    jobs,
    metrics::Reload,
    policy::{NotSaved, Problem, Summary},
};

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    revision: String,
    policies: Vec<Summary>,
}

pub(super) async fn list(State(control): Shared) -> Json<Listed> {
    let set = control.gateway.parts().policies.current();
    let policies = set.with_sources().map(|(policy, source)| Summary::of(policy, source)).collect();
    Json(Listed { revision: set.revision().to_owned(), policies })
}

/// Reads the policy files now; on any problem nothing changes.
pub(super) async fn reload(State(control): Shared) -> Response {
    let parts = control.gateway.parts();
    let Some(directory) = &control.policies else { return Refused::NoDirectory.into_response() };
    match directory.reload(&parts.policies, parts.clock.now()).await {
        Ok(set) => {
            parts.metrics.policy_reload(Reload::Accepted);
            control.gateway.policies_changed();
            jobs::relearn(&control.gateway, control.store.as_ref()).await;
            Json(serde_json::json!({"revision": set.revision()})).into_response()
        }
        Err(problems) => {
            parts.metrics.policy_reload(Reload::Refused);
            Refused::NotSaved(NotSaved::Problems(problems)).into_response()
        }
    }
}

/// A call about the files that cannot be done; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("this gateway runs on its built-in policies; start it with --policies DIR to edit them")]
    NoDirectory,
    #[error(transparent)]
    NotSaved(#[from] NotSaved),
    #[error("no version {0} is kept; the history lists those that are")]
    NoVersion(u64),
    #[error("the history cannot be read: {0}")]
    History(#[from] std::io::Error),
}

impl Refused {
    const fn reason(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoDirectory => (StatusCode::CONFLICT, "no-policy-directory"),
            Self::NotSaved(NotSaved::Problems(_)) => (StatusCode::UNPROCESSABLE_ENTITY, "policy-problems"),
            Self::NotSaved(NotSaved::Conflict { .. }) => (StatusCode::CONFLICT, "policy-conflict"),
            Self::NotSaved(NotSaved::NoVersion(_)) | Self::NoVersion(_) => (StatusCode::NOT_FOUND, "no-version"),
            Self::NotSaved(NotSaved::Io { .. }) => (StatusCode::INTERNAL_SERVER_ERROR, "policy-files"),
            Self::NotSaved(NotSaved::Interrupted) => (StatusCode::INTERNAL_SERVER_ERROR, "interrupted"),
            Self::History(_) => (StatusCode::INTERNAL_SERVER_ERROR, "policy-history"),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, reason) = self.reason();
        let mut body = serde_json::json!({"error": {"reason": reason, "message": self.to_string()}});
        match &self {
            Self::NotSaved(NotSaved::Problems(problems)) => body["problems"] = told(problems),
            Self::NotSaved(NotSaved::Conflict { revision }) => body["revision"] = revision.clone().into(),
            _ => {}
        }
        (status, Json(body)).into_response()
    }
}

fn told(problems: &[Problem]) -> serde_json::Value {
    serde_json::to_value(problems).unwrap_or_default()
}
