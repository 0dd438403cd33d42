//! The database at scale, through the library, and the gateway's starts over it, as processes of their own.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use semblance::{
    clock::Clock,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Scope, ScopeParts},
    store::{
        Durability, Store, StoreError, Upkeep,
        sqlite::{SqliteStore, StoreSettings},
    },
    wire::{Answer, Family},
};

use crate::{
    Size,
    data::Questions,
    gateway::Gateway,
    rows::{Row, Rows},
};

/// Length of an answer.
const ANSWER: usize = 2_000;
const READS: usize = 2_000;
/// Memory is read this long after a start, when nothing is going on any more.
const SETTLE: Duration = Duration::from_secs(2);
/// Entries evicted in one go, as the gateway does it.
const EVICTED: u32 = 512;

/// Starts over an empty directory.
pub(crate) fn empty_start(times: usize, rows: &mut Rows) -> anyhow::Result<f64> {
    let mut ready = Vec::new();
    let mut resident = 0.0;
    for _ in 0..times {
        let gateway = Gateway::start(None, None, &["--log-level", "warn"])?;
        ready.push(gateway.wait_until_ready()?.as_secs_f64());
        thread::sleep(SETTLE);
        resident = gateway.memory("VmRSS")?;
    }
    ready.sort_by(f64::total_cmp);
    let title = "start to ready, empty".to_owned();
    rows.add(Row::new("start-empty".to_owned(), title, "s", ready[ready.len() / 2]).bar(Some((0.3, 0.1))));
    rows.add(Row::new("rss-empty".to_owned(), "resident memory, empty".to_owned(), "MiB", resident / 1_048_576.0));
    Ok(resident)
}

/// Fills a store and measures what was asked for.
pub(crate) fn measure(
    questions: &Questions,
    size: &Size,
    store: bool,
    start: bool,
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let filling = Instant::now();
    runtime.block_on(fill(dir.path(), questions, size.entries))?;
    let rate = size.entries as f64 / filling.elapsed().as_secs_f64();
    let name = &size.name;
    if store {
        let row = |what: &str, title: &str, unit, value| {
            Row::new(format!("{what}-{name}"), format!("{title}, {name} entries of 2 kB"), unit, value)
        };
        rows.add(row("store-insert", "admissions a second", "1/s", rate).more_is_better());
        let file = std::fs::metadata(dir.path().join("semblance.sqlite3"))?.len();
        rows.add(row("store-disk", "size on disk an entry", "B", file as f64 / size.entries as f64));
        runtime.block_on(reads(dir.path(), questions, size, rows))?;
    }
    if start {
        let bars = [("100k", (2.0, 0.5)), ("1m", (15.0, 3.0))];
        let bar = bars.iter().find(|(of, _)| of == name).map(|(_, bar)| *bar);
        let (ready, resident) = starts(dir.path())?;
        let title = format!("start to ready, {name} entries");
        rows.add(Row::new(format!("start-{name}"), title, "s", ready).bar(bar));
        let empty = Gateway::start(None, None, &["--log-level", "warn"])?;
        empty.wait_until_ready()?;
        thread::sleep(SETTLE);
        let each = (resident - empty.memory("VmRSS")?) / size.entries as f64 / 1_000.0;
        let title = format!("resident memory an entry, bodies on disk, {name} in one partition");
        rows.add(Row::new(format!("rss-entry-{name}"), title, "kB", each).bar(Some((2.6, 0.7))));
    }
    if store {
        runtime.block_on(evict(dir.path(), questions, size, rows))?;
    }
    Ok(())
}

fn starts(dir: &Path) -> anyhow::Result<(f64, f64)> {
    let gateway = Gateway::start(Some(dir), None, &["--log-level", "warn"])?;
    let ready = gateway.wait_until_ready()?.as_secs_f64();
    let mut resident = gateway.memory("VmRSS")?;
    // Rows go on moving into their cells; memory counts when it does not change any more.
    loop {
        thread::sleep(SETTLE);
        let now = gateway.memory("VmRSS")?;
        if (now - resident).abs() < 1e6 {
            return Ok((ready, now));
        }
        resident = now;
    }
}

async fn fill(dir: &Path, questions: &Questions, entries: usize) -> anyhow::Result<()> {
    let store = SqliteStore::open(dir, StoreSettings::default())?;
    let seeder = Seeder::new(questions);
    for number in 0..entries {
        let entry = seeder.entry(store.next_id(seeder.fingerprint(number)), number)?;
        loop {
            match store.admit(entry.clone(), Durability::Behind).await {
                Err(StoreError::Full) => store.flush().await?,
                other => break other?,
            }
        }
    }
    store.flush().await?;
    Ok(store.close().await?)
}

/// Reads by fingerprint, nothing else going on and beside admissions.
async fn reads(dir: &Path, questions: &Questions, size: &Size, rows: &mut Rows) -> anyhow::Result<()> {
    let store = SqliteStore::open(dir, StoreSettings::default())?;
    let seeder = Seeder::new(questions);
    let mut random = fastrand::Rng::with_seed(11);
    let mut rounds = Vec::new();
    for beside in [false, true] {
        let mut times = Vec::new();
        for number in 0..READS.min(size.entries) {
            if beside {
                let entry =
                    seeder.entry(store.next_id(seeder.fingerprint(size.entries + number)), size.entries + number)?;
                store.admit(entry, Durability::Behind).await?;
            }
            let fingerprint = seeder.fingerprint(random.usize(..size.entries));
            let start = Instant::now();
            store.find(fingerprint).await?.context("an entry is missing")?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        rounds.push(p99(times));
    }
    store.close().await?;
    let name = &size.name;
    let title = format!("read p99 by fingerprint, {name} entries");
    rows.add(Row::new(format!("store-read-p99-{name}"), title, "ms", rounds[0]));
    let title = format!("read p99 beside admissions, {name} entries");
    let row = Row::new(format!("store-read-busy-p99-{name}"), title, "ms", rounds[1]);
    rows.add(row.beside("nothing else going on", rounds[0]));
    Ok(())
}

/// Evicts a fifth, gives the file's pages back, and looks at what that does to reads and to writes that wait.
async fn evict(dir: &Path, questions: &Questions, size: &Size, rows: &mut Rows) -> anyhow::Result<()> {
    let name = &size.name;
    let store = SqliteStore::open(dir, StoreSettings::default())?;
    let seeder = Seeder::new(questions);
    let before = store.stats().await?.file_bytes;
    let budget = before / 5 * 4;
    let done = AtomicBool::new(false);
    let (mut reading, mut gone, mut longest) = (Vec::new(), 0usize, 0.0f64);
    let start = Instant::now();
    let evicting = async {
        loop {
            let step = Instant::now();
            let evicted = store.evict_to(budget, EVICTED).await?;
            longest = longest.max(step.elapsed().as_secs_f64() * 1e3);
            gone += evicted.len();
            if evicted.is_empty() {
                done.store(true, Ordering::Relaxed);
                return anyhow::Ok(start.elapsed().as_secs_f64());
            }
        }
    };
    let reads = async {
        let mut random = fastrand::Rng::with_seed(13);
        while !done.load(Ordering::Relaxed) {
            let fingerprint = seeder.fingerprint(random.usize(..size.entries));
            let start = Instant::now();
            store.find(fingerprint).await?;
            reading.push(start.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(())
    };
    let (took, read) = tokio::join!(evicting, reads);
    read?;
    let rate = gone as f64 / took?;
    rows.add(Row::new(format!("evict-{name}"), format!("evictions a second, {name}"), "1/s", rate).more_is_better());
    let title = format!("longest step of eviction, which writes wait behind, {name}");
    rows.add(Row::new(format!("evict-step-{name}"), title, "ms", longest));
    let title = format!("read p99 while a fifth is evicted, {name}");
    rows.add(Row::new(format!("evict-read-p99-{name}"), title, "ms", p99(reading)));
    // Pages go back to the file system while nothing else is written; a write that comes meanwhile must not wait long.
    let (mut waits, mut file) = (Vec::new(), store.stats().await?.file_bytes);
    loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let start = Instant::now();
        store.flush().await?;
        waits.push(start.elapsed().as_secs_f64() * 1e3);
        let now = store.stats().await?.file_bytes;
        if now >= file {
            break;
        }
        file = now;
    }
    let title = format!("longest wait of a write while the file shrinks, {name}");
    rows.add(Row::new(format!("vacuum-wait-{name}"), title, "ms", waits.iter().fold(0.0, |a: f64, b| a.max(*b))));
    let title = format!("file after a fifth was evicted and given back, {name}");
    rows.add(Row::new(format!("vacuum-file-{name}"), title, "share", file as f64 / before as f64));
    Ok(store.close().await?)
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

struct Seeder<'a> {
    questions: &'a Questions,
    scope: Scope,
    partition: Partition,
}

impl<'a> Seeder<'a> {
    fn new(questions: &'a Questions) -> Self {
        let scope = Scope::derive(&ScopeParts {
            principal: None,
            tenant: "bench",
            upstream: "http://127.0.0.1/v1",
            organisation: &[],
            namespace: "",
        });
        Self { questions, scope, partition: Partition::derive(&scope, Family::Chat.as_str(), b"bench") }
    }

    fn question(&self, number: usize) -> String {
        let texts = &self.questions.texts;
        format!("{} ({number})", texts[number % texts.len()])
    }

    fn fingerprint(&self, number: usize) -> Fingerprint {
        Fingerprint::derive(&self.partition, self.question(number).as_bytes())
    }

    /// Sentences in an order of the entry's own, so that it compresses as prose does and not as a repetition.
    fn answer(&self, number: usize) -> anyhow::Result<Answer> {
        let texts = &self.questions.texts;
        let mut random = fastrand::Rng::with_seed(number as u64);
        let mut text = String::with_capacity(ANSWER + 200);
        while text.len() < ANSWER {
            let sentence = &texts[random.usize(..texts.len())];
            text.push_str(sentence);
            text.push_str(&format!(" {:x}. ", random.u32(..)));
        }
        let body = serde_json::json!({
            "id": format!("chatcmpl-{number}"), "object": "chat.completion", "created": 1_700_000_000, "model": "m-1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 400, "total_tokens": 412},
        });
        Ok(Answer::new(Family::Chat, serde_json::to_vec(&body)?.into(), None)?)
    }

    fn entry(&self, id: EntryId, number: usize) -> anyhow::Result<Entry> {
        Ok(Entry {
            id,
            scope: self.scope,
            principal: None,
            partition: self.partition,
            fingerprint: self.fingerprint(number),
            category: "documentation".to_owned(),
            policy_revision: "bench".to_owned(),
            query: Some(self.question(number)),
            embedding: Some(self.questions.vector(number)?),
            embedder: Some(self.questions.embedder.clone()),
            answer: self.answer(number)?,
            generated_at: Clock::system().now(),
            invalidated_at: None,
            ttl_limit_ms: None,
            tags: Vec::new(),
            sources: Vec::new(),
        })
    }
}
