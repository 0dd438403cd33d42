//! Totals and metrics.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use serde::Serialize;

use super::{AdminError, Shared};
use crate::store::StoreStats;

/// Totals of the running gateway.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    #[serde(flatten)]
    store: StoreStats,
    hot_bytes: u64,
    index_vectors: usize,
    index_bytes: usize,
    partitions: usize,
    flights: usize,
    policy_revision: String,
    embedder: String,
}

pub(super) async fn stats(State(control): Shared) -> Result<Json<Stats>, AdminError> {
    let parts = control.gateway.parts();
    let index = parts.cache.index();
    Ok(Json(Stats {
        store: parts.cache.store().stats().await?,
        hot_bytes: parts.cache.hot_bytes(),
        index_vectors: index.len(),
        index_bytes: index.bytes(),
        partitions: index.partitions(),
        flights: control.gateway.flights().len(),
        policy_revision: parts.policies.current().revision().to_owned(),
        embedder: parts.embedder.fingerprint().to_owned(),
    }))
}

pub(super) async fn metrics(State(control): Shared) -> Response {
    let parts = control.gateway.parts();
    let metrics = &parts.metrics;
    if let Ok(stats) = parts.cache.store().stats().await {
        metrics.set_store(&stats);
    }
    let index = parts.cache.index();
    metrics.set_memory(parts.cache.hot_bytes(), index.len() as u64, 0);
    metrics.set_tasks(&parts.tasks);
    let policies = parts.policies.current();
    metrics.set_budgets(policies.policies().iter().map(|policy| (&*policy.category, policy.reuse.max_wrong_hits)));
    ([(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], metrics.render()).into_response()
}
