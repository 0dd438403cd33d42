use super::*;
use crate::store::{
    Durability, Store,
    conformance::{entry, fingerprint},
    sqlite::{SqliteStore, StoreSettings},
};

/// A closed store of three entries, one with an alias.
async fn stored() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), StoreSettings::default()).unwrap();
    for n in 1..=3 {
        store.admit(entry(store.next_id(fingerprint("any")), &format!("q{n}")), Durability::Through).await.unwrap();
    }
    store.alias(fingerprint("wording"), EntryId(2)).unwrap();
    store.close().await.unwrap();
    dir
}

fn change(dir: &Path, sql: &str) {
    let conn = Connection::open(schema::database_path(dir)).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    conn.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_sound_store_is_clean_open_or_closed() {
    let dir = stored().await;
    let report = doctor(dir.path(), true).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.entries, report.vectors, report.aliases), (3, 3, 1));
    let _store = SqliteStore::open(dir.path(), StoreSettings::default()).unwrap();
    assert!(doctor(dir.path(), false).unwrap().is_clean());
    assert!(matches!(doctor(dir.path(), true), Err(StoreError::Locked { .. })));
}

#[tokio::test]
async fn each_kind_of_damage_is_found_named_and_repaired() {
    use ProblemKind::{Entry, HiddenAlias, Orphan, Vector};
    for (damage, kind, about, repair) in [
        ("DELETE FROM answers WHERE entry_id = 2", Entry, "e2", Repair::EntryRemoved),
        ("UPDATE answers SET body = x'01' WHERE entry_id = 2", Entry, "e2", Repair::EntryRemoved),
        ("UPDATE entries SET scope = x'01' WHERE id = 3", Entry, "e3", Repair::EntryRemoved),
        ("UPDATE entries SET policy_revision = 'r2' WHERE id = 3", Entry, "e3", Repair::EntryRemoved),
        ("DELETE FROM entries WHERE id = 2", Orphan, "e2", Repair::RowRemoved),
        ("UPDATE vectors SET embedding = zeroblob(128) WHERE entry_id = 1", Vector, "e1", Repair::VectorRemoved),
        ("UPDATE vectors SET embedding = x'0000803f' WHERE entry_id = 1", Vector, "e1", Repair::VectorRemoved),
        (
            "UPDATE aliases SET fingerprint = (SELECT fingerprint FROM entries WHERE id = 1)",
            HiddenAlias,
            "e2",
            Repair::RowRemoved,
        ),
    ] {
        let dir = stored().await;
        change(dir.path(), damage);
        let before = doctor(dir.path(), false).unwrap();
        assert!(!before.is_clean(), "{damage}");
        for problem in &before.problems {
            assert_eq!((problem.kind, problem.entry.as_deref(), problem.repair), (kind, Some(about), None), "{damage}");
        }
        assert_eq!(doctor(dir.path(), false).unwrap(), before, "looking changes nothing");
        let repaired = doctor(dir.path(), true).unwrap();
        assert!(repaired.problems.iter().all(|problem| problem.repair == Some(repair)), "{damage}: {repaired}");
        assert_eq!(repaired.problems.len(), before.problems.len());
        assert_eq!(repaired.unrepaired(), 0);
        let after = doctor(dir.path(), false).unwrap();
        assert!(after.is_clean(), "{damage}: {after}");
    }
}

#[tokio::test]
async fn a_broken_index_is_found_and_rebuilt() {
    let dir = stored().await;
    // Turns an index's entries away from the table's by changing its definition behind SQLite's back.
    change(
        dir.path(),
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX entries_by_use ON entries (admitted_at DESC)'
         WHERE name = 'entries_by_use';
         PRAGMA writable_schema = OFF;",
    );
    change(dir.path(), "UPDATE entries SET last_used = last_used + id");
    change(
        dir.path(),
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX entries_by_use ON entries (last_used)'
         WHERE name = 'entries_by_use';
         PRAGMA writable_schema = OFF;",
    );
    let found = doctor(dir.path(), false).unwrap();
    assert!(found.problems.iter().any(|problem| problem.kind == ProblemKind::Structure), "{found}");
    let repaired = doctor(dir.path(), true).unwrap();
    assert_eq!(repaired.unrepaired(), 0, "{repaired}");
    assert!(doctor(dir.path(), false).unwrap().is_clean());
}

#[tokio::test]
async fn the_report_reads_well_and_as_json() {
    let dir = stored().await;
    change(dir.path(), "UPDATE answers SET body = x'01' WHERE entry_id = 2");
    let report = doctor(dir.path(), false).unwrap();
    let text = report.to_string();
    assert!(text.contains("3 entries, 3 vectors, 1 aliases\n  e2: damaged: checksum\n"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["problems"][0]["kind"], "entry");
    assert_eq!(json["problems"][0]["repair"], serde_json::Value::Null);
}

#[test]
fn a_directory_without_a_store_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(doctor(dir.path(), false), Err(StoreError::Directory { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// One bad page, whichever it is, costs what is on it and no more; the first page is the file's header.
#[tokio::test]
async fn a_page_that_cannot_be_read_is_found_and_the_file_built_anew_of_the_rest() {
    const ENTRIES: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), StoreSettings::default()).unwrap();
    let mut admitted = Vec::new();
    for n in 0..ENTRIES {
        let mut one = entry(store.next_id(fingerprint("any")), &format!("q{n}"));
        one.answer.text = (0..2000).map(|_| fastrand::alphanumeric()).collect();
        store.admit(one.clone(), Durability::Through).await.unwrap();
        admitted.push(one);
    }
    store.close().await.unwrap();
    let whole = std::fs::read(schema::database_path(dir.path())).unwrap();
    let (mut rebuilt, mut kept, pages) = (0, 0, whole.len() / 8192);
    for page in 1..pages {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[page * 8192..(page + 1) * 8192].fill(0xA5);
        std::fs::write(schema::database_path(dir.path()), bytes).unwrap();
        let report = doctor(dir.path(), true).unwrap_or_else(|error| panic!("page {page}: {error}"));
        assert_eq!(report.unrepaired(), 0, "page {page}: {report}");
        rebuilt += usize::from(report.problems.iter().any(|problem| problem.repair == Some(Repair::Rebuilt)));
        let again = doctor(dir.path(), false).unwrap();
        assert!(again.is_clean(), "page {page}: {again}");
        let store = SqliteStore::open(dir.path(), StoreSettings::default()).unwrap();
        assert!(store.next_id(fingerprint("any")) > admitted[ENTRIES - 1].id, "page {page}");
        for one in &admitted {
            if let Some(found) = store.get(one.id).await.unwrap() {
                assert_eq!(found.answer, one.answer, "page {page}");
                kept += 1;
            }
        }
        store.close().await.unwrap();
    }
    assert!(rebuilt > 10, "{rebuilt}");
    // The page that all others of a table hang on costs the table.
    assert!(kept > (pages - 1) * ENTRIES * 2 / 3, "{kept} entries kept of {ENTRIES} on {pages} pages");
}
