//! Single flight across nodes: one of them fetches an answer, and the others wait for it to be in the store.
//!
//! Invariants: the wait is bounded, and a store that does not answer ends it; nothing but what is found in the store is
//! served, so whatever a lease says, the answer is one that this request may have.

use std::{convert::Infallible, time::Duration};

use tokio::time::Instant;

use super::{
    Gateway,
    flight::Leader,
    lead::{Head, Job, Plan, REFRESH_AGAIN},
    lookup::{Lookup, Served},
};
use crate::{
    metrics::AmongNodes,
    outcome::{MissReason, Outcome},
    policy::Write,
    store::shared::{FlightName, Lead, LeaseToken, Shared},
};

/// A lease is kept this often: several times before it ends.
const KEEP_EVERY: Duration = Duration::from_millis(750);
/// First pause before another node's flight is looked at again; each is longer than the one before,
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// and none longer than this.
const LONGEST_PAUSE: Duration = Duration::from_millis(80);

/// The right to fetch an answer for all nodes.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    shared: &'a dyn Shared,
    flight: FlightName,
    token: LeaseToken,
}

impl Lease<'_> {
    /// Keeps it for as long as this is polled.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            if let Err(error) = self.shared.keep_lead(self.flight, self.token).await {
                tracing::debug!(reason = error.reason(), %error, "the lead of a flight is not kept");
            }
        }
    }

    /// Gives it back.
    pub(super) async fn end(self, kept: bool) {
        if let Err(error) = self.shared.end_lead(self.flight, self.token, kept).await {
            tracing::debug!(reason = error.reason(), %error, "the lead of a flight ends by itself");
        }
    }
}

impl Gateway {
    /// Takes the lead among the nodes, or waits for the one that has it. `Err` is what the flight comes to without a call,
    /// `None` a call that is nobody else's business.
    pub(super) async fn lead_among_nodes(
        &self,
        leader: &Leader,
        job: &Job,
        plan: &Plan,
    ) -> Result<Option<Lease<'_>>, Head> {
        let shared = self.parts.cache.store().shared().filter(|shared| shared.is_reachable());
        let Some(shared) = shared.filter(|_| self.is_everybodys(leader, job, plan)) else { return Ok(None) };
        let (flight, token) = (job.question.flight_name(), LeaseToken(fastrand::u64(..)));
        let until = Instant::now() + self.parts.settings.wait_for_nodes;
        let metrics = &self.parts.metrics;
        let (mut pause, mut waited) = (FIRST_PAUSE, false);
        loop {
            match shared.lead(flight, token).await {
                Ok(Lead::Ours) => {
                    let lease = Lease { shared, flight, token };
                    // It may have come since this request asked, or while it waited.
                    let Some(head) = self.has_come(job).await else {
                        metrics.among_nodes(if waited { AmongNodes::TookOver } else { AmongNodes::Led });
                        return Ok(Some(lease));
                    };
                    lease.end(true).await;
                    metrics.among_nodes(AmongNodes::Served);
                    return Err(head);
                }
                Ok(Lead::Nobody) => {
                    let head = self.has_come(job).await;
                    metrics.among_nodes(if head.is_some() { AmongNodes::Served } else { AmongNodes::Alone });
                    return head.map_or(Ok(None), Err);
                }
                // Whoever joined this flight meanwhile asks again.
                Ok(Lead::Theirs) if job.background => return Err(Head::Abandoned),
                Ok(Lead::Theirs) if Instant::now() < until => tokio::select! {
                    () = tokio::time::sleep(pause) => (pause, waited) = ((pause * 2).min(LONGEST_PAUSE), true),
                    () = self.abandoned(leader, false) => return Err(Head::Abandoned),
                },
                Ok(Lead::Theirs) => {
                    metrics.among_nodes(AmongNodes::InVain);
                    return Ok(None);
                }
                Err(error) => {
                    tracing::debug!(reason = error.reason(), %error, "not led among the nodes");
                    metrics.among_nodes(AmongNodes::Unknown);
                    return Ok(None);
                }
            }
        }
    }

    /// Whether the answer may be for others too, as far as is known before it is there.
    fn is_everybodys(&self, leader: &Leader, job: &Job, plan: &Plan) -> bool {
        let is_kept = plan.told.may_store
            && plan.told.class.policy.reuse.write != Write::Around
            && job.question.may_be_kept()
            && job.question.directives.ttl != Some(Duration::ZERO);
        is_kept
            && job.reason != MissReason::Refresh
            && !self.parts.settings.wait_for_nodes.is_zero()
            && !self.alone.remembers(leader.key(), self.parts.clock.now())
    }

    /// The answer, if it is in the store by now; for a refresh, one that another node has refreshed.
    async fn has_come(&self, job: &Job) -> Option<Head> {
        let served = self.stored(job).await?;
        let is_new = !job.background || (matches!(served.outcome, Outcome::Hit(_)) && served.age < REFRESH_AGAIN);
        is_new.then_some(Head::Entry(served))
    }

    /// What the store has for this very question, wherever it may be served from.
    pub(super) async fn stored(&self, job: &Job) -> Option<Served> {
        let facts = job.question.facts(&job.call);
        match self.look_up_exact(&job.question, &facts, self.parts.clock.now()).await {
            Lookup::Serve(served) => Some(served),
            Lookup::Miss(..) | Lookup::Withheld(..) => None,
        }
    }
}
