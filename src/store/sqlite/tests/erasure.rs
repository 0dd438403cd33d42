//! What a purge of a person leaves in the files: nothing.

use rusqlite::params;

use super::*;
use crate::{
    key::{Principal, Scope},
    store::verdicts::{Pair, Verdicts},
};

const ANN: Principal = Principal::from_bytes([0xa1; 32]);
const BOB: Principal = Principal::from_bytes([0xb2; 32]);

fn of(principal: Principal) -> Selector {
    Selector { principals: vec![principal], ..Selector::default() }
}

/// How often `part` stands in the files of `dir`.
fn count(dir: &Path, part: &[u8]) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(part.len()).filter(|window| *window == part).count()).sum()
}

#[tokio::test]
async fn many_entries_of_one_person_among_anothers_leave_not_a_byte() {
    let (store, dir) = fresh();
    let mut chance = fastrand::Rng::with_seed(7);
    for n in 0..600 {
        let (who, name) = if chance.bool() { (ANN, "annsmark") } else { (BOB, "bobsmark") };
        let mut entry =
            entry(store.next_id(fingerprint("any")), &format!("{name} {n} {}", "why ".repeat(chance.usize(0..200))));
        // Of many lengths, so that pages split, merge and overflow; the first ones are aged away in between.
        entry.answer.text = (0..chance.usize(0..12_000)).map(|_| chance.alphanumeric()).collect();
        entry.tags = vec![format!("{name}tag{n}")];
        entry.principal = Some(who);
        store.admit(entry.clone(), Durability::Behind).await.unwrap();
        if n % 5 == 0 {
            store.alias(fingerprint(&format!("other {n}")), entry.id).unwrap();
            let asked = fingerprint(&format!("blocked {n}"));
            store.block(Pair::of(entry.fingerprint, asked), "audit", Timestamp::from_millis(1)).await.unwrap();
        }
        if n % 150 == 149 {
            store.evict_to(1, 20).await.unwrap();
        }
    }
    store.flush().await.unwrap();
    let pairs = store.blocked().await.unwrap().len();
    assert!(count(dir.path(), b"annsmark") > 100 && count(dir.path(), ANN.as_bytes()) > 100);
    let gone = store.purge(of(ANN), Hardness::Hard, false).await.unwrap();
    assert!(gone.len() > 200, "{}", gone.len());
    for closed in [false, true] {
        if closed {
            store.close().await.unwrap();
        }
        for trace in [&b"annsmark"[..], ANN.as_bytes(), ANN.to_hex().as_bytes()] {
            assert_eq!(count(dir.path(), trace), 0, "{:?}", String::from_utf8_lossy(trace));
        }
    }
    let store = open(dir.path());
    let left = store.list(Selector::default(), 0, 1000).await.unwrap();
    assert!(left.len() > 200 && left.iter().all(|entry| entry.principal == Some(BOB.to_hex())));
    let left = store.blocked().await.unwrap().len();
    assert!(left > 20 && left < pairs, "{left} of {pairs}");
}

#[tokio::test]
async fn what_is_nobodys_for_sure_goes_with_everybody() {
    let (store, dir) = fresh();
    for (question, principal) in [("ann's", Some(ANN)), ("bob's", Some(BOB)), ("old", None)] {
        let entry = Entry { principal, ..entry(store.next_id(fingerprint("any")), question) };
        store.admit(entry, Durability::Through).await.unwrap();
    }
    assert_eq!(store.purge(of(ANN), Hardness::Hard, true).await.unwrap().len(), 2);
    assert_eq!(store.purge(of(ANN), Hardness::Hard, false).await.unwrap(), [EntryId(1), EntryId(3)]);
    assert_eq!(count(dir.path(), b"ann's"), 0);
    assert!(store.find(fingerprint("bob's")).await.unwrap().is_some());
}

#[tokio::test]
async fn the_trail_names_a_scope_as_the_list_does_and_nobody_who_was_erased() {
    let (store, dir) = fresh();
    let scope = Scope::from_bytes([0xcd; 32]);
    store.purge(Selector { scope: Some(scope), ..Selector::default() }, Hardness::Hard, false).await.unwrap();
    store.purge(of(ANN), Hardness::Hard, false).await.unwrap();
    let conn = raw(dir.path());
    let mut statement = conn.prepare("SELECT selector FROM purges ORDER BY id").unwrap();
    let trail: Vec<String> = statement.query_map(params![], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let trail: Vec<serde_json::Value> = trail.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(trail[0]["scope"], scope.to_hex());
    assert_eq!(trail[1]["principals"], serde_json::json!(["erased"]));
}

#[tokio::test]
async fn a_file_of_an_older_version_keeps_its_answers_and_they_are_nobodys() {
    let (store, dir) = fresh();
    let old = Entry { principal: None, sources: Vec::new(), ..entry(store.next_id(fingerprint("any")), "old") };
    store.admit(old.clone(), Durability::Through).await.unwrap();
    store.close().await.unwrap();
    let back = "DROP INDEX entries_by_invalidation; DROP INDEX entries_by_size; DROP INDEX entries_by_principal; ALTER TABLE entries DROP COLUMN principal;
                ALTER TABLE blocked DROP COLUMN principal; DROP TABLE encryption;
                DROP TABLE entry_sources; DROP TABLE sources; DROP TABLE replaced_versions; DROP TABLE bans;
                PRAGMA user_version = 2";
    raw(dir.path()).execute_batch(back).unwrap();
    let error = doctor::doctor(dir.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::TooOld { found: 2, .. }), "{error}");
    let report = doctor::doctor(dir.path(), true).unwrap();
    assert!(report.is_clean() && report.schema == schema::supported(), "{report}");
    assert_same(&open(dir.path()).find(fingerprint("old")).await.unwrap().unwrap().entry, &old);
}
