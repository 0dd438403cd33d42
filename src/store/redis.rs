//! The store of many nodes: Redis 7 or Valkey, core commands only.
//!
//! # How it is laid out
//! Keys live in parts, `{PREFIX:N}:...`: one on one server, sixteen in a cluster, each in one slot, so that a script changes
//! a part in one step. An entry's part follows from its fingerprint and is in its id. A part has its entries (`e:`, `m:`; see
//! `rows`), the fingerprints that lead to them (`f:`, `w:`), sets by tag, source, scope and principal for sweeps, and
//! - one **order of changes**: `seq`, the number of the last one, and the stream `log`. One number stands for every kind of
//!   selector there is, so a write or a read compares one number and not one for each tag. [`crate::store::shared`] says
//!   what it is for; `pending` names the changes whose entries are not swept yet, and a read is held against those.
//! - **news** of entries, the stream `feed`, by which the other nodes' indexes follow. It is bounded and names ids only: a
//!   node reads the vectors of what is new. It is apart from the order, so that catching up before a read never wades
//!   through news.
//!
//! What belongs to no entry (sources, bans, blocked pairs, books, the trail) is in part 0.
//!
//! # What is promised
//! A purge wins on every node (I6) as long as the engine keeps what it acknowledged. When it does not (a failover: its
//! replication is asynchronous), nodes tell again the changes that they remember and it has lost, and where nobody can tell
//! what is missing, a node gives up what it holds and refuses what it had begun. An engine that lost its order refuses writes
//! until that begins anew, above every number before. An old master that goes on in a partition of the network can renew the
//! lease of nodes in there with it: set `min-replicas-to-write` so that it does not, for every report of a node is a write.
//!
//! # Decisions
//! Nodes ask for news many times in a lease instead of blocking on the streams: one script a part reads both, tells the others
//! how far this node is, and its beginning is the moment from which the lease runs. Blocking needs a connection a part, and
//! cannot be had over a cluster's connection. On one server a node asks 80 times a second, in a cluster 20 times each part.

mod address;
mod bans;
mod changes;
mod core;
mod follow;
mod ids;
mod lease;
mod link;
mod order;
mod purge;
mod reply;
mod rows;
mod scripts;
mod setup;
mod sources;
mod transfer;
mod verdicts;
mod walk;
mod write;
mod writer;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use redis::Pipeline;
use tokio::sync::{mpsc, oneshot};

pub use address::{Address, NotAnAddress};

use self::{
    core::{Core, Sought, Terms},
    link::{Link, LinkSettings},
    walk::{Match, Wanted},
    writer::Job,
};
use crate::{
    clock::{Clock, Timestamp},
    entry::{Entry, EntryId},
    key::Fingerprint,
    similarity::{Embedding, Similarity},
    store::{
        Browse, Browsed, Durability, EntrySummary, Expired, Found, Hardness, Page, Selector, Store, StoreError,
        StoreStats, StoredVector, Unembedded, Upkeep,
        encryption::EncryptionKey,
        shared::{Change, Shared},
        transfer::trail_of,
    },
    tasks::Tasks,
};

/// How the engine is reached and used.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Where it is.
    pub address: Address,
    /// What its keys begin with: deployments that share an engine each have their own.
    pub prefix: String,
    /// PEM of the authorities that vouch for it, where they are not the system's.
    pub authorities: Option<Vec<u8>>,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long an answer may take.
    pub response: Duration,
    /// How long a node may serve from memory after it last knew that it had missed nothing.
    pub lease: Duration,
    /// Whether it may go on to, until the lease ends, while the engine does not answer.
    pub serves_lease: bool,
    /// Replicas that must have a purge before it is acknowledged.
    pub replicas: u32,
    /// How long an entry stays at most.
    pub max_age: Duration,
    /// News of entries kept for nodes that lag; a node that lags further fills its index anew.
    pub news_kept: u64,
    /// Dates admissions and purges.
    pub clock: Clock,
    /// Seals questions, answers and vectors; an engine whose texts are sealed otherwise is refused.
    pub encryption: Option<EncryptionKey>,
}

impl RedisSettings {
    /// What holds for `address` when nothing else is set.
    pub fn of(address: Address) -> Self {
        Self {
            address,
            prefix: "semblance".to_owned(),
            authorities: None,
            connect: Duration::from_secs(2),
            response: Duration::from_secs(1),
            lease: Duration::from_secs(1),
            serves_lease: false,
            replicas: 0,
            max_age: Duration::from_secs(30 * 24 * 3600),
            news_kept: 100_000,
            clock: Clock::system(),
            encryption: None,
        }
    }
}

/// News that every part keeps at least.
const LEAST_NEWS: u64 = 1000;
/// Writes that may wait; more are refused with [`StoreError::Full`].
const QUEUE: usize = 4096;

/// [`Store`] and [`Upkeep`] over an engine that other nodes use too.
#[derive(Debug)]
pub struct RedisStore {
    core: Arc<Core>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    tasks: Tasks,
}

impl RedisStore {
    /// Connects and checks that the engine can be used as it is.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`]; [`StoreError::EngineUnusable`], which says what to change; and the errors of the
    /// encryption key.
    pub async fn connect(settings: RedisSettings) -> Result<Self, StoreError> {
        let RedisSettings { address, prefix, authorities, connect, response, clock, encryption, .. } = settings.clone();
        let links = LinkSettings { connect, response, authorities };
        let link = Link::new(address.clone(), links.clone());
        // Waiting for replicas takes longer than any answer.
        let aside = Link::new(address, LinkSettings { response: response + Duration::from_secs(2), ..links });
        setup::check(&link).await?;
        let vault = setup::unlock(&link, &prefix, encryption.as_ref()).await?;
        let terms = Terms {
            lease: settings.lease,
            serves_lease: settings.serves_lease,
            max_age: settings.max_age,
            replicas: settings.replicas,
            news_kept: (settings.news_kept / u64::from(link.address().parts())).max(LEAST_NEWS),
        };
        let core = Arc::new(Core::new((link, aside), prefix, vault, clock, terms));
        setup::check_parts(&core).await?;
        core.begin().await?;
        core.reserve_ids().await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let tasks = Tasks::new();
        tasks.spawn("store-writer", writer::run(Arc::clone(&core), queue));
        Ok(Self { core, jobs: Mutex::new(Some(jobs)), tasks })
    }

    /// Writes what is queued. Later writes are refused with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tasks.drain(self.core.terms.lease + Duration::from_secs(5)).await;
    }

    /// Writes that failed since the store was opened, those nobody waited for included.
    pub fn failed_writes(&self) -> u64 {
        self.core.failed.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn submit(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or(StoreError::Closed)?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }

    /// Submits a write that nobody waits for.
    fn behind<F>(&self, run: impl FnOnce(Arc<Core>) -> F + Send + 'static) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        self.submit(Job::Free(Box::new(|core| noted(Arc::clone(&core), run(core)).map(drop).boxed())))
    }

    /// Submits a write now; the future only waits.
    fn through<T, F>(&self, run: impl FnOnce(Arc<Core>) -> F + Send + 'static) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job::Free(Box::new(|core| {
            let done = noted(Arc::clone(&core), run(core));
            done.map(|done| drop(reply.send(done))).boxed()
        }));
        waiting(self.submit(job), answer)
    }

    /// Submits what runs alone, after everything before it.
    fn alone<T, F>(&self, run: impl FnOnce(Arc<Core>) -> F + Send + 'static) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job::Flush(Box::new(|core| {
            let done = noted(Arc::clone(&core), run(core));
            done.map(|done| {
                drop(reply.send(done));
                std::future::ready(()).boxed()
            })
            .boxed()
        }));
        waiting(self.submit(job), answer)
    }

    /// Submits a change: it is told to all nodes after every write before it, and what it does to entries is done beside
    /// later writes. `prepare` makes it, `conclude` makes the answer of what it changed.
    #[expect(clippy::async_yields_async, reason = "a change is told in its turn and settled beside later writes")]
    fn change<T, P, C>(
        &self,
        prepare: impl FnOnce(Arc<Core>) -> P + Send + 'static,
        conclude: impl FnOnce(Arc<Core>, Change, Vec<EntryId>) -> C + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        P: Future<Output = Result<Change, StoreError>> + Send + 'static,
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job::Barrier(Box::new(move |core| {
            async move {
                let told = async {
                    let change = prepare(Arc::clone(&core)).await?;
                    let told = core.tell(&change).await?;
                    Ok::<_, StoreError>((change, told))
                };
                match told.await {
                    Err(error) => {
                        drop(reply.send(Err(error)));
                        std::future::ready(()).boxed()
                    }
                    Ok((change, told)) => async move {
                        let settled = async {
                            let ids = core.settle(&change, told).await?;
                            conclude(Arc::clone(&core), change, ids).await
                        };
                        drop(reply.send(noted(Arc::clone(&core), settled).await));
                    }
                    .boxed(),
                }
            }
            .boxed()
        }));
        waiting(self.submit(job), answer)
    }

    fn read<'a, T, F>(&'a self, read: F) -> BoxFuture<'a, Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'a,
        T: Send + 'a,
    {
        async move {
            let answer = read.await;
            if let Err(StoreError::Damaged { id, what }) = answer {
                tracing::error!(entry = %id, what, "a damaged entry is removed");
                self.behind(move |core| async move { core.remove(&[id]).await.map(drop) })?;
            }
            answer
        }
        .boxed()
    }
}

fn waiting<'a, T: Send + 'a>(
    submitted: Result<(), StoreError>,
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> BoxFuture<'a, Result<T, StoreError>> {
    async move {
        submitted?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
    .boxed()
}

/// Counts a failure, and says so where nobody else may.
async fn noted<T>(core: Arc<Core>, write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let done = write.await;
    if let Err(error) = &done {
        core.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::debug!(reason = error.reason(), %error, "a write failed");
    }
    done
}

impl Store for RedisStore {
    fn next_id(&self, fingerprint: Fingerprint) -> EntryId {
        if self.core.ids.wants_block() {
            // A failure is told by the admission that finds no id left.
            let _ = self.behind(|core| async move { core.reserve_ids().await });
        }
        self.core.ids.take(self.core.part_of(&fingerprint))
    }

    /// Waits for one round trip, whatever the durability: how durable a write then is, the engine's own settings say.
    fn admit(&self, entry: Entry, _: Durability) -> BoxFuture<'_, Result<(), StoreError>> {
        self.through(move |core| async move { core.admit(&entry).await })
    }

    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        self.submit(Job::Serial(Box::new(move |core| {
            async move { drop(noted(Arc::clone(&core), core.alias(alias, entry)).await) }.boxed()
        })))
    }

    fn find(&self, fingerprint: Fingerprint) -> BoxFuture<'_, Result<Option<Found>, StoreError>> {
        self.read(async move {
            let found = self.core.read(Sought::Fingerprint(fingerprint)).await?;
            Ok(found.map(|(entry, via_alias)| Found { entry, via_alias }))
        })
    }

    fn get(&self, id: EntryId) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        self.read(async move { Ok(self.core.read(Sought::Id(id)).await?.map(|(entry, _)| entry)) })
    }

    fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        if dry_run {
            return self.alone(move |core| async move {
                let found = core.all_matching(Wanted { selector: &selector, text: None, before: None }).await?;
                Ok(found.into_iter().map(|found| found.id).collect())
            });
        }
        let now = self.core.clock.now();
        // Looked up before it is gone: an export knows the entry by its fingerprint.
        let named = Arc::new(Mutex::new(None));
        let known = Arc::clone(&named);
        self.change(
            move |core| async move {
                if let Some(id) = selector.entry.filter(|_| selector.principals.is_empty()) {
                    let fingerprint = core.fingerprint_of(id).await?;
                    *known.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
                }
                Ok(Change::Purged { selector, hardness })
            },
            move |core, change, ids| async move {
                if let Change::Purged { selector, hardness } = &change {
                    let erased = *hardness == Hardness::Hard;
                    if erased && !selector.principals.is_empty() {
                        core.unblock(&selector.principals).await?;
                    }
                    let named = *named.lock().unwrap_or_else(PoisonError::into_inner);
                    core.record_purge(now, &trail_of(selector, named, erased), *hardness, ids.len()).await?;
                }
                Ok(ids)
            },
        )
    }

    fn list(
        &self,
        selector: Selector,
        offset: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>> {
        let browse = Browse { selector, text: None, offset, limit };
        self.read(async move {
            let browsed = self.core.browse(&browse, Sorted::Newest).await?;
            Ok(browsed.entries.into_iter().map(|(summary, _)| summary).collect())
        })
    }

    fn browse(&self, browse: Browse) -> BoxFuture<'_, Result<Browsed, StoreError>> {
        self.read(async move { self.core.browse(&browse, Sorted::Nearest).await })
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        self.read(self.core.stats())
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.alone(|_| async { Ok(()) })
    }
}

impl Upkeep for RedisStore {
    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }

    fn vectors(&self, after: Option<EntryId>, limit: u32) -> BoxFuture<'_, Result<Page<StoredVector>, StoreError>> {
        self.read(async move {
            let ids = self.core.page_of_ids(after, limit as usize).await?;
            let next = ids.last().copied().filter(|_| ids.len() >= limit as usize);
            Ok(Page { items: self.core.vectors_of(&ids).await?, next })
        })
    }

    fn unembedded(
        &self,
        embedder: String,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<Unembedded>, StoreError>> {
        self.read(async move {
            let ids = self.core.page_of_ids(after, limit as usize).await?;
            let next = ids.last().copied().filter(|_| ids.len() >= limit as usize);
            let others = self.core.vectors_of(&ids).await?.into_iter().filter(|vector| vector.embedder != embedder);
            let items = others.filter_map(|vector| Some(Unembedded { id: vector.id, query: vector.query? }));
            Ok(Page { items: items.collect(), next })
        })
    }

    fn set_embedding(&self, id: EntryId, embedder: String, embedding: Embedding) -> Result<(), StoreError> {
        self.behind(move |core| async move { core.set_embedding(id, &embedder, &embedding).await })
    }

    fn touch(&self, ids: Vec<EntryId>, now: Timestamp) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.behind(move |core| async move { core.touch(&ids, now).await })
    }

    fn categories(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.read(async move {
            let parts = try_join_all(self.core.parts().map(|part| async move {
                reply::pairs(self.core.link.ask(&self.core.on("HGETALL", part, "cats")).await?)
            }));
            let mut all: BTreeMap<String, u64> = BTreeMap::new();
            for (category, count) in parts.await?.into_iter().flatten() {
                *all.entry(category).or_default() += String::from_utf8_lossy(&count).parse::<u64>().unwrap_or_default();
            }
            Ok(all.into_iter().collect())
        })
    }

    fn reap(&self, expired: Expired, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.through(move |core| async move { core.reap(&expired, limit as usize).await })
    }

    fn evict_to(&self, bytes: u64, limit: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.alone(move |core| async move { core.evict_to(bytes, limit as usize).await })
    }

    fn example_vectors(
        &self,
        embedder: String,
        texts: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Embedding>>, StoreError>> {
        self.read(async move { self.core.example_vectors(&embedder, &texts).await })
    }

    fn keep_example_vectors(&self, embedder: String, vectors: Vec<(String, Embedding)>) -> Result<(), StoreError> {
        self.behind(move |core| async move { core.keep_example_vectors(&embedder, &vectors).await })
    }
}

/// In what order entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sorted {
    Newest,
    Nearest,
}

impl Core {
    async fn browse(&self, browse: &Browse, sorted: Sorted) -> Result<Browsed, StoreError> {
        let Browse { selector, text, offset, limit } = browse;
        let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (offset, limit) = (bounded(*offset), bounded(*limit));
        if *selector == Selector::default() && text.is_none() {
            let ids = self.newest(offset, limit).await?;
            let total = self.stats().await?.entries;
            let entries = self.summaries(&ids).await?.into_iter().map(|summary| (summary, None)).collect();
            return Ok(Browsed { entries, total });
        }
        let folded = text.as_deref().map(str::to_lowercase);
        let mut found = self.all_matching(Wanted { selector, text: folded.as_deref(), before: None }).await?;
        let nearness =
            |found: &Match| found.similarity.filter(|_| sorted == Sorted::Nearest).map_or(0.0, Similarity::get);
        found.sort_by(|a, b| nearness(b).total_cmp(&nearness(a)).then(b.id.cmp(&a.id)));
        let total = found.len() as u64;
        let part: Vec<Match> = found.into_iter().skip(offset).take(limit).collect();
        let ids: Vec<EntryId> = part.iter().map(|found| found.id).collect();
        let near: BTreeMap<String, Option<Similarity>> =
            part.iter().map(|found| (found.id.to_string(), found.similarity)).collect();
        let entries = self.summaries(&ids).await?.into_iter();
        let entries = entries.map(|summary| {
            let similarity = near.get(&summary.id).copied().flatten();
            (summary, similarity)
        });
        Ok(Browsed { entries: entries.collect(), total })
    }

    /// Ids, newest first.
    async fn newest(&self, offset: usize, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let end = offset.saturating_add(limit);
        let parts = try_join_all(self.parts().map(|part| async move {
            let mut range = self.on("ZREVRANGE", part, "ids");
            let last = i64::try_from(end).map_or(-1, |end| end - 1);
            range.arg(0).arg(last);
            reply::numbers(self.link.ask(&range).await?)
        }));
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut ids: Vec<u64> = parts.await?.into_iter().flatten().collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids.into_iter().skip(offset).take(limit).map(EntryId).collect())
    }

    /// As listed, in the order of `ids`; those that are gone are left out.
    async fn summaries(&self, ids: &[EntryId]) -> Result<Vec<EntrySummary>, StoreError> {
        let mut known = BTreeMap::new();
        for part in self.parts() {
            let own: Vec<EntryId> = ids.iter().copied().filter(|id| self.part_of_id(*id) == part).collect();
            let mut pipe = Pipeline::with_capacity(own.len() * 4);
            for id in &own {
                pipe.cmd("HMGET").arg(self.key(part, &format!("m:{}", id.0))).arg("f").arg("i");
                pipe.cmd("HMGET").arg(self.key(part, &format!("e:{}", id.0))).arg("q").arg("n");
                pipe.cmd("EXISTS").arg(self.key(part, &format!("e:{}", id.0)));
                pipe.cmd("SCARD").arg(self.key(part, &format!("w:{}", id.0)));
            }
            let mut answers = self.link.pipe(&pipe).await?.into_iter();
            for id in own {
                let mut next = || answers.next().unwrap_or(redis::Value::Nil);
                let (facts, texts, lives, aliases) = (next(), next(), next(), next());
                let mut facts = reply::array(facts)?.into_iter();
                let query = reply::array(texts)?.into_iter().next().map_or(Ok(None), reply::bytes)?;
                let json = facts.next().map_or(Ok(None), reply::bytes)?;
                let invalidated_at = facts.next().map_or(Ok(None), reply::text)?.and_then(|at| at.parse().ok());
                let lives = reply::number(lives)?.is_some_and(|lives| lives > 0);
                let Some(json) = json.filter(|_| lives) else { continue };
                let Ok(facts) = rows::Facts::parse(id, &json) else { continue };
                let query = rows::query(&self.vault, id, query);
                let aliases = reply::number(aliases)?.unwrap_or_default();
                known.insert(id, facts.summary(id, query, invalidated_at, aliases));
            }
        }
        Ok(ids.iter().filter_map(|id| known.remove(id)).collect())
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        let parts = try_join_all(self.parts().map(|part| async move {
            let mut counts = self.on("HMGET", part, "n");
            counts.arg("entries").arg("aliases").arg("bytes");
            reply::array(self.link.ask(&counts).await?)
        }));
        let mut stats = StoreStats::default();
        for counts in parts.await? {
            let mut counts = counts.into_iter();
            let mut next = || counts.next().map_or(Ok(None), reply::number).map(Option::unwrap_or_default);
            stats.entries += next()?;
            stats.aliases += next()?;
            stats.answer_bytes += next()?;
        }
        stats.file_bytes = self.used_memory().await?;
        Ok(stats)
    }
}

#[cfg(test)]
pub(crate) mod tests;
