//! Every metric, declared once, with its help; a value that is passed down, never a global.
//!
//! Invariants: labels are closed sets (outcomes, reasons, stages) or the operator's own names of categories and
//! upstreams, never a scope, a prompt, a model's name or an error's text; reasons start at zero, so that a rate of one is
//! seen from its first event. All numbers of one request come from its one [`Outcome`].

use std::{borrow::Cow, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    embed::EmbedError,
    outcome::{BypassReason, HitKind, MissReason, NotStored, Outcome},
    similarity::Similarity,
    store::StoreStats,
    tasks::Tasks,
    upstream::{UpstreamError, UpstreamResponse},
    wire::{self, Usage},
};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One to a few labels; values are borrowed but for category names.
type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

macro_rules! closed {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label's value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

closed! {
    /// Where the time of a lookup goes.
    Stage {
        /// Hot tier and store, by fingerprint.
        Exact => "exact",
        /// Telling the category.
        Classify => "classify",
        /// Text to vector.
        Embed => "embed",
        /// Nearest neighbours.
        Search => "search",
        /// Candidates' entries from the store.
        Load => "load",
        /// Guard and verifier.
        Judge => "judge",
    }
}

closed! {
    /// What became of a candidate.
    Verdict {
        /// Served.
        Accepted => "accepted",
        /// Under the bar of similarity.
        BelowThreshold => "below-threshold",
        /// Refused by the guard.
        Guard => "guard",
        /// Refused by the verifier.
        Verifier => "verifier",
        /// Not usable for another reason: gone, too old, too long.
        Unusable => "unusable",
    }
}

closed! {
    /// Why an entry went.
    RemovalCause {
        /// For space.
        Evicted => "evicted",
        /// For time.
        Expired => "expired",
        /// By command.
        Purged => "purged",
        /// A newer answer took its place.
        Replaced => "replaced",
    }
}

closed! {
    /// What a question that is new to this node came to among the nodes.
    AmongNodes {
        /// This node asks for all.
        Led => "led",
        /// Another node did, and this one does now.
        TookOver => "took-over",
        /// Another node's answer was there, or came.
        Served => "served",
        /// Its answers are not kept, so each node asks for itself.
        Alone => "alone",
        /// Another node's answer did not come in time.
        InVain => "in-vain",
        /// The engine did not say.
        Unknown => "unknown",
    }
}

closed! {
    /// How a follower's wait ended.
    FollowerStatus {
        /// With the leader's answer.
        Served => "served",
        /// With the leader's error.
        Failed => "failed",
        /// It became the leader.
        Elected => "elected",
        /// The answer was not to be shared; it went on alone.
        Released => "released",
        /// The flight was full; it went on alone.
        Full => "full",
    }
}

closed! {
    /// What a reload of the policies came to.
    Reload {
        /// The new set is in use.
        Accepted => "accepted",
        /// The new set has problems; the old one stays.
        Refused => "refused",
    }
}

closed! {
    /// What goes to an OpenTelemetry collector.
    Signal {
        /// Spans of traces.
        Spans => "spans",
        /// Collections of metrics.
        Metrics => "metrics",
    }
}

/// All metrics. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Counters<2>,
    request_duration: Histograms<1>,
    requests_in_flight: Gauge,
    lookups: Counters<3>,
    misses: Counters<1>,
    bypasses: Counters<1>,
    admissions: Counters<2>,
    removals: Counters<1>,
    followers: Counters<1>,
    among_nodes: Counters<1>,
    upstream_requests: Counters<1>,
    upstream_duration: Histogram,
    upstream_fallbacks: Counters<2>,
    lookup_duration: Histograms<1>,
    candidate_similarity: Histograms<1>,
    embeddings: Counters<1>,
    saved_tokens: Counters<1>,
    saved_usd: Counter<f64, AtomicU64>,
    feedback: Counters<1>,
    audits: Counters<2>,
    withheld: Counters<2>,
    judged: Counters<1>,
    tripped: Family<Labels<1>, Gauge>,
    wrong_hit_bound: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    wrong_hit_budget: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    entries: Gauge,
    aliases: Gauge,
    entry_bytes: Gauge,
    file_bytes: Gauge,
    hot_bytes: Gauge,
    index_vectors: Gauge,
    index_tombstones: Gauge,
    policy_reloads: Counters<1>,
    tasks_alive: Family<Labels<1>, Gauge>,
    task_panics: Family<Labels<1>, Gauge>,
    otlp_dropped: Counters<1>,
    feed_lag: Gauge<f64, AtomicU64>,
    feed_behind: Gauge,
    feed_resyncs: Counter,
    store_reachable: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// From 100 microseconds, an exact hit, to minutes, a long generation.
fn request_seconds() -> Histogram {
    let bounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];
    Histogram::new(bounds.into_iter().chain([1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0]))
}

/// From 5 microseconds, a hash, to a second, a breakdown.
fn stage_seconds() -> Histogram {
    let bounds = [0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025];
    Histogram::new(bounds.into_iter().chain([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]))
}

/// Where decisions are made: from the floor to identity.
fn similarities() -> Histogram {
    Histogram::new([0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.99, 1.0])
}

fn histograms<const N: usize>(constructor: fn() -> Histogram) -> Histograms<N> {
    Family::new_with_constructor(constructor)
}

fn label<const N: usize>(pairs: [(&'static str, &'static str); N]) -> Labels<N> {
    pairs.map(|(name, value)| (name, Cow::Borrowed(value)))
}

fn by_category(name: &'static str, value: &'static str, category: &str) -> Labels<2> {
    [(name, Cow::Borrowed(value)), ("category", Cow::Owned(category.to_owned()))]
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("semblance"),
            requests: Family::default(),
            request_duration: histograms(request_seconds),
            requests_in_flight: Gauge::default(),
            lookups: Family::default(),
            misses: Family::default(),
            bypasses: Family::default(),
            admissions: Family::default(),
            removals: Family::default(),
            followers: Family::default(),
            among_nodes: Family::default(),
            upstream_requests: Family::default(),
            upstream_duration: request_seconds(),
            upstream_fallbacks: Family::default(),
            lookup_duration: histograms(stage_seconds),
            candidate_similarity: histograms(similarities),
            embeddings: Family::default(),
            saved_tokens: Family::default(),
            saved_usd: Counter::default(),
            feedback: Family::default(),
            audits: Family::default(),
            withheld: Family::default(),
            judged: Family::default(),
            tripped: Family::default(),
            wrong_hit_bound: Family::default(),
            wrong_hit_budget: Family::default(),
            entries: Gauge::default(),
            aliases: Gauge::default(),
            entry_bytes: Gauge::default(),
            file_bytes: Gauge::default(),
            hot_bytes: Gauge::default(),
            index_vectors: Gauge::default(),
            index_tombstones: Gauge::default(),
            policy_reloads: Family::default(),
            tasks_alive: Family::default(),
            task_panics: Family::default(),
            otlp_dropped: Family::default(),
            feed_lag: Gauge::default(),
            feed_behind: Gauge::default(),
            feed_resyncs: Counter::default(),
            store_reachable: Gauge::default(),
        };
        metrics.register_requests();
        metrics.register_cache();
        metrics.register_verdicts();
        metrics.register_state();
        metrics.register_nodes();
        metrics.start_at_zero();
        metrics
    }

    fn register_requests(&mut self) {
        let Self { registry: r, .. } = self;
        r.register("requests", "Requests answered, by protocol and outcome", self.requests.clone());
        r.register("request_duration_seconds", "From head to last byte, by outcome", self.request_duration.clone());
        r.register("requests_in_flight", "Requests being answered now", self.requests_in_flight.clone());
        r.register("lookups", "Lookups, by outcome, kind of hit and category", self.lookups.clone());
        r.register("misses", "Lookups that did not serve, by reason", self.misses.clone());
        r.register("bypasses", "Requests for which the cache was not consulted, by reason", self.bypasses.clone());
        r.register(
            "flight_followers",
            "Requests that joined a running fetch, by how that ended",
            self.followers.clone(),
        );
        r.register("upstream_requests", "Requests sent upstream, by result", self.upstream_requests.clone());
        r.register("upstream_duration_seconds", "From request to response head", self.upstream_duration.clone());
        r.register(
            "upstream_fallbacks",
            "Requests sent to a fallback upstream, by the one that failed and its fallback",
            self.upstream_fallbacks.clone(),
        );
        r.register("saved_tokens", "Tokens that hits did not buy again, by direction", self.saved_tokens.clone());
        r.register("saved_usd", "US dollars that hits saved, where prices are known", self.saved_usd.clone());
    }

    fn register_verdicts(&mut self) {
        let Self { registry: r, .. } = self;
        r.register("feedback", "Verdicts on served answers, by verdict", self.feedback.clone());
        r.register("audits", "Cached answers compared with fresh ones, by result and category", self.audits.clone());
        r.register("withheld", "Semantic hits not served, by reason and category", self.withheld.clone());
        r.register("judged", "Candidates put to the judge, by verdict", self.judged.clone());
        r.register("tripped", "1 while a category serves the same question only", self.tripped.clone());
        r.register(
            "wrong_hit_bound",
            "Upper 95 % bound on a category's share of wrong semantic hits",
            self.wrong_hit_bound.clone(),
        );
        r.register(
            "wrong_hit_budget",
            "What a category's policy lets be wrong of its semantic hits, as a share",
            self.wrong_hit_budget.clone(),
        );
    }

    fn register_cache(&mut self) {
        let Self { registry: r, .. } = self;
        r.register("admissions", "Fetched answers, by whether and why not stored", self.admissions.clone());
        r.register("removals", "Entries removed, by cause", self.removals.clone());
        r.register("lookup_duration_seconds", "Time of a lookup, by stage", self.lookup_duration.clone());
        r.register("candidate_similarity", "Cosine of candidates, by verdict", self.candidate_similarity.clone());
        r.register("embeddings", "Vectors asked for, by result", self.embeddings.clone());
        r.register("policy_reloads", "Reloads of the policy set, by result", self.policy_reloads.clone());
    }

    fn register_state(&mut self) {
        let Self { registry: r, .. } = self;
        r.register("entries", "Live entries in the store", self.entries.clone());
        r.register("aliases", "Other wordings accepted for entries", self.aliases.clone());
        r.register("entry_bytes", "Bytes of stored answers, compressed", self.entry_bytes.clone());
        r.register("file_bytes", "Bytes of the database's files", self.file_bytes.clone());
        r.register("hot_tier_bytes", "Bytes of entries held in memory", self.hot_bytes.clone());
        r.register("index_vectors", "Vectors that searches can find", self.index_vectors.clone());
        r.register("index_tombstones", "Vectors whose entry is gone, until compaction", self.index_tombstones.clone());
        r.register("tasks_alive", "Background tasks running now, by name", self.tasks_alive.clone());
        r.register("task_panics", "Panics inside background tasks since the start, by name", self.task_panics.clone());
        r.register(
            "otlp_dropped",
            "Spans, and collections of metrics, that the OTLP collector did not get",
            self.otlp_dropped.clone(),
        );
    }

    fn register_nodes(&mut self) {
        let Self { registry: r, .. } = self;
        r.register(
            "feed_lag_seconds",
            "Time since this node last had read everything that the other nodes did",
            self.feed_lag.clone(),
        );
        r.register(
            "node_flights",
            "Questions new to this node, by what they came to among the nodes",
            self.among_nodes.clone(),
        );
        r.register("feed_behind", "News of other nodes not read yet", self.feed_behind.clone());
        r.register(
            "feed_resyncs",
            "Times that the index was filled anew because news were cut off",
            self.feed_resyncs.clone(),
        );
        r.register(
            "shared_store_reachable",
            "1 while the store that nodes share answers",
            self.store_reachable.clone(),
        );
    }

    fn start_at_zero(&self) {
        let touch = |family: &Counters<1>, name: &'static str, values: &mut dyn Iterator<Item = &'static str>| {
            for value in values {
                family.get_or_create(&label([(name, value)])).inc_by(0);
            }
        };
        touch(&self.misses, "reason", &mut MissReason::ALL.iter().map(|reason| reason.as_str()));
        touch(&self.bypasses, "reason", &mut BypassReason::ALL.iter().map(|reason| reason.as_str()));
        touch(&self.removals, "cause", &mut RemovalCause::ALL.iter().map(|cause| cause.as_str()));
        touch(&self.followers, "status", &mut FollowerStatus::ALL.iter().map(|status| status.as_str()));
        touch(&self.among_nodes, "outcome", &mut AmongNodes::ALL.iter().map(|outcome| outcome.as_str()));
        touch(&self.policy_reloads, "result", &mut Reload::ALL.iter().map(|reload| reload.as_str()));
        touch(&self.otlp_dropped, "signal", &mut Signal::ALL.iter().map(|signal| signal.as_str()));
        for reason in NotStored::ALL {
            self.admissions.get_or_create(&label([("result", "not-stored"), ("reason", reason.as_str())])).inc_by(0);
        }
    }

    /// Counts an answered request, everywhere that its outcome shows. `family` is `None` for other paths.
    pub fn request(&self, family: Option<wire::Family>, category: &str, outcome: Outcome, latency: Duration) {
        let family = family.map_or("other", wire::Family::as_str);
        self.requests.get_or_create(&label([("family", family), ("outcome", outcome.label())])).inc();
        let seconds = latency.as_secs_f64();
        self.request_duration.get_or_create(&label([("outcome", outcome.label())])).observe(seconds);
        match outcome {
            Outcome::Bypass(reason) => {
                self.bypasses.get_or_create(&label([("reason", reason.as_str())])).inc();
                return;
            }
            Outcome::Miss(reason) | Outcome::Collapsed(reason) => {
                self.misses.get_or_create(&label([("reason", reason.as_str())])).inc();
            }
            Outcome::Hit(_) | Outcome::StaleHit(..) | Outcome::Unsatisfied => {}
        }
        let lookup = [
            ("outcome", Cow::Borrowed(outcome.label())),
            ("kind", Cow::Borrowed(kind(outcome))),
            ("category", Cow::Owned(category.to_owned())),
        ];
        self.lookups.get_or_create(&lookup).inc();
    }

    /// A request began; the guard's drop is its end.
    pub fn in_flight(&self) -> InFlight {
        self.requests_in_flight.inc();
        InFlight(self.requests_in_flight.clone())
    }

    /// How this node follows the others.
    pub fn set_feed(&self, lag: Duration, behind: u64, reachable: bool) {
        self.feed_lag.set(lag.as_secs_f64());
        self.feed_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.store_reachable.set(i64::from(reachable));
    }

    /// Counts that the index is filled anew.
    pub fn feed_resync(&self) {
        self.feed_resyncs.inc();
    }

    /// Requests being answered now.
    pub fn requests_in_flight(&self) -> i64 {
        self.requests_in_flight.get()
    }

    /// Counts an answer's admission, or why there was none.
    pub fn admission(&self, refused: Option<NotStored>) {
        let labels = match refused {
            None => label([("result", "stored"), ("reason", "")]),
            Some(why) => label([("result", "not-stored"), ("reason", why.as_str())]),
        };
        self.admissions.get_or_create(&labels).inc();
    }

    /// Counts removed entries.
    pub fn removed(&self, cause: RemovalCause, entries: u64) {
        self.removals.get_or_create(&label([("cause", cause.as_str())])).inc_by(entries);
    }

    /// Counts a follower.
    pub fn follower(&self, status: FollowerStatus) {
        self.followers.get_or_create(&label([("status", status.as_str())])).inc();
    }

    /// Counts what a question came to among the nodes.
    pub fn among_nodes(&self, outcome: AmongNodes) {
        self.among_nodes.get_or_create(&label([("outcome", outcome.as_str())])).inc();
    }

    /// Counts an upstream call and its time to the response's head.
    pub fn upstream(&self, result: Result<&UpstreamResponse, &UpstreamError>, took: Duration) {
        let result = match result {
            Err(error) => error.reason(),
            Ok(response) => match response.status.as_u16() {
                429 => "429",
                200..=299 => "2xx",
                300..=399 => "3xx",
                400..=499 => "4xx",
                _ => "5xx",
            },
        };
        self.upstream_requests.get_or_create(&label([("result", result)])).inc();
        self.upstream_duration.observe(took.as_secs_f64());
    }

    /// Counts a request that the named `upstream` failed and that goes to `fallback`.
    pub fn fell_back(&self, upstream: &str, fallback: &str) {
        let labels = [("upstream", Cow::Owned(upstream.to_owned())), ("fallback", Cow::Owned(fallback.to_owned()))];
        self.upstream_fallbacks.get_or_create(&labels).inc();
    }

    /// Records the time of a stage of a lookup.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.lookup_duration.get_or_create(&label([("stage", stage.as_str())])).observe(took.as_secs_f64());
    }

    /// Records a candidate and what became of it.
    pub fn candidate(&self, similarity: Similarity, verdict: Verdict) {
        let labels = label([("verdict", verdict.as_str())]);
        self.candidate_similarity.get_or_create(&labels).observe(f64::from(similarity.get()));
    }

    /// Counts a vector, or why there is none.
    pub fn embedding(&self, result: Result<(), &EmbedError>) {
        let result = result.map_or_else(EmbedError::reason, |()| "made");
        self.embeddings.get_or_create(&label([("result", result)])).inc();
    }

    /// Counts what a hit saved; dollars where the model's price is known.
    pub fn saved(&self, usage: Option<Usage>, usd: Option<f64>) {
        if let Some(Usage { input, output }) = usage {
            self.saved_tokens.get_or_create(&label([("direction", "input")])).inc_by(input);
            self.saved_tokens.get_or_create(&label([("direction", "output")])).inc_by(output);
        }
        if let Some(usd) = usd.filter(|usd| usd.is_finite() && *usd >= 0.0) {
            self.saved_usd.inc_by(usd);
        }
    }

    /// Counts a verdict on a served answer; `verdict` is one of the API's closed list.
    pub fn feedback(&self, verdict: &'static str) {
        self.feedback.get_or_create(&label([("verdict", verdict)])).inc();
    }

    /// Counts a comparison of a cached answer with a fresh one, or why there was none.
    pub fn audit(&self, result: &'static str, category: &str) {
        self.audits.get_or_create(&by_category("result", result, category)).inc();
    }

    /// Counts a semantic hit that was not served.
    pub fn withheld(&self, reason: MissReason, category: &str) {
        self.withheld.get_or_create(&by_category("reason", reason.as_str(), category)).inc();
    }

    /// Counts a candidate put to the judge; `verdict` is one of a closed list.
    pub fn judged(&self, verdict: &'static str) {
        self.judged.get_or_create(&label([("verdict", verdict)])).inc();
    }

    /// Shows a category's wrong hits: whether it is tripped, and the upper bound on their share.
    pub fn set_wrong_hits(&self, category: &str, tripped: bool, bound: f64) {
        let labels = [("category", Cow::Owned(category.to_owned()))];
        self.tripped.get_or_create(&labels).set(i64::from(tripped));
        self.wrong_hit_bound.get_or_create(&labels).set(bound);
    }

    /// Shows what each category's policy lets be wrong.
    pub fn set_budgets<'a>(&self, budgets: impl Iterator<Item = (&'a str, f64)>) {
        // A policy may have gone.
        self.wrong_hit_budget.clear();
        for (category, budget) in budgets {
            self.wrong_hit_budget.get_or_create(&[("category", Cow::Owned(category.to_owned()))]).set(budget);
        }
    }

    /// Counts what an OpenTelemetry collector did not get.
    pub fn otlp_dropped(&self, signal: Signal, count: u64) {
        self.otlp_dropped.get_or_create(&label([("signal", signal.as_str())])).inc_by(count);
    }

    /// Counts a reload of the policies.
    pub fn policy_reload(&self, result: Reload) {
        self.policy_reloads.get_or_create(&label([("result", result.as_str())])).inc();
    }

    /// Shows the store's totals.
    pub fn set_store(&self, stats: &StoreStats) {
        let StoreStats { entries, aliases, answer_bytes, file_bytes } = *stats;
        self.entries.set(signed(entries));
        self.aliases.set(signed(aliases));
        self.entry_bytes.set(signed(answer_bytes));
        self.file_bytes.set(signed(file_bytes));
    }

    /// Shows what memory holds: bytes of the hot tier, vectors and tombstones of the index.
    pub fn set_memory(&self, hot_bytes: u64, vectors: u64, tombstones: u64) {
        self.hot_bytes.set(signed(hot_bytes));
        self.index_vectors.set(signed(vectors));
        self.index_tombstones.set(signed(tombstones));
    }

    /// Shows the background tasks.
    pub fn set_tasks(&self, tasks: &Tasks) {
        for (name, alive, panics) in tasks.counted() {
            let labels = label([("name", name)]);
            self.tasks_alive.get_or_create(&labels).set(i64::try_from(alive).unwrap_or(i64::MAX));
            self.task_panics.get_or_create(&labels).set(signed(panics));
        }
    }

    /// All metrics as `OpenMetrics` text, of type [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String fails only when an encoder has a fault; a scrape must not take the gateway down.
            Err(std::fmt::Error) => {
                tracing::error!("metrics cannot be rendered");
                String::from("# EOF\n")
            }
        }
    }
}

const fn kind(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit(kind) | Outcome::StaleHit(kind, _) => match kind {
            HitKind::Exact => "exact",
            HitKind::Alias => "alias",
            HitKind::Semantic(_) => "semantic",
        },
        Outcome::Miss(_) | Outcome::Collapsed(_) | Outcome::Bypass(_) | Outcome::Unsatisfied => "none",
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A request being answered, counted until this is dropped.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
