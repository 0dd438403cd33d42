use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use proptest::prelude::*;

use super::*;
use crate::store::{
    conformance::{self, assert_same, conformance_suite, entry, fingerprint},
    failing::FailingStore,
};

conformance_suite!(fresh());

mod erasure;
mod sealed;

mod behind_a_working_double {
    use super::*;

    conformance_suite!({
        let (store, guard) = fresh();
        (FailingStore::in_front_of(Arc::new(store)), guard)
    });
}

fn fresh() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()), dir)
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, StoreSettings::default()).unwrap()
}

fn raw(dir: &Path) -> Connection {
    Connection::open(schema::database_path(dir)).unwrap()
}

fn files_hold(dir: &Path, text: &str) -> bool {
    ["semblance.sqlite3", "semblance.sqlite3-wal"].iter().any(|name| {
        let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn what_was_written_is_there_after_a_reopen() {
    let (store, dir) = fresh();
    let kept = entry(store.next_id(fingerprint("any")), "kept");
    store.admit(kept.clone(), Durability::Behind).await.unwrap();
    store.alias(fingerprint("wording"), kept.id).unwrap();
    drop(store);
    let store = open(dir.path());
    let found = store.find(fingerprint("wording")).await.unwrap().unwrap();
    assert!(found.via_alias);
    assert_same(&found.entry, &kept);
}

#[tokio::test]
async fn ids_are_never_used_again() {
    let (store, dir) = fresh();
    let last = entry(store.next_id(fingerprint("any")), "q");
    store.admit(last.clone(), Durability::Through).await.unwrap();
    let given_away = store.next_id(fingerprint("any"));
    store.purge(Selector::default(), Hardness::Hard, false).await.unwrap();
    store.close().await.unwrap();
    let next = open(dir.path()).next_id(fingerprint("any"));
    assert_eq!(next, EntryId(given_away.0 + 1), "a clean end leaves no gap");
    raw(dir.path()).execute("DELETE FROM meta WHERE key = 'next_id'", []).unwrap();
    assert!(open(dir.path()).next_id(fingerprint("any")).0 > next.0 + 1000, "an unclean end leaves one");
}

#[tokio::test]
async fn a_closed_store_refuses_and_gives_the_directory_free() {
    let (store, dir) = fresh();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.find(fingerprint("q")).await, Err(StoreError::Closed)));
    assert!(matches!(store.flush().await, Err(StoreError::Closed)));
    assert!(matches!(store.alias(fingerprint("q"), EntryId(1)), Err(StoreError::Closed)));
    open(dir.path()).flush().await.unwrap();
}

#[test]
fn a_second_store_in_one_directory_is_refused() {
    let (_store, dir) = fresh();
    let error = SqliteStore::open(dir.path(), StoreSettings::default()).unwrap_err();
    assert_eq!(error.reason(), "store-locked");
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_says_what_to_do() {
    let (_store, dir) = fresh();
    let error = SqliteStore::open(&dir.path().join("semblance.lock/data"), StoreSettings::default()).unwrap_err();
    assert_eq!(error.reason(), "store-directory");
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[test]
fn the_files_are_their_owners_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("new/data");
    let _store = open(&dir);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.clone()), 0o700);
    for name in ["semblance.sqlite3", "semblance.sqlite3-wal", "semblance.lock"] {
        assert_eq!(mode(dir.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_newer_database_is_refused_and_left_as_it_is() {
    let (store, dir) = fresh();
    drop(store);
    raw(dir.path()).execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 99").unwrap();
    let before = std::fs::read(schema::database_path(dir.path())).unwrap();
    let error = SqliteStore::open(dir.path(), StoreSettings::default()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, supported: 6, .. }), "{error}");
    assert_eq!(std::fs::read(schema::database_path(dir.path())).unwrap(), before);
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_as_they_are() {
    let foreign = tempfile::tempdir().unwrap();
    raw(foreign.path()).execute_batch("CREATE TABLE notes (text)").unwrap();
    let garbage = tempfile::tempdir().unwrap();
    std::fs::write(schema::database_path(garbage.path()), "dear diary, ".repeat(100)).unwrap();
    for dir in [foreign.path(), garbage.path()] {
        let before = std::fs::read(schema::database_path(dir)).unwrap();
        let error = SqliteStore::open(dir, StoreSettings::default()).unwrap_err();
        assert_eq!(error.reason(), "store-not-a-database", "{error}");
        assert_eq!(std::fs::read(schema::database_path(dir)).unwrap(), before);
    }
}

#[test]
fn migrating_twice_changes_nothing() {
    let (store, dir) = fresh();
    drop(store);
    let schema = |conn: &Connection| {
        let mut statement = conn.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap()
    };
    let before = schema(&raw(dir.path()));
    drop(open(dir.path()));
    assert_eq!(schema(&raw(dir.path())), before);
    let version: u32 = raw(dir.path()).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, schema::supported());
}

#[tokio::test]
async fn one_bad_write_in_a_group_fails_alone() {
    // The group gathers until someone waits, so all three are in one.
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { gather: Duration::from_secs(3600), ..StoreSettings::default() };
    let store = SqliteStore::open(dir.path(), settings).unwrap();
    let good = entry(store.next_id(fingerprint("any")), "good");
    let clash = entry(good.id, "another question under the same id");
    store.admit(good.clone(), Durability::Behind).await.unwrap();
    let refused = store.admit(clash, Durability::Through);
    let later = store.admit(entry(store.next_id(fingerprint("any")), "later"), Durability::Through);
    assert_eq!(refused.await.unwrap_err().reason(), "store-database");
    later.await.unwrap();
    assert_eq!(store.failed_writes(), 1);
    assert_same(&store.get(good.id).await.unwrap().unwrap(), &good);
    assert!(store.find(fingerprint("later")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_queue_refuses_admissions_but_no_purge() {
    let dir = tempfile::tempdir().unwrap();
    let gather = Duration::from_secs(3600);
    let settings = StoreSettings { gather, queue_items: 2, ..StoreSettings::default() };
    let store = SqliteStore::open(dir.path(), settings).unwrap();
    for n in 0..2 {
        store.admit(entry(store.next_id(fingerprint("any")), &format!("q{n}")), Durability::Behind).await.unwrap();
    }
    let one_more = entry(store.next_id(fingerprint("any")), "one more");
    assert!(matches!(store.admit(one_more, Durability::Behind).await, Err(StoreError::Full)));
    assert_eq!(store.purge(Selector::default(), Hardness::Hard, false).await.unwrap().len(), 2);
}

#[tokio::test]
async fn after_a_full_disk_writes_work_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { max_file_bytes: Some(400 << 10), ..StoreSettings::default() };
    let store = SqliteStore::open(dir.path(), settings).unwrap();
    let mut admitted = Vec::new();
    let error = loop {
        let mut large = entry(store.next_id(fingerprint("any")), &format!("q{}", admitted.len()));
        large.answer.text = (0..8000).map(|_| fastrand::alphanumeric()).collect();
        match store.admit(large.clone(), Durability::Through).await {
            Ok(()) => admitted.push(large),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), "store-no-space");
    assert!(admitted.len() > 5);
    for large in &admitted {
        assert!(store.get(large.id).await.unwrap().is_some());
    }
    assert_eq!(store.evict_to(0, 3).await.unwrap().len(), 3);
    store.admit(entry(store.next_id(fingerprint("any")), "room again"), Durability::Through).await.unwrap();
    assert!(doctor::doctor(dir.path(), false).unwrap().is_clean());
}

#[tokio::test]
async fn hard_purged_text_is_in_no_file() {
    let (store, dir) = fresh();
    for n in 0..300 {
        let secret = if n % 3 == 0 { "PURGED" } else { "OTHER" };
        let mut entry = entry(store.next_id(fingerprint("any")), &format!("what about {secret} number {n}?"));
        entry.tags = vec![secret.to_owned()];
        store.admit(entry, Durability::Behind).await.unwrap();
    }
    store.flush().await.unwrap();
    assert!(files_hold(dir.path(), "about PURGED"));
    let selector = Selector { tag: Some("PURGED".to_owned()), ..Selector::default() };
    assert_eq!(store.purge(selector, Hardness::Hard, false).await.unwrap().len(), 100);
    assert!(!files_hold(dir.path(), "about PURGED"));
    assert!(files_hold(dir.path(), "about OTHER"));
}

#[tokio::test]
async fn housekeeping_gives_freed_pages_back_step_by_step() {
    let (store, dir) = fresh();
    for n in 0..400 {
        let mut large = entry(store.next_id(fingerprint("any")), &format!("q{n}"));
        large.answer.text = (0..20_000).map(|_| fastrand::alphanumeric()).collect();
        store.admit(large, Durability::Behind).await.unwrap();
    }
    store.purge(Selector::default(), Hardness::Hard, false).await.unwrap();
    store.close().await.unwrap();
    let size = || std::fs::metadata(schema::database_path(dir.path())).unwrap().len();
    let before = size();
    let mut writer = Writer {
        conn: schema::open_writer(dir.path(), None).unwrap().0,
        queue: Arc::clone(&store.queue),
        next_id: Arc::default(),
        synced: true,
        scrub_owed: true,
    };
    let mut steps = 1;
    while writer.tidy_up() {
        steps += 1;
    }
    drop(writer);
    assert!(steps > 1 && size() < before / 2, "{steps} steps from {before} to {}", size());
}

#[tokio::test]
async fn a_purge_leaves_a_trail_without_text() {
    let (store, dir) = fresh();
    store.admit(entry(store.next_id(fingerprint("any")), "a private question"), Durability::Through).await.unwrap();
    let selector = Selector { category: Some("product-faq".to_owned()), ..Selector::default() };
    store.purge(selector, Hardness::Hard, false).await.unwrap();
    let trail: (String, String, i64) = raw(dir.path())
        .query_row("SELECT selector, hardness, removed FROM purges", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert!(trail.0.contains(r#""category":"product-faq""#), "{}", trail.0);
    assert_eq!((trail.1.as_str(), trail.2), ("hard", 1));
}

#[tokio::test]
async fn a_damaged_entry_is_never_served_and_removed() {
    for damage in [
        "UPDATE answers SET body = substr(body, 1, length(body) - 1)",
        "UPDATE entries SET scope = zeroblob(32)",
        "UPDATE entries SET generated_at = generated_at + 1",
        "UPDATE entries SET ttl_limit_ms = NULL",
        "UPDATE entries SET query = 'another question'",
        "UPDATE entries SET category = 'writing'",
        "UPDATE vectors SET embedding = zeroblob(128)",
        "DELETE FROM answers",
    ] {
        let (store, dir) = fresh();
        let stored = entry(store.next_id(fingerprint("any")), "q");
        store.admit(stored.clone(), Durability::Through).await.unwrap();
        raw(dir.path()).execute(damage, []).unwrap();
        let error = store.find(stored.fingerprint).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { id, .. } if id == stored.id), "{damage}: {error}");
        store.flush().await.unwrap();
        assert!(store.find(stored.fingerprint).await.unwrap().is_none(), "{damage}");
        assert!(doctor::doctor(dir.path(), false).unwrap().is_clean(), "{damage}");
    }
}

#[tokio::test]
async fn an_unreadable_vector_does_not_stop_the_walk() {
    let (store, dir) = fresh();
    for n in 0..3 {
        store.admit(entry(store.next_id(fingerprint("any")), &format!("q{n}")), Durability::Through).await.unwrap();
    }
    raw(dir.path()).execute("UPDATE vectors SET embedding = x'00' WHERE entry_id > 1", []).unwrap();
    let page = store.vectors(None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.next), (1, Some(EntryId(2))));
    assert_eq!(store.vectors(page.next, 2).await.unwrap().items, []);
}

#[tokio::test]
async fn a_dead_store_fails_every_call() {
    let dead = FailingStore::dead();
    assert_eq!(dead.find(fingerprint("q")).await.unwrap_err().reason(), "store-database");
    assert!(dead.alias(fingerprint("q"), EntryId(1)).is_err());
    let (store, _dir) = fresh();
    let double = FailingStore::in_front_of(Arc::new(store));
    double.set_down(true);
    assert!(double.flush().await.is_err());
    double.set_down(false);
    double.flush().await.unwrap();
    assert_eq!(double.calls(), 2);
}

/// What a store is told; questions and wordings are numbers.
#[derive(Debug, Clone)]
enum Step {
    Admit { question: u8, category: bool, behind: bool },
    Alias { wording: u8, question: u8 },
    Purge { category: Option<bool>, question: Option<u8>, soft: Option<u8> },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let question = 0..6u8;
    prop_oneof![
        6 => (question.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(question, category, behind)| Step::Admit { question, category, behind }),
        4 => (question.clone(), question.clone()).prop_map(|(wording, question)| Step::Alias { wording, question }),
        2 => (any::<Option<bool>>(), proptest::option::of(question), any::<Option<u8>>())
            .prop_map(|(category, question, soft)| Step::Purge { category, question, soft }),
        1 => Just(Step::Reopen),
    ]
}

/// The contract in memory, as plain as can be.
#[derive(Default)]
struct Model {
    entries: BTreeMap<String, Entry>,
    aliases: BTreeMap<String, EntryId>,
}

impl Model {
    fn admit(&mut self, question: &str, entry: Entry) {
        self.aliases.remove(question);
        if let Some(old) = self.entries.insert(question.to_owned(), entry) {
            self.aliases.retain(|_, id| *id != old.id);
        }
    }

    fn alias(&mut self, wording: &str, id: EntryId) {
        if !self.entries.contains_key(wording) && self.entries.values().any(|entry| entry.id == id) {
            self.aliases.insert(wording.to_owned(), id);
        }
    }

    fn purge(&mut self, selector: &Selector, hardness: Hardness) -> Vec<EntryId> {
        let mut ids: Vec<_> = self.entries.values().filter(|entry| selector.selects(entry)).map(|e| e.id).collect();
        ids.sort_unstable();
        match hardness {
            Hardness::Hard => {
                self.entries.retain(|_, entry| !ids.contains(&entry.id));
                self.aliases.retain(|_, id| !ids.contains(id));
            }
            Hardness::Soft(at) => {
                for entry in self.entries.values_mut().filter(|entry| ids.contains(&entry.id)) {
                    entry.invalidated_at = Some(entry.invalidated_at.map_or(at, |earlier| earlier.min(at)));
                }
            }
        }
        ids
    }

    fn find(&self, wording: &str) -> Option<(&Entry, bool)> {
        let by_alias = || {
            let id = self.aliases.get(wording)?;
            self.entries.values().find(|entry| entry.id == *id).map(|entry| (entry, true))
        };
        self.entries.get(wording).map(|entry| (entry, false)).or_else(by_alias)
    }
}

async fn agree(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = (open(dir.path()), Model::default());
    for step in steps {
        match step {
            Step::Admit { question, category, behind } => {
                let name = format!("q{question}");
                let mut entry = entry(store.next_id(fingerprint("any")), &name);
                entry.category = category.to_string();
                let durability = if behind { Durability::Behind } else { Durability::Through };
                store.admit(entry.clone(), durability).await.unwrap();
                model.admit(&name, entry);
            }
            Step::Alias { wording, question } => {
                let Some(id) = model.entries.get(&format!("q{question}")).map(|entry| entry.id) else { continue };
                store.alias(fingerprint(&format!("q{wording}")), id).unwrap();
                model.alias(&format!("q{wording}"), id);
            }
            Step::Purge { category, question, soft } => {
                let entry = question.and_then(|q| model.entries.get(&format!("q{q}"))).map(|entry| entry.id);
                let selector = Selector { category: category.map(|c| c.to_string()), entry, ..Selector::default() };
                let hardness = soft.map_or(Hardness::Hard, |at| Hardness::Soft(Timestamp::from_millis(at.into())));
                let purged = store.purge(selector.clone(), hardness, false).await.unwrap();
                assert_eq!(purged, model.purge(&selector, hardness));
            }
            Step::Reopen => {
                store.close().await.unwrap();
                store = open(dir.path());
            }
        }
    }
    store.flush().await.unwrap();
    for question in 0..6u8 {
        let name = format!("q{question}");
        let found = store.find(fingerprint(&name)).await.unwrap();
        let expected = model.find(&name);
        assert_eq!(found.as_ref().map(|f| (f.entry.id, f.via_alias)), expected.map(|(e, alias)| (e.id, alias)));
        if let (Some(found), Some((expected, _))) = (found, expected) {
            assert_same(&found.entry, expected);
        }
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.aliases), (model.entries.len() as u64, model.aliases.len() as u64));
    assert_eq!(store.failed_writes(), 0);
    assert!(doctor::doctor(dir.path(), false).unwrap().is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_a_plain_model(steps in proptest::collection::vec(step(), 0..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(agree(steps));
    }
}

#[tokio::test]
async fn upkeep_asks_indexes_and_looks_at_no_entry_that_it_need_not() {
    let (_store, dir) = fresh();
    let conn = raw(dir.path());
    let plan = |sql: &str| -> String {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![1; statement.parameter_count()];
        let lines = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    let ways =
        ["(category=? AND generated_at<?)", "(category=? AND generated_at>?)", "(category=? AND invalidated_at<?)"];
    for (sql, way) in write::EXPIRED.into_iter().zip(ways) {
        let plan = plan(sql);
        assert!(plan.contains("USING") && plan.contains(way) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
    let plan = plan("SELECT count(*), sum(bytes) FROM entries");
    assert!(plan.contains("COVERING INDEX entries_by_size"), "{plan}");
}
