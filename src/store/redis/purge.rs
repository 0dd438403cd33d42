//! Purges: told to every part's order, applied by every node, and then swept.
//!
//! From the moment a purge is in the order no node admits or reads past it. It is acknowledged when every node that lives has
//! applied it, or when the lease on every hot tier that might not have has run out. What it selects is removed meanwhile;
//! should this node die before that is done, every read is still held against it, and another node finishes.

use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use tokio::time::Instant;

use super::{
    changes::{self, ChangeId},
    core::{Core, call_over, sweeps},
    reply, scripts,
    walk::Wanted,
};
use crate::{
    entry::EntryId,
    store::{Hardness, Selector, StoreError, shared::Change},
};

/// Entries removed in one step.
const STEP: usize = 128;
/// Between two looks at how far the other nodes are.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Changes kept in the order beyond those that are swept, for nodes that lag.
pub(super) const KEPT: u64 = 10_000;
/// How long replicas may take.
const REPLICATION: Duration = Duration::from_secs(1);

/// A change in the orders of some parts.
#[derive(Debug)]
pub(super) struct Told {
    /// Part and number.
    pub(super) numbers: Vec<(u16, u64)>,
    /// Replicas that have it, of the part that has fewest.
    replicas: u32,
}

impl Core {
    /// Puts `change` into the order of every part that it is about.
    pub(super) async fn tell(&self, change: &Change) -> Result<Told, StoreError> {
        let parts: Vec<u16> = match change {
            Change::Purged { selector: Selector { entry: Some(id), .. }, .. } => vec![self.part_of_id(*id)],
            Change::Lifted(_) => vec![0],
            Change::Blocked(pair) => {
                let (first, second) = pair.questions();
                let mut parts = vec![self.part_of(&first), self.part_of(&second)];
                parts.dedup();
                parts
            }
            _ => self.parts().collect(),
        };
        let id: ChangeId = fastrand::u64(1..=u64::MAX >> 1);
        let written = changes::write(change, id, &self.vault)?;
        let sweep = if sweeps(change) { "1" } else { "0" };
        let told = try_join_all(parts.iter().map(|part| self.tell_part(*part, id, &written, sweep))).await?;
        let replicas = told.iter().map(|(_, replicas)| *replicas).min().unwrap_or_default();
        let numbers: Vec<(u16, u64)> = parts.into_iter().zip(told.into_iter().map(|(number, _)| number)).collect();
        // This node is the first that heeds it.
        try_join_all(numbers.iter().map(|(part, _)| self.catch_up(*part, None))).await?;
        Ok(Told { numbers, replicas })
    }

    async fn tell_part(&self, part: u16, id: ChangeId, written: &[u8], sweep: &str) -> Result<(u64, u32), StoreError> {
        // Its own connection where it waits for replicas: they confirm what this connection wrote.
        let link = if self.terms.replicas > 0 { &self.aside } else { &self.link };
        let key = self.key(part, "seq");
        for _ in 0..2 {
            let args = (id.to_string(), written, sweep);
            if let Some(number) = reply::number(call_over(link, &scripts::APPEND, &key, args).await?)? {
                return Ok((number, self.replicated(&key).await?));
            }
            self.catch_up(part, None).await?;
        }
        Err(StoreError::Engine("its order of changes vanishes".to_owned()))
    }

    async fn replicated(&self, key: &str) -> Result<u32, StoreError> {
        if self.terms.replicas == 0 {
            return Ok(0);
        }
        let timeout = u64::try_from(REPLICATION.as_millis()).unwrap_or(u64::MAX);
        let got = self.aside.wait_for_replicas(key, self.terms.replicas, timeout).await?;
        Ok(u32::try_from(got).unwrap_or_default())
    }

    /// Tells `change`, sweeps what it selects and returns when no node serves that any more. The ids are ascending.
    pub(super) async fn settle(&self, change: &Change, told: Told) -> Result<Vec<EntryId>, StoreError> {
        let Some((selector, hardness)) = change.purge() else {
            self.acknowledged(&told.numbers).await;
            return Ok(Vec::new());
        };
        let selector = &selector;
        let sweeping = try_join_all(told.numbers.iter().map(|(part, number)| async move {
            let ids = self.sweep(*part, selector, hardness, *number).await?;
            self.swept(*part, *number).await?;
            Ok::<_, StoreError>(ids)
        }));
        let acknowledged = async {
            self.acknowledged(&told.numbers).await;
            Ok(())
        };
        let (ids, ()) = try_join(sweeping, acknowledged).await?;
        if told.replicas < self.terms.replicas {
            return Err(StoreError::NotReplicated { wanted: self.terms.replicas, got: told.replicas });
        }
        let mut ids: Vec<EntryId> = ids.into_iter().flatten().collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes or invalidates what `selector` selects of the entries admitted before change `before`.
    pub(super) async fn sweep(
        &self,
        part: u16,
        selector: &Selector,
        hardness: Hardness,
        before: u64,
    ) -> Result<Vec<EntryId>, StoreError> {
        let found = self.matching(part, Wanted { selector, text: None, before: Some(before) }).await?;
        let mut changed = Vec::with_capacity(found.len());
        for step in found.chunks(STEP) {
            let ids = step.iter().map(|found| found.id.0.to_string());
            let answer = match hardness {
                Hardness::Hard => {
                    let head = [before.to_string(), self.node.clone(), self.terms.news_kept.to_string()];
                    self.call(&scripts::REMOVE, part, head.into_iter().chain(ids).collect::<Vec<_>>()).await?
                }
                Hardness::Soft(at) => {
                    let head = [before.to_string(), at.as_millis().to_string()];
                    self.call(&scripts::SOFTEN, part, head.into_iter().chain(ids).collect::<Vec<_>>()).await?
                }
            };
            changed.extend(reply::numbers(answer)?.into_iter().map(EntryId));
        }
        Ok(changed)
    }

    /// Notes that nothing is left that change `number` selects.
    pub(super) async fn swept(&self, part: u16, number: u64) -> Result<(), StoreError> {
        self.call(&scripts::SWEPT, part, (number, KEPT)).await.map(drop)
    }

    /// Returns when every node that lives has applied these changes, or no node trusts what it holds without having.
    async fn acknowledged(&self, numbers: &[(u16, u64)]) {
        let until = Instant::now() + self.terms.lease;
        let mut open: Vec<(u16, u64)> = numbers.to_vec();
        loop {
            let looks = open.iter().map(|(part, number)| self.is_applied(*part, *number));
            let looks = futures_util::future::join_all(looks).await;
            open = open.iter().zip(looks).filter(|(_, applied)| !applied).map(|(open, _)| *open).collect();
            if open.is_empty() || Instant::now() >= until {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN.min(until - Instant::now())).await;
        }
    }

    /// Whether every other node that reported within a lease has applied change `number`.
    async fn is_applied(&self, part: u16, number: u64) -> bool {
        let mut pipe = redis::Pipeline::with_capacity(2);
        pipe.cmd("HGETALL").arg(self.key(part, "nodes"));
        // Any key of the part: the time is that of the server that the nodes reported to.
        pipe.cmd("EVAL")
            .arg("local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)")
            .arg(1)
            .arg(self.key(part, "nodes"));
        let Ok(answers) = self.link.pipe(&pipe).await else { return false };
        let Ok([nodes, now]) = <[redis::Value; 2]>::try_from(answers) else { return false };
        let (Ok(nodes), Ok(Some(now))) = (reply::pairs(nodes), reply::number(now)) else { return false };
        let lease = u64::try_from(self.terms.lease.as_millis()).unwrap_or(u64::MAX);
        nodes.iter().filter(|(node, _)| *node != self.node).all(|(_, report)| {
            let report = Report::parse(report);
            // It reports every third of a lease, and what it trusts lasts a lease from when it last asked.
            report.at.saturating_add(lease + lease / 2) < now || report.applied >= number
        })
    }
}

/// What a node told of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) applied: u64,
    /// Milliseconds, by the engine's clock.
    pub(super) at: u64,
}

impl Report {
    pub(super) fn parse(report: &[u8]) -> Self {
        let text = String::from_utf8_lossy(report);
        let (applied, at) = text.split_once(' ').unwrap_or_default();
        Self { applied: applied.parse().unwrap_or_default(), at: at.parse().unwrap_or_default() }
    }
}
