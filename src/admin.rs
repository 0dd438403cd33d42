//! The control plane, on a listener of its own: health, metrics, and everything an operator may see or change.
//!
//! Off loopback it needs a bearer token; health checks never do. Nothing here is on a client's path.

mod audits;
mod bans;
mod dashboard;
mod entries;
mod explain;
mod feedback;
mod fixtures;
mod ledger;
mod overview;
mod policies;
mod purge;
mod simulate;
mod sources;
mod stats;
mod traffic;
mod transfer;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{StatusCode, header};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use fixtures::Desk;

use crate::{
    entry::EntryId,
    gateway::{Gateway, erase::NotPurged, feedback::NoRemedy},
    metrics::RemovalCause,
    policy::PolicyDirectory,
    store::{Hardness, Selector, StoreError, Upkeep},
};

/// What the control plane works on.
#[derive(Debug)]
pub struct Control {
    gateway: Arc<Gateway>,
    store: Arc<dyn Upkeep>,
    policies: Option<Arc<PolicyDirectory>>,
    token: Option<blake3::Hash>,
    draining: AtomicBool,
    /// Cancelled when the listener closes: answers that have no end of their own end then.
    closing: CancellationToken,
    started: tokio::time::Instant,
    desk: OnceLock<Desk>,
    simulations: simulate::Jobs,
}

impl Control {
    /// A control plane over `gateway`; `token` is asked of every call but the health checks. `policies` is the directory
    /// that a reload reads and a save writes, if there is one.
    pub fn new(
        gateway: Arc<Gateway>,
        store: Arc<dyn Upkeep>,
        policies: Option<Arc<PolicyDirectory>>,
        token: Option<&str>,
    ) -> Arc<Self> {
        let token = token.map(|token| blake3::hash(token.as_bytes()));
        Arc::new(Self {
            gateway,
            store,
            policies,
            token,
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
            started: tokio::time::Instant::now(),
            desk: OnceLock::new(),
            simulations: simulate::Jobs::default(),
        })
    }

    /// Gives it fixtures to show and run; the first ones stay.
    pub fn furnish(&self, desk: Desk) {
        // A second call would be a mistake of the composition root, without harm.
        let _ = self.desk.set(desk);
    }

    /// From now on `/readyz` fails, so that no new traffic is sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.closing.cancel();
    }

    /// Purges to the end, also when the operator's connection is gone half-way.
    async fn purge(&self, selector: Selector, hardness: Hardness, dry_run: bool) -> Result<Vec<EntryId>, AdminError> {
        let (gateway, metrics) = (Arc::clone(&self.gateway), Arc::clone(&self.gateway.parts().metrics));
        self.to_the_end("purge", async move {
            let ids = gateway.purge(selector, hardness, dry_run).await?;
            if !dry_run && hardness == Hardness::Hard {
                metrics.removed(RemovalCause::Purged, ids.len() as u64);
            }
            Ok(ids)
        })
        .await
    }

    /// What `work` comes to, which goes on when nobody waits for it any more.
    async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, NotPurged>> + Send + 'static,
    ) -> Result<T, AdminError> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.gateway.parts().tasks.spawn(name, async move {
            // Nobody may be waiting any more.
            let _ = done.send(work.await);
        });
        Ok(outcome.await.unwrap_or(Err(NotPurged::Store(StoreError::Closed)))?)
    }

    fn ready(&self) -> bool {
        self.gateway.is_settled() && !self.draining.load(Ordering::SeqCst)
    }
}

type Shared = State<Arc<Control>>;

/// The whole surface of the control plane.
pub fn router(control: Arc<Control>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(stats::metrics))
        .route("/semblance/stats", get(stats::stats))
        .route("/semblance/entries", get(entries::list))
        .route("/semblance/entries/{id}", get(entries::show).delete(entries::remove))
        .route("/semblance/purge", post(purge::purge))
        .route("/semblance/bans", get(bans::list))
        .route("/semblance/bans/{id}", delete(bans::lift))
        .route("/semblance/sources", get(sources::list))
        .route("/semblance/sources/webhook", post(sources::webhook))
        .route("/semblance/sources/{*name}", get(sources::show).put(sources::update).delete(sources::remove))
        .route("/semblance/policies", get(policies::list))
        .route("/semblance/policies/reload", post(policies::reload))
        .route("/semblance/export", get(transfer::export))
        .route("/semblance/import", post(transfer::import))
        .route("/semblance/fixtures", get(fixtures::list))
        .route("/semblance/fixtures/run", post(fixtures::run))
        .route("/semblance/fixtures/run/{job}", get(fixtures::show))
        .route("/semblance/fixtures/cases", post(fixtures::add))
        .route("/semblance/policies/files", get(policies::files).put(policies::save))
        .route("/semblance/policies/check", post(policies::check))
        .route("/semblance/policies/history", get(policies::history))
        .route("/semblance/policies/history/{version}", get(policies::version))
        .route("/semblance/policies/restore", post(policies::restore))
        .route("/semblance/explain", post(explain::explain))
        .route("/semblance/feedback", post(feedback::feedback))
        .route("/semblance/audits", get(audits::list))
        .route("/semblance/traffic", get(traffic::list))
        .route("/semblance/traffic/live", get(traffic::live))
        .route("/semblance/traffic/{request_id}", get(traffic::show))
        .route("/semblance/ledger", get(ledger::show))
        .route("/semblance/simulate", post(simulate::begin).layer(DefaultBodyLimit::max(simulate::LONGEST)))
        .route("/semblance/simulate/{job}", get(simulate::show).delete(simulate::cancel))
        .route("/semblance/simulate/{job}/report.html", get(simulate::page))
        .route("/semblance/overview", get(overview::overview))
        .route("/semblance/audits/reset", post(audits::reset))
        .layer(middleware::from_fn_with_state(Arc::clone(&control), authorise));
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/", get(dashboard::root))
        .route("/dashboard/{file}", get(dashboard::asset))
        .merge(guarded)
        .with_state(control)
}

/// An admin call that cannot be done.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error("this listener needs its admin token: send `Authorization: Bearer <token>`")]
    Unauthorised,
    #[error(
        "without an admin token this listener answers only to localhost; set admin_token to reach it by another name"
    )]
    Foreign,
    #[error("{0}")]
    BadRequest(String),
    #[error("no such entry: it expired, was purged or replaced")]
    NoEntry,
    #[error("no such source: nobody has said its version, and no entry is built from it")]
    NoSource,
    #[error("no such ban: it was lifted, or has nothing left to cover")]
    NoBan,
    #[error("no such job, or it has no report: only the last few are remembered")]
    NoJob,
    #[error("another simulation is running; wait for it or cancel it")]
    Busy,
    #[error("there is no such page; the dashboard is at /")]
    NoSuchPage,
    #[error("no record of that request: none is kept, it is too old, or it was erased")]
    NoRecord,
    #[error("the file of traffic records cannot be used; the log says why")]
    NoTrafficLog,
    #[error("another run is under way; wait for its end")]
    JobRunning,
    #[error("{}", .0.join("; "))]
    FixtureProblems(Vec<String>),
    #[error("the file of cases cannot be used: {0}")]
    FixtureFile(std::io::Error),
    #[error("a case of this id is there already")]
    CaseKnown,
    #[error(
        "the data directory is encrypted and a case would stand there in plain text; name a directory for fixtures (--fixtures DIR)"
    )]
    Sealed,
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Purge(#[from] NotPurged),
    #[error(transparent)]
    Feedback(#[from] NoRemedy),
    #[error("the embedder failed: {0}")]
    Embed(#[from] crate::embed::EmbedError),
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, reason) = match &self {
            Self::Unauthorised => (StatusCode::UNAUTHORIZED, "unauthorised"),
            Self::Foreign => (StatusCode::FORBIDDEN, "foreign-origin"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request"),
            Self::NoEntry => (StatusCode::NOT_FOUND, "no-entry"),
            Self::NoSource => (StatusCode::NOT_FOUND, "no-source"),
            Self::NoBan => (StatusCode::NOT_FOUND, "no-ban"),
            Self::NoJob => (StatusCode::NOT_FOUND, "no-job"),
            Self::Busy => (StatusCode::CONFLICT, "busy"),
            Self::NoSuchPage => (StatusCode::NOT_FOUND, "no-such-page"),
            Self::NoRecord => (StatusCode::NOT_FOUND, "no-record"),
            Self::NoTrafficLog => (StatusCode::SERVICE_UNAVAILABLE, "no-traffic-log"),
            Self::JobRunning => (StatusCode::CONFLICT, "job-running"),
            Self::FixtureProblems(_) => (StatusCode::UNPROCESSABLE_ENTITY, "fixture-problems"),
            Self::FixtureFile(_) => (StatusCode::INTERNAL_SERVER_ERROR, "fixtures-file"),
            Self::CaseKnown => (StatusCode::CONFLICT, "case-known"),
            Self::Sealed => (StatusCode::CONFLICT, "sealed"),
            Self::Purge(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.reason()),
            Self::Feedback(NoRemedy::Store(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.reason()),
            Self::Feedback(error) => (StatusCode::NOT_FOUND, error.reason()),
            Self::Store(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.reason()),
            Self::Embed(error) => (StatusCode::SERVICE_UNAVAILABLE, error.reason()),
        };
        let body = serde_json::json!({"error": {"reason": reason, "message": self.to_string()}});
        (status, Json(body)).into_response()
    }
}

async fn authorise(State(control): Shared, request: Request, next: Next) -> Result<Response, AdminError> {
    allow(&control, &request)?;
    Ok(next.run(request).await)
}

/// Whether this request may see what is guarded.
fn allow(control: &Control, request: &Request) -> Result<(), AdminError> {
    if let Some(token) = control.token {
        let given = request.headers().get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        // Comparing digests takes the same time whatever was given.
        if blake3::hash(given) != token {
            return Err(AdminError::Unauthorised);
        }
    } else if !is_local(request) {
        return Err(AdminError::Foreign);
    }
    Ok(())
}

/// Without a token only the machine's own tools may ask: a web page that was lured here carries a foreign `Host` (DNS
/// rebinding), `Origin` or `Sec-Fetch-Site`.
fn is_local(request: &Request) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = request.uri().authority().map(http::uri::Authority::as_str).or_else(|| text("host"));
    let same_origin = text("origin").is_none_or(|origin| host.is_some_and(|host| origin == format!("http://{host}")));
    host.is_none_or(is_loopback) && same_origin && text("sec-fetch-site") != Some("cross-site")
}

fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

async fn ready(State(control): Shared) -> (StatusCode, Json<Health>) {
    if control.ready() {
        (StatusCode::OK, Json(Health { status: "ready" }))
    } else {
        let status = if control.gateway.is_settled() { "draining" } else { "starting" };
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status }))
    }
}

/// What there is to ask, for somebody who opened the listener in a browser.
async fn index() -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "semblance": env!("CARGO_PKG_VERSION"),
        "get": [
            "/livez", "/readyz", "/metrics", "/semblance/stats", "/semblance/overview", "/semblance/ledger",
            "/semblance/traffic", "/semblance/traffic/{request_id}", "/semblance/traffic/live",
            "/semblance/entries", "/semblance/entries/{id}", "/semblance/audits",
            "/semblance/sources", "/semblance/sources/{name}", "/semblance/bans",
            "/semblance/policies", "/semblance/policies/files", "/semblance/policies/history",
            "/semblance/policies/history/{version}",
            "/semblance/simulate/{job}", "/semblance/simulate/{job}/report.html",
            "/semblance/export", "/semblance/fixtures", "/semblance/fixtures/run/{job}",
        ],
        "post": [
            "/semblance/purge", "/semblance/sources/webhook", "/semblance/explain", "/semblance/feedback", "/semblance/audits/reset",
            "/semblance/simulate", "/semblance/policies/reload", "/semblance/policies/check", "/semblance/policies/restore",
            "/semblance/import", "/semblance/fixtures/run", "/semblance/fixtures/cases",
        ],
        "put": ["/semblance/policies/files", "/semblance/sources/{name}"],
        "delete": [
            "/semblance/entries/{id}", "/semblance/simulate/{job}", "/semblance/sources/{name}", "/semblance/bans/{id}",
        ],
    }))
}
