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
    simulate::{self, Progress, Setup, html, report::Report, request::Traffic},
    store::traffic::TrafficLog,
};

/// Jobs remembered.
const REMEMBERED: usize = 4;
/// Recorded requests looked at, unless asked otherwise.
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
    /// At most so many recorded requests.
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
    let traffic = match traffic {
        Some(lines) => imported(&lines)?,
        None => recorded(log(&control)?, since_ms, limit.unwrap_or(REQUESTS)).await?,
    };
    let job = control.simulations.begin().ok_or(AdminError::Busy)?;
    let parts = control.gateway.parts();
    let setup = Setup {
        today: parts.policies.current(),
        proposed,
        embedder: Arc::clone(&parts.embedder),
        matcher: Arc::clone(&parts.matcher),
        prices: parts.traffic.prices().clone(),
        changes_listed: CHANGES,
    };
    let begun = Begun { job: job.name.clone() };
    let draining = parts.tasks.clone();
    parts.tasks.spawn("simulate", async move {
        let result = tokio::select! {
            result = simulate::run(&traffic, &setup, &job.cancel, |progress| job.advance(progress)) => result,
            () = draining.draining() => return,
        };
        *job.state() = match result {
            Ok(report) => Done::Report(Box::new(report)),
            Err(error) => Done::Failed(error.to_string()),
        };
    });
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

fn refused(problems: &[Problem]) -> Response {
    let error = serde_json::json!({"reason": "policy-problems", "message": "the proposed policies have problems"});
    let body = serde_json::json!({"error": error, "problems": problems});
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

fn imported(lines: &str) -> Result<Traffic, AdminError> {
    let (mut traffic, mut bad) = (Traffic::default(), None);
    let read = traffic.read(lines.as_bytes(), |number, why| {
        bad.get_or_insert_with(|| format!("traffic, line {number}: {why}"));
    });
    match (read, bad) {
        (Ok(()), None) => {
            traffic.sort();
            Ok(traffic)
        }
        (Ok(()), Some(bad)) => Err(AdminError::BadRequest(bad)),
        (Err(error), _) => Err(AdminError::BadRequest(format!("traffic: {error}"))),
    }
}

async fn recorded(log: &Arc<dyn TrafficLog>, since_ms: Option<i64>, limit: usize) -> Result<Traffic, AdminError> {
    log.flush().await?;
    let since = Timestamp::from_millis(since_ms.unwrap_or(i64::MIN));
    let (mut traffic, mut after) = (Traffic::default(), 0);
    while traffic.events().len() < limit {
        let page = log.walk(after, since, PAGE.min(limit - traffic.events().len())).await?;
        let Some(last) = page.last().and_then(|record| record.id) else { break };
        after = last;
        page.into_iter().for_each(|record| traffic.add(record));
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
