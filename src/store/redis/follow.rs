//! Following the other nodes, and finishing what those that died left undone.

use std::{sync::Weak, time::Duration};

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use redis::Value;
use tokio::time::Instant;

use super::{RedisStore, core::Core, purge::Report, reply, scripts};
use crate::{
    entry::{Entry, EntryId},
    key::{Fingerprint, PrincipalKey},
    store::{
        Hardness, Selector, StoreError,
        shared::{Admission, Change, Derived, FlightName, Followed, Lead, LeaseToken, Models, Position, Shared},
    },
};

/// News read at a time.
const BATCH: usize = 512;
/// Looks at the other nodes in one lease, at least.
const LOOKS_IN_A_LEASE: u32 = 10;
/// Between two looks at a store of one part: what a purge waits for, and what the index lags behind.
const LOOK_EVERY: Duration = Duration::from_millis(12);
/// The same where a look is a script in each of many parts.
const LOOK_EVERY_PART: Duration = Duration::from_millis(50);
/// No look follows another sooner.
const SHORTEST_REST: Duration = Duration::from_millis(5);
/// A node that has not reported for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// How long a node has for tidying before another one may begin.
const TIDYING: Duration = Duration::from_secs(30);
/// A sweep that is not done after so long was left by a node that died.
const LEFT_AFTER: Duration = Duration::from_secs(5);
/// Entries looked at in one round of tidying, whose texts may have run out.
const LOOKED_AT: usize = 4096;

impl Shared for RedisStore {
    fn attach(&self, derived: Weak<dyn Derived>) {
        self.core.attach(derived);
    }

    fn position(&self, fingerprint: Fingerprint) -> Position {
        let part = self.core.part_of(&fingerprint);
        Position { part, sequence: self.core.order(part).applied() }
    }

    fn admit_at(&self, entry: Entry, judged: Position) -> BoxFuture<'_, Result<Admission, StoreError>> {
        self.through(move |core| async move { core.admit_at(&entry, judged).await })
    }

    fn trusts_hot(&self) -> bool {
        self.core.trusts_hot()
    }

    fn is_reachable(&self) -> bool {
        self.core.link.is_reachable()
    }

    fn follow(&self) -> BoxFuture<'_, Result<Followed, StoreError>> {
        async {
            let began = Instant::now();
            let parts = try_join_all(self.core.parts().map(|part| self.core.follow(part))).await?;
            self.core.trust_from(began);
            let reload = self.core.owes_reload();
            let sum = |mut all: Followed, part: Followed| {
                all.behind += part.behind;
                all.resync |= part.resync;
                all
            };
            Ok(Followed { reload, ..parts.into_iter().fold(Followed::default(), sum) })
        }
        .boxed()
    }

    fn reloaded(&self, reload: u64) {
        self.core.has_reloaded(reload);
    }

    fn pace(&self) -> Duration {
        let rest = if self.core.ids.parts() == 1 { LOOK_EVERY } else { LOOK_EVERY_PART };
        rest.min(self.core.terms.lease / LOOKS_IN_A_LEASE).max(SHORTEST_REST)
    }

    fn tidy(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.core.tidy().boxed()
    }

    fn agree(&self, models: Models) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.core.agree(&models).await }.boxed()
    }

    fn principal_key(&self, own: PrincipalKey) -> BoxFuture<'_, Result<PrincipalKey, StoreError>> {
        async move { self.core.principal_key(&own).await }.boxed()
    }

    fn node(&self) -> &str {
        &self.core.node
    }

    fn lead(&self, flight: FlightName, token: LeaseToken) -> BoxFuture<'_, Result<Lead, StoreError>> {
        self.core.lead(flight, token).boxed()
    }

    fn keep_lead(&self, flight: FlightName, token: LeaseToken) -> BoxFuture<'_, Result<(), StoreError>> {
        self.core.keep_lead(flight, token).boxed()
    }

    fn end_lead(&self, flight: FlightName, token: LeaseToken, kept: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        self.core.end_lead(flight, token, kept).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        self.core.leave().boxed()
    }
}

impl Core {
    /// Applies what is new in a part and tells how far this node is.
    async fn follow(&self, part: u16) -> Result<Followed, StoreError> {
        let order = self.order(part);
        let moving = order.moving.lock().await;
        loop {
            let (applied, read) = (order.applied(), order.news());
            let reports = order.must_report(self.terms.lease / 3);
            let args = vec![
                self.node.clone(),
                applied.to_string(),
                (applied + 1).to_string(),
                (read + 1).to_string(),
                BATCH.to_string(),
                u8::from(reports).to_string(),
            ];
            let mut answer = reply::array(self.call(&scripts::FOLLOW, part, args).await?)?;
            let news = if answer.len() > 3 { answer.split_off(3) } else { Vec::new() };
            let is_all = self.take(part, answer).await?;
            if reports {
                order.reported(applied);
            }
            let followed = self.take_news(part, read, news).await?;
            // What was just applied is reported at once: a purge may wait for it.
            if is_all && order.applied() == applied {
                drop(moving);
                return Ok(followed);
            }
        }
    }

    /// Brings `[number of the last news, news...]` into the index.
    async fn take_news(&self, part: u16, read: u64, answer: Vec<Value>) -> Result<Followed, StoreError> {
        let order = self.order(part);
        let mut answer = answer.into_iter();
        let Some(last) = answer.next().map_or(Ok(None), reply::number)? else { return Ok(Followed::default()) };
        let news = reply::records(answer.next().unwrap_or(Value::Nil))?;
        let first = news.first().map(|(number, _)| *number);
        if last < read || (last > read && first != Some(read + 1)) {
            // Cut off, or begun anew: the index is filled from the store, and goes on from here.
            order.set_news(last);
            return Ok(Followed { resync: true, ..Followed::default() });
        }
        let (mut new, mut gone, mut at) = (Vec::new(), Vec::new(), read);
        for (number, fields) in news {
            at = number;
            let field = |name: &str| {
                let found = fields.iter().find(|(field, _)| field == name);
                found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
            };
            let ids = field("i");
            let ids = ids.split(' ').filter_map(|id| id.parse().ok()).map(EntryId);
            match field("o").as_str() {
                "+" if field("w") != self.node => new.extend(ids),
                "-" => gone.extend(ids),
                _ => {}
            }
        }
        if let Some(derived) = self.derived() {
            derived.unindex(&gone);
            new.retain(|id| !gone.contains(id));
            derived.index(&self.vectors_of(&new).await?);
        }
        order.set_news(at);
        Ok(Followed { behind: last.saturating_sub(at), ..Followed::default() })
    }

    /// Finishes sweeps that nobody works on, takes entries whose texts ran out out of everything, forgets nodes that died.
    async fn tidy(&self) -> Result<(), StoreError> {
        let mut lease = self.on("SET", 0, "tidying");
        let time = u64::try_from(TIDYING.as_millis()).unwrap_or(u64::MAX);
        lease.arg(&self.node).arg("NX").arg("PX").arg(time);
        if reply::bytes(self.link.ask(&lease).await?)?.is_none() {
            return Ok(());
        }
        let before = self.engine_time().await?.saturating_sub(millis(LEFT_AFTER));
        for part in self.parts() {
            self.finish_sweeps(part, before).await?;
            self.forget_vanished(part).await?;
            self.forget_nodes(part).await?;
        }
        Ok(())
    }

    async fn finish_sweeps(&self, part: u16, before: u64) -> Result<(), StoreError> {
        let mut pending = self.on("ZRANGE", part, "pending");
        pending.arg(0).arg(-1);
        let pending = reply::numbers(self.link.ask(&pending).await?)?;
        if pending.is_empty() {
            return Ok(());
        }
        // A number found twice, with a while between, is nobody's any more: one that is worked on goes at the next look.
        let mut seen = self.on("HGET", part, "left");
        seen.arg("at");
        let left = reply::text(self.link.ask(&seen).await?)?.unwrap_or_default();
        let (at, last) = left.split_once(' ').unwrap_or(("0", "0"));
        let (at, last) = (at.parse::<u64>().unwrap_or_default(), last.parse::<u64>().unwrap_or_default());
        for number in pending.iter().copied().filter(|number| at > 0 && at <= before && *number <= last) {
            let records = {
                let mut range = self.on("XRANGE", part, "log");
                range.arg(format!("{number}-0")).arg(format!("{number}-9"));
                reply::records(self.link.ask(&range).await?)?
            };
            let change = records.into_iter().next().and_then(|(number, fields)| self.record(number, fields).change);
            let (selector, hardness) = match change.as_ref().map(Change::purge) {
                Some(Some(purge)) => purge,
                Some(None) => (Selector { entry: Some(EntryId(u64::MAX)), ..Selector::default() }, Hardness::Hard),
                // What cannot be read may mean everything before it.
                None => (Selector::default(), Hardness::Hard),
            };
            tracing::info!(part, number, "a purge that another node left is swept");
            self.sweep(part, &selector, hardness, number).await?;
            self.swept(part, number).await?;
        }
        let mut note = self.on("HSET", part, "left");
        let now = self.engine_time().await?;
        note.arg("at").arg(format!("{now} {}", pending.last().copied().unwrap_or_default()));
        self.link.ask(&note).await.map(drop)
    }

    async fn forget_vanished(&self, part: u16) -> Result<(), StoreError> {
        let cursor = reply::number(self.link.ask(&self.on("GET", part, "looked")).await?)?.map(EntryId);
        let ids = self.ids_after(part, cursor, LOOKED_AT).await?;
        for step in ids.chunks(256) {
            let head = [self.node.clone(), self.terms.news_kept.to_string()];
            let args: Vec<String> = head.into_iter().chain(step.iter().map(|id| id.0.to_string())).collect();
            self.call(&scripts::VANISHED, part, args).await?;
        }
        let next = ids.last().filter(|_| ids.len() == LOOKED_AT).map_or(0, |id| id.0);
        let mut note = self.on("SET", part, "looked");
        note.arg(next);
        self.link.ask(&note).await.map(drop)
    }

    async fn forget_nodes(&self, part: u16) -> Result<(), StoreError> {
        let now = self.engine_time().await?;
        for (node, report) in reply::pairs(self.link.ask(&self.on("HGETALL", part, "nodes")).await?)? {
            if Report::parse(&report).at.saturating_add(millis(FORGOTTEN_AFTER)) < now {
                for name in ["nodes", "models"] {
                    let mut forget = self.on("HDEL", part, name);
                    forget.arg(&node);
                    self.link.ask(&forget).await?;
                }
            }
        }
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
