//! Requests from web pages of other origins (the CORS protocol of the Fetch standard), where an operator allows them.

use std::time::Duration;

use axum::{Router, middleware, response::Response};
use http::{HeaderName, HeaderValue, header};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Any, CorsLayer};

use crate::headers;

/// How long a browser may remember the answer to a preflight.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// What starts the name of every header by which a server allows something to pages.
const ALLOWANCES: &str = "access-control-";
/// What a page may read beside the few headers that it always may.
const EXPOSED: [HeaderName; 16] = [
    headers::CACHE_STATUS,
    header::AGE,
    headers::CACHE,
    headers::CATEGORY,
    headers::ENTRY,
    headers::SIMILARITY,
    headers::REQUEST_ID,
    headers::SAVED_USD,
    headers::SAVED_INPUT_TOKENS,
    headers::SAVED_OUTPUT_TOKENS,
    headers::ORIGIN_ID,
    headers::X_REQUEST_ID,
    headers::ANTHROPIC_REQUEST_ID,
    // What the SDKs decide their retries by.
    header::RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    headers::SHOULD_RETRY,
];

/// `router` for pages of `origins`, of which one may be `*`: it answers every `OPTIONS` itself, and what the upstream
/// allows to pages counts no more. Without origins `router` stays as it is.
pub(super) fn allowing(router: Router, origins: &[HeaderValue]) -> Router {
    if origins.is_empty() {
        return router;
    }
    let origins = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        AllowOrigin::list(origins.iter().cloned())
    };
    // SDKs send headers of their own, such as `x-stainless-lang` and `anthropic-dangerous-direct-browser-access`: all that
    // are asked for are allowed, as are all methods. Keys travel in headers, so no credentials of the browser are needed.
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(REMEMBERED);
    router.layer(middleware::map_response(without_allowances)).layer(cors)
}

async fn without_allowances(mut response: Response) -> Response {
    headers::remove_where(response.headers_mut(), |name| name.as_str().starts_with(ALLOWANCES));
    response
}
