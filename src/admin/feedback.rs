//! A person's word on a served answer.

use axum::{Json, extract::State};
use serde::Deserialize;

use super::{AdminError, Shared, entries::parse_id};
use crate::gateway::feedback::{About, Complaint, Remedy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedbackRequest {
    entry_id: Option<String>,
    request_id: Option<String>,
    verdict: Complaint,
}

pub(super) async fn feedback(
    State(control): Shared,
    Json(request): Json<FeedbackRequest>,
) -> Result<Json<Remedy>, AdminError> {
    let about = match (request.entry_id, request.request_id) {
        (Some(entry), None) => About::Entry(parse_id(&entry)?),
        (None, Some(request)) => About::Request(request),
        (None, None) | (Some(_), Some(_)) => {
            let message = "say what it is about: request_id (x-semblance-request-id of the answer) or entry_id";
            return Err(AdminError::BadRequest(message.to_owned()));
        }
    };
    Ok(Json(control.gateway.feedback(about, request.verdict).await?))
}
