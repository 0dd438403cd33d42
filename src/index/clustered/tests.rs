use super::*;
use crate::index::tests::{clustered, floor};

fn by_hand(seal_at: usize) -> (Clustered, Arc<Builds>) {
    let builds = Builds::by_hand();
    (Clustered::new(Shared::new(Arc::clone(&builds), seal_at)), builds)
}

fn fill(index: &Clustered, ids: std::ops::Range<u64>, vectors: &[Embedding]) {
    ids.for_each(|id| index.insert(EntryId(id), &vectors[usize::try_from(id).unwrap()]));
}

fn best(index: &Clustered, vector: &Embedding) -> Option<u64> {
    index.search(vector, 1, floor(0.999)).first().map(|c| c.id.0)
}

/// Carries out `count` tasks of a build that was not begun by anybody else.
fn tasks(index: &Clustered, count: usize) {
    let partition = Arc::downgrade(&index.0);
    for _ in 0..count {
        if let Some(task) = next_task(&partition) {
            carry_out(&partition, task, &|| true);
        }
    }
}

#[test]
fn a_long_tail_is_sealed_at_once_and_searched_exactly_until_its_rows_are_in_cells() {
    let (index, builds) = by_hand(500);
    let vectors = clustered(1, 600, 16, 5);
    fill(&index, 0..600, &vectors);
    assert_eq!((index.shape(), builds.waiting()), (Shape { cells: 0, scanned: 600 }, 1));
    let before = index.search(&vectors[3], 5, floor(0.2));
    while builds.run_next() {}
    let after = index.shape();
    assert_eq!(after.scanned, 100);
    assert!(after.cells > 1);
    assert_eq!(index.search(&vectors[3], 5, floor(0.2)), before);
}

#[test]
fn a_partition_is_divided_once_and_then_its_rows_move() {
    let (index, _builds) = by_hand(500);
    fill(&index, 0..500, &clustered(11, 500, 16, 5));
    let partition = Arc::downgrade(&index.0);
    let mut kinds = Vec::new();
    while let Some(task) = next_task(&partition) {
        kinds.push(matches!(task, Task::Divide(_)));
        carry_out(&partition, task, &|| true);
    }
    assert_eq!(kinds.iter().position(|&divides| divides), Some(0));
    assert_eq!(kinds.iter().filter(|&&divides| divides).count(), 1, "{kinds:?}");
}

#[test]
fn what_changes_while_rows_move_is_honoured() {
    let (index, _builds) = by_hand(500);
    let vectors = clustered(2, 700, 16, 5);
    fill(&index, 0..500, &vectors);
    tasks(&index, 1 + 3);
    let partition = Arc::downgrade(&index.0);
    let Some(Task::Move(batch)) = next_task(&partition) else { panic!("rows are left to move") };
    // The batch holds copies of the last rows of the pile: one goes, one is replaced, one gets a second owner.
    let left = index.shape().scanned as u64;
    index.remove(EntryId(left - 1));
    index.insert(EntryId(left - 2), &vectors[600]);
    index.insert(EntryId(1_000), &vectors[usize::try_from(left - 3).unwrap()]);
    carry_out(&partition, Task::Move(batch), &|| true);
    tasks(&index, 20);
    assert_eq!(index.len(), 500);
    assert_eq!(best(&index, &vectors[usize::try_from(left - 1).unwrap()]), None);
    assert_eq!(best(&index, &vectors[usize::try_from(left - 2).unwrap()]), None);
    assert_eq!(best(&index, &vectors[600]), Some(left - 2));
    assert_eq!(best(&index, &vectors[usize::try_from(left - 3).unwrap()]), Some(1_000));
    for id in (0..left - 3).chain(left..500) {
        assert_eq!(best(&index, &vectors[usize::try_from(id).unwrap()]), Some(id));
    }
}

#[test]
fn every_entry_finds_itself_at_any_moment_of_a_new_division() {
    let (index, builds) = by_hand(400);
    let vectors = clustered(3, 2_400, 16, 5);
    fill(&index, 0..400, &vectors);
    while builds.run_next() {}
    // Enough to call for new cells: old and new ones live side by side for a while.
    fill(&index, 400..2_400, &vectors);
    for _ in 0..60 {
        tasks(&index, 1);
        for id in (0..2_400).step_by(37) {
            assert_eq!(best(&index, &vectors[usize::try_from(id).unwrap()]), Some(id));
        }
    }
    assert_eq!(index.len(), 2_400);
    assert!(index.shape().cells > 8, "{:?}", index.shape());
}

#[test]
fn what_is_removed_frees_its_memory_and_the_cells_become_fewer() {
    let (index, builds) = by_hand(400);
    let vectors = clustered(4, 4_000, 16, 5);
    fill(&index, 0..4_000, &vectors);
    while builds.run_next() {}
    let (full, cells) = (index.bytes(), index.shape().cells);
    (0..3_600).for_each(|id| index.remove(EntryId(id)));
    while builds.run_next() {}
    assert_eq!(index.len(), 400);
    assert!(index.shape().cells < cells / 4, "{:?} of {cells}", index.shape());
    assert!(index.bytes() < full / 5, "{} of {full}", index.bytes());
    assert_eq!(best(&index, &vectors[3_700]), Some(3_700));
}

#[test]
fn a_vector_put_again_later_shares_a_row_once_both_are_in_their_cell() {
    let (index, builds) = by_hand(100);
    let vectors = clustered(5, 100, 16, 5);
    fill(&index, 0..100, &vectors);
    while builds.run_next() {}
    let once = index.bytes();
    for id in 100..300u64 {
        index.insert(EntryId(id), &vectors[usize::try_from(id % 100).unwrap()]);
    }
    while builds.run_next() {}
    assert_eq!((index.len(), index.shape().scanned), (300, 0));
    assert!(index.bytes() < once * 2, "{} of {once}", index.bytes());
    let owners: Vec<u64> = index.search(&vectors[7], 3, floor(0.999)).iter().map(|c| c.id.0).collect();
    assert_eq!(owners, [207, 107, 7]);
}

#[test]
fn an_emptied_index_frees_its_cells_and_survives_the_build_that_was_under_way() {
    let (index, builds) = by_hand(20);
    fill(&index, 0..20, &clustered(6, 20, 16, 5));
    (0..20).for_each(|id| index.remove(EntryId(id)));
    assert_eq!(index.len(), 0);
    while builds.run_next() {}
    assert!(read(&index.0.state).cells.is_none());
    let other = clustered(6, 1, 4, 1).remove(0);
    assert!(index.put(EntryId(1), &other));
    assert_eq!(index.search(&other, 1, floor(0.9)).len(), 1);
}

#[test]
fn an_index_emptied_in_the_middle_of_a_build_can_be_filled_with_another_dimension() {
    for before in 0..4 {
        let (index, _builds) = by_hand(500);
        fill(&index, 0..500, &clustered(9, 500, 16, 5));
        tasks(&index, before);
        let partition = Arc::downgrade(&index.0);
        let task = next_task(&partition).unwrap();
        let others = clustered(10, 600, 8, 5);
        let swapped = std::cell::Cell::new(false);
        let swap = || {
            if !swapped.replace(true) {
                (0..500).for_each(|id| index.remove(EntryId(id)));
                fill(&index, 0..600, &others);
            }
            true
        };
        // While rows are on their way, or while the cells are made.
        if matches!(task, Task::Move(_)) {
            swap();
        }
        carry_out(&partition, task, &swap);
        tasks(&index, 30);
        for (id, other) in (0u64..).zip(&others) {
            assert_eq!(best(&index, other), Some(id), "after {before} tasks");
        }
        assert!(index.shape().cells > 1);
    }
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
    assert_eq!(index.shape(), Shape { cells: 0, scanned: 20 });
    assert_eq!(best(&index, &vectors[9]), Some(9));
}
