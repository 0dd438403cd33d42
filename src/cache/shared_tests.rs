//! Purges against late writers and readers on several nodes, over a real engine, in schedules drawn by chance.
//!
//! Every node is a cache of its own that follows the others. Writers take an epoch, dawdle, and admit; purgers purge; readers
//! read. Each answer says when its generation began, by one counter that all of them share, so what is served after a purge was
//! acknowledged can be held against when that was issued.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};

use super::*;
use crate::{
    index::partitions::Settings,
    store::{
        conformance::{self, fingerprint, near, vector},
        redis::{
            RedisSettings, RedisStore,
            tests::{
                server::{Server, cluster, cluster_url},
                settings,
            },
        },
        shared::Shared,
        sources::SourceUpdate,
    },
    wire::directives::SourceRef,
};

const NODES: usize = 3;
const QUESTIONS: u64 = 6;
const LEASE: Duration = Duration::from_millis(100);

async fn node(url: &str) -> Arc<Cache> {
    let settings = RedisSettings { lease: LEASE, ..settings(url) };
    let store: Arc<dyn Upkeep> = Arc::new(RedisStore::connect(settings).await.unwrap());
    let cache = Arc::new(Cache::new(store, Arc::new(Partitions::new(Settings::default())), 1 << 20));
    cache.join("minilm@1").await.unwrap();
    cache
}

fn question(number: u64) -> String {
    format!("question {number}")
}

/// What purges tell answers apart by.
fn arriving(cache: &Cache, number: u64, began: u64) -> Entry {
    let text = question(number);
    let mut entry = conformance::entry(cache.store().next_id(fingerprint(&text)), &text);
    entry.answer.text = began.to_string();
    entry.tags = vec![format!("tag {}", number % 2)];
    entry.category = format!("category {}", number % 3);
    entry.sources = vec![SourceRef::parse(&format!("doc:{}@v{began}", number % 2)).unwrap()];
    entry.embedding = Some(vector(&text));
    entry
}

/// A purge that was acknowledged.
#[derive(Debug)]
struct Purged {
    selector: Selector,
    hardness: Hardness,
    issued: u64,
    acknowledged: u64,
}

#[derive(Debug, Default)]
struct History {
    counter: AtomicU64,
    purged: Mutex<Vec<Purged>>,
    served: AtomicU64,
    refused: AtomicU64,
}

impl History {
    fn now(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::SeqCst)
    }

    /// Holds what a read that began at `asked` found against every purge that had been acknowledged by then.
    fn check(&self, entry: &Entry, asked: u64, how: &str) {
        self.served.fetch_add(1, Ordering::SeqCst);
        let began: u64 = entry.answer.text.parse().unwrap();
        for purged in self.purged.lock().unwrap().iter() {
            if purged.acknowledged < asked && began < purged.issued && purged.selector.selects(entry) {
                let allowed = matches!(purged.hardness, Hardness::Soft(_)) && entry.invalidated_at.is_some();
                assert!(allowed, "{how}: begun at {began}, asked at {asked}, and yet {purged:?}");
            }
        }
    }
}

fn selector(chance: &mut fastrand::Rng) -> Selector {
    let number = chance.u64(0..QUESTIONS);
    let by = Selector::default();
    match chance.u8(0..6) {
        0 => Selector { tag: Some(format!("tag {}", number % 2)), ..by },
        1 => Selector { category: Some(format!("category {}", number % 3)), ..by },
        2 => Selector { scope: Some(conformance::scope("a")), ..by },
        3 => Selector { prefix: Some(format!("doc:{}", number % 2)), ..by },
        4 => Selector { principals: vec![crate::key::Principal::from_bytes([7; 32])], ..by },
        _ => Selector {
            near: Some(near(&question(number), 0.999)),
            generated_until: Some(Timestamp::from_millis(1_000)),
            ..by
        },
    }
}

async fn dawdle(chance: &mut fastrand::Rng) {
    for _ in 0..chance.u8(0..4) {
        if chance.bool() {
            tokio::time::sleep(Duration::from_millis(chance.u64(0..12))).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn write(cache: &Cache, history: &History, mut chance: fastrand::Rng, rounds: u32) {
    for _ in 0..rounds {
        let (epoch, began) = (cache.epoch(), history.now());
        dawdle(&mut chance).await;
        let entry = arriving(cache, chance.u64(0..QUESTIONS), began);
        if cache.admit(entry, epoch, Durability::Behind).await.is_err() {
            history.refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn read(cache: &Cache, history: &History, mut chance: fastrand::Rng, rounds: u32) {
    for _ in 0..rounds {
        let text = question(chance.u64(0..QUESTIONS));
        let asked = history.now();
        if let Some(hit) = cache.find(fingerprint(&text)).await.unwrap() {
            history.check(&hit.entry, asked, "by fingerprint");
        }
        let asked = history.now();
        let partition = conformance::entry(EntryId(1), &text).partition;
        for candidate in cache.neighbours(&partition, &vector(&text), 1, Similarity::new(0.99).unwrap()) {
            if let Some(entry) = cache.get(candidate.id).await.unwrap() {
                history.check(&entry, asked, "by meaning");
            }
        }
        dawdle(&mut chance).await;
    }
}

async fn purge(cache: &Cache, history: &History, mut chance: fastrand::Rng, rounds: u32) {
    for _ in 0..rounds {
        dawdle(&mut chance).await;
        let hardness = if chance.bool() { Hardness::Hard } else { Hardness::Soft(Timestamp::from_millis(5)) };
        let issued = history.now();
        let selector = if chance.u8(0..6) == 0 {
            let version = Some(format!("v{issued}"));
            let update = SourceUpdate {
                name: format!("doc:{}", chance.u8(0..2)),
                version,
                hardness,
                at: Timestamp::from_millis(5),
            };
            let selector = Selector { source: Some(update.outdated()), ..Selector::default() };
            cache.update_source(update).await.unwrap();
            selector
        } else {
            let selector = selector(&mut chance);
            cache.purge(selector.clone(), hardness, false).await.unwrap();
            selector
        };
        let acknowledged = history.now();
        history.purged.lock().unwrap().push(Purged { selector, hardness, issued, acknowledged });
    }
}

async fn follow(cache: &Cache, done: &tokio_util::sync::CancellationToken, mut chance: fastrand::Rng) {
    let store = cache.store();
    while !done.is_cancelled() {
        // Some nodes lag, as a busy one does.
        let rest = if chance.u8(0..10) == 0 { LEASE * 2 } else { store.shared().map_or(LEASE, Shared::pace) };
        tokio::time::sleep(rest).await;
        cache.follow().await.unwrap();
    }
}

async fn no_schedule_serves_what_was_purged(url: &str, seed: u64, rounds: u32) {
    let nodes = join_all((0..NODES).map(|_| node(url))).await;
    let (history, done) = (History::default(), tokio_util::sync::CancellationToken::new());
    let mut chance = fastrand::Rng::with_seed(seed);
    let work = nodes.iter().flat_map(|cache| {
        let mut one = || chance.fork();
        [
            write(cache, &history, one(), rounds).boxed_local(),
            write(cache, &history, one(), rounds).boxed_local(),
            read(cache, &history, one(), rounds * 2).boxed_local(),
            purge(cache, &history, one(), rounds / 4).boxed_local(),
        ]
    });
    let work: Vec<_> = work.collect();
    let following = nodes.iter().map(|cache| follow(cache, &done, fastrand::Rng::with_seed(seed ^ 1)));
    let working = async {
        join_all(work).await;
        done.cancel();
    };
    tokio::join!(join_all(following), working);
    let (served, refused) = (history.served.into_inner(), history.refused.into_inner());
    assert!(served > 20 && refused > 5, "seed {seed}: {served} served and {refused} refused show nothing");
}

#[tokio::test]
async fn no_schedule_of_nodes_serves_what_was_purged() {
    let server = Server::start();
    for seed in 0..3 {
        server.cli(&["flushall"]);
        no_schedule_serves_what_was_purged(&server.url(), seed, 60).await;
    }
}

#[tokio::test]
async fn no_schedule_of_nodes_over_a_cluster_serves_what_was_purged() {
    let servers = cluster();
    no_schedule_serves_what_was_purged(&cluster_url(&servers), 7, 40).await;
}
