use std::fs;

use tokio::sync::mpsc;

use super::*;
use crate::{clock::Timestamp, policy::PolicyDirectory};

const GOOD: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\n";
const SHORTER: &str = "category = \"default\"\n[freshness]\nttl = \"1m\"\n";
const BAD: &str = "category = \"default\"\n[freshness]\nttl = \"soon\"\n";

fn dir_with(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("default.toml"), text).unwrap();
    dir
}

fn ttl(set: &PolicySet) -> u64 {
    set.default_policy().freshness.ttl.as_secs()
}

#[tokio::test]
async fn a_bad_edit_keeps_the_set_in_use() {
    let dir = dir_with(GOOD);
    let watch = PolicyWatch::new(PolicySet::load(dir.path()).unwrap());
    fs::write(dir.path().join("default.toml"), BAD).unwrap();
    let directory = PolicyDirectory::new(dir.path(), dir.path());
    let now = Timestamp::from_millis(0);
    assert_eq!(directory.reload(&watch, now).await.unwrap_err().len(), 1);
    assert_eq!(ttl(&watch.current()), 3600);
    fs::write(dir.path().join("default.toml"), SHORTER).unwrap();
    assert_eq!(ttl(&directory.reload(&watch, now).await.unwrap()), 60);
    assert_eq!(ttl(&watch.current()), 60);
}

#[test]
fn a_request_keeps_the_set_it_took() {
    let dir = dir_with(GOOD);
    let watch = PolicyWatch::new(PolicySet::load(dir.path()).unwrap());
    let taken = watch.current();
    fs::write(dir.path().join("default.toml"), SHORTER).unwrap();
    watch.replace(PolicySet::load(dir.path()).unwrap());
    assert_eq!((ttl(&taken), ttl(&watch.current())), (3600, 60));
}

#[tokio::test(start_paused = true)]
async fn edits_are_taken_up_refused_and_mended_while_watching() {
    let dir = dir_with(GOOD);
    let watch = PolicyWatch::new(PolicySet::load(dir.path()).unwrap());
    let cancel = CancellationToken::new();
    let (tell, mut told) = mpsc::unbounded_channel();
    let watching = watch.watch(dir.path(), cancel.clone(), move |event| {
        let _ = tell.send(event);
    });
    let editing = async {
        // An editor that writes beside and renames.
        let beside = dir.path().join(".default.toml.swp");
        fs::write(&beside, SHORTER).unwrap();
        fs::rename(&beside, dir.path().join("default.toml")).unwrap();
        assert!(matches!(told.recv().await.unwrap(), PolicyEvent::Reloaded(set) if ttl(&set) == 60));
        fs::write(dir.path().join("default.toml"), BAD).unwrap();
        assert!(matches!(told.recv().await.unwrap(), PolicyEvent::Refused(problems) if problems.len() == 1));
        assert_eq!(ttl(&watch.current()), 60);
        // Taking the edit back is told too, so that a reported problem can be cleared.
        fs::write(dir.path().join("default.toml"), SHORTER).unwrap();
        assert!(matches!(told.recv().await.unwrap(), PolicyEvent::Reloaded(_)));
        fs::remove_file(dir.path().join("default.toml")).unwrap();
        assert!(matches!(told.recv().await.unwrap(), PolicyEvent::Refused(_)));
        assert_eq!(ttl(&watch.current()), 60);
        cancel.cancel();
    };
    tokio::join!(watching, editing);
}
