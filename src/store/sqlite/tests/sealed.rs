//! The same store with its texts sealed.

use super::*;
use crate::store::bans::{Ban, Bans};

conformance_suite!(fresh_sealed());

fn key(byte: u8) -> EncryptionKey {
    EncryptionKey::from_bytes([byte; 32])
}

fn open_under(dir: &Path, key: Option<EncryptionKey>) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, StoreSettings { encryption: key, ..StoreSettings::default() })
}

fn fresh_sealed() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open_under(dir.path(), Some(key(1))).unwrap(), dir)
}

fn bytes_hold(dir: &Path, part: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(part.len()).any(|window| window == part)
    })
}

#[tokio::test]
async fn neither_question_nor_answer_nor_vector_stands_in_any_file() {
    let other = conformance::vector("another");
    let vectors = [&conformance::vector("a question"), &other].map(codec::encode_vector);
    for (encryption, seen) in [(None, true), (Some(key(1)), false)] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_under(dir.path(), encryption).unwrap();
        let entry = entry(store.next_id(fingerprint("any")), "a question");
        store.admit(entry.clone(), Durability::Through).await.unwrap();
        store.set_embedding(entry.id, "minilm@2".to_owned(), other.clone()).unwrap();
        store.flush().await.unwrap();
        let look = || [&b"a question"[..], b"The answer to", &vectors[0][..16], &vectors[1][..16]];
        assert_eq!(look().iter().any(|part| bytes_hold(dir.path(), part)), seen);
        let page = store.vectors(None, 10).await.unwrap();
        assert_eq!((page.items[0].query.as_deref(), &page.items[0].embedding), (Some("a question"), &other));
        store.close().await.unwrap();
        assert_eq!(look().iter().any(|part| bytes_hold(dir.path(), part)), seen);
    }
}

#[tokio::test]
async fn a_ban_is_sealed_as_questions_are_and_known_after_a_reopen() {
    for (encryption, seen) in [(None, true), (Some(key(1)), false)] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_under(dir.path(), encryption.clone()).unwrap();
        let near = conformance::near("what nobody may read", 0.9);
        let selector = Selector { near: Some(near.clone()), ..Selector::default() };
        let ban = Ban::of(&selector, Hardness::Hard).unwrap();
        let (id, _) = store.ban(ban.clone()).await.unwrap();
        store.close().await.unwrap();
        let vector = codec::encode_vector(&near.vector);
        for part in [&b"what nobody may read"[..], &vector[..16]] {
            assert_eq!(bytes_hold(dir.path(), part), seen);
        }
        let store = open_under(dir.path(), encryption).unwrap();
        assert_eq!(store.bans().await.unwrap(), [Ban { id, ..ban }]);
        assert_eq!(store.lift(vec![id]).await.unwrap(), [id]);
        assert!(!bytes_hold(dir.path(), b"what nobody may read"), "a lifted ban leaves no text");
    }
}

#[tokio::test]
async fn a_sealed_file_opens_under_its_own_key_only_and_a_refusal_changes_nothing() {
    let (store, dir) = fresh_sealed();
    let kept = entry(store.next_id(fingerprint("any")), "kept");
    store.admit(kept.clone(), Durability::Through).await.unwrap();
    store.close().await.unwrap();
    let before = std::fs::read(schema::database_path(dir.path())).unwrap();
    for (wrong, reason) in [(Some(key(2)), "store-wrong-key"), (None, "store-key-missing")] {
        let error = open_under(dir.path(), wrong.clone()).unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(error.to_string().contains("SEMBLANCE_ENCRYPTION_KEY"), "{error}");
        let error = doctor::examine(dir.path(), true, wrong.as_ref()).unwrap_err();
        assert_eq!(error.reason(), reason, "a repair with the wrong key would remove everything");
    }
    assert!(std::fs::read(schema::database_path(dir.path())).unwrap() == before, "the file was changed");
    let store = open_under(dir.path(), Some(key(1))).unwrap();
    assert_same(&store.find(fingerprint("kept")).await.unwrap().unwrap().entry, &kept);
    assert!(doctor::examine(dir.path(), false, Some(&key(1))).unwrap().is_clean());
}

#[tokio::test]
async fn a_plain_file_is_not_continued_sealed() {
    let (store, dir) = fresh();
    store.admit(entry(store.next_id(fingerprint("any")), "kept"), Durability::Through).await.unwrap();
    store.close().await.unwrap();
    let error = open_under(dir.path(), Some(key(1))).unwrap_err();
    assert_eq!(error.reason(), "store-key-not-wanted");
    assert_eq!(doctor::examine(dir.path(), false, Some(&key(1))).unwrap_err().reason(), "store-key-not-wanted");
    assert!(open(dir.path()).find(fingerprint("kept")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_text_moved_to_another_row_is_never_served_and_the_doctor_removes_it() {
    let (store, dir) = fresh_sealed();
    for question in ["one", "two"] {
        store.admit(entry(store.next_id(fingerprint("any")), question), Durability::Through).await.unwrap();
    }
    store.close().await.unwrap();
    // Whoever can write the file can make the checksum fit, but not the seal.
    let (conn, vault) = schema::open_writer(dir.path(), Some(&key(1))).unwrap();
    let mut record = codec::Record::of(&entry(EntryId(2), "two"), &vault).unwrap();
    record.body = conn.query_row("SELECT body FROM answers WHERE entry_id = 1", [], |row| row.get(0)).unwrap();
    conn.execute("UPDATE answers SET body = ? WHERE entry_id = 2", [&record.body]).unwrap();
    let facts = rusqlite::params![record.query, record.checksum()];
    conn.execute("UPDATE entries SET query = ?, checksum = ? WHERE id = 2", facts).unwrap();
    let moved = "UPDATE vectors SET embedding = (SELECT embedding FROM vectors WHERE entry_id = 2) WHERE entry_id = 1";
    conn.execute(moved, []).unwrap();
    drop(conn);
    let store = open_under(dir.path(), Some(key(1))).unwrap();
    let error = store.find(fingerprint("two")).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { id: EntryId(2), what: "seal" }), "{error}");
    store.flush().await.unwrap();
    assert!(store.find(fingerprint("two")).await.unwrap().is_none(), "an error once, then a miss");
    store.close().await.unwrap();
    let report = doctor::examine(dir.path(), true, Some(&key(1))).unwrap();
    assert_eq!((report.problems.len(), report.unrepaired()), (1, 0), "{report}");
    assert_eq!(report.problems[0].kind, doctor::ProblemKind::Vector);
}

#[tokio::test]
async fn a_sealed_file_with_damaged_pages_is_rebuilt_sealed() {
    let (store, dir) = fresh_sealed();
    for n in 0..40 {
        let mut large = entry(store.next_id(fingerprint("any")), &format!("a question {n}"));
        large.answer.text = (0..9000).map(|_| fastrand::alphanumeric()).collect();
        store.admit(large, Durability::Behind).await.unwrap();
    }
    store.close().await.unwrap();
    let path = schema::database_path(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(8192).skip(40).step_by(5) {
        page.fill(0);
    }
    std::fs::write(&path, bytes).unwrap();
    std::fs::create_dir(dir.path().join("rebuilding")).unwrap();
    let report = doctor::examine(dir.path(), true, Some(&key(1))).unwrap();
    assert!(!report.is_clean() && report.unrepaired() == 0, "{report}");
    assert!(doctor::examine(dir.path(), false, Some(&key(1))).unwrap().is_clean());
    assert_eq!(doctor::examine(dir.path(), false, None).unwrap_err().reason(), "store-key-missing");
    assert!(!dir.path().join("rebuilding").exists() && !bytes_hold(dir.path(), b"a question"));
    let store = open_under(dir.path(), Some(key(1))).unwrap();
    let left = store.list(Selector::default(), 0, 100).await.unwrap();
    assert!(!left.is_empty() && left.len() < 40 && left.iter().all(|entry| entry.query.is_some()), "{}", left.len());
    assert!(store.next_id(fingerprint("any")).0 > 40, "ids are not used again");
}
