//! Today's versions of documents, and what is built on others.
//!
//! The versions that an update makes old are gathered before it is told, from what is stored then. One that is stored for the
//! first time between the two is purged with the rest, and is taken for a version newer than the update from then on.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{BoxFuture, try_join_all};

use super::{RedisStore, core::Core, reply, rows::source_label, scripts, walk::Wanted};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    store::{
        Hardness, Selector, StoreError,
        shared::Change,
        sources::{REPLACED_KEPT, SourceSelector, SourceSummary, SourceUpdate, Sources, Updated, Versions},
        transfer::trail_of,
    },
};

impl Sources for RedisStore {
    fn update_source(&self, update: SourceUpdate) -> BoxFuture<'_, Result<Updated, StoreError>> {
        let now = self.core.clock.now();
        self.change(
            move |core| async move {
                let (revision, replaced) = core.record_version(&update).await?;
                Ok(Change::Updated { update, replaced, revision })
            },
            move |core, change, entries| async move {
                let Change::Updated { update, replaced, .. } = change else { return Ok(Updated::default()) };
                let selector = Selector { source: Some(update.outdated()), ..Selector::default() };
                core.record_purge(now, &trail_of(&selector, None, false), update.hardness, entries.len()).await?;
                Ok(Updated { entries, replaced })
            },
        )
    }

    fn forget_source(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<EntryId>>, StoreError>> {
        let now = self.core.clock.now();
        let recorded = std::sync::Arc::new(std::sync::atomic::AtomicBool::default());
        let was_recorded = std::sync::Arc::clone(&recorded);
        self.change(
            move |core| async move {
                let answer = reply::numbers(core.call(&scripts::FORGET, 0, &name).await?)?;
                let [revision, known] = <[u64; 2]>::try_from(answer).map_err(|_| reply::odd("a revision"))?;
                was_recorded.store(known > 0, std::sync::atomic::Ordering::SeqCst);
                Ok(Change::Forgotten { name, revision })
            },
            move |core, change, entries| async move {
                let Some((selector, hardness)) = change.purge() else { return Ok(None) };
                core.record_purge(now, &trail_of(&selector, None, true), hardness, entries.len()).await?;
                let known = recorded.load(std::sync::atomic::Ordering::SeqCst) || !entries.is_empty();
                Ok(known.then_some(entries))
            },
        )
    }

    fn sources(
        &self,
        text: Option<String>,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<(Vec<SourceSummary>, u64), StoreError>> {
        self.read(async move {
            let text = text.unwrap_or_default().to_ascii_lowercase();
            let recorded = self.core.recorded().await?;
            let named = try_join_all(self.core.parts().map(|part| async move {
                reply::texts(self.core.link.ask(&self.core.on("HKEYS", part, "names")).await?)
            }));
            let known: BTreeSet<String> = named.await?.into_iter().flatten().chain(recorded.keys().cloned()).collect();
            let known: Vec<String> =
                known.into_iter().filter(|name| name.to_ascii_lowercase().contains(&text)).collect();
            let total = known.len() as u64;
            let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let part = known.into_iter().skip(bounded(offset)).take(bounded(limit));
            let summaries = try_join_all(part.map(|name| {
                let recorded = recorded.get(&name).cloned();
                self.core.source(name, recorded)
            }));
            Ok((summaries.await?, total))
        })
    }

    fn source(&self, name: String) -> BoxFuture<'_, Result<Option<SourceSummary>, StoreError>> {
        self.read(async move {
            let mut get = self.core.on("HGET", 0, "sources");
            get.arg(&name);
            let recorded = reply::text(self.core.link.ask(&get).await?)?.and_then(|kept| recorded(&kept));
            let summary = self.core.source(name, recorded).await?;
            Ok(Some(summary).filter(|source| source.updated_at_ms.is_some() || source.entries > 0))
        })
    }

    fn replaced(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>> {
        self.read(async move {
            let mut all = reply::texts(self.core.call(&scripts::REPLACED, 0, "").await?)?.into_iter();
            let mut replaced = Vec::new();
            while let (Some(name), Some(version)) = (all.next(), all.next()) {
                replaced.push((name, version));
            }
            Ok(replaced)
        })
    }
}

/// Version and moment.
type Recorded = (Option<String>, i64);

/// The inverse of what the script writes.
fn recorded(kept: &str) -> Option<Recorded> {
    let (at, version) = kept.split_once(' ')?;
    Some((Some(version.to_owned()).filter(|version| !version.is_empty()), at.parse().ok()?))
}

impl Core {
    /// Records an update; its revision, and the versions that are old now.
    async fn record_version(&self, update: &SourceUpdate) -> Result<(u64, Vec<String>), StoreError> {
        let SourceUpdate { name, version, hardness: _, at } = update;
        let all = SourceSelector { name: name.clone(), versions: Versions::Any };
        let selector = Selector { source: Some(all), ..Selector::default() };
        let found = self.all_matching(Wanted { selector: &selector, text: None, before: None }).await?;
        let in_use: BTreeSet<&str> = found
            .iter()
            .flat_map(|found| found.facts.sources.iter())
            .filter(|(named, _)| named == name)
            .filter_map(|(_, version)| version.as_deref())
            .collect();
        let head =
            [name.clone(), version.clone().unwrap_or_default(), at.as_millis().to_string(), REPLACED_KEPT.to_string()];
        let args: Vec<String> = head.into_iter().chain(in_use.into_iter().map(str::to_owned)).collect();
        let answer = reply::array(self.call(&scripts::SOURCE, 0, args).await?)?;
        let [revision, old] = <[redis::Value; 2]>::try_from(answer).map_err(|_| reply::odd("a revision"))?;
        Ok((reply::number(revision)?.unwrap_or_default(), reply::texts(old)?))
    }

    async fn recorded(&self) -> Result<BTreeMap<String, Recorded>, StoreError> {
        let kept = reply::pairs(self.link.ask(&self.on("HGETALL", 0, "sources")).await?)?;
        let read = |(name, kept): (String, Vec<u8>)| Some((name, recorded(&String::from_utf8_lossy(&kept))?));
        Ok(kept.into_iter().filter_map(read).collect())
    }

    async fn source(&self, name: String, recorded: Option<Recorded>) -> Result<SourceSummary, StoreError> {
        let named = &name;
        debug_assert!(source_label(&name).starts_with("s:"), "as the script names it");
        let counts = try_join_all(
            self.parts().map(|part| async move { reply::number(self.call(&scripts::DEPENDENTS, part, named).await?) }),
        );
        let entries = counts.await?.into_iter().flatten().sum();
        let (version, at) = recorded.unzip();
        Ok(SourceSummary { source: name, version: version.flatten(), updated_at_ms: at, entries })
    }

    /// Writes the trail.
    pub(super) async fn record_purge(
        &self,
        at: Timestamp,
        selector: &str,
        hardness: Hardness,
        removed: usize,
    ) -> Result<(), StoreError> {
        let hard = hardness == Hardness::Hard;
        let line = serde_json::json!({"at": at.as_millis(), "selector": selector, "hard": hard, "removed": removed});
        let mut push = self.on("RPUSH", 0, "trail");
        push.arg(line.to_string());
        self.link.ask(&push).await?;
        let mut trim = self.on("LTRIM", 0, "trail");
        trim.arg(-super::transfer::TRAIL_KEPT).arg(-1);
        self.link.ask(&trim).await.map(drop)
    }
}
