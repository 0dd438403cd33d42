use super::*;
use crate::index::tests::{clustered, floor};

fn partition(n: u64) -> Partition {
    Partition::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn ids(found: &[Candidate]) -> Vec<u64> {
    found.iter().map(|c| c.id.0).collect()
}

#[test]
fn a_search_sees_its_own_partition_only() {
    let all = Partitions::new(Settings::default());
    let vector = clustered(1, 1, 16, 1).remove(0);
    assert!(all.insert(partition(1), EntryId(1), &vector));
    assert!(all.insert(partition(2), EntryId(2), &vector));
    assert_eq!(ids(&all.search(partition(1), &vector, 8, floor(0.5))), [1]);
    assert_eq!(ids(&all.search(partition(2), &vector, 8, floor(0.5))), [2]);
    assert!(all.search(partition(3), &vector, 8, floor(-1.0)).is_empty());
    assert_eq!((all.len(), all.partitions()), (2, 2));
}

#[test]
fn an_id_lives_in_the_partition_it_was_last_put_into() {
    let all = Partitions::new(Settings::default());
    let [a, b] = clustered(2, 2, 16, 1).try_into().unwrap();
    all.insert(partition(1), EntryId(1), &a);
    all.insert(partition(2), EntryId(1), &b);
    assert!(all.search(partition(1), &a, 8, floor(-1.0)).is_empty());
    assert_eq!(ids(&all.search(partition(2), &b, 8, floor(0.9))), [1]);
    assert_eq!((all.len(), all.partitions()), (1, 1));
    assert!(all.remove(EntryId(1)));
    assert!(!all.remove(EntryId(1)));
    assert!(all.is_empty());
}

#[test]
fn a_refused_dimension_changes_nothing() {
    let all = Partitions::new(Settings::default());
    let [long, short] = [16, 8].map(|dims| clustered(3, 1, dims, 1).remove(0));
    all.insert(partition(1), EntryId(1), &long);
    assert!(all.insert(partition(2), EntryId(2), &short));
    assert!(!all.insert(partition(1), EntryId(2), &short));
    assert_eq!(ids(&all.search(partition(2), &short, 8, floor(0.9))), [2]);
    assert_eq!(all.remove_many(&[EntryId(1), EntryId(2), EntryId(3)]), 2);
}

#[test]
fn empty_partitions_are_swept_and_can_come_back() {
    let all = Partitions::new(Settings::default());
    let vector = clustered(4, 1, 16, 1).remove(0);
    for id in 0..200 {
        all.insert(partition(id), EntryId(id), &vector);
    }
    for id in 0..199 {
        all.remove(EntryId(id));
    }
    let before = all.bytes();
    assert_eq!(all.partitions(), 1);
    all.sweep();
    assert_eq!(either!(all, kept => kept.shards.iter().map(|shard| read(shard).len()).sum::<usize>()), 1);
    assert!(all.bytes() < before / 2);
    all.insert(partition(5), EntryId(500), &vector);
    assert_eq!(ids(&all.search(partition(5), &vector, 8, floor(0.9))), [500]);
}

#[test]
fn a_partition_of_one_conversation_costs_little_more_than_its_vector() {
    let all = Partitions::new(Settings::default());
    let count = 2_000;
    let vectors = clustered(5, 50, 384, 5);
    for (id, vector) in (0..count).zip(vectors.iter().cycle()) {
        all.insert(partition(id), EntryId(id), vector);
    }
    let vector = 384 * size_of::<f32>();
    let each = all.bytes() / usize::try_from(count).unwrap();
    assert!(each - vector <= 300, "{} bytes beyond the vector", each - vector);
}

#[test]
fn an_entry_of_a_large_partition_costs_its_vector_its_codes_and_little_else() {
    let builds = Builds::by_hand();
    let all = Partitions::with_builds(Settings { seal_at: 500, ..Settings::default() }, Arc::clone(&builds));
    let count = 4_000;
    for (id, vector) in (0..count).zip(&clustered(7, 4_000, 384, 20)) {
        all.insert(partition(1), EntryId(id), vector);
        builds.run_next();
    }
    let each = all.bytes() / usize::try_from(count).unwrap();
    let vector = 384 * (size_of::<f32>() + size_of::<i8>());
    assert!(each - vector <= 380, "{} bytes beyond vector and codes", each - vector);
    // What goes gives its memory back, cells included.
    all.remove_many(&(0..count - 100).map(EntryId).collect::<Vec<_>>());
    while builds.run_next() {}
    let left = all.bytes() / 100;
    assert!(left - vector <= 2_000, "{} bytes beyond vector and codes", left - vector);
}

#[test]
fn inserts_searches_removals_and_sweeps_at_once_lose_nothing() {
    for engine in [Engine::Cells, Engine::Hnsw] {
        loses_nothing(engine);
    }
}

fn loses_nothing(engine: Engine) {
    let builds = Builds::background();
    let all = Partitions::with_builds(Settings { engine, seal_at: 32 }, Arc::clone(&builds));
    let vectors = clustered(6, 120, 16, 4);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (all, vectors) = (&all, &vectors);
            scope.spawn(move || {
                for (n, vector) in (0u64..).zip(vectors) {
                    let id = EntryId(n * 4 + thread);
                    all.insert(partition(n % 3), id, vector);
                    all.search(partition(n % 3), vector, 4, floor(0.5));
                    // A partition that is empty most of the time, so that sweeps meet inserts.
                    all.insert(partition(9), EntryId(1 << 40 | thread), vector);
                    all.remove(EntryId(1 << 40 | thread));
                    if n % 10 == 0 {
                        all.sweep();
                    }
                }
            });
        }
    });
    builds.wait_idle();
    assert_eq!((all.len(), all.partitions()), (480, 3));
    for (n, vector) in (0u64..).zip(&vectors) {
        let newest_first: Vec<u64> = (0..4).rev().map(|thread| n * 4 + thread).collect();
        assert_eq!(ids(&all.search(partition(n % 3), vector, 4, floor(0.999))), newest_first);
    }
}
