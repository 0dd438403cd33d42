//! Watching our own hits: some are asked again upstream in the background, the two answers compared, and a category
//! with too many wrong hits stops serving by meaning (design.md 4.6).
//!
//! Invariants: no client waits for any of this; a category is consulted before each hit by meaning, an alias included;
//! what would have been served while a category is tripped, or in shadow mode, is compared with the answer that the
//! upstream gave instead, which costs no further call; a wrong pair is blocked at once. Before the books are read from
//! the store nothing is served by meaning.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;

use super::{
    Parts,
    traffic::{Bought, Traffic},
};
use crate::{
    cache::Cache,
    clock::Clock,
    embed::{EmbedError, Embedder},
    entry::Entry,
    key::Fingerprint,
    matcher::{
        agreement::{Agreement, same_answer},
        audit::{Change, Ledger},
    },
    metrics::Metrics,
    outcome::{MissReason, NotStored},
    policy::PolicyWatch,
    similarity::{Embedding, Similarity},
    store::{StoreError, verdicts::KeptLedger},
    tasks::Tasks,
    traffic::ledger::Purpose,
    upstream::{Upstream, UpstreamError, UpstreamRequest},
    wire::{Answer, BodyKind, Family, RecordSettings, Recorder, directives::Mode, sse},
};

/// Hits asked again at the same time; more are not audited.
const AUDITS_AT_A_TIME: usize = 4;
/// Comparisons at the same time.
const COMPARISONS_AT_A_TIME: usize = 16;
/// Bytes of an answer too long for the embedder from which its vector is made.
const ANSWER_HEAD: usize = 600;
/// Served hits between two writes of a category's books.
const HITS_BETWEEN_WRITES: u64 = 32;
/// Pause before the books are read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A question and the entry that answers it by meaning.
#[derive(Debug, Clone)]
pub(super) struct Pairing {
    /// The entry.
    pub(super) entry: Arc<Entry>,
    /// The question, in the entry's scope.
    pub(super) asked: Fingerprint,
}

/// How an audit's answer is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Protocol.
    pub(super) family: Family,
    /// As in [`crate::wire::Request`].
    pub(super) wants_json: bool,
}

/// Why an audit came to nothing.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the answer is not one to compare: {}", .0.as_str())]
    Unusable(NotStored),
}

impl NoAnswer {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Unusable(why) => why.as_str(),
        }
    }
}

/// The books of all categories and the work behind them.
#[derive(Debug)]
pub struct Auditor {
    books: Mutex<BTreeMap<String, Ledger>>,
    /// The books and the blocked pairs have been read.
    read: AtomicBool,
    shadow: bool,
    cache: Arc<Cache>,
    embedder: Arc<dyn Embedder>,
    policies: Arc<PolicyWatch>,
    upstream: Arc<dyn Upstream>,
    record: RecordSettings,
    clock: Clock,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    traffic: Arc<Traffic>,
}

impl Auditor {
    pub(super) fn new(parts: &Parts) -> Arc<Self> {
        Arc::new(Self {
            books: Mutex::default(),
            read: AtomicBool::new(false),
            shadow: parts.oversight.shadow,
            cache: Arc::clone(&parts.cache),
            embedder: Arc::clone(&parts.embedder),
            policies: Arc::clone(&parts.policies),
            upstream: Arc::clone(&parts.upstream),
            record: parts.settings.record.clone(),
            clock: parts.clock.clone(),
            tasks: parts.tasks.clone(),
            metrics: Arc::clone(&parts.metrics),
            traffic: Arc::clone(&parts.traffic),
        })
    }

    /// Reads the books, the blocked pairs and what earlier purges left behind. Until this has succeeded nothing is served by meaning.
    pub async fn read(&self) -> Result<(), StoreError> {
        self.cache.load_blocked().await?;
        self.cache.load_outdated().await?;
        for KeptLedger { category, ledger } in self.cache.store().ledgers().await? {
            match serde_json::from_str::<Ledger>(&ledger) {
                Ok(ledger) => {
                    self.show(&category, &ledger);
                    self.books().insert(category, ledger);
                }
                Err(error) => tracing::warn!(category, %error, "the books of a category are unreadable and begin anew"),
            }
        }
        self.read.store(true, Ordering::Release);
        Ok(())
    }

    /// Reads the books, again and again until it succeeds or the gateway stops.
    pub async fn read_until_known(self: Arc<Self>) {
        while !self.read.load(Ordering::Acquire) {
            if let Err(error) = self.read().await {
                tracing::warn!(reason = error.reason(), %error, "books not read, nothing is served by meaning");
                tokio::select! {
                    () = tokio::time::sleep(READ_AGAIN) => {}
                    () = self.tasks.draining() => return,
                }
            }
        }
    }

    /// Why a hit by meaning in `category` may not be served, if so.
    pub fn withholds(&self, category: &str, mode: Option<Mode>) -> Option<MissReason> {
        if !self.read.load(Ordering::Acquire) {
            Some(MissReason::CacheError)
        } else if self.shadow || mode == Some(Mode::Shadow) {
            Some(MissReason::Shadow)
        } else {
            self.is_tripped(category).then_some(MissReason::Tripped)
        }
    }

    /// Whether `category` serves the same question only.
    pub fn is_tripped(&self, category: &str) -> bool {
        self.books().get(category).is_some_and(Ledger::is_tripped)
    }

    /// The books of every category that has some.
    pub fn ledgers(&self) -> BTreeMap<String, Ledger> {
        self.books().clone()
    }

    /// Begins a category's books anew, by hand. False when it has none.
    pub fn reset(&self, category: &str) -> bool {
        if !self.books().contains_key(category) {
            return false;
        }
        self.book(category, |ledger| {
            ledger.reset();
            None
        });
        tracing::info!(category, "audit books reset by hand");
        true
    }

    /// Books a semantic hit.
    pub(super) fn served(&self, category: &str) {
        let mut books = self.books();
        let ledger = books.entry(category.to_owned()).or_default();
        ledger.served();
        if ledger.reports.seen.is_multiple_of(HITS_BETWEEN_WRITES) {
            self.keep(category, ledger);
        }
    }

    /// Books a report that a hit was wrong.
    pub(super) fn reported(&self, category: &str) {
        let budget = self.budget(category);
        let now = self.clock.now().as_millis();
        self.book(category, |ledger| ledger.reported(budget, now));
    }

    /// Asks a served question again in the background, unless enough are being asked.
    pub(super) fn ask_again_behind(self: &Arc<Self>, pairing: Pairing, request: UpstreamRequest, reading: Reading) {
        let auditor = Arc::clone(self);
        let category = pairing.entry.category.clone();
        let asked_for = request.model.clone().unwrap_or_default();
        let work = async move {
            match auditor.ask_again(request, reading).await {
                Ok(fresh) => {
                    auditor.book_costs(&pairing.entry.category, &asked_for, &fresh);
                    auditor.compare(&pairing, &fresh).await;
                }
                Err(error) => {
                    tracing::debug!(reason = error.reason(), %error, "audit without an answer");
                    auditor.metrics.audit("failed", &pairing.entry.category);
                }
            }
        };
        self.spawn("audit", AUDITS_AT_A_TIME, &category, work);
    }

    /// Compares what would have been served with what the upstream said, in the background.
    pub(super) fn compare_behind(self: &Arc<Self>, pairing: Pairing, fresh: Arc<Answer>) {
        let auditor = Arc::clone(self);
        let category = pairing.entry.category.clone();
        let work = async move { auditor.compare(&pairing, &fresh).await };
        self.spawn("compare", COMPARISONS_AT_A_TIME, &category, work);
    }

    /// Starts `work` unless there is enough; it ends unfinished when the gateway stops.
    fn spawn(&self, name: &'static str, most: usize, category: &str, work: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.tasks.clone();
        let stoppable = async move {
            tokio::select! {
                () = work => {}
                () = tasks.draining() => {}
            }
        };
        if !self.tasks.spawn_limited(name, most, stoppable) {
            self.metrics.audit("skipped", category);
        }
    }

    async fn ask_again(&self, request: UpstreamRequest, reading: Reading) -> Result<Answer, NoAnswer> {
        let mut response = self.upstream.send(request).await?;
        let mut recorder = Recorder::new(reading.family, self.record.clone(), reading.wants_json);
        let kind = recorder.head(response.status, &response.headers);
        let mut body = Vec::new();
        while let Some(piece) = response.body.next().await {
            body.extend_from_slice(&piece.map_err(|_| NoAnswer::Unusable(NotStored::Incomplete))?);
            if body.len() > self.record.max_bytes {
                return Err(NoAnswer::Unusable(NotStored::TooLarge));
            }
        }
        let finished = if kind == BodyKind::Stream {
            let (mut reader, mut frames) = (sse::Reader::new(self.record.max_bytes), Vec::new());
            reader.feed(&body, &mut frames).map_err(|_| NoAnswer::Unusable(NotStored::TooLarge))?;
            let ending = reader.finish();
            frames.extend(ending.frame);
            frames.iter().for_each(|frame| recorder.frame(frame));
            recorder.finish_stream(ending.leftover.is_empty())
        } else {
            recorder.finish_json(&body.into(), true)
        };
        finished.recorded().map_err(NoAnswer::Unusable)
    }

    fn book_costs(&self, category: &str, model: &str, fresh: &Answer) {
        let Some(usage) = fresh.usage else { return };
        let policies = self.policies.current();
        let bought = Bought { category, model, answered_by: &fresh.model, revision: policies.revision(), usage };
        self.traffic.spent(Purpose::Audit, &bought);
    }

    async fn compare(&self, pairing: &Pairing, fresh: &Answer) {
        let Pairing { entry, asked } = pairing;
        let cached = &entry.answer.text;
        // Most answers of a deterministic model are equal or clearly not; only the others need vectors.
        let agreement = match same_answer(cached, &fresh.text, None) {
            Agreement::Unsure => same_answer(cached, &fresh.text, self.similarity(cached, &fresh.text).await),
            told => told,
        };
        self.metrics.audit(agreement.as_str(), &entry.category);
        tracing::debug!(entry = %entry.id, category = entry.category, agreement = agreement.as_str(), "answers compared");
        let now = self.clock.now();
        if agreement == Agreement::Different
            && let Err(error) = self.cache.block(entry.fingerprint, *asked, "audit", now).await
        {
            tracing::warn!(reason = error.reason(), %error, "a wrong pair is blocked until the next start only");
        }
        let budget = self.budget(&entry.category);
        self.book(&entry.category, |ledger| ledger.compared(agreement, budget, now.as_millis()));
    }

    async fn similarity(&self, a: &str, b: &str) -> Option<Similarity> {
        let (a, b) = (self.vector(a).await?, self.vector(b).await?);
        a.similarity(&b)
    }

    async fn vector(&self, text: &str) -> Option<Embedding> {
        match self.embedder.embed(text).await {
            Ok(vector) => Some(vector),
            Err(EmbedError::TooLong { .. }) => {
                self.embedder.embed(&text[..text.floor_char_boundary(ANSWER_HEAD)]).await.ok()
            }
            Err(error) => {
                tracing::debug!(reason = error.reason(), "answers compared without vectors");
                None
            }
        }
    }

    /// Today's budget of wrong hits.
    fn budget(&self, category: &str) -> f64 {
        let policies = self.policies.current();
        policies.get(category).unwrap_or_else(|| policies.default_policy()).reuse.max_wrong_hits
    }

    /// Changes a category's books, keeps them and tells what that changed.
    fn book(&self, category: &str, change: impl FnOnce(&mut Ledger) -> Option<Change>) {
        let (ledger, before, changed) = {
            let mut books = self.books();
            let ledger = books.entry(category.to_owned()).or_default();
            let before = *ledger;
            let changed = change(ledger);
            self.keep(category, ledger);
            (*ledger, before, changed)
        };
        self.show(category, &ledger);
        match changed {
            Some(Change::Tripped) => tracing::warn!(
                category,
                audited = ledger.audited().seen,
                wrong = ledger.audited().wrong,
                hits = ledger.reports.seen,
                reported = ledger.reports.wrong,
                "too many wrong hits: the category serves the same question only"
            ),
            Some(Change::Recovered) => {
                let compared = before.trip.map_or(0, |trip| trip.since.seen + 1);
                tracing::info!(category, compared, "wrong hits are within the budget: the category serves by meaning");
            }
            None => {}
        }
    }

    // Under the books' lock, so that the newest is written last.
    fn keep(&self, category: &str, ledger: &Ledger) {
        let Ok(text) = serde_json::to_string(ledger) else { return };
        let kept = KeptLedger { category: category.to_owned(), ledger: text };
        if let Err(error) = self.cache.store().keep_ledger(kept, self.clock.now()) {
            tracing::debug!(reason = error.reason(), category, "audit books not kept");
        }
    }

    fn show(&self, category: &str, ledger: &Ledger) {
        self.metrics.set_wrong_hits(category, ledger.is_tripped(), ledger.audited().bounds().1);
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<String, Ledger>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
