//! Edits tried on recorded traffic: a job that runs in the background, one at a time.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{
    Json,
    extract::{Path, State},
    response::{Html, IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared, policies::files, traffic::log};
use crate::{
    clock::Timestamp,
    policy::{Edit, Problem},
    simulate::{self, Progress, Setup, SimulateError, html, report::Report, request::Traffic},
    store::{StoreError, traffic::TrafficLog},
};

/// The longest request, in bytes: some hundred thousand lines of traffic brought along.
pub(super) const LONGEST: usize = 32 << 20;

/// Jobs remembered.
const REMEMBERED: usize = 4;
/// Recorded requests looked at, at most.
const REQUESTS: usize = 1_000_000;
/// Records read at a time.
const PAGE: usize = 5000;
/// Changed decisions listed.
const CHANGES: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SimulateRequest {
    /// Files laid over today's; null takes one away.
    #[serde(default)]
    files: Edit,
    /// Recorded requests of this moment or later.
    since_ms: Option<i64>,
    /// At most so many recorded requests, a million without it.
    limit: Option<usize>,
    /// Traffic as JSON lines, in the place of what is recorded.
    traffic: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Begun {
    job: String,
}

/// What a job has come to.
#[derive(Debug, Default)]
enum Done {
    #[default]
    Running,
    Report(Box<Report>),
    Failed(String),
}

#[derive(Debug)]
struct Job {
    name: String,
    cancel: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    stage: Mutex<&'static str>,
    state: Mutex<Done>,
}

impl Job {
    fn state(&self) -> MutexGuard<'_, Done> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, Progress { stage, done, total }: Progress) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}

/// Ends a job whatever ends it, a panic or a stop included: one that seemed to run for ever would keep out all others.
#[derive(Debug)]
struct Ending(Arc<Job>);

impl Ending {
    fn with(&self, result: Result<Report, NotSimulated>) {
        *self.0.state() = match result {
            Ok(report) => Done::Report(Box::new(report)),
            Err(error) => Done::Failed(error.to_string()),
        };
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, Done::Running) {
            *state = Done::Failed("it ended before its time; the gateway's log says why".to_owned());
        }
    }
}

/// The last jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    all: Mutex<VecDeque<Arc<Job>>>,
    begun: AtomicU64,
}

impl Jobs {
    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new job; `None` while one runs.
    fn begin(&self) -> Option<Arc<Job>> {
        let mut all = self.all();
        if all.iter().any(|job| matches!(*job.state(), Done::Running)) {
            return None;
        }
        let job = Arc::new(Job {
            name: format!("s{}", self.begun.fetch_add(1, Ordering::Relaxed) + 1),
            cancel: AtomicBool::new(false),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stage: Mutex::new("reading"),
            state: Mutex::default(),
        });
        all.push_back(Arc::clone(&job));
        while all.len() > REMEMBERED {
            all.pop_front();
        }
        Some(job)
    }

    fn get(&self, name: &str) -> Result<Arc<Job>, AdminError> {
        self.all().iter().find(|job| job.name == name).cloned().ok_or(AdminError::NoJob)
    }
}

/// Begins a simulation, or says what is wrong with the edit.
pub(super) async fn begin(
    State(control): Shared,
    Json(request): Json<SimulateRequest>,
) -> Result<Response, AdminError> {
    let SimulateRequest { files: edit, since_ms, limit, traffic } = request;
    let proposed = match files::proposed(&control, edit).await {
        Ok(set) => Arc::new(set),
        Err(problems) => return Ok(refused(&problems)),
    };
    let source = match traffic {
        Some(lines) => Source::Brought(imported(lines).await?),
        None => Source::Recorded {
            log: Arc::clone(log(&control)?),
            since: Timestamp::from_millis(since_ms.unwrap_or(i64::MIN)),
            limit: limit.unwrap_or(REQUESTS).min(REQUESTS),
        },
    };
    let job = control.simulations.begin().ok_or(AdminError::Busy)?;
    let parts = control.gateway.parts();
    let setup = Setup {
        today: parts.policies.current(),
        proposed,
        embedder: Arc::clone(&parts.embedder),
        matcher: Arc::clone(&parts.matcher),
        prices: parts.traffic.prices().clone(),
        // Requests that are being answered come first.
        parallel: 1,
        changes_listed: CHANGES,
    };
    let begun = Begun { job: job.name.clone() };
    let (draining, runtime) = (parts.tasks.clone(), tokio::runtime::Handle::current());
    // Deciding never waits for long: on a thread that serves requests it would hold them up.
    parts.tasks.spawn_blocking("simulate", move || {
        let ending = Ending(job);
        let result = runtime.block_on(async {
            tokio::select! {
                result = simulated(&ending.0, source, &setup) => Some(result),
                () = draining.draining() => None,
            }
        });
        if let Some(result) = result {
            ending.with(result);
        }
    });
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

fn refused(problems: &[Problem]) -> Response {
    let error = serde_json::json!({"reason": "policy-problems", "message": "the proposed policies have problems"});
    let body = serde_json::json!({"error": error, "problems": problems});
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

/// Where the requests come from.
#[derive(Debug)]
enum Source {
    Brought(Traffic),
    Recorded { log: Arc<dyn TrafficLog>, since: Timestamp, limit: usize },
}

/// Why a job has no report.
#[derive(Debug, thiserror::Error)]
enum NotSimulated {
    #[error("the recorded traffic cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Simulate(#[from] SimulateError),
}

async fn simulated(job: &Job, source: Source, setup: &Setup) -> Result<Report, NotSimulated> {
    let traffic = match source {
        Source::Brought(traffic) => traffic,
        Source::Recorded { log, since, limit } => recorded(job, log.as_ref(), since, limit).await?,
    };
    Ok(simulate::run(&traffic, setup, &job.cancel, |progress| job.advance(progress)).await?)
}

async fn imported(lines: String) -> Result<Traffic, AdminError> {
    // So many lines take longer than a request may keep a thread.
    let reading = tokio::task::spawn_blocking(move || {
        let (mut traffic, mut bad) = (Traffic::default(), None);
        let read = traffic.read(lines.as_bytes(), |number, why| {
            bad.get_or_insert_with(|| format!("traffic, line {number}: {why}"));
        });
        traffic.sort();
        match (read, bad) {
            (Ok(()), None) => Ok(traffic),
            (Ok(()), Some(bad)) => Err(bad),
            (Err(error), _) => Err(format!("traffic: {error}")),
        }
    });
    let read = reading.await.unwrap_or_else(|error| Err(format!("traffic: {error}")));
    read.map_err(AdminError::BadRequest)
}

async fn recorded(job: &Job, log: &dyn TrafficLog, since: Timestamp, limit: usize) -> Result<Traffic, NotSimulated> {
    log.flush().await?;
    let (mut traffic, mut after) = (Traffic::default(), 0);
    while traffic.events().len() < limit {
        if job.cancel.load(Ordering::Relaxed) {
            return Err(SimulateError::Cancelled.into());
        }
        let page = log.walk(after, since, PAGE.min(limit - traffic.events().len())).await?;
        let Some(last) = page.last().and_then(|record| record.id) else { break };
        after = last;
        page.into_iter().for_each(|record| traffic.add(record));
        job.advance(Progress { stage: "reading", done: traffic.events().len() as u64, total: 0 });
    }
    traffic.sort();
    Ok(traffic)
}

#[derive(Debug, Serialize)]
pub(super) struct Told {
    state: &'static str,
    stage: &'static str,
    done: u64,
    total: u64,
    error: Option<String>,
    report: Option<Report>,
}

pub(super) async fn show(State(control): Shared, Path(name): Path<String>) -> Result<Json<Told>, AdminError> {
    let job = control.simulations.get(&name)?;
    let (state, error, report) = match &*job.state() {
        Done::Running => ("running", None, None),
        Done::Report(report) => ("done", None, Some(Report::clone(report))),
        Done::Failed(why) => ("failed", Some(why.clone()), None),
    };
    let stage = *job.stage.lock().unwrap_or_else(PoisonError::into_inner);
    let (done, total) = (job.done.load(Ordering::Relaxed), job.total.load(Ordering::Relaxed));
    Ok(Json(Told { state, stage, done, total, error, report }))
}

/// The report as a page.
pub(super) async fn page(State(control): Shared, Path(name): Path<String>) -> Result<Response, AdminError> {
    let job = control.simulations.get(&name)?;
    let page = match &*job.state() {
        Done::Report(report) => Some(html::page(report)),
        Done::Running | Done::Failed(_) => None,
    };
    page.map(|page| Html(page).into_response()).ok_or(AdminError::NoJob)
}

pub(super) async fn cancel(State(control): Shared, Path(name): Path<String>) -> Result<StatusCode, AdminError> {
    control.simulations.get(&name)?.cancel.store(true, Ordering::Relaxed);
    Ok(StatusCode::NO_CONTENT)
}
