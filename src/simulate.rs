//! What other policies would have done: recorded or imported traffic, decided again under two policy sets side by side.
//!
//! Time comes from the traffic, decisions from the gateway's own pieces: classification, freshness, guard, verifier and
//! index. Nothing is sent to a model; what an answer took and cost is taken from the traffic.
//!
//! # What is not simulated
//! Failing upstreams (and so stale-if-error), refreshes ahead of time, joining a running fetch by meaning, purges and
//! eviction, audits and trips, and what a request asked of the cache in headers. The report says so where it matters.

pub mod html;
pub mod report;
pub mod request;
mod world;

use std::{
    collections::HashMap,
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
    matcher::Matcher,
    policy::{Examples, PolicySet},
    prices::Prices,
    similarity::Embedding,
};

/// Texts given to the embedder at once: enough to keep its workers busy, few enough for its queue.
const EMBEDDED_AT_ONCE: usize = 64;
/// Requests between two words of progress.
const STEP: usize = 2048;

/// What a simulation is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The policies in force.
    pub today: Arc<PolicySet>,
    /// The policies to try.
    pub proposed: Arc<PolicySet>,
    /// Text to vector.
    pub embedder: Arc<dyn Embedder>,
    /// The hit decision. Its verifier should remember: each pair is asked about often.
    pub matcher: Arc<Matcher>,
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
    let vectors = embed(traffic, setup.embedder.as_ref(), cancel, &mut progress).await?;
    let shared = Shared { traffic, vectors: &vectors, matcher: &setup.matcher, verdicts: HashMap::new() };
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
    embedder: &dyn Embedder,
    cancel: &AtomicBool,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Vec<Option<Embedding>>, SimulateError> {
    let texts = traffic.texts();
    let total = texts.len() as u64;
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(EMBEDDED_AT_ONCE) {
        if cancel.load(Ordering::Relaxed) {
            return Err(SimulateError::Cancelled);
        }
        let making: Vec<_> = some.iter().map(|text| embedder.embed(text)).collect();
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
    for (number, event) in traffic.events().iter().enumerate() {
        if number.is_multiple_of(STEP) {
            if cancel.load(Ordering::Relaxed) {
                return Err(SimulateError::Cancelled);
            }
            progress(Progress { stage: "deciding", done: number as u64, total });
            tokio::task::yield_now().await;
        }
        let now = today.decide(event, &mut shared).await;
        let then = proposed.decide(event, &mut shared).await;
        gathering.add(event, &now, &then);
        if now.outcome != then.outcome {
            gathering.changed(setup.changes_listed, || change(traffic, event, &now, &then));
        }
    }
    progress(Progress { stage: "deciding", done: total, total });
    Ok(gathering.finish())
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
