use super::*;
use crate::traffic::Weighed;

fn record(request: &str, at_ms: i64) -> Record {
    Record {
        at_ms,
        request_id: request.to_owned(),
        category: "faq".to_owned(),
        outcome: "miss".into(),
        reason: "empty".into(),
        query: Some(format!("What is {request}?")),
        principal: Some(Principal::from_bytes([7; 32]).to_hex()),
        ..Record::default()
    }
}

fn weighed() -> Weighed {
    Weighed {
        candidate: "e1".to_owned(),
        similarity: 0.75,
        p: None,
        bar: 0.5,
        slot: Some("number".into()),
        detail: Some("5 / 6".to_owned()),
    }
}

async fn with(records: impl IntoIterator<Item = Record>) -> (tempfile::TempDir, SqliteTraffic) {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteTraffic::open(dir.path(), None).unwrap();
    records.into_iter().for_each(|record| log.record(record).unwrap());
    log.flush().await.unwrap();
    (dir, log)
}

fn names(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.request_id.as_str()).collect()
}

#[tokio::test]
async fn records_come_back_newest_first_by_page_and_as_they_were() {
    let whole = Record { weighed: Some(weighed()), ..record("c", 30) };
    let (_dir, log) = with([record("a", 10), record("b", 20), whole.clone()]).await;
    let page = log.records(Wanted { limit: Some(2), ..Wanted::default() }).await.unwrap();
    assert_eq!(names(&page), ["c", "b"]);
    assert_eq!(page[0], Record { id: Some(3), ..whole });
    let next = log.records(Wanted { before: page[1].id, ..Wanted::default() }).await.unwrap();
    assert_eq!(names(&next), ["a"]);
    assert_eq!(log.of_request("b".to_owned()).await.unwrap().unwrap().at_ms, 20);
    assert_eq!(log.of_request("none".to_owned()).await.unwrap(), None);
    assert_eq!(names(&log.walk(1, Timestamp::from_millis(0), 9).await.unwrap()), ["b", "c"]);
}

#[tokio::test]
async fn filters_are_all_held_to() {
    let refused = Record { weighed: Some(weighed()), reason: "guard-rejected".into(), ..record("b", 20) };
    let served = Record { weighed: Some(weighed()), entry: Some("e1".to_owned()), ..record("c", 30) };
    let (_dir, log) = with([record("a", 10), refused, served]).await;
    for (wanted, expected) in [
        (Wanted { refused: Some(1), ..Wanted::default() }, vec!["b"]),
        (Wanted { text: Some("IS C?".to_owned()), ..Wanted::default() }, vec!["c"]),
        (Wanted { since_ms: Some(20), until_ms: Some(30), ..Wanted::default() }, vec!["b"]),
        (Wanted { reason: Some("empty".to_owned()), ..Wanted::default() }, vec!["c", "a"]),
        (Wanted { category: Some("other".to_owned()), ..Wanted::default() }, vec![]),
    ] {
        assert_eq!(names(&log.records(wanted.clone()).await.unwrap()), expected, "{wanted:?}");
    }
}

#[tokio::test]
async fn sums_add_up_over_a_restart() {
    let (dir, log) = with([]).await;
    let key = Key { hour_ms: 0, category: "faq".into(), model: "m".into(), policy_revision: "r".into() };
    let one = Sums { requests: 2, ..Sums::default() };
    log.add(vec![(key.clone(), one), (key.clone(), one)]).await.unwrap();
    drop(log);
    let log = SqliteTraffic::open(dir.path(), None).unwrap();
    log.add(vec![(key.clone(), one)]).await.unwrap();
    let (since, until) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
    assert_eq!(log.sums(since, until).await.unwrap(), [(key, Sums { requests: 6, ..Sums::default() })]);
    assert_eq!(log.sums(until, until).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_too_old_or_too_many_goes() {
    let (_dir, log) = with((0..10).map(|n| record(&n.to_string(), n * 10))).await;
    let moment = Timestamp::from_millis;
    let retention = Retention { since: moment(20), rows: 100, sums_since: moment(0) };
    assert_eq!(log.prune(retention).await.unwrap(), 2);
    assert_eq!(log.prune(Retention { rows: 3, ..retention }).await.unwrap(), 5);
    assert_eq!(names(&log.records(Wanted::default()).await.unwrap()), ["9", "8", "7"]);
}

/// Everything in the files of the log.
fn bytes_in(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_person_can_be_erased_from_the_files() {
    let other = Record { principal: Some(Principal::from_bytes([8; 32]).to_hex()), ..record("theirs", 20) };
    let (dir, log) = with([record("mine", 10), other]).await;
    assert!(holds(&bytes_in(dir.path()), "What is mine?"));
    assert_eq!(log.forget(vec![Principal::from_bytes([7; 32])]).await.unwrap(), 1);
    assert!(!holds(&bytes_in(dir.path()), "What is mine?"));
    assert_eq!(names(&log.records(Wanted::default()).await.unwrap()), ["theirs"]);
}

#[tokio::test]
async fn words_are_sealed_under_a_key_and_read_back_with_it_only() {
    let dir = tempfile::tempdir().unwrap();
    let key = EncryptionKey::from_bytes([1; 32]);
    let log = SqliteTraffic::open(dir.path(), Some(&key)).unwrap();
    log.record(Record { weighed: Some(weighed()), ..record("secret", 10) }).unwrap();
    log.flush().await.unwrap();
    let bytes = bytes_in(dir.path());
    assert!(!holds(&bytes, "What is secret?") && !holds(&bytes, "5 / 6"));
    let found = log.records(Wanted { text: Some("what is".to_owned()), ..Wanted::default() }).await.unwrap();
    assert_eq!(found[0].query.as_deref(), Some("What is secret?"));
    assert_eq!(found[0].weighed.as_ref().unwrap().detail.as_deref(), Some("5 / 6"));
    drop(log);
    assert!(matches!(SqliteTraffic::open(dir.path(), None), Err(StoreError::KeyMissing { .. })));
}
