//! The index alone: search and recall against the exact scan, the build behind it, churn, memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::Context;
use semblance::{
    entry::EntryId,
    index::{
        Candidate, VectorIndex,
        builds::Builds,
        clustered::{Clustered, Shared},
        flat::Flat,
        graph::Graphs,
        partitions::{Engine, Handle, Partitions, Settings},
    },
    key::Partition,
    similarity::{Embedding, Similarity},
};

use crate::{
    Size,
    data::Questions,
    rows::{Row, Rows, line},
};

const QUERIES: usize = 500;
/// As the gateway asks by default.
const NEIGHBOURS: usize = 8;
const FLOOR: f32 = 0.50;
/// Of the shipped embedder.
const DIMENSIONS: f64 = 384.0;

fn floor() -> anyhow::Result<Similarity> {
    Similarity::new(FLOOR).context("not a similarity")
}

/// Quantiles in milliseconds.
fn quantile(times: &[f64], q: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(f64::NAN)
}

/// What was found, and each query's best time of three, which leaves out what else the machine did.
fn ask(index: &dyn VectorIndex, queries: &[Embedding]) -> anyhow::Result<(Vec<Vec<Candidate>>, Vec<f64>)> {
    let mut times = vec![f64::INFINITY; queries.len()];
    let mut found = Vec::new();
    for _ in 0..3 {
        found.clear();
        for (query, best) in queries.iter().zip(&mut times) {
            let start = Instant::now();
            found.push(index.search(query, NEIGHBOURS, floor()?));
            *best = best.min(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok((found, times))
}

/// Shares of the nearest and of all neighbours that were found.
fn recall(truth: &[Vec<Candidate>], found: &[Vec<Candidate>]) -> (f64, f64) {
    let pairs = || truth.iter().zip(found).filter(|(truth, _)| !truth.is_empty());
    // An equally near one is as good.
    let similarity = |found: &Vec<Candidate>| found.first().map(|candidate| candidate.similarity);
    let first = pairs().filter(|(truth, found)| similarity(truth) == similarity(found)).count();
    let got: usize = pairs().map(|(t, f)| t.iter().filter(|c| f.contains(c)).count()).sum();
    let wanted: usize = truth.iter().map(Vec::len).sum();
    (first as f64 / pairs().count().max(1) as f64, got as f64 / wanted.max(1) as f64)
}

fn queries(questions: &Questions, entries: usize) -> anyhow::Result<Vec<Embedding>> {
    // Few entries are there to be quick.
    (0..QUERIES.min(entries / 20)).map(|n| questions.query(n, entries)).collect()
}

fn id(n: usize) -> EntryId {
    EntryId(n as u64)
}

/// How an index is kept just now, in words.
type Shape = Box<dyn Fn() -> String>;

/// An index of one partition, and how to ask for its shape.
type Shaped = (Box<dyn VectorIndex>, Shape);

/// An empty one.
fn index_of(engine: Engine, builds: &Arc<Builds>) -> Shaped {
    let shared = Shared::new(Arc::clone(builds), engine.default_seal_at());
    match engine {
        Engine::Cells => {
            let index = Clustered::new(shared);
            let same = index.clone();
            (Box::new(index), Box::new(move || format!("{:?}", same.shape())))
        }
        Engine::Hnsw => {
            let index = Graphs::new(shared);
            let same = index.clone();
            (Box::new(index), Box::new(move || format!("{:?}", same.shape())))
        }
    }
}

/// An index of one partition, filled and settled, and the seconds that both took.
fn filled(questions: &Questions, entries: usize, engine: Engine) -> anyhow::Result<(Shaped, f64, f64)> {
    let builds = Builds::by_hand();
    let (index, shape) = index_of(engine, &builds);
    let (mut inserting, mut building) = (0.0, 0.0);
    for n in 0..entries {
        let vector = questions.vector(n)?;
        let start = Instant::now();
        index.insert(id(n), &vector);
        let inserted = Instant::now();
        builds.run_next();
        inserting += (inserted - start).as_secs_f64();
        building += inserted.elapsed().as_secs_f64();
    }
    Ok(((index, shape), inserting, building))
}

/// Search of one partition of `size`, against the exact scan of the same vectors.
pub(crate) fn search(questions: &Questions, size: &Size, engine: Engine, rows: &mut Rows) -> anyhow::Result<()> {
    let Size { name, entries } = size;
    let queries = queries(questions, *entries)?;
    let flat = Flat::new();
    for n in 0..*entries {
        flat.insert(id(n), &questions.vector(n)?);
    }
    let (truth, exact) = ask(&flat, &queries)?;
    drop(flat);
    let ((index, shape), inserting, building) = filled(questions, *entries, engine)?;
    let (found, times) = ask(&*index, &queries)?;
    line(&format!("{name}: {} (scanned: vectors that every search looks at)", shape()));
    let bars = [("10k", (0.5, 0.3)), ("100k", (1.6, 0.8)), ("1m", (10.0, 3.0))];
    let bar = bars.iter().find(|(of, _)| of == name).map(|(_, bar)| *bar);
    let row = |what: &str, title: &str, unit, value| {
        Row::new(format!("{what}-{name}"), format!("{title}, {name} in one partition"), unit, value)
    };
    let (first, all) = recall(&truth, &found);
    rows.add(
        row("search-p99", "search p99", "ms", quantile(&times, 0.99))
            .beside("exact scan", quantile(&exact, 0.99))
            .bar(bar),
    );
    rows.add(row("search-p50", "search p50", "ms", quantile(&times, 0.5)).beside("exact scan", quantile(&exact, 0.5)));
    rows.add(
        row("recall-1", "recall@1 against the exact scan", "share", first).bar(Some((0.99, 0.995))).more_is_better(),
    );
    rows.add(row("recall-8", "recall@8 against the exact scan", "share", all).more_is_better());
    rows.add(row("insert", "insert, on the caller's thread", "us", inserting * 1e6 / *entries as f64));
    rows.add(row("build", "moving all into cells or graphs, in the background", "s", building));
    Ok(())
}

/// Search of many partitions in turn.
pub(crate) fn many_partitions(
    questions: &Questions,
    engine: Engine,
    partitions: usize,
    each: usize,
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let all = Partitions::new(Settings::of(engine));
    let partition = |n: usize| Partition::from_bytes(*blake3_of(n).as_bytes());
    for n in 0..partitions * each {
        all.insert(partition(n % partitions), id(n), &questions.vector(n)?);
    }
    let mut times = Vec::new();
    for n in 0..QUERIES {
        let query = questions.query(n, partitions * each)?;
        let mut best = f64::INFINITY;
        // The same partition twice would be asked out of the processor's cache; these are asked in turn.
        for _ in 0..3 {
            let start = Instant::now();
            all.search(partition(n % partitions), &query, NEIGHBOURS, floor()?);
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
        }
        times.push(best);
    }
    let title = format!("search p99, {partitions} partitions of {each}");
    rows.add(Row::new(format!("search-p99-{partitions}x{each}"), title, "ms", quantile(&times, 0.99)));
    let bytes = all.bytes() as f64 / (partitions * each) as f64;
    let title = format!("memory an entry by the structures, {partitions} partitions of {each}");
    rows.add(Row::new(format!("index-bytes-{partitions}x{each}"), title, "B", bytes));
    Ok(())
}

fn blake3_of(n: usize) -> blake3::Hash {
    blake3::hash(&n.to_le_bytes())
}

/// A tenth of a partition replaced while it is searched: an hour's changes as fast as they can be made.
pub(crate) fn churn(questions: &Questions, size: &Size, engine: Engine, rows: &mut Rows) -> anyhow::Result<()> {
    let Size { name, entries } = size;
    let builds = Builds::background();
    let (index, _) = index_of(engine, &builds);
    for n in 0..*entries {
        index.insert(id(n), &questions.vector(n)?);
    }
    builds.wait_idle();
    let queries = queries(questions, *entries)?;
    let mut quiet = Vec::new();
    for query in &queries {
        let start = Instant::now();
        index.search(query, NEIGHBOURS, floor()?);
        quiet.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let done = AtomicBool::new(false);
    let mut beside = Vec::new();
    let floor = floor()?;
    let changed = std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let changed = (0..entries / 10).try_for_each(|n| {
                index.remove(id(n * 10));
                index.insert(id(entries + n), &questions.vector(entries + n)?);
                anyhow::Ok(())
            });
            builds.wait_idle();
            done.store(true, Ordering::Relaxed);
            changed
        });
        for query in queries.iter().cycle() {
            let start = Instant::now();
            index.search(query, NEIGHBOURS, floor);
            beside.push(start.elapsed().as_secs_f64() * 1e3);
            if done.load(Ordering::Relaxed) && beside.len() >= queries.len() {
                break;
            }
        }
        changing.join()
    });
    changed.map_err(|_| anyhow::anyhow!("the changes panicked"))??;
    let flat = Flat::new();
    for n in (0..*entries).filter(|n| n % 10 != 0).chain(*entries..entries + entries / 10) {
        flat.insert(id(n), &questions.vector(n)?);
    }
    let (truth, _) = ask(&flat, &queries)?;
    let (found, _) = ask(&*index, &queries)?;
    let title = format!("search p99 while a tenth is replaced, {name} in one partition");
    rows.add(
        Row::new(format!("churn-p99-{name}"), title, "ms", quantile(&beside, 0.99))
            .beside("nothing else going on", quantile(&quiet, 0.99)),
    );
    let title = format!("recall@1 after a tenth was replaced, {name}");
    let (first, _) = recall(&truth, &found);
    rows.add(Row::new(format!("churn-recall-{name}"), title, "share", first).bar(Some((0.99, 0.995))).more_is_better());
    Ok(())
}

/// What an entry takes in the index, by the structures: in one large partition, and alone in its own.
pub(crate) fn memory(questions: &Questions, size: &Size, engine: Engine, rows: &mut Rows) -> anyhow::Result<()> {
    let Size { name, entries } = size;
    let own = |n: usize| Partition::from_bytes(*blake3_of(n).as_bytes());
    let per_entry = |partition: &dyn Fn(usize) -> Partition| -> anyhow::Result<f64> {
        let builds = Builds::by_hand();
        let all = Partitions::with_builds(Settings::of(engine), Arc::clone(&builds));
        for n in 0..*entries {
            all.insert(partition(n), id(n), &questions.vector(n)?);
            builds.run_next();
        }
        Ok(all.bytes() as f64 / *entries as f64)
    };
    let title = format!("memory an entry by the structures, {name} in one partition");
    rows.add(Row::new(format!("index-bytes-{name}"), title, "B", per_entry(&|_| own(0))?));
    let title = format!("memory beyond the vector, {name} partitions of one");
    let beyond = per_entry(&own)? - DIMENSIONS * 4.0;
    rows.add(Row::new(format!("tiny-bytes-{name}"), title, "B", beyond).bar(Some((300.0, 300.0))));
    Ok(())
}
