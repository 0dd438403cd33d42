//! Purges against late writers, hot tiers, other wordings and failovers, in schedules drawn by chance.
//!
//! The upstream's answers carry a number that grows before every purge. Whatever is asked for after a purge was
//! acknowledged must have at least the number of that purge, on every node. A schedule that fails is told by its seed;
//! `SCHEDULES=10000 cargo test --test it -- nodes::schedules` runs more of them than a change needs to pass, and
//! `SEED=7` begins at that one.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::BoxFuture;
use semblance::{
    config::StoreChoice,
    upstream::{
        Target, Upstream, UpstreamError, UpstreamRequest, UpstreamResponse,
        scripted::{Reply, Scripted},
    },
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{EXACTLY, nodes_of, setup, shared};
use crate::{
    engine::Server,
    harness::{Setup, TestGateway, user},
};

/// Questions in two wordings that mean the same, each with a tag and a document of its own. The last one is never asked for
/// its own wording only: what has no vector is near to nothing, so no purge by meaning is about it.
const QUESTIONS: [(&str, &str, &str, &str); 3] = [
    ("How do I reset my password?", "How can I reset my password?", "account", "doc:1@v1"),
    ("How do I descale a kettle?", "How can I descale a kettle?", "kitchen", "doc:2@v1"),
    ("How do I bake rye bread?", "How can I bake rye bread?", "bakery", "doc:3@v1"),
];
const BY_MEANING: usize = 2;

/// What has been found out so far.
#[derive(Debug, Default)]
struct Found {
    answers: AtomicUsize,
    hits: AtomicUsize,
    purges: AtomicUsize,
    /// Purges that were not acknowledged.
    refused: AtomicUsize,
    /// Answers that a purge had been acknowledged of before they were asked for.
    purged: AtomicUsize,
    first: Mutex<Option<String>>,
}

/// Answers with the number that is true when it is asked, after a while that is drawn by chance.
#[derive(Debug)]
struct Numbered {
    number: Arc<AtomicUsize>,
    model: Scripted,
}

impl Upstream for Numbered {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        let number = self.number.load(Ordering::SeqCst).to_string();
        Box::pin(async move {
            let time = [0, 0, 0, 2, 5, 20, 60, 120][fastrand::usize(..8)];
            tokio::time::sleep(Duration::from_millis(time)).await;
            let (model, script) = Scripted::programmable();
            script.push(Reply::text(&number));
            model.send(request).await
        })
    }

    fn base_url(&self, target: &Target<'_>) -> &str {
        self.model.base_url(target)
    }
}

/// What an answer must at least be: its number, where it is served as fresh, and where it is served at all.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    fresh: usize,
    any: usize,
}

struct Schedule<'a> {
    nodes: &'a [Arc<TestGateway>; 3],
    random: Rng,
    found: &'a Arc<Found>,
    number: &'a AtomicUsize,
    floors: [Floor; 3],
    asked: Vec<JoinHandle<()>>,
    seed: u64,
    /// As the acts of the schedule, for who has to look into it.
    log: Vec<String>,
}

impl Schedule<'_> {
    fn node(&mut self) -> &Arc<TestGateway> {
        &self.nodes[self.random.usize(..3)]
    }

    /// Asks without waiting; the answer is held against what was acknowledged before.
    fn ask(&mut self) {
        let which = self.random.usize(..3);
        let (first, second, tag, source) = QUESTIONS[which];
        let question = if self.random.u8(..4) == 0 { second } else { first };
        let mut headers = vec![("x-semblance-tags", tag), ("x-semblance-sources", source)];
        if which != BY_MEANING && question == first && self.random.u8(..4) > 0 {
            headers.push(EXACTLY);
        }
        let (floor, found, seed) = (self.floors[which], Arc::clone(self.found), self.seed);
        let node = Arc::clone(self.node());
        self.log.push(format!("ask {question:?}"));
        let log = self.log.clone();
        #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
        self.asked.push(tokio::spawn(async move {
            let answer = node.chat_with(&user(question), &headers).await;
            assert_eq!(answer.status, 200, "no request fails: {}", answer.body);
            let number: usize = answer.content().parse().unwrap();
            let outcome = answer.outcome();
            found.answers.fetch_add(1, Ordering::Relaxed);
            found.hits.fetch_add(usize::from(outcome != "miss"), Ordering::Relaxed);
            let least = if outcome == "stale" { floor.any } else { floor.fresh };
            if number < least {
                found.purged.fetch_add(1, Ordering::Relaxed);
                let what = || format!("seed {seed}: {outcome} {number}, purged up to {least}: {log:?}");
                found.first.lock().unwrap().get_or_insert_with(what);
            }
        }));
    }

    async fn purge(&mut self) {
        let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
        let kind = self.random.u8(..7);
        let which = if kind == 4 { BY_MEANING } else { self.random.usize(..3) };
        let (question, _, tag, source) = QUESTIONS[which];
        let document = source.split('@').next().unwrap_or_default();
        let (mut order, all): (Value, bool) = match kind {
            0 => (json!({"all": true}), true),
            1 => (json!({"category": "default"}), true),
            2 => (json!({"credential": "sk-test"}), true),
            3 => (json!({"source": document}), false),
            4 => (json!({"near": question}), false),
            5 => (json!({"prefix": document}), false),
            _ => (json!({"tag": tag}), false),
        };
        // An erasure is hard.
        let soft = order.get("credential").is_none() && self.random.u8(..3) == 0;
        if soft {
            order["soft"] = json!(true);
        }
        self.log.push(format!("purge {order}"));
        if self.random.bool() {
            self.ask();
        }
        let (status, _) = self.node().clone().admin_post("/semblance/purge", &order).await;
        if status != 200 {
            self.found.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.found.purges.fetch_add(1, Ordering::Relaxed);
        for (other, floor) in self.floors.iter_mut().enumerate() {
            if all || other == which {
                floor.fresh = number;
                if !soft {
                    floor.any = number;
                }
            }
        }
    }

    async fn run(&mut self, acts: usize) {
        for _ in 0..acts {
            match self.random.u8(..10) {
                0..=5 => self.ask(),
                6 | 7 => tokio::time::sleep(Duration::from_millis(self.random.u64(..8))).await,
                _ => self.purge().await,
            }
        }
        for asked in self.asked.drain(..) {
            asked.await.unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "switches of the tests, not settings of the gateway")]
fn switch(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn three(url: &str, replicas: u32, number: &Arc<AtomicUsize>) -> [Arc<TestGateway>; 3] {
    nodes_of(|| {
        let mut store = shared(url);
        (store.replicas, store.wait) = (replicas, Duration::from_millis(40));
        if replicas > 0 {
            // A master that is gone is not waited for long.
            store.timeout = Duration::from_millis(500);
        }
        let setup = setup(url).config(|config| config.store = StoreChoice::Shared(Box::new(store)));
        let (model, _) = Scripted::programmable();
        Setup { upstream: Some(Arc::new(Numbered { number: Arc::clone(number), model })), ..setup }
    })
    .await
}

/// There is room for a thousand purges by meaning, and none is needed once everything has ended that was begun before it.
async fn lift_bans(node: &TestGateway) {
    let listed = node.admin_get("/semblance/bans").await;
    for ban in listed["bans"].as_array().into_iter().flatten() {
        let path = node.admin(&format!("/semblance/bans/{}", ban["id"]));
        node.client.delete(path).send().await.unwrap();
    }
}

/// Runs `schedules` of them and looks at what came of it.
async fn run(nodes: &[Arc<TestGateway>; 3], schedules: std::ops::Range<u64>, found: &Arc<Found>, number: &AtomicUsize) {
    let mut floors = [Floor::default(); 3];
    for seed in schedules {
        let (asked, log) = (Vec::new(), Vec::new());
        let random = Rng::with_seed(seed);
        let mut schedule = Schedule { nodes, random, found, number, floors, asked, seed, log };
        let acts = schedule.random.usize(4..20);
        schedule.run(acts).await;
        floors = schedule.floors;
        lift_bans(&nodes[0]).await;
    }
}

#[expect(clippy::print_stdout, reason = "what a long run comes to is told by the test itself")]
fn told(found: &Found) {
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "{} answers, {} of them from the cache; {} purges acknowledged, {} not; {} purged answers served",
        of(&found.answers),
        of(&found.hits),
        of(&found.purges),
        of(&found.refused),
        of(&found.purged)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_purged_answer_is_served_after_the_purge_whatever_the_nodes_are_doing() {
    let server = Server::start();
    let (found, number) = (Arc::new(Found::default()), Arc::default());
    let nodes = three(&server.url(), 0, &number).await;
    let (first, schedules) = (switch("SEED", 0), switch("SCHEDULES", 40));
    run(&nodes, first..first + schedules, &found, &number).await;
    told(&found);
    assert_eq!(*found.first.lock().unwrap(), None);
    assert_eq!(found.refused.load(Ordering::Relaxed), 0, "every purge is acknowledged");
    assert!(found.hits.load(Ordering::Relaxed) > 0 && found.purges.load(Ordering::Relaxed) > 0);
}

/// Asynchronous replication may lose a purge that no replica was waited for with; this one waits.
#[tokio::test(flavor = "multi_thread")]
async fn no_purge_that_a_replica_has_is_lost_by_a_failover() {
    let mut master = Server::start();
    let mut replica = master.replica();
    let sentinel = master.sentinel();
    let (found, number) = (Arc::new(Found::default()), Arc::default());
    let nodes = three(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port), 1, &number).await;
    let (first, schedules) = (switch("SEED", 0), switch("SCHEDULES", 24));
    let failovers = switch("FAILOVERS", 2);
    let each = (schedules / (failovers * 2)).max(1);
    for round in 0..failovers {
        let from = first + round * 2 * each;
        run(&nodes, from..from + each, &found, &number).await;
        let from = from + each;
        // In the middle of a schedule, and while the next ones run.
        tokio::join!(run(&nodes, from..from + each, &found, &number), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            master.kill();
            while !replica.cli(&["info", "replication"]).contains("role:master") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        std::mem::swap(&mut master, &mut replica);
        // The old one comes back as the replica of the new one.
        replica.revive();
        while !master.cli(&["info", "replication"]).contains("state=online") {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if replica.cli(&["info", "replication"]).contains("role:master") {
                replica.cli(&["replicaof", "127.0.0.1", &master.port.to_string()]);
            }
        }
    }
    told(&found);
    assert_eq!(*found.first.lock().unwrap(), None);
    assert!(found.hits.load(Ordering::Relaxed) > 0 && found.purges.load(Ordering::Relaxed) > 0);
}
