//! What is told of each request beyond headers, log and metrics: its record, the ledger, and the last hour.
//!
//! Invariants: nothing here is waited for by a request; a request is told of once, when its answer has ended or its client
//! has gone; what may not be kept of it is never put into a record, so no reader has to leave it out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Timestamp},
    embed::Embedder,
    key::Principal,
    outcome::Outcome,
    prices::Prices,
    store::{
        StoreError,
        traffic::{Retention, TrafficLog},
    },
    traffic::{
        Record, TrafficSettings,
        ledger::{HOUR_MS, Key, Purpose, Spent, Sums},
        window::Window,
    },
    wire::Usage,
};

/// Records that a reader of the live feed may be behind before it misses some.
const LIVE: usize = 256;
/// Between two times that sums are written down.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Between two times that what is too old is removed.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// The ledger's sums stay this long.
const SUMS_STAY: Duration = Duration::from_secs(400 * 24 * 3600);
/// Names under which the ledger keeps sums of one hour at most; what comes beyond counts under none.
const NAMES: usize = 4096;

/// The teller of requests.
#[derive(Debug)]
pub struct Traffic {
    log: Option<Arc<dyn TrafficLog>>,
    settings: TrafficSettings,
    prices: Prices,
    clock: Clock,
    live: broadcast::Sender<Arc<Record>>,
    window: Mutex<Window>,
    sums: Mutex<HashMap<Key, Sums>>,
    lost: AtomicU64,
    /// Tokens of vectors made elsewhere that are in the ledger.
    embedded: AtomicU64,
}

/// Tokens that were bought, and what for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bought<'a> {
    pub(super) category: &'a str,
    /// The model asked for,
    pub(super) model: &'a str,
    /// and the one that answered.
    pub(super) answered_by: &'a str,
    /// Policies in force.
    pub(super) revision: &'a str,
    pub(super) usage: Usage,
}

/// A request whose answer is on its way; told of when this is dropped.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) traffic: Arc<Traffic>,
    pub(super) record: Record,
    pub(super) outcome: Outcome,
    /// Model of the answer, where it is known.
    pub(super) answered_by: Option<String>,
    pub(super) usage: Option<Usage>,
    /// What will be known at the end of a fetched answer.
    pub(super) ending: Option<super::flight::Ending>,
    pub(super) started: tokio::time::Instant,
}

impl Drop for Telling {
    fn drop(&mut self) {
        let record = &mut self.record;
        let took = self.started.elapsed();
        record.answered_at_ms = record.at_ms.saturating_add(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
        if let Some(answer) = self.ending.as_ref().and_then(super::flight::Ending::answer) {
            self.usage = answer.usage;
            self.answered_by = Some(answer.model.clone());
        }
        if matches!(self.outcome, Outcome::Miss(_) | Outcome::Collapsed(_)) {
            record.answer_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        record.input_tokens = self.usage.map(|usage| usage.input);
        record.output_tokens = self.usage.map(|usage| usage.output);
        if self.outcome.saves() {
            let by = self.answered_by.as_deref().unwrap_or_default();
            record.saved_usd = self.usage.and_then(|usage| self.traffic.cost(by, &record.model, usage));
        }
        self.traffic.told(std::mem::take(record), self.outcome, self.answered_by.as_deref(), self.usage);
    }
}

impl Traffic {
    /// Tells requests to `log`, if there is one.
    pub fn new(log: Option<Arc<dyn TrafficLog>>, settings: TrafficSettings, prices: Prices, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            log,
            settings,
            prices,
            clock,
            live: broadcast::Sender::new(LIVE),
            window: Mutex::default(),
            sums: Mutex::default(),
            lost: AtomicU64::new(0),
            embedded: AtomicU64::new(0),
        })
    }

    /// Where records and sums are kept; `None` when that file cannot be used.
    pub fn log(&self) -> Option<&Arc<dyn TrafficLog>> {
        self.log.as_ref()
    }

    /// Whether records are kept.
    pub const fn records(&self) -> bool {
        self.settings.record
    }

    /// Whether anybody wants to know more of a request than what is counted.
    pub(super) fn wants_records(&self) -> bool {
        self.settings.record || self.live.receiver_count() > 0
    }

    /// Today's prices.
    pub const fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Records lost since the start, because they came faster than they could be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Every request from now on, as it ends.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Record>> {
        self.live.subscribe()
    }

    /// The last hour.
    pub fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `usage` costs: at the price of the model that answered, else of the one asked for.
    pub(super) fn cost(&self, answered_by: &str, asked_for: &str, usage: Usage) -> Option<f64> {
        self.prices.cost(answered_by, usage).or_else(|| self.prices.cost(asked_for, usage))
    }

    fn told(&self, record: Record, outcome: Outcome, answered_by: Option<&str>, usage: Option<Usage>) {
        let priced = answered_by.filter(|model| self.prices.of(model).is_some()).unwrap_or(&record.model);
        let sums = Sums::request(outcome, priced, usage, &self.prices);
        self.sum(&record.category, &record.model, &record.policy_revision, record.at_ms, sums);
        let kept = self.log.as_ref().filter(|_| self.settings.record);
        if self.live.receiver_count() > 0 {
            // Nobody may be listening any more.
            let _ = self.live.send(Arc::new(record.clone()));
        }
        if let Some(log) = kept
            && let Err(error) = log.record(record)
            && self.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(reason = error.reason(), %error, "records of traffic are lost");
        }
    }

    /// Notes a request for the last hour when its answer begins.
    pub(super) fn began(&self, at: Timestamp, outcome: Outcome, latency: Duration) {
        self.window().add(at, outcome, latency);
    }

    /// Notes tokens that were bought.
    pub(super) fn spent(&self, purpose: Purpose, bought: &Bought<'_>) {
        let Bought { category, model, answered_by, revision, usage } = *bought;
        let priced = if self.prices.of(answered_by).is_some() { answered_by } else { model };
        let sums = Sums::spent(purpose, Spent::of(priced, usage, &self.prices));
        self.sum(category, model, revision, self.clock.now().as_millis(), sums);
    }

    /// Notes the tokens of vectors made elsewhere since this was last asked.
    fn embedding(&self, embedder: &dyn Embedder) {
        let Some((model, tokens)) = embedder.bought() else { return };
        let before = self.embedded.swap(tokens, Ordering::Relaxed);
        let more = tokens.saturating_sub(before);
        if more > 0 {
            let usage = Usage { input: more, output: 0 };
            let bought = Bought { category: "", model, answered_by: model, revision: "", usage };
            self.spent(Purpose::Embedding, &bought);
        }
    }

    fn sum(&self, category: &str, model: &str, revision: &str, at_ms: i64, more: Sums) {
        let hour_ms = at_ms.div_euclid(HOUR_MS) * HOUR_MS;
        let mut sums = self.sums();
        let named = |name: &str| name.to_owned();
        let mut key = Key { hour_ms, category: named(category), model: named(model), policy_revision: named(revision) };
        if sums.len() >= NAMES && !sums.contains_key(&key) {
            // Clients name models as they like.
            key.model = String::new();
        }
        *sums.entry(key).or_default() += more;
    }

    fn sums(&self) -> MutexGuard<'_, HashMap<Key, Sums>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what has been summed up, and waits until all records told of so far are written too.
    ///
    /// # Errors
    /// The log failed; the sums stay for the next time.
    pub async fn flush(&self, embedder: &dyn Embedder) -> Result<(), StoreError> {
        self.embedding(embedder);
        let Some(log) = &self.log else { return Ok(()) };
        let sums: Vec<(Key, Sums)> = std::mem::take(&mut *self.sums()).into_iter().collect();
        let written = if sums.is_empty() { Ok(()) } else { log.add(sums.clone()).await };
        if let Err(error) = written {
            let mut kept = self.sums();
            for (key, more) in sums {
                *kept.entry(key).or_default() += more;
            }
            return Err(error);
        }
        log.flush().await
    }

    /// Removes every record of these people.
    ///
    /// # Errors
    /// The log failed.
    pub(super) async fn forget(&self, principals: Vec<Principal>) -> Result<(), StoreError> {
        match &self.log {
            Some(log) => log.forget(principals).await.map(drop),
            None => Ok(()),
        }
    }

    /// Writes sums down and removes what is too old, until `stop`.
    pub async fn keep_books(self: Arc<Self>, embedder: Arc<dyn Embedder>, stop: CancellationToken) {
        let mut prune_at = tokio::time::Instant::now();
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WRITE_EVERY) => {}
            }
            let written = self.flush(embedder.as_ref()).await;
            if let Err(error) = &written
                && !failing
            {
                tracing::warn!(reason = error.reason(), %error, "the ledger is not written");
            }
            failing = written.is_err();
            if tokio::time::Instant::now() >= prune_at {
                prune_at = tokio::time::Instant::now() + PRUNE_EVERY;
                self.prune().await;
            }
        }
        if let Err(error) = self.flush(embedder.as_ref()).await {
            tracing::warn!(reason = error.reason(), %error, "the ledger's last lines are lost");
        }
    }

    async fn prune(&self) {
        let Some(log) = &self.log else { return };
        let now = self.clock.now();
        let retention = Retention {
            since: now.minus(self.settings.retention),
            rows: self.settings.max_rows,
            sums_since: now.minus(SUMS_STAY),
        };
        match log.prune(retention).await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "old records of traffic removed"),
            Err(error) => tracing::warn!(reason = error.reason(), %error, "old records of traffic stay"),
        }
    }
}
