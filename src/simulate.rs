//! What other policies would have done: recorded or imported traffic, decided again under two policy sets side by side.
//!
//! Time comes from the traffic, decisions from the gateway's own pieces: classification, freshness, guard, verifier and
//! index. Nothing is sent to a model; what an answer took and cost is taken from the traffic.
//!
//! # What is not simulated
//! Failing upstreams (and so stale-if-error), refreshes ahead of time, joining a running fetch by meaning, purges and
//! eviction, audits and trips, whom a policy trusts to write, and what a request asked of the cache in headers. Texts are
//! embedded with personal data masked, also where a policy allows it. The report says so where it matters.

pub mod html;
pub mod report;
pub mod request;
mod world;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::join_all;

use self::{
    report::{Change, Decided, Gathering, Report},
    request::{Event, Traffic},
    world::{Shared, World},
};
use crate::{
    embed::{EmbedError, Embedder},
    matcher::{Matcher, verifier::Verifier},
    policy::{Examples, PolicySet},
    prices::Prices,
    replay::memory::RememberingVerifier,
    similarity::Embedding,
};

/// Requests between two words of progress, and looked ahead at for pairs to verify: few, since what they store themselves
/// is not foreseen.
const STEP: usize = 128;

/// What a simulation is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The policies in force.
    pub today: Arc<PolicySet>,
    /// The policies to try.
    pub proposed: Arc<PolicySet>,
    /// Text to vector.
    pub embedder: Arc<dyn Embedder>,
    /// The hit decision.
    pub matcher: Arc<Matcher>,
    /// Texts embedded, and pairs verified, at the same time; in a gateway that serves, few.
    pub parallel: usize,
    /// What calls cost.
    pub prices: Prices,
    /// Changed decisions that the report lists; all are counted.
    pub changes_listed: usize,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: `embedding` the distinct questions, or `deciding` requests.
    pub stage: &'static str,
    /// Steps done,
    pub done: u64,
    /// of so many.
    pub total: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The examples of a policy set have no vectors.
    #[error("the policies' examples cannot be embedded: {0}")]
    Embed(#[from] EmbedError),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Decides `traffic` under both policy sets. `cancel` ends it early.
///
/// # Errors
/// The examples of a policy set cannot be embedded, or it was cancelled.
pub async fn run(
    traffic: &Traffic,
    setup: &Setup,
    cancel: &AtomicBool,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Report, SimulateError> {
    let mut known = HashMap::new();
    let today = examples(&setup.today, setup.embedder.as_ref(), &mut known).await?;
    let proposed = examples(&setup.proposed, setup.embedder.as_ref(), &mut known).await?;
    let vectors = embed(traffic, setup, cancel, &mut progress).await?;
    let verifier = setup.matcher.verifier().map(|verifier| {
        let remembering: Arc<dyn Verifier> = Arc::new(RememberingVerifier::new(Arc::clone(verifier)));
        remembering
    });
    // Each pair is asked about often: ahead, by either side, and under other terms.
    let matcher = Arc::new(Matcher::new(*setup.matcher.settings(), verifier));
    let shared = Shared {
        traffic,
        vectors: &vectors,
        matcher: &matcher,
        screened: HashMap::new(),
        verdicts: HashMap::new(),
        verified: HashSet::new(),
    };
    decide(shared, [World::new(&setup.today, &today), World::new(&setup.proposed, &proposed)], setup, cancel, progress)
        .await
}

async fn examples(
    set: &PolicySet,
    embedder: &dyn Embedder,
    known: &mut HashMap<String, Embedding>,
) -> Result<Examples, EmbedError> {
    let mut made = Vec::new();
    for (category, text) in set.example_texts() {
        let vector = match known.get(text) {
            Some(vector) => vector.clone(),
            None => embedder.embed(text).await?,
        };
        known.insert(text.to_owned(), vector.clone());
        made.push((category.to_owned(), text.to_owned(), vector));
    }
    Ok(Examples::new(set, embedder.fingerprint(), made))
}

/// The vectors of the distinct texts, in their order; `None` for those that have none (too long, a failure).
async fn embed(
    traffic: &Traffic,
    setup: &Setup,
    cancel: &AtomicBool,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Vec<Option<Embedding>>, SimulateError> {
    let texts = traffic.masked_texts();
    let total = texts.len() as u64;
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(setup.parallel.max(1)) {
        if cancel.load(Ordering::Relaxed) {
            return Err(SimulateError::Cancelled);
        }
        let making: Vec<_> = some.iter().map(|text| setup.embedder.embed(text)).collect();
        vectors.extend(join_all(making).await.into_iter().map(Result::ok));
        progress(Progress { stage: "embedding", done: vectors.len() as u64, total });
    }
    Ok(vectors)
}

async fn decide(
    mut shared: Shared<'_>,
    [mut today, mut proposed]: [World<'_>; 2],
    setup: &Setup,
    cancel: &AtomicBool,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Report, SimulateError> {
    let traffic = shared.traffic;
    let total = traffic.events().len() as u64;
    let mut gathering = Gathering::new(traffic, setup.prices.clone());
    let mut glances = Glances::default();
    for (step, events) in traffic.events().chunks(STEP).enumerate() {
        if cancel.load(Ordering::Relaxed) {
            return Err(SimulateError::Cancelled);
        }
        progress(Progress { stage: "deciding", done: (step * STEP) as u64, total });
        if glances.due() {
            let mut pairs = today.foresee(events, &mut shared);
            pairs.extend(proposed.foresee(events, &mut shared));
            glances.saw(pairs.len());
            verify_ahead(&shared, pairs, setup.parallel).await;
        }
        for event in events {
            let now = today.decide(event, &mut shared).await;
            let then = proposed.decide(event, &mut shared).await;
            gathering.add(event, &now, &then);
            if now.outcome != then.outcome {
                gathering.changed(setup.changes_listed, || change(traffic, event, &now, &then));
            }
        }
    }
    progress(Progress { stage: "deciding", done: total, total });
    Ok(gathering.finish())
}

/// When to look ahead: ever more seldom while there is little to see, since a look searches as much as a decision does.
#[derive(Debug, Default)]
struct Glances {
    pause: usize,
    left: usize,
}

impl Glances {
    /// Pairs at least for which it is worth to look again at once.
    const MANY: usize = 4;
    /// Steps at most between two looks.
    const LONGEST: usize = 15;

    const fn due(&mut self) -> bool {
        let due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        due
    }

    fn saw(&mut self, pairs: usize) {
        self.pause = if pairs < Self::MANY { (self.pause * 2 + 1).min(Self::LONGEST) } else { 0 };
        self.left = self.pause;
    }
}

/// Fills the verifier's memory, several pairs at a time: one after the other would leave a core idle.
async fn verify_ahead(shared: &Shared<'_>, pairs: HashSet<(u32, u32)>, parallel: usize) {
    let Some(verifier) = shared.matcher.verifier() else { return };
    let pairs: Vec<(u32, u32)> = pairs.into_iter().collect();
    for some in pairs.chunks(parallel.max(1)) {
        let text = |number: u32| shared.traffic.text(number);
        let asking: Vec<_> = some.iter().map(|(cached, asked)| verifier.verify(text(*cached), text(*asked))).collect();
        // What failed is asked again when it is decided.
        join_all(asking).await;
    }
}

fn change(traffic: &Traffic, event: &Event, today: &Decided, proposed: &Decided) -> Change {
    Change {
        at_ms: event.at_ms,
        query: event.text.map(|text| traffic.text(text).to_owned()),
        category: today.category.clone(),
        model: traffic.name(event.model).to_owned(),
        today: today.told(),
        proposed: proposed.told(),
    }
}

#[cfg(test)]
mod tests;
