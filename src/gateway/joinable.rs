//! Running flights by what they ask about: a request that means the same as one of them joins it instead of calling the
//! upstream as well.
//!
//! Invariants: only flights of the same credential, partition, category and terms are candidates, and guard and
//! verifier decide as on a stored neighbour (I3); a flight joins earlier ones only, so no two wait for each other; a
//! listing ends with its flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Gateway,
    flight::{Leader, Place, Seat},
    identity::Question,
    lead::{Head, Job},
};
use crate::{
    key::{Fingerprint, Partition},
    matcher::{Asked, Terms},
    metrics,
    policy::{Classification, Tier},
    similarity::{Embedding, Similarity},
};

/// Flights listed at most; those above it are not joined by meaning.
const LISTED: usize = 4096;

/// A flight that may be joined by meaning.
#[derive(Debug)]
struct Running {
    place: Place,
    partition: Partition,
    /// What its entry will be found under.
    entry: Fingerprint,
    category: String,
    query: String,
    vector: Embedding,
}

/// The flights that may be joined by meaning, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Joinable(Arc<Mutex<Vec<Arc<Running>>>>);

impl Joinable {
    /// Lists a flight until the returned guard is dropped, and says which were listed before it and ask about the same.
    fn list(&self, running: Running) -> (Listed, Vec<Arc<Running>>) {
        let running = Arc::new(running);
        let mut flights = self.lock();
        let same = |other: &&Arc<Running>| {
            other.partition == running.partition
                && other.place.key.terms == running.place.key.terms
                && other.category == running.category
        };
        let earlier = flights.iter().filter(same).map(Arc::clone).collect();
        if flights.len() < LISTED {
            flights.push(Arc::clone(&running));
        }
        (Listed { running, board: self.clone() }, earlier)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flight's place on the list.
#[derive(Debug)]
pub(super) struct Listed {
    running: Arc<Running>,
    board: Joinable,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.board.lock().retain(|other| !Arc::ptr_eq(other, &self.running));
    }
}

/// What became of looking for a flight to join.
#[derive(Debug)]
pub(super) enum Found {
    /// One that gives the answer.
    Join(Head),
    /// None; others may join this one while the guard lives.
    Lead(Option<Listed>),
}

impl Gateway {
    /// Looks for a running flight whose answer is this question's answer too.
    pub(super) async fn find_flight(
        &self,
        leader: &Leader,
        job: &Job,
        class: &Classification,
        vector: Option<&Embedding>,
    ) -> Found {
        let question = &job.question;
        let (Some(query), Some(vector)) = (question.query(), vector) else { return Found::Lead(None) };
        let category = &class.policy.category;
        let withheld = self.auditor.withholds(category, question.directives.mode).is_some();
        // An answer that calls a tool is for its own request only, and nobody knows before it is there.
        if withheld || question.request.offers_tools || class.policy.reuse.tier != Tier::Semantic {
            return Found::Lead(None);
        }
        let (listed, earlier) = self.joinable.list(Running {
            place: leader.place(),
            partition: question.own.partition,
            entry: self.keys(question, class.policy.reuse.scope).fingerprint,
            category: category.clone(),
            query: query.to_owned(),
            vector: vector.clone(),
        });
        match self.same_meaning(question, class, &listed.running, &earlier).await {
            Some(seat) => Found::Join(Head::Elsewhere(Arc::new(seat))),
            None => Found::Lead(Some(listed)),
        }
    }

    async fn same_meaning(
        &self,
        question: &Question,
        class: &Classification,
        own: &Running,
        earlier: &[Arc<Running>],
    ) -> Option<Seat> {
        let settings = self.parts.matcher.settings();
        let mut near: Vec<(Similarity, &Arc<Running>)> = earlier
            .iter()
            .filter(|other| !self.parts.cache.is_blocked(other.entry, own.entry))
            .filter_map(|other| Some((own.vector.similarity(&other.vector)?, other)))
            .filter(|(similarity, _)| *similarity >= settings.floor)
            .collect();
        near.sort_by(|one, other| other.0.total_cmp(&one.0));
        let asked = Asked::new(&own.query);
        let terms = Terms::of(&class.policy, question.directives.threshold);
        for (similarity, other) in near.into_iter().take(settings.verified) {
            let judgement = self.parts.matcher.judge(&other.query, &asked, similarity, &terms).await;
            if !judgement.accepted() {
                continue;
            }
            if let Some(seat) = self.flights.take_seat(&other.place) {
                self.parts.metrics.candidate(similarity, metrics::Verdict::Accepted);
                self.auditor.served(&own.category);
                tracing::debug!(
                    similarity = similarity.get(),
                    category = own.category,
                    "joins a running flight by meaning"
                );
                return Some(seat);
            }
        }
        None
    }
}
