//! Purges against everything that runs beside them, in every order there is.
//!
//! Each operation is cut where it waits: for the provider, for the store's writer, for a read. A schedule says which goes
//! on next; all schedules of a scenario are run, one after the other. The store is a model of the contract: writes happen
//! in the order in which they were submitted, at any later moment, and a read sees what is written when it looks.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_util::{FutureExt, future::BoxFuture};

use super::*;
use crate::{
    index::partitions::Settings,
    store::{
        Browse, Browsed, EntrySummary, Expired, Found, Page, Store, StoreStats, StoredVector, Unembedded,
        bans::{Ban, BanId, Bans},
        conformance::{entry, fingerprint, near},
        sources::{SourceSummary, SourceUpdate, Sources, Updated},
        transfer::{PastPurge, Transfer},
        verdicts::{KeptLedger, Verdicts},
    },
};

/// Lets the schedule decide who goes on.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[derive(Debug)]
enum Write {
    Admit(Box<Entry>),
    Alias(Fingerprint, EntryId),
    Purge(Box<Selector>, Hardness),
    Update(SourceUpdate),
}

#[derive(Debug, Default)]
struct Tables {
    entries: BTreeMap<u64, Entry>,
    aliases: BTreeMap<[u8; 32], EntryId>,
    queue: VecDeque<Write>,
    submitted: usize,
    /// What each write that happened removed or changed.
    done: Vec<Vec<EntryId>>,
}

impl Tables {
    fn purge(&mut self, selector: &Selector, hardness: Hardness) -> Vec<EntryId> {
        let mut changed = Vec::new();
        for known in self.entries.values_mut().filter(|known| selector.selects(known)) {
            changed.push(known.id);
            if let Hardness::Soft(at) = hardness {
                known.invalidated_at = Some(at);
            }
        }
        if hardness == Hardness::Hard {
            changed.iter().for_each(|id| drop(self.entries.remove(&id.0)));
        }
        changed
    }
}

/// The model.
#[derive(Debug, Default)]
struct Model(Mutex<Tables>);

impl Model {
    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.0.lock().unwrap()
    }

    fn submit(&self, write: Write) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        let number = {
            let mut tables = self.tables();
            tables.queue.push_back(write);
            tables.submitted += 1;
            tables.submitted
        };
        std::future::poll_fn(move |_| match self.tables().done.get(number - 1) {
            Some(ids) => Poll::Ready(Ok(ids.clone())),
            None => Poll::Pending,
        })
        .boxed()
    }

    /// The writer's next step; false when there is none.
    fn write(&self) -> bool {
        let mut tables = self.tables();
        let Some(write) = tables.queue.pop_front() else { return false };
        let mut changed = Vec::new();
        match write {
            Write::Admit(admitted) => {
                tables.entries.retain(|_, known| known.fingerprint != admitted.fingerprint);
                tables.entries.insert(admitted.id.0, *admitted);
            }
            Write::Alias(wording, id) => {
                if tables.entries.contains_key(&id.0) {
                    tables.aliases.insert(*wording.as_bytes(), id);
                }
            }
            Write::Purge(selector, hardness) => changed = tables.purge(&selector, hardness),
            Write::Update(update) => {
                let selector = Selector { source: Some(update.outdated()), ..Selector::default() };
                changed = tables.purge(&selector, update.hardness);
            }
        }
        tables.done.push(changed);
        true
    }

    fn found(&self, fingerprint: Fingerprint) -> Option<Found> {
        let tables = self.tables();
        let own = tables.entries.values().find(|known| known.fingerprint == fingerprint);
        let alias = || tables.entries.get(&tables.aliases.get(fingerprint.as_bytes())?.0);
        let via_alias = own.is_none();
        own.or_else(alias).map(|entry| Found { entry: entry.clone(), via_alias })
    }
}

fn unused<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, StoreError>> {
    std::future::ready(Err(StoreError::Closed)).boxed()
}

impl Store for Model {
    fn next_id(&self, _: Fingerprint) -> EntryId {
        EntryId(99)
    }

    fn admit(&self, entry: Entry, _: Durability) -> BoxFuture<'_, Result<(), StoreError>> {
        self.submit(Write::Admit(Box::new(entry))).map(|done| done.map(drop)).boxed()
    }

    fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        drop(self.submit(Write::Alias(alias, entry)));
        Ok(())
    }

    fn find(&self, fingerprint: Fingerprint) -> BoxFuture<'_, Result<Option<Found>, StoreError>> {
        async move {
            pause().await;
            let found = self.found(fingerprint);
            pause().await;
            Ok(found)
        }
        .boxed()
    }

    fn get(&self, id: EntryId) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        async move {
            pause().await;
            let found = self.tables().entries.get(&id.0).cloned();
            pause().await;
            Ok(found)
        }
        .boxed()
    }

    fn purge(
        &self,
        selector: Selector,
        hardness: Hardness,
        _: bool,
    ) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        self.submit(Write::Purge(Box::new(selector), hardness))
    }

    fn list(&self, _: Selector, _: u64, _: u64) -> BoxFuture<'_, Result<Vec<EntrySummary>, StoreError>> {
        unused()
    }

    fn browse(&self, _: Browse) -> BoxFuture<'_, Result<Browsed, StoreError>> {
        unused()
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        unused()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        unused()
    }
}

impl Upkeep for Model {
    fn vectors(&self, _: Option<EntryId>, _: u32) -> BoxFuture<'_, Result<Page<StoredVector>, StoreError>> {
        unused()
    }

    fn unembedded(&self, _: String, _: Option<EntryId>, _: u32) -> BoxFuture<'_, Result<Page<Unembedded>, StoreError>> {
        unused()
    }

    fn set_embedding(&self, _: EntryId, _: String, _: Embedding) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn touch(&self, _: Vec<EntryId>, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn categories(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        unused()
    }

    fn reap(&self, _: Expired, _: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        unused()
    }

    fn evict_to(&self, _: u64, _: u32) -> BoxFuture<'_, Result<Vec<EntryId>, StoreError>> {
        unused()
    }

    fn example_vectors(&self, _: String, _: Vec<String>) -> BoxFuture<'_, Result<Vec<Option<Embedding>>, StoreError>> {
        unused()
    }

    fn keep_example_vectors(&self, _: String, _: Vec<(String, Embedding)>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}

impl Transfer for Model {
    fn ids(&self, _: Selector, _: Option<EntryId>, _: u32) -> BoxFuture<'_, Result<Page<EntryId>, StoreError>> {
        unused()
    }

    fn aliases(&self, _: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        unused()
    }

    fn past_purges(&self) -> BoxFuture<'_, Result<Vec<PastPurge>, StoreError>> {
        unused()
    }
}

impl Verdicts for Model {
    fn block(&self, _: Pair, _: &'static str, _: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        unused()
    }

    fn blocked(&self) -> BoxFuture<'_, Result<Vec<Pair>, StoreError>> {
        unused()
    }

    fn wordings(&self, _: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        unused()
    }

    fn keep_ledger(&self, _: KeptLedger, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn ledgers(&self) -> BoxFuture<'_, Result<Vec<KeptLedger>, StoreError>> {
        unused()
    }
}

impl Sources for Model {
    fn update_source(&self, update: SourceUpdate) -> BoxFuture<'_, Result<Updated, StoreError>> {
        let replaced = vec!["v7".to_owned()];
        let written = self.submit(Write::Update(update));
        written.map(|done| done.map(|entries| Updated { entries, replaced })).boxed()
    }

    fn forget_source(&self, _: String) -> BoxFuture<'_, Result<Option<Vec<EntryId>>, StoreError>> {
        unused()
    }

    fn sources(
        &self,
        _: Option<String>,
        _: u64,
        _: u64,
    ) -> BoxFuture<'_, Result<(Vec<SourceSummary>, u64), StoreError>> {
        unused()
    }

    fn source(&self, _: String) -> BoxFuture<'_, Result<Option<SourceSummary>, StoreError>> {
        unused()
    }

    fn replaced(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreError>> {
        unused()
    }
}

impl Bans for Model {
    fn ban(&self, ban: Ban) -> BoxFuture<'_, Result<(BanId, Vec<EntryId>), StoreError>> {
        let written = self.submit(Write::Purge(Box::new(ban.selector()), ban.hardness));
        written.map(|done| done.map(|entries| (BanId(1), entries))).boxed()
    }

    fn bans(&self) -> BoxFuture<'_, Result<Vec<Ban>, StoreError>> {
        unused()
    }

    fn lift(&self, bans: Vec<BanId>) -> BoxFuture<'_, Result<Vec<BanId>, StoreError>> {
        std::future::ready(Ok(bans)).boxed()
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// One run of a scenario.
struct World {
    cache: Cache,
    model: Arc<Model>,
    /// The purge has begun,
    arrived: Cell<bool>,
    /// and has returned.
    purged: Cell<bool>,
    /// A generation began after the purge: its answer is good.
    later: Cell<bool>,
    /// No generation is later: what it makes is old whenever it begins.
    old_anyway: Cell<bool>,
    hardness: Hardness,
}

const QUESTION: &str = "q1";
const WORDING: &str = "q1, in other words";

impl World {
    fn new(hardness: Hardness) -> Rc<Self> {
        let model = Arc::new(Model::default());
        let store: Arc<dyn Upkeep> = Arc::<Model>::clone(&model);
        let cache =
            Cache::new(store, Arc::new(Partitions::new(Settings { seal_at: 1000, ..Settings::default() })), 1 << 20);
        Rc::new(Self {
            cache,
            model,
            arrived: Cell::new(false),
            purged: Cell::new(false),
            later: Cell::new(false),
            old_anyway: Cell::new(false),
            hardness,
        })
    }

    /// A generation: the provider is asked at one moment and has answered at another.
    fn generates(self: &Rc<Self>, id: u64) -> Task {
        let world = Rc::clone(self);
        Box::pin(async move {
            let begun = world.cache.epoch();
            world.later.set(world.later.get() || (world.arrived.get() && !world.old_anyway.get()));
            pause().await;
            // Refused or not, nobody minds.
            let _ = world.cache.admit(entry(EntryId(id), QUESTION), begun, Durability::Through).await;
        })
    }

    fn purges(self: &Rc<Self>) -> Task {
        let world = Rc::clone(self);
        Box::pin(async move {
            world.arrived.set(true);
            world.cache.purge(Selector::default(), world.hardness, false).await.unwrap();
            world.purged.set(true);
        })
    }

    /// As a purge, by what the answer is built on: `v7` of a document becomes `v8`.
    fn updates_the_source(self: &Rc<Self>) -> Task {
        let world = Rc::clone(self);
        Box::pin(async move {
            world.arrived.set(true);
            let version = Some("v8".to_owned());
            let (name, at) = ("doc:42".to_owned(), Timestamp::from_millis(5_000));
            let update = SourceUpdate { name, version, hardness: world.hardness, at };
            world.cache.update_source(update).await.unwrap();
            world.purged.set(true);
        })
    }

    /// As a purge, by what the question is near to.
    fn bans(self: &Rc<Self>) -> Task {
        let world = Rc::clone(self);
        Box::pin(async move {
            world.arrived.set(true);
            let generated_until = Some(Timestamp::from_millis(2_000));
            let selector = Selector { near: Some(near(QUESTION, 0.9)), generated_until, ..Selector::default() };
            world.cache.purge(selector, world.hardness, false).await.unwrap();
            world.purged.set(true);
        })
    }

    fn reads(self: &Rc<Self>, question: &'static str) -> Task {
        let world = Rc::clone(self);
        Box::pin(async move {
            let after = world.purged.get();
            let found = world.cache.find(fingerprint(question)).await.unwrap();
            if after && !world.later.get() {
                world.assert_hidden(found.map(|hit| hit.entry));
            }
        })
    }

    fn names(self: &Rc<Self>, id: u64) -> Task {
        let world = Rc::clone(self);
        Box::pin(async move {
            // As a request does that was served by meaning: it holds the entry while it is removed.
            if let Some(found) = world.cache.get(EntryId(id)).await.unwrap() {
                pause().await;
                world.cache.alias(fingerprint(WORDING), &found);
            }
        })
    }

    fn assert_hidden(&self, found: Option<Arc<Entry>>) {
        match self.hardness {
            Hardness::Hard => assert!(found.is_none(), "what was purged came back"),
            Hardness::Soft(_) => {
                assert!(found.is_none_or(|entry| entry.invalidated_at.is_some()), "what was made stale is fresh again");
            }
        }
    }

    /// Once all is done: what was purged is nowhere, and an answer begun after the purge is there.
    fn settle(&self) {
        while self.model.write() {}
        for question in [QUESTION, WORDING] {
            let mut read = Box::pin(self.cache.find(fingerprint(question)));
            let found = loop {
                if let Poll::Ready(found) = poll(read.as_mut()) {
                    break found.unwrap();
                }
            };
            match self.later.get() {
                false => self.assert_hidden(found.map(|hit| hit.entry)),
                true => assert!(question == WORDING || found.is_some(), "a later answer was lost"),
            }
        }
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs `scenario` under every schedule; returns how many there were.
fn under_every_schedule(scenario: impl Fn() -> (Rc<World>, Vec<Task>)) -> usize {
    let (mut schedule, mut runs) = (Vec::<usize>::new(), 0);
    loop {
        let (world, mut tasks) = scenario();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let mut whole = true;
        while !tasks.is_empty() {
            let choice = schedule.get(taken.len()).copied().unwrap_or_default();
            taken.push((choice, tasks.len() + 1));
            let waits = world.model.tables().queue.len();
            if let Some(task) = tasks.get_mut(choice) {
                match poll(task.as_mut()) {
                    Poll::Ready(()) => drop(tasks.remove(choice)),
                    // Who waits for the writer and is asked again has done nothing: another schedule covers this.
                    Poll::Pending => whole = world.model.tables().queue.len() != waits || waits == 0,
                }
            } else {
                whole = world.model.write();
            }
            if !whole {
                break;
            }
        }
        if whole {
            world.settle();
            runs += 1;
        }
        let Some(last) = taken.iter().rposition(|(choice, of)| choice + 1 < *of) else { return runs };
        schedule = taken.iter().take(last).map(|(choice, _)| *choice).chain([taken[last].0 + 1]).collect();
    }
}

const BOTH: [Hardness; 2] = [Hardness::Hard, Hardness::Soft(Timestamp::from_millis(5_000))];

/// A world in which the question has been answered.
fn answered(hardness: Hardness) -> Rc<World> {
    let world = World::new(hardness);
    let mut first = world.generates(1);
    while poll(first.as_mut()).is_pending() {
        world.model.write();
    }
    world
}

#[test]
fn a_purge_wins_over_a_running_generation_and_its_readers() {
    for hardness in BOTH {
        let runs = under_every_schedule(|| {
            let world = World::new(hardness);
            let tasks = vec![world.generates(1), world.purges(), world.reads(QUESTION)];
            (world, tasks)
        });
        assert!(runs > 200, "{runs}");
    }
}

#[test]
fn a_purge_wins_over_a_refresh_of_what_is_stored() {
    for hardness in BOTH {
        let runs = under_every_schedule(|| {
            let world = answered(hardness);
            let tasks = vec![world.generates(2), world.purges(), world.reads(QUESTION)];
            (world, tasks)
        });
        assert!(runs > 200, "{runs}");
    }
}

#[test]
fn a_purge_wins_over_a_wording_that_is_being_accepted() {
    for hardness in BOTH {
        let runs = under_every_schedule(|| {
            let world = answered(hardness);
            let tasks = vec![world.names(1), world.purges(), world.reads(WORDING)];
            (world, tasks)
        });
        assert!(runs > 100, "{runs}");
    }
}

#[test]
fn two_generations_and_a_purge_leave_the_later_answer() {
    let runs = under_every_schedule(|| {
        let world = World::new(Hardness::Hard);
        let tasks = vec![world.generates(1), world.generates(2), world.purges()];
        (world, tasks)
    });
    assert!(runs > 200, "{runs}");
}

#[test]
fn an_update_of_a_source_wins_over_a_running_generation_and_its_readers() {
    for hardness in BOTH {
        let runs = under_every_schedule(|| {
            let world = World::new(hardness);
            world.old_anyway.set(true);
            let tasks = vec![world.generates(1), world.updates_the_source(), world.reads(QUESTION)];
            (world, tasks)
        });
        assert!(runs > 200, "{runs}");
    }
}

#[test]
fn a_ban_wins_over_whatever_was_generated_before_it_though_it_begins_to_arrive_later() {
    for hardness in BOTH {
        let runs = under_every_schedule(|| {
            let world = World::new(hardness);
            world.old_anyway.set(true);
            let tasks = vec![world.generates(1), world.bans(), world.reads(QUESTION)];
            (world, tasks)
        });
        assert!(runs > 200, "{runs}");
    }
}
