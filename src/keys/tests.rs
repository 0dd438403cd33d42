use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::{file::Order, *};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn order(name: &str) -> Order {
    Order { name: name.to_owned(), rights: vec![Right::Write, Right::Read], rate: None, lifetime: None }
}

fn ring(dir: &TempDir) -> Keyring {
    Keyring::new(dir.path(), principal_key(dir.path()).unwrap())
}

#[test]
fn a_key_is_known_from_the_moment_it_is_made_and_refused_from_the_moment_it_is_revoked() {
    let dir = TempDir::new().unwrap();
    let ring = ring(&dir);
    assert_eq!(ring.holder("sk-semblance-guess", NOW), Err(Refusal::Unknown));
    let (text, _) = file::add(dir.path(), order("app"), NOW).unwrap();
    let holder = Holder { name: "app".to_owned(), rights: vec![Right::Read, Right::Write] };
    assert_eq!(ring.holder(&text, NOW), Ok(holder));
    assert_eq!(ring.holder(&text[..text.len() - 1], NOW), Err(Refusal::Unknown));
    assert_eq!(file::revoke(dir.path(), "app", false, NOW).unwrap(), Some(1));
    assert_eq!(ring.holder(&text, NOW), Err(Refusal::Revoked));
    assert_eq!(file::revoke(dir.path(), "app", false, NOW).unwrap(), Some(0));
    assert_eq!(file::revoke(dir.path(), "other", false, NOW).unwrap(), None);
}

#[test]
fn a_name_can_have_a_new_key_before_it_loses_the_old_one() {
    let dir = TempDir::new().unwrap();
    let ring = ring(&dir);
    let (old, _) = file::add(dir.path(), order("app"), NOW).unwrap();
    let (new, _) = file::add(dir.path(), order("app"), NOW).unwrap();
    assert_eq!(ring.holder(&old, NOW), ring.holder(&new, NOW));
    assert_eq!(file::revoke(dir.path(), "app", true, NOW).unwrap(), Some(1));
    assert_eq!(ring.holder(&old, NOW), Err(Refusal::Revoked));
    assert!(ring.holder(&new, NOW).is_ok());
}

#[test]
fn a_key_ends_at_its_time_and_is_used_no_more_often_than_it_may_be() {
    let dir = TempDir::new().unwrap();
    let ring = ring(&dir);
    let limits = |rate: &str, lifetime| Order { rate: rate.parse().ok(), lifetime, ..order("app") };
    let (short, _) = file::add(dir.path(), limits("", Some(Duration::from_secs(60))), NOW).unwrap();
    assert!(ring.holder(&short, NOW.plus(Duration::from_secs(59))).is_ok());
    assert_eq!(ring.holder(&short, NOW.plus(Duration::from_secs(60))), Err(Refusal::Expired));
    let (rare, _) = file::add(dir.path(), limits("1/min", None), NOW).unwrap();
    assert!(ring.holder(&rare, NOW).is_ok());
    assert_eq!(ring.holder(&rare, NOW), Err(Refusal::TooOften { after: Duration::from_secs(60) }));
}

#[test]
fn neither_a_keys_text_nor_its_random_part_is_kept_and_only_the_owner_may_read_the_files() {
    let dir = TempDir::new().unwrap();
    let (text, record) = file::add(dir.path(), order("app"), NOW).unwrap();
    assert_eq!(text.len(), PREFIX.len() + 43, "32 random bytes");
    assert!(!format!("{record:?}").contains(&String::from(record.hash)));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let kept = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!kept.contains(&text[PREFIX.len()..]), "{path:?}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
}

#[test]
fn keys_of_another_node_are_unknown() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (text, _) = file::add(one.path(), order("app"), NOW).unwrap();
    principal_key(other.path()).unwrap();
    std::fs::copy(file::path(one.path()), file::path(other.path())).unwrap();
    assert_eq!(ring(&other).holder(&text, NOW), Err(Refusal::Unknown));
}

#[test]
fn a_file_that_cannot_be_understood_lets_nobody_in_and_is_not_written_over() {
    let dir = TempDir::new().unwrap();
    let ring = ring(&dir);
    let (text, _) = file::add(dir.path(), order("app"), NOW).unwrap();
    let whole = std::fs::read_to_string(file::path(dir.path())).unwrap();
    for damaged in [
        String::new(),
        whole[..whole.len() - 3].to_owned(),
        whole.replace("\"version\": 1", "\"version\": 2"),
        whole.replace("\"name\"", "\"only_from\": \"10.0.0.0/8\", \"name\""),
        whole.replace("\"read\"", "\"admin\""),
    ] {
        assert_ne!(damaged, whole);
        std::fs::write(file::path(dir.path()), &damaged).unwrap();
        assert_eq!(ring.holder(&text, NOW), Err(Refusal::Unreadable), "{damaged}");
        assert!(file::add(dir.path(), order("b"), NOW).is_err());
        assert_eq!(std::fs::read_to_string(file::path(dir.path())).unwrap(), damaged);
    }
    std::fs::write(file::path(dir.path()), &whole).unwrap();
    assert!(ring.holder(&text, NOW).is_ok());
}

#[test]
fn who_makes_the_principal_key_second_gets_the_first_ones() {
    let dir = TempDir::new().unwrap();
    let made: Vec<String> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| principal_key(dir.path()).unwrap())).collect();
        makers.into_iter().map(|maker| maker.join().unwrap().principal("k", b"c").to_hex()).collect()
    });
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn names_and_rights_that_make_no_sense_are_refused() {
    let dir = TempDir::new().unwrap();
    for name in ["", "a b", "a\nb", "ä", &"x".repeat(65)] {
        assert!(matches!(file::add(dir.path(), order(name), NOW), Err(file::KeysError::Name(_))), "{name}");
    }
    let shared = Order { rights: vec![Right::Read, Right::Shared], ..order("app") };
    assert!(matches!(file::add(dir.path(), shared, NOW), Err(file::KeysError::SharedAlone)));
}
