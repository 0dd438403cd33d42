//! Replays of fixtures: a gateway of their own each time, over the built-in model, with a clock moved by hand.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};

use super::{Seams, StartError, without_listeners};
use crate::{
    clock::{Clock, Timestamp},
    config::{Config, UpstreamChoice},
    matcher::calibration::PSame,
    policy::PolicySet,
    replay::{Record, Replayer, case::Case, desk::Runs},
    scratch::Scratch,
    tasks::Tasks,
    upstream::scripted::Scripted,
};

/// The moment at which every replay begins, so that two of them do the same.
const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// A busy machine must not turn hits into misses here.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a replay leaves: the records, and the policies and bars they came from.
#[derive(Debug)]
pub struct Replayed {
    /// What became of each case.
    pub records: Vec<Record>,
    /// The policies.
    pub policies: Arc<PolicySet>,
    /// Budgets of wrong hits and the bars that keep them.
    pub bars: Vec<(f64, PSame)>,
}

/// Why nothing was replayed.
#[derive(Debug, thiserror::Error)]
pub enum NoReplay {
    /// No directory for its database.
    #[error("no temporary directory: {0}")]
    Scratch(#[from] std::io::Error),
    /// The settings' defaults do not hold.
    #[error("the configuration has problems")]
    Settings,
    /// Its gateway does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Replays `cases` through a gateway of its own; `seams` may bring its models, `done` is called after each case.
///
/// # Errors
/// Why that gateway does not start.
pub async fn replay(
    cases: &[Case],
    pool: bool,
    policies: Option<PathBuf>,
    seams: Seams,
    done: impl Fn() + Sync,
) -> Result<Replayed, NoReplay> {
    let scratch = Scratch::new("replay")?;
    let mut config = Config::defaults().map_err(|_| NoReplay::Settings)?;
    config.data_dir = scratch.path().to_owned();
    config.upstream = UpstreamChoice::Demo;
    config.policies = policies;
    config.embedder.timeout = PATIENCE;
    let (clock, hand) = Clock::manual(START);
    let (model, script) = Scripted::programmable();
    let upstream = Arc::new(model.with_clock(clock.clone()));
    let tasks = Tasks::new();
    let seams = Seams { clock, upstream: Some(upstream), store: None, ..seams };
    let gateway = without_listeners(&config, seams, &tasks).await?;
    let parts = gateway.parts();
    let policies = parts.policies.current();
    let bars = parts.matcher.verifier().map_or_else(Vec::new, |verifier| verifier.calibration().lines().collect());
    let replayer = Replayer { gateway, script, hand };
    let records = if pool { replayer.pooled(cases, done).await } else { replayer.alone(cases, done).await };
    tasks.drain(Duration::from_secs(5)).await;
    Ok(Replayed { records, policies, bars })
}

/// Replays with the policies, and the models where a test brought them, of a running gateway.
#[derive(Debug)]
pub(super) struct Replays {
    pub(super) policies: Option<PathBuf>,
    pub(super) seams: Seams,
}

impl Runs for Replays {
    fn run(
        &self,
        cases: Vec<Case>,
        pool: bool,
        done: Box<dyn Fn() + Send + Sync>,
    ) -> BoxFuture<'static, Result<Vec<Record>, String>> {
        let (policies, seams) = (self.policies.clone(), self.seams.clone());
        async move {
            let replayed = replay(&cases, pool, policies, seams, done).await;
            replayed.map(|replayed| replayed.records).map_err(|error| error.to_string())
        }
        .boxed()
    }
}
