//! Fixtures: what there is, a run of them in the background, and a case more.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AdminError, Control, Shared};
use crate::replay::{
    Record,
    desk::{self, DESK_FILE, Fixtures, Listed, Runs},
    report::{Bounds, Report},
};

/// Runs that are remembered, the latest ones.
const REMEMBERED: usize = 16;

/// The directory of fixtures and what runs them.
#[derive(Debug)]
pub struct Desk {
    fixtures: Fixtures,
    runs: Arc<dyn Runs>,
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    last: u64,
    by_number: BTreeMap<u64, Job>,
}

#[derive(Debug)]
struct Job {
    done: Arc<AtomicUsize>,
    total: usize,
    ended: Option<Result<Value, String>>,
}

impl Desk {
    /// A desk over these fixtures.
    pub fn new(fixtures: Fixtures, runs: Arc<dyn Runs>) -> Self {
        Self { fixtures, runs, jobs: Mutex::default() }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a run of so many cases begins; `None` while another one runs.
    fn begin(&self, total: usize) -> Option<(u64, Arc<AtomicUsize>)> {
        let mut jobs = self.jobs();
        if jobs.by_number.values().any(|job| job.ended.is_none()) {
            return None;
        }
        jobs.last += 1;
        let (number, done) = (jobs.last, Arc::new(AtomicUsize::new(0)));
        jobs.by_number.insert(number, Job { done: Arc::clone(&done), total, ended: None });
        while jobs.by_number.len() > REMEMBERED {
            jobs.by_number.pop_first();
        }
        Some((number, done))
    }

    fn end(&self, number: u64, ended: Result<Value, String>) {
        if let Some(job) = self.jobs().by_number.get_mut(&number) {
            job.ended = Some(ended);
        }
    }
}

/// Ends a run whatever becomes of it, so that another can begin.
struct Running {
    control: Arc<Control>,
    number: u64,
    ended: Option<Result<Value, String>>,
}

impl Running {
    fn end(mut self, ended: Option<Result<Value, String>>) {
        self.ended = ended;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.ended.take().unwrap_or_else(|| Err("the run was broken off".to_owned()));
        if let Some(desk) = self.control.desk.get() {
            desk.end(self.number, ended);
        }
    }
}

fn desk(control: &Control) -> Result<&Desk, AdminError> {
    control.desk.get().ok_or(AdminError::NoSuchPage)
}

/// Reads files apart from the threads that answer.
async fn reading<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, AdminError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| AdminError::FixtureFile(io::Error::other(error)))
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    directory: String,
    files: Vec<Listed>,
}

pub(super) async fn list(State(control): Shared) -> Result<Json<Shown>, AdminError> {
    let fixtures = desk(&control)?.fixtures.clone();
    let directory = fixtures.directory().display().to_string();
    let files = reading(move || fixtures.list()).await?.map_err(AdminError::FixtureFile)?;
    Ok(Json(Shown { directory, files }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    /// Names as listed; all when there is none.
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    pool: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Started {
    job: String,
}

/// Begins a run; one at a time, for it takes all the cores that it can get.
pub(super) async fn run(
    State(control): Shared,
    Json(request): Json<RunRequest>,
) -> Result<(StatusCode, Json<Started>), AdminError> {
    let RunRequest { files, pool } = request;
    let desk = desk(&control)?;
    let fixtures = desk.fixtures.clone();
    let cases = reading(move || fixtures.cases(&files)).await?.map_err(AdminError::FixtureProblems)?;
    let (number, done) = desk.begin(cases.len()).ok_or(AdminError::JobRunning)?;
    let tasks = control.gateway.parts().tasks.clone();
    let stop = tasks.token().clone();
    let replaying = desk.runs.run(cases, pool, counting(done));
    let running = Running { control: Arc::clone(&control), number, ended: None };
    tasks.spawn("replay-fixtures", async move {
        let ended = tokio::select! {
            ran = replaying => Some(ran.and_then(|records| report(&records, pool))),
            () = stop.cancelled() => None,
        };
        running.end(ended);
    });
    Ok((StatusCode::ACCEPTED, Json(Started { job: format!("r{number}") })))
}

fn counting(done: Arc<AtomicUsize>) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        done.fetch_add(1, Ordering::Relaxed);
    })
}

fn report(records: &[Record], pool: bool) -> Result<Value, String> {
    serde_json::to_value(Report::of(records, pool, &Bounds::default())).map_err(|error| error.to_string())
}

#[derive(Debug, Serialize)]
pub(super) struct JobState {
    state: &'static str,
    done: usize,
    total: usize,
    error: Option<String>,
    report: Option<Value>,
}

pub(super) async fn show(State(control): Shared, Path(job): Path<String>) -> Result<Json<JobState>, AdminError> {
    let number = job.strip_prefix('r').and_then(|number| number.parse().ok()).ok_or(AdminError::NoJob)?;
    let jobs = desk(&control)?.jobs();
    let job = jobs.by_number.get(&number).ok_or(AdminError::NoJob)?;
    let (state, report, error) = match &job.ended {
        None => ("running", None, None),
        Some(Ok(report)) => ("done", Some(report.clone()), None),
        Some(Err(error)) => ("failed", None, Some(error.clone())),
    };
    Ok(Json(JobState { state, done: job.done.load(Ordering::Relaxed), total: job.total, error, report }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseRequest {
    file: Option<String>,
    case: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct Added {
    file: &'static str,
    cases: usize,
}

/// Adds a case to the desk's own file.
pub(super) async fn add(State(control): Shared, Json(request): Json<CaseRequest>) -> Result<Json<Added>, AdminError> {
    let CaseRequest { file, case } = request;
    if file.as_deref().is_some_and(|file| file != DESK_FILE) {
        return Err(AdminError::BadRequest(format!("file: cases are added to {DESK_FILE} only")));
    }
    let line = desk::line_of(&case).map_err(AdminError::BadRequest)?;
    let desk = desk(&control)?;
    let path = desk.fixtures.desk_file().ok_or(AdminError::Sealed)?;
    let is_known = |text: &str| desk::is_named_in(&case, text);
    if !control.gateway.add_case(&path, &line, is_known).await.map_err(AdminError::FixtureFile)? {
        return Err(AdminError::CaseKnown);
    }
    let fixtures = desk.fixtures.clone();
    let listed = reading(move || fixtures.list()).await?.map_err(AdminError::FixtureFile)?;
    let cases = listed.iter().find(|listed| listed.file == DESK_FILE).map_or(0, |listed| listed.cases);
    Ok(Json(Added { file: DESK_FILE, cases }))
}

#[cfg(test)]
mod tests {
    use futures_util::future::{BoxFuture, FutureExt, ready};

    use super::*;
    use crate::replay::case::Case;

    #[derive(Debug)]
    struct Nothing;

    impl Runs for Nothing {
        fn run(
            &self,
            _: Vec<Case>,
            _: bool,
            _: Box<dyn Fn() + Send + Sync>,
        ) -> BoxFuture<'static, Result<Vec<Record>, String>> {
            ready(Ok(Vec::new())).boxed()
        }
    }

    #[test]
    fn runs_come_one_after_the_other_and_the_last_ones_are_remembered() {
        let desk = Desk::new(Fixtures::of("/nowhere".into(), false), Arc::new(Nothing));
        let (first, done) = desk.begin(3).unwrap();
        counting(done)();
        assert!(desk.begin(1).is_none(), "one is under way");
        assert_eq!(desk.jobs().by_number[&first].done.load(Ordering::Relaxed), 1);
        desk.end(first, Err("broken off".to_owned()));
        for _ in 0..REMEMBERED {
            let (next, _) = desk.begin(1).unwrap();
            desk.end(next, Ok(Value::Null));
        }
        assert!(!desk.jobs().by_number.contains_key(&first));
        assert_eq!(desk.jobs().by_number.len(), REMEMBERED);
    }
}
