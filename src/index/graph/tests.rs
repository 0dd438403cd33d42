use super::*;
use crate::index::{
    builds::Builds,
    flat::Flat,
    tests::{clustered, floor},
};

fn by_hand(seal_at: usize) -> (Graphs, Arc<Builds>) {
    let builds = Builds::by_hand();
    (Graphs::new(Shared::new(Arc::clone(&builds), seal_at)), builds)
}

fn fill(index: &Graphs, ids: std::ops::Range<u64>, vectors: &[Embedding]) {
    ids.for_each(|id| index.insert(EntryId(id), &vectors[usize::try_from(id).unwrap()]));
}

fn best(index: &Graphs, vector: &Embedding) -> Option<u64> {
    index.search(vector, 1, floor(0.999)).first().map(|c| c.id.0)
}

fn next(index: &Graphs) -> Option<Task> {
    next_task(&Arc::downgrade(&index.0))
}

#[test]
fn a_tail_is_sealed_at_once_and_searched_exactly_until_its_graph_is_there() {
    let (index, builds) = by_hand(50);
    let vectors = clustered(1, 60, 16, 5);
    fill(&index, 0..60, &vectors);
    assert_eq!((index.shape(), builds.waiting()), (Shape { graphs: 0, scanned: 60 }, 1));
    let before = index.search(&vectors[3], 5, floor(0.2));
    while builds.run_next() {}
    assert_eq!(index.shape(), Shape { graphs: 1, scanned: 10 });
    assert_eq!(index.search(&vectors[3], 5, floor(0.2)), before);
}

#[test]
fn what_changes_while_a_graph_is_built_is_honoured() {
    let (index, _builds) = by_hand(50);
    let vectors = clustered(2, 60, 16, 5);
    fill(&index, 0..50, &vectors);
    index.remove(EntryId(5));
    let task = next(&index).unwrap();
    carry_out(&Arc::downgrade(&index.0), task, || {
        // In the middle of the build: one goes, one that was dead when it began comes back, one is replaced.
        index.remove(EntryId(30));
        index.insert(EntryId(5), &vectors[5]);
        index.insert(EntryId(31), &vectors[55]);
        true
    });
    assert_eq!(index.shape(), Shape { graphs: 1, scanned: 1 });
    assert_eq!(index.len(), 49);
    assert_eq!(best(&index, &vectors[30]), None);
    assert_eq!(best(&index, &vectors[5]), Some(5));
    assert_eq!(best(&index, &vectors[31]), None);
    assert_eq!(best(&index, &vectors[55]), Some(31));
    assert_eq!(best(&index, &vectors[49]), Some(49));
}

#[test]
fn a_segment_of_which_more_than_a_third_is_dead_goes_back_to_the_tail_without_the_dead() {
    let (index, builds) = by_hand(60);
    let vectors = clustered(3, 110, 16, 5);
    fill(&index, 0..60, &vectors);
    while builds.run_next() {}
    let full = index.bytes();
    (0..20).for_each(|id| index.remove(EntryId(id)));
    assert_eq!(builds.waiting(), 0, "a third is still borne");
    index.remove(EntryId(20));
    assert_eq!(builds.waiting(), 1);
    while builds.run_next() {}
    assert_eq!((index.len(), index.shape()), (39, Shape { graphs: 0, scanned: 39 }));
    assert!(index.bytes() < full / 4, "{} of {full}", index.bytes());
    // With what comes later it is sealed anew.
    fill(&index, 60..81, &vectors);
    while builds.run_next() {}
    assert_eq!((index.len(), index.shape()), (60, Shape { graphs: 1, scanned: 0 }));
    assert!((21..81).all(|id| best(&index, &vectors[id]) == Some(id as u64)));
}

#[test]
fn every_entry_finds_itself_at_any_moment_of_going_back() {
    let (index, _builds) = by_hand(400);
    let vectors = clustered(4, 400, 16, 5);
    fill(&index, 0..400, &vectors);
    let partition = Arc::downgrade(&index.0);
    carry_out(&partition, next(&index).unwrap(), || true);
    (0..400).filter(|id| id % 5 < 2).for_each(|id| index.remove(EntryId(id)));
    let mut steps = 0;
    while let Some(task) = next(&index) {
        carry_out(&partition, task, || true);
        steps += 1;
        // Put again while its row has left, or is about to: nothing joins what is being emptied.
        index.insert(EntryId(399), &vectors[399]);
        for id in 0..400 {
            let living = (id % 5 >= 2).then_some(id);
            assert_eq!(best(&index, &vectors[usize::try_from(id).unwrap()]), living, "after {steps} steps");
        }
    }
    assert_eq!(steps, 240usize.div_ceil(BATCH));
    assert_eq!((index.len(), index.shape()), (240, Shape { graphs: 0, scanned: 240 }));
}

#[test]
fn a_vector_put_again_shares_its_sealed_row() {
    let (index, builds) = by_hand(50);
    let vectors = clustered(5, 50, 16, 5);
    fill(&index, 0..50, &vectors);
    while builds.run_next() {}
    index.insert(EntryId(100), &vectors[7]);
    assert_eq!((index.len(), index.shape()), (51, Shape { graphs: 1, scanned: 0 }));
    let owners: Vec<u64> = index.search(&vectors[7], 3, floor(0.999)).iter().map(|c| c.id.0).collect();
    assert_eq!(owners, [100, 7]);
}

#[test]
fn a_graph_finds_nearly_all_that_a_scan_finds() {
    let (index, builds) = by_hand(500);
    let exact = Flat::new();
    let vectors = clustered(23, 1_000, 48, 20);
    for (id, vector) in (0..).map(EntryId).zip(&vectors) {
        index.insert(id, vector);
        exact.insert(id, vector);
    }
    while builds.run_next() {}
    assert_eq!(index.shape(), Shape { graphs: 2, scanned: 0 });
    {
        // Not by giving up on the graph and scanning.
        let state = read(&index.0.state);
        let mut nearest = Nearest::new(vectors[1].values(), 8, floor(0.5));
        assert!(state.segments().all(|segment| segment.answers_by_graph(&mut nearest)));
    }
    let (mut wanted, mut found) = (0, 0);
    for (query, other) in vectors.iter().zip(&clustered(29, 1_000, 48, 1)).step_by(5) {
        let moved = query.values().iter().zip(other.values()).map(|(q, o)| q + 0.4 * o).collect();
        let moved = Embedding::normalised(moved).unwrap();
        let truth = exact.search(&moved, 8, floor(0.5));
        let got = index.search(&moved, 8, floor(0.5));
        wanted += truth.len();
        found += truth.iter().filter(|c| got.contains(c)).count();
    }
    assert!(wanted > 500, "{wanted}");
    assert!(found * 100 >= wanted * 98, "recall {found} of {wanted}");
}

#[test]
fn an_emptied_index_frees_its_segments_and_survives_the_build_that_was_under_way() {
    let (index, _builds) = by_hand(20);
    fill(&index, 0..20, &clustered(6, 20, 16, 5));
    let task = next(&index).unwrap();
    (0..20).for_each(|id| index.remove(EntryId(id)));
    assert_eq!((index.len(), index.shape()), (0, Shape { graphs: 0, scanned: 0 }));
    let other = clustered(6, 1, 4, 1).remove(0);
    assert!(index.put(EntryId(1), &other));
    carry_out(&Arc::downgrade(&index.0), task, || true);
    assert_eq!(index.shape(), Shape { graphs: 0, scanned: 1 });
    assert_eq!(best(&index, &other), Some(1));
}

#[test]
fn a_dropped_partition_is_not_built() {
    let (index, builds) = by_hand(20);
    fill(&index, 0..20, &clustered(7, 20, 16, 5));
    let watch = Arc::downgrade(&index.0);
    drop(index);
    assert!(watch.upgrade().is_none(), "a waiting build must not keep its partition");
    assert!(builds.run_next());
}

#[test]
fn a_build_that_is_given_up_leaves_the_exact_scan() {
    let (index, _builds) = by_hand(20);
    let vectors = clustered(8, 20, 16, 5);
    fill(&index, 0..20, &vectors);
    carry_out(&Arc::downgrade(&index.0), next(&index).unwrap(), || false);
    assert_eq!(index.shape(), Shape { graphs: 0, scanned: 20 });
    assert!(next(&index).is_none(), "it is not tried again");
    assert_eq!(best(&index, &vectors[9]), Some(9));
}
