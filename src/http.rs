//! The data plane: which path goes where, and the layers around it.
//!
//! axum stays in this module and in `admin`. Handlers turn an HTTP request into a `gateway::Call`, ask the gateway and turn
//! its `gateway::Reply` back; they decide nothing about caching.

mod coding;
mod cors;
pub mod error;
mod framing;
mod intake;
mod proxy;
pub mod serve;
mod soundness;

use std::sync::Arc;

use axum::{Router, routing::any};
use http::HeaderValue;

use crate::gateway::Gateway;

/// The whole public surface of the data plane, each path with and without `/v1`; what is not named here passes through
/// untouched. Web pages of `cors_origins` may ask.
pub fn router(gateway: Arc<Gateway>, cors_origins: &[HeaderValue]) -> Router {
    let router = Router::new()
        .route("/v1/chat/completions", any(proxy::chat))
        .route("/chat/completions", any(proxy::chat))
        .route("/v1/messages", any(proxy::messages))
        .route("/messages", any(proxy::messages))
        .route("/v1/responses", any(proxy::responses))
        .route("/responses", any(proxy::responses))
        .route("/v1/completions", any(proxy::completions))
        .route("/completions", any(proxy::completions))
        .route("/v1/embeddings", any(proxy::embeddings))
        .route("/embeddings", any(proxy::embeddings))
        .route("/api/chat", any(proxy::ollama))
        .route("/api/generate", any(proxy::ollama))
        .route("/v1beta/models", any(proxy::models))
        .route("/v1alpha/models", any(proxy::models))
        .route("/v1beta/models/{*id}", any(proxy::models))
        .route("/v1alpha/models/{*id}", any(proxy::models))
        .route("/v1/models", any(proxy::models))
        .route("/models", any(proxy::models))
        .route("/v1/models/{*id}", any(proxy::models))
        .route("/models/{*id}", any(proxy::models))
        .fallback(proxy::pass_through)
        .with_state(gateway);
    cors::allowing(router, cors_origins)
}
