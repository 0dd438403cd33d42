use super::*;
use crate::index::tests::{clustered, floor};

fn by_hand(seal_at: usize) -> (Segmented, Arc<Builds>) {
    let builds = Builds::by_hand();
    (Segmented::new(Shared::new(Arc::clone(&builds), seal_at)), builds)
}

fn fill(index: &Segmented, ids: std::ops::Range<u64>, vectors: &[Embedding]) {
    ids.for_each(|id| index.insert(EntryId(id), &vectors[usize::try_from(id).unwrap()]));
}

#[test]
fn a_tail_is_sealed_at_once_and_searched_exactly_until_its_graph_is_there() {
    let (index, builds) = by_hand(50);
    let vectors = clustered(1, 60, 16, 5);
    fill(&index, 0..60, &vectors);
    assert_eq!((index.segments(), builds.waiting()), ((1, 0), 1));
    let before = index.search(&vectors[3], 5, floor(0.2));
    while builds.run_next() {}
    assert_eq!(index.segments(), (1, 1));
    assert_eq!(index.search(&vectors[3], 5, floor(0.2)), before);
}

#[test]
fn what_changes_while_a_segment_is_rewritten_is_honoured() {
    let (index, builds) = by_hand(50);
    let vectors = clustered(2, 60, 16, 5);
    fill(&index, 0..50, &vectors);
    while builds.run_next() {}
    (0..20).for_each(|id| index.remove(EntryId(id)));
    let plan = {
        let state = read(&index.0.state);
        Plan::next(&state.sealed.as_ref().unwrap().segments, 50).unwrap()
    };
    let rewritten = Rewritten::carry_out(plan, 50, || {
        // In the middle of the build: one goes, one that was dead when the plan was made comes back, one is replaced.
        index.remove(EntryId(30));
        index.insert(EntryId(5), &vectors[5]);
        index.insert(EntryId(31), &vectors[55]);
        true
    });
    rewritten.install(&mut write(&index.0.state));
    assert_eq!(index.segments(), (1, 1));
    assert_eq!(index.len(), 30);
    let best = |vector: &Embedding| index.search(vector, 1, floor(0.999)).first().map(|c| c.id.0);
    assert_eq!(best(&vectors[30]), None);
    assert_eq!(best(&vectors[5]), Some(5));
    assert_eq!(best(&vectors[31]), None);
    assert_eq!(best(&vectors[55]), Some(31));
    assert_eq!(best(&vectors[49]), Some(49));
    assert!((6..20).all(|id| best(&vectors[id]).is_none()));
}

#[test]
fn a_segment_that_is_a_third_dead_is_rewritten_without_the_dead() {
    let (index, builds) = by_hand(50);
    fill(&index, 0..50, &clustered(3, 50, 16, 5));
    while builds.run_next() {}
    let full = index.bytes();
    (0..15).for_each(|id| index.remove(EntryId(id)));
    assert_eq!(builds.waiting(), 0, "30 % is still borne");
    index.remove(EntryId(15));
    assert_eq!(builds.waiting(), 1);
    while builds.run_next() {}
    assert_eq!((index.len(), index.segments()), (34, (1, 1)));
    assert!(index.bytes() < full * 3 / 4, "{} of {full}", index.bytes());
}

#[test]
fn four_segments_of_a_size_become_one() {
    let (index, builds) = by_hand(20);
    let vectors = clustered(4, 80, 16, 5);
    for id in 0..80 {
        fill(&index, id..id + 1, &vectors);
        while builds.run_next() {}
    }
    assert_eq!((index.len(), index.segments()), (80, (1, 1)));
    for (id, vector) in (0u64..).zip(&vectors) {
        assert_eq!(index.search(vector, 1, floor(0.999))[0].id.0, id);
    }
}

#[test]
fn small_remains_are_joined_and_get_no_graph() {
    let (index, builds) = by_hand(20);
    let vectors = clustered(5, 40, 16, 5);
    fill(&index, 0..20, &vectors);
    while builds.run_next() {}
    fill(&index, 20..40, &vectors);
    while builds.run_next() {}
    assert_eq!(index.segments(), (2, 2));
    (0..36).filter(|id| id % 20 >= 3).for_each(|id| index.remove(EntryId(id)));
    while builds.run_next() {}
    assert_eq!((index.len(), index.segments()), (10, (1, 1)));
    index.remove(EntryId(0));
    (36..40).for_each(|id| index.remove(EntryId(id)));
    while builds.run_next() {}
    assert_eq!((index.len(), index.segments()), (5, (1, 0)));
    assert_eq!(index.search(&vectors[22], 1, floor(0.999))[0].id.0, 22);
}

#[test]
fn an_emptied_index_frees_its_segments_and_survives_the_build_that_was_under_way() {
    let (index, builds) = by_hand(20);
    fill(&index, 0..20, &clustered(6, 20, 16, 5));
    (0..20).for_each(|id| index.remove(EntryId(id)));
    assert_eq!((index.len(), index.segments()), (0, (0, 0)));
    while builds.run_next() {}
    assert_eq!(index.segments(), (0, 0));
    let other = clustered(6, 1, 4, 1).remove(0);
    assert!(index.put(EntryId(1), &other));
    assert_eq!(index.search(&other, 1, floor(0.9)).len(), 1);
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
    let (index, builds) = by_hand(20);
    let vectors = clustered(8, 20, 16, 5);
    fill(&index, 0..20, &vectors);
    builds.close();
    builds.run_next();
    build(&Arc::downgrade(&index.0), &index.0.shared);
    assert_eq!(index.segments(), (1, 0));
    assert_eq!(index.search(&vectors[9], 1, floor(0.999))[0].id.0, 9);
}
