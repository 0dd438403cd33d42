//! The dashboard: a web page made of plain files inside the binary.
//!
//! Invariants: nothing is loaded from elsewhere and no script or style stands in the page itself, which the policy of its
//! content holds browsers to; the files hold nothing of this gateway, so they need no token, and everything that the page
//! shows comes from the guarded endpoints beside it.

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{AdminError, Shared, index};

/// What browsers may load and do on behalf of the page (CSP level 3).
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal => $kind:expr,)+) => {
        /// Each file: name, content type, content.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("dashboard/", $name))),)+];
    };
}

files! {
    "index.html" => HTML,
    "style.css" => "text/css; charset=utf-8",
    "icon.svg" => "image/svg+xml",
    "api.js" => SCRIPT,
    "app.js" => SCRIPT,
    "categories.js" => SCRIPT,
    "charts.js" => SCRIPT,
    "decisions.js" => SCRIPT,
    "entries.js" => SCRIPT,
    "fixtures.js" => SCRIPT,
    "overview.js" => SCRIPT,
    "playground.js" => SCRIPT,
    "policies.js" => SCRIPT,
    "sources.js" => SCRIPT,
    "ui.js" => SCRIPT,
}

/// The page for a browser; for everything else what there is to ask, which is guarded as all that is told of the gateway.
pub(super) async fn root(State(control): Shared, request: Request) -> Response {
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("text/html") {
        return file("index.html", request.headers());
    }
    match super::allow(&control, &request) {
        Ok(()) => index().await.into_response(),
        Err(error) => error.into_response(),
    }
}

/// One of the page's files.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, asked: &HeaderMap) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return AdminError::NoSuchPage.into_response();
    };
    let tag = format!("\"{}\"", &blake3::hash(content.as_bytes()).to_hex()[..16]);
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { (*content).into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Asked for again each time, answered without a body while it is the same: a new binary has new files.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_page_loads_anything_from_elsewhere_or_holds_a_script_or_style_of_its_own() {
        for (name, _, content) in FILES {
            for address in content.split(['"', '\'', '`', '(', ' ']).filter(|part| part.contains("://")) {
                assert_eq!(address, "http://www.w3.org/2000/svg", "{name}");
            }
            assert!(!content.contains("innerHTML") && !content.contains("insertAdjacentHTML"), "{name}");
        }
        let page = FILES[0].2;
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "{page}");
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=").count());
    }

    #[test]
    fn every_file_that_a_file_names_is_there() {
        let known = |name: &str| FILES.iter().any(|(file, ..)| *file == name);
        for (name, _, content) in FILES {
            for import in content.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(known(import), "{name} imports {import}");
            }
            for asset in content.split("=\"dashboard/").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(known(asset), "{name} names {asset}");
            }
        }
    }
}
