//! The conformance suite of [`VectorIndex`], run for each implementation against a naive model.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{
    builds::Builds,
    clustered::{Clustered, Shared},
    flat::Flat,
    graph::Graphs,
    partitions::Handle,
    *,
};

/// Seeded vectors in clusters, as questions come: many wordings around few topics.
pub(super) fn clustered(seed: u64, count: usize, dims: usize, per_cluster: usize) -> Vec<Embedding> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut noise =
        |scale: f32| -> Vec<f32> { (0..dims).map(|_| (0..4).map(|_| rng.f32() - 0.5).sum::<f32>() * scale).collect() };
    let mut centre = Vec::new();
    (0..count)
        .map(|n| {
            if n % per_cluster == 0 {
                centre = noise(1.0);
            }
            let values = centre.iter().zip(noise(0.6)).map(|(c, e)| c + e).collect();
            Embedding::normalised(values).unwrap()
        })
        .collect()
}

pub(super) fn floor(value: f32) -> Similarity {
    Similarity::new(value).unwrap()
}

/// What the index must do, in the plainest way.
#[derive(Default)]
struct Model(BTreeMap<EntryId, Embedding>);

impl Model {
    fn search(&self, query: &Embedding, k: usize, floor: Similarity) -> Vec<Candidate> {
        let near = |(&id, e): (&EntryId, &Embedding)| Some(Candidate { id, similarity: query.similarity(e)? });
        let mut all: Vec<Candidate> = self.0.iter().filter_map(near).filter(|c| c.similarity >= floor).collect();
        all.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(b.id.cmp(&a.id)));
        all.truncate(k);
        all
    }
}

/// An index under test, and how to let its background work happen.
struct Subject {
    index: Box<dyn VectorIndex>,
    builds: Arc<Builds>,
}

fn flat() -> Subject {
    Subject { index: Box::new(Flat::new()), builds: Builds::by_hand() }
}

/// Seals so early that cells are made, outgrown and emptied within a few dozen vectors.
fn in_cells() -> Subject {
    let builds = Builds::by_hand();
    Subject { index: Box::new(Clustered::new(Shared::new(Arc::clone(&builds), 6))), builds }
}

/// As [`in_cells`]: segments are sealed, grown into graphs and dissolved.
fn in_graphs() -> Subject {
    let builds = Builds::by_hand();
    Subject { index: Box::new(Graphs::new(Shared::new(Arc::clone(&builds), 6))), builds }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, usize),
    Remove(u64),
    Build,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u64..40, 0usize..30).prop_map(|(id, vector)| Step::Insert(id, vector)),
        2 => (0u64..40).prop_map(Step::Remove),
        1 => Just(Step::Build),
    ];
    proptest::collection::vec(step, 0..120)
}

/// After every step of `steps`, `subject` and the model agree on everything.
fn agrees_with_model(subject: &Subject, steps: Vec<Step>) {
    let pool = clustered(7, 30, 12, 5);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Insert(id, vector) => {
                subject.index.insert(EntryId(id), &pool[vector]);
                model.0.insert(EntryId(id), pool[vector].clone());
            }
            Step::Remove(id) => {
                subject.index.remove(EntryId(id));
                model.0.remove(&EntryId(id));
            }
            Step::Build => {
                subject.builds.run_next();
            }
        }
        assert_eq!(subject.index.len(), model.0.len());
    }
    for (k, least) in [(0, -1.0), (1, -1.0), (3, 0.7), (8, 0.2), (64, -1.0)] {
        for query in &pool {
            let found = subject.index.search(query, k, floor(least));
            assert_eq!(found, model.search(query, k, floor(least)), "k {k}, floor {least}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flat_agrees_with_a_naive_scan(steps in steps()) {
        agrees_with_model(&flat(), steps);
    }

    #[test]
    fn cells_agree_with_a_naive_scan_whatever_was_moved(steps in steps()) {
        agrees_with_model(&in_cells(), steps);
    }

    #[test]
    fn graphs_agree_with_a_naive_scan_whatever_was_built(steps in steps()) {
        agrees_with_model(&in_graphs(), steps);
    }
}

fn each(check: impl Fn(&Subject)) {
    check(&flat());
    check(&in_cells());
    check(&in_graphs());
}

#[test]
fn a_vector_of_another_dimension_is_ignored_until_the_index_is_empty() {
    each(|subject| {
        let [long, short] = [8, 4].map(|dims| clustered(1, 1, dims, 1).remove(0));
        subject.index.insert(EntryId(1), &long);
        subject.index.insert(EntryId(1), &short);
        subject.index.insert(EntryId(2), &short);
        assert!(subject.index.search(&short, 5, floor(-1.0)).is_empty());
        assert_eq!(subject.index.search(&long, 5, floor(0.9)).len(), 1);
        subject.index.remove(EntryId(1));
        subject.index.insert(EntryId(2), &short);
        assert_eq!(subject.index.search(&short, 5, floor(0.9))[0].id, EntryId(2));
    });
}

#[test]
fn three_hundred_identical_vectors_hide_nobody() {
    each(|subject| {
        let vectors = clustered(3, 101, 16, 5);
        let (same, others) = vectors.split_first().unwrap();
        for id in 0..300 {
            subject.index.insert(EntryId(id), same);
        }
        for (id, other) in (1_000..).zip(others) {
            subject.index.insert(EntryId(id), other);
        }
        while subject.builds.run_next() {}
        for (id, other) in (1_000..).zip(others) {
            assert_eq!(subject.index.search(other, 1, floor(0.9))[0].id, EntryId(id));
        }
        let newest: Vec<u64> = subject.index.search(same, 3, floor(0.99)).iter().map(|c| c.id.0).collect();
        assert_eq!(newest, [299, 298, 297]);
    });
}

#[test]
fn the_dead_are_never_found_even_when_they_were_nearest() {
    each(|subject| {
        let vectors = clustered(5, 200, 16, 20);
        for (id, vector) in (0..).zip(&vectors) {
            subject.index.insert(EntryId(id), vector);
        }
        while subject.builds.run_next() {}
        let query = &vectors[0];
        let by_closeness = subject.index.search(query, 200, floor(-1.0));
        // The dead are most of what is near.
        let (dead, living) = by_closeness.split_at(150);
        dead.iter().for_each(|c| subject.index.remove(c.id));
        assert_eq!(subject.index.search(query, 8, floor(-1.0)), living[..8]);
    });
}

#[test]
fn the_codes_lose_no_neighbour_at_real_dimensions() {
    // Tight clusters: the quantisation error is larger than most differences between neighbours.
    let vectors = clustered(11, 600, 384, 300);
    let index = Flat::new();
    let mut model = Model::default();
    for (id, vector) in (0..).map(EntryId).zip(&vectors) {
        index.insert(id, vector);
        model.0.insert(id, vector.clone());
    }
    for query in clustered(12, 5, 384, 5).iter().chain(vectors.iter().step_by(60)) {
        assert_eq!(index.search(query, 10, floor(-1.0)), model.search(query, 10, floor(-1.0)));
    }
}

#[test]
fn vectors_of_one_large_component_and_of_many_dimensions_do_not_overflow() {
    for dims in [1, 3, 1536, 4096] {
        let mut spike = vec![0.0; dims];
        spike[dims - 1] = 1.0;
        let vectors = [spike, vec![1.0; dims], vec![-1.0; dims]].map(|v| Embedding::normalised(v).unwrap());
        let index = Flat::new();
        for (id, vector) in (0..).zip(&vectors) {
            index.insert(EntryId(id), vector);
        }
        for vector in &vectors {
            let found = index.search(vector, 1, floor(-1.0));
            assert_eq!(found[0].similarity, vector.similarity(vector).unwrap());
        }
    }
}

#[test]
fn searches_beside_writers_and_builds_see_only_what_was_put_there() {
    let shared = || Shared::new(Builds::background(), 64);
    let [cells, graphs] = [shared(), shared()];
    let index = Clustered::new(Arc::clone(&cells));
    sees_only_what_was_put_there(&index, &cells.builds);
    assert!(index.shape().cells > 0, "the test must have exercised cells");
    let index = Graphs::new(Arc::clone(&graphs));
    sees_only_what_was_put_there(&index, &graphs.builds);
    assert!(index.shape().graphs > 0, "the test must have exercised graphs");
}

fn sees_only_what_was_put_there(index: &dyn VectorIndex, builds: &Builds) {
    let vectors = clustered(17, 400, 16, 10);
    std::thread::scope(|scope| {
        for half in 0..2 {
            let vectors = &vectors;
            scope.spawn(move || {
                for (id, vector) in (0u64..).zip(vectors).filter(|(id, _)| id % 2 == half) {
                    index.insert(EntryId(id), vector);
                    if id % 5 == half {
                        index.remove(EntryId(id));
                    }
                }
            });
            scope.spawn(move || {
                for query in vectors {
                    let found = index.search(query, 8, floor(0.5));
                    assert!(found.len() <= 8 && found.iter().all(|c| c.similarity >= floor(0.5)));
                    assert!(found.is_sorted_by(|a, b| (a.similarity, a.id) > (b.similarity, b.id)));
                    for c in found {
                        assert_eq!(query.similarity(&vectors[usize::try_from(c.id.0).unwrap()]), Some(c.similarity));
                    }
                }
            });
        }
    });
    builds.wait_idle();
    for (id, vector) in (0u64..).zip(&vectors) {
        let found = index.search(vector, 1, floor(0.999));
        let removed = id % 5 == id % 2;
        assert_eq!(found.first().map(|c| c.id.0), (!removed).then_some(id));
    }
}

#[test]
fn a_look_into_the_nearest_cells_finds_nearly_all_that_a_scan_finds() {
    let builds = Builds::by_hand();
    let index = Clustered::new(Shared::looking_at(Arc::clone(&builds), 1_000, 1_200));
    let exact = Flat::new();
    let vectors = clustered(23, 6_000, 48, 20);
    for (id, vector) in (0..).map(EntryId).zip(&vectors) {
        index.insert(id, vector);
        exact.insert(id, vector);
    }
    while builds.run_next() {}
    assert!(index.shape().cells > 20, "{:?}", index.shape());
    let (mut wanted, mut found, mut first) = (0, 0, 0);
    for (query, other) in vectors.iter().zip(&clustered(29, 6_000, 48, 1)).step_by(20) {
        let moved = query.values().iter().zip(other.values()).map(|(q, o)| q + 0.4 * o).collect();
        let moved = Embedding::normalised(moved).unwrap();
        let truth = exact.search(&moved, 8, floor(0.5));
        let got = index.search(&moved, 8, floor(0.5));
        wanted += truth.len();
        found += truth.iter().filter(|c| got.contains(c)).count();
        first += usize::from(truth.first() == got.first());
    }
    assert!(wanted > 1_000, "{wanted}");
    assert!(found * 100 >= wanted * 98, "recall {found} of {wanted}");
    assert!(first * 1000 >= 300 * 990, "the nearest {first} of 300");
}
