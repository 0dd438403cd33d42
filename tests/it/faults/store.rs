//! A database that is locked, full, read-only or damaged.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags};
use semblance::store::{
    failing::FailingStore,
    sqlite::{SqliteStore, StoreSettings, doctor},
};
use serde_json::Value;

use super::{ASKED, OTHER, detail, refused_start, setup, with_two_answers};
use crate::harness::TestGateway;

fn database(gateway: &TestGateway) -> std::path::PathBuf {
    gateway.data_dir().join("semblance.sqlite3")
}

/// Opens what is there and makes nothing.
fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// The same gateway after something else changed its database while it was stopped.
pub(super) async fn damaged(gateway: TestGateway, damage: &'static str) -> TestGateway {
    let path = database(&gateway);
    gateway
        .restart_after(|| {
            assert!(open(&path).execute(damage, []).unwrap() > 0, "{damage}");
        })
        .await
}

/// A gateway that serves from its database alone, and the hand that makes that fail.
async fn over_a_store_that_can_fail() -> (TestGateway, Arc<FailingStore>) {
    let mut setup = setup().on_disk().config(|config| config.hot_tier_bytes = 0);
    let real = SqliteStore::open(&setup.config.data_dir, StoreSettings::default()).unwrap();
    let store = Arc::new(FailingStore::in_front_of(Arc::new(real)));
    setup.store = Some(Arc::<FailingStore>::clone(&store));
    (setup.start().await, store)
}

fn doctor_says(dir: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
    command.args(["doctor", "--json", "--data-dir", dir.to_str().unwrap()]).args(arguments);
    let ran = command.output().unwrap();
    (ran.status.code(), serde_json::from_slice(&ran.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_locked_by_another_process_fails_no_request_and_writes_go_on_after_it() {
    let gateway = setup().on_disk().start().await;
    gateway.ask(ASKED).await;
    let other = open(&database(&gateway));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact", "readers are not locked out");
    let miss = gateway.ask(OTHER).await;
    assert_eq!((miss.status, miss.outcome()), (200, "miss"));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(gateway.ask("Is tin a metal?").await.outcome(), "miss");
    assert_eq!(gateway.ask("Is tin a metal?").await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_no_request_and_what_is_stored_goes_on_being_served() {
    let mut setup = setup().on_disk();
    let settings = StoreSettings { max_file_bytes: Some(400 << 10), ..StoreSettings::default() };
    setup.store = Some(Arc::new(SqliteStore::open(&setup.config.data_dir, settings).unwrap()));
    let gateway = setup.start().await;
    gateway.ask(ASKED).await;
    // What cannot be compressed.
    let long: String = (0..40_000).map(|_| fastrand::alphanumeric()).collect();
    let mut refused = 0;
    for number in 0..20 {
        let question = format!("What is the secret of number {number}?");
        gateway.script.answer(&question, &long);
        let miss = gateway.ask(&question).await;
        assert_eq!((miss.status, miss.outcome(), miss.content().len()), (200, "miss", long.len()));
        refused += usize::from(detail(&miss).contains("cache-error"));
    }
    assert!(refused > 5, "{refused}");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[test]
fn a_read_only_database_stops_a_start_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    // A directory where the file should be cannot be written, whoever runs this.
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("semblance.sqlite3")).unwrap();
    let said = refused_start(&["--data-dir", data.to_str().unwrap()]);
    assert!(said.contains("is not usable") && said.contains("--data-dir"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_answer_is_never_served_is_named_by_the_doctor_and_asked_for_anew() {
    let gateway = with_two_answers(setup().on_disk()).await;
    let path = database(&gateway);
    let dir = gateway.data_dir().to_owned();
    let gateway = gateway
        .restart_after(|| {
            let database = open(&path);
            let damage =
                "UPDATE answers SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB) WHERE entry_id = 1";
            assert_eq!(database.execute(damage, []).unwrap(), 1);
            drop(database);
            let (code, report) = doctor_says(&dir, &[]);
            assert_eq!(code, Some(1));
            assert_eq!(
                (&report["problems"][0]["kind"], &report["problems"][0]["entry"]),
                (&"entry".into(), &"e1".into())
            );
        })
        .await;
    let anew = gateway.ask(ASKED).await;
    assert_eq!((anew.status, anew.outcome()), (200, "miss"));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    assert_eq!(gateway.ask(OTHER).await.outcome(), "hit-exact", "the other one is whole");
}

/// A page of noise in the middle of the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_page_is_contained_named_and_repaired_or_the_file_is_refused_with_advice() {
    let mut setup = setup().on_disk();
    setup = setup.config(|config| config.hot_tier_bytes = 0);
    let gateway = setup.start().await;
    let long: String = (0..60_000).map(|_| fastrand::alphanumeric()).collect();
    for number in 0..8 {
        let question = format!("What is the secret of number {number}?");
        gateway.script.answer(&question, &format!("{number} {long}"));
        gateway.ask(&question).await;
    }
    gateway.ask(ASKED).await;
    let (path, dir) = (database(&gateway), gateway.data_dir().to_owned());
    let gateway = gateway
        .restart_after(|| {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2 / 8192 * 8192;
            bytes[middle..middle + 8192].iter_mut().for_each(|byte| *byte = fastrand::u8(..));
            std::fs::write(&path, bytes).unwrap();
            let (code, report) = doctor_says(&dir, &[]);
            assert_eq!(code, Some(1), "{report}");
            let (code, report) = doctor_says(&dir, &["--repair"]);
            assert_eq!(code, Some(0), "{report}");
            assert!(doctor::doctor(&dir, false).unwrap().is_clean());
        })
        .await;
    for number in 0..8 {
        let answer = gateway.ask(&format!("What is the secret of number {number}?")).await;
        assert_eq!(answer.content(), format!("{number} {long}"), "never another's, never half of it");
    }
    let again = gateway.ask(ASKED).await;
    assert_eq!(again.status, 200);
}

/// Apps need their answers more than the cache.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_cut_in_two_is_done_without_until_it_is_repaired() {
    let gateway = with_two_answers(setup().on_disk()).await;
    let (path, dir) = (database(&gateway), gateway.data_dir().to_owned());
    let gateway = gateway
        .restart_after(|| {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2 / 8192 * 8192).unwrap();
        })
        .await;
    for question in [ASKED, OTHER, "Is tin a metal?"] {
        assert_eq!(gateway.ask(question).await.status, 200);
    }
    let gateway = gateway
        .restart_after(|| {
            let (code, report) = doctor_says(&dir, &["--repair"]);
            assert_eq!(code, Some(0), "{report}");
        })
        .await;
    gateway.ask(ASKED).await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_any_more_is_read_on() {
    let (gateway, store) = over_a_store_that_can_fail().await;
    gateway.ask(ASKED).await;
    store.set_read_only(true);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    let miss = gateway.ask(OTHER).await;
    assert_eq!((miss.status, miss.outcome()), (200, "miss"));
    assert!(detail(&miss).contains("cache-error"), "{}", detail(&miss));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_while_running_fails_no_request_and_recovers() {
    let (gateway, store) = over_a_store_that_can_fail().await;
    gateway.ask(ASKED).await;
    store.set_down(true);
    for question in [ASKED, OTHER] {
        let answer = gateway.ask(question).await;
        assert_eq!((answer.status, answer.outcome()), (200, "miss"));
        assert!(detail(&answer).contains("cache-error"), "{}", detail(&answer));
    }
    store.set_down(false);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    gateway.hand.advance(Duration::from_secs(1));
}
