//! Exact scan against graph, by number of distinct vectors: where the two cross is the default of `seal_at`.
//!
//! `cargo bench --bench index` for 1 000, 10 000 and 50 000 vectors; `cargo bench --bench index -- 100000` for others.
//! Times are wall-clock microseconds of one search on one thread, 8 neighbours above 0.50, on seeded clustered vectors
//! of 384 dimensions with queries near them; recall is against the exact scan. A graph of 100 000 takes minutes.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark measures wall-clock time")]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::time::Instant;

use semblance::{
    entry::EntryId,
    index::{
        Candidate, VectorIndex,
        builds::Builds,
        flat::Flat,
        segmented::{Segmented, Shared},
    },
    similarity::{Embedding, Similarity},
};

const DIMS: usize = 384;
const PER_CLUSTER: usize = 20;
const QUERIES: usize = 1_000;
const NEIGHBOURS: usize = 8;

struct Generator(fastrand::Rng);

impl Generator {
    fn noise(&mut self, scale: f32) -> Vec<f32> {
        (0..DIMS).map(|_| (0..4).map(|_| self.0.f32() - 0.5).sum::<f32>() * scale).collect()
    }

    fn near(&mut self, centre: &[f32], spread: f32) -> Option<Embedding> {
        let noise = self.noise(spread);
        Embedding::normalised(centre.iter().zip(noise).map(|(c, n)| c + n).collect())
    }
}

/// Vectors in clusters, and queries near some of them.
fn data(count: usize) -> (Vec<Embedding>, Vec<Embedding>) {
    let mut generator = Generator(fastrand::Rng::with_seed(42));
    let mut vectors = Vec::with_capacity(count);
    let mut centres = Vec::new();
    while vectors.len() < count {
        let centre = generator.noise(1.0);
        vectors.extend((0..PER_CLUSTER).filter_map(|_| generator.near(&centre, 0.6)));
        centres.push(centre);
    }
    vectors.truncate(count);
    let queries = (0..QUERIES).filter_map(|n| generator.near(&centres[n * 7919 % centres.len()], 0.6)).collect();
    (vectors, queries)
}

struct Timed {
    p50: f64,
    p99: f64,
    found: Vec<Vec<Candidate>>,
}

/// Each query's time is its best of three rounds, which leaves out what else the machine did.
fn search(index: &dyn VectorIndex, queries: &[Embedding], floor: Similarity) -> Timed {
    let mut times = vec![f64::INFINITY; queries.len()];
    let mut found = Vec::new();
    for _ in 0..3 {
        found.clear();
        for (query, best) in queries.iter().zip(&mut times) {
            let start = Instant::now();
            found.push(index.search(query, NEIGHBOURS, floor));
            *best = best.min(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    Timed { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100], found }
}

fn recall(truth: &[Vec<Candidate>], found: &[Vec<Candidate>]) -> f64 {
    let wanted: usize = truth.iter().map(Vec::len).sum();
    let got: usize = truth.iter().zip(found).map(|(t, f)| t.iter().filter(|c| f.contains(c)).count()).sum();
    got as f64 / wanted.max(1) as f64
}

fn resident_mib() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split(' ').nth(1)?.parse::<f64>().ok());
    resident.unwrap_or(f64::NAN) * 4096.0 / 1_048_576.0
}

fn measure(count: usize, floor: Similarity) {
    let (vectors, queries) = data(count);
    let flat = Flat::new();
    let start = Instant::now();
    (0..).map(EntryId).zip(&vectors).for_each(|(id, vector)| flat.insert(id, vector));
    let insert_us = start.elapsed().as_secs_f64() * 1e6 / count as f64;
    let exact = search(&flat, &queries, floor);
    println!(
        "{count:>7} | flat | {:>7.0} | {:>7.0} | 1.0000 | {insert_us:.1} us an insert, {:.0} MiB",
        exact.p50,
        exact.p99,
        flat.bytes() as f64 / 1_048_576.0
    );
    drop(flat);

    let builds = Builds::by_hand();
    let index = Segmented::new(Shared::new(std::sync::Arc::clone(&builds), count));
    (0..).map(EntryId).zip(&vectors).for_each(|(id, vector)| index.insert(id, vector));
    let before = resident_mib();
    let start = Instant::now();
    while builds.run_next() {}
    let build = start.elapsed().as_secs_f64();
    let graph = search(&index, &queries, floor);
    println!(
        "{count:>7} | hnsw | {:>7.0} | {:>7.0} | {:.4} | built in {build:.0} s, graph {:.0} bytes a vector",
        graph.p50,
        graph.p99,
        recall(&exact.found, &graph.found),
        (resident_mib() - before) * 1_048_576.0 / count as f64
    );
}

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let counts = if asked.is_empty() { vec![1_000, 10_000, 50_000] } else { asked };
    println!("vectors | kind | p50 us | p99 us | recall |");
    if let Some(floor) = Similarity::new(0.50) {
        counts.into_iter().for_each(|count| measure(count, floor));
    }
}
