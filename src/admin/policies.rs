//! Today's policies, and reading them anew.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use super::Shared;
use crate::{jobs, metrics::Reload, policy::Summary};

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    revision: String,
    policies: Vec<Summary>,
}

pub(super) async fn list(State(control): Shared) -> Json<Listed> {
    let set = control.gateway.parts().policies.current();
    let policies = set.policies().iter().map(|policy| Summary::of(policy)).collect();
    Json(Listed { revision: set.revision().to_owned(), policies })
}

/// Reads the policy files now; on any problem nothing changes.
pub(super) async fn reload(State(control): Shared) -> Response {
    let parts = control.gateway.parts();
    let Some(dir) = &control.policies else {
        let body = serde_json::json!({"error": {"reason": "no-policy-directory", "message": "this gateway runs on its built-in policies; start it with --policies DIR to edit them"}});
        return (StatusCode::CONFLICT, Json(body)).into_response();
    };
    match parts.policies.reload(dir) {
        Ok(set) => {
            parts.metrics.policy_reload(Reload::Accepted);
            control.gateway.policies_changed();
            jobs::relearn(&control.gateway, control.store.as_ref()).await;
            Json(serde_json::json!({"revision": set.revision()})).into_response()
        }
        Err(problems) => {
            parts.metrics.policy_reload(Reload::Refused);
            let error = serde_json::json!({"reason": "policy-problems", "message": "nothing was changed"});
            let body = serde_json::json!({"error": error, "problems": problems});
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
    }
}
