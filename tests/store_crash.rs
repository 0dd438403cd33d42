//! Kills a writing process at moments of chance and looks at what it leaves (I10): all that was acknowledged, nothing
//! that was purged, no half of anything.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of a test, and a child that reports by printing"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use futures_util::future::join_all;
use semblance::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Scope, ScopeParts},
    similarity::{Embedding, Similarity},
    store::{
        Durability, Hardness, Selector, Store,
        bans::{Ban, BanId, Bans, Near},
        sources::{SourceUpdate, Sources},
        sqlite::{SqliteStore, StoreSettings, doctor::doctor},
    },
    wire::{Answer, Family, directives::SourceRef},
};

const KEYS: u64 = 40;
const DIRECTORY: &str = "SEMBLANCE_CRASH_TEST_DIR";

/// Times the process is killed.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
fn cycles() -> u32 {
    std::env::var("CYCLES").map_or(20, |cycles| cycles.parse().unwrap())
}

#[test]
fn a_killed_writer_leaves_all_it_acknowledged_and_nothing_it_purged() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for cycle in 0..cycles() {
        let mut child = start_child(dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // At the latest after some lines; whatever is in the pipe by then was acknowledged as well.
        let heard = fastrand::usize(1..120);
        lines.by_ref().take(heard).for_each(|line| told.hear(&line.unwrap()));
        // A line is always heard in the same phase of a write: some while of chance reaches all of them.
        (0..fastrand::u32(0..1_000_000)).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(|line| told.hear(&line));
        let signal = child.wait().unwrap().signal();
        assert_eq!(signal, Some(9), "cycle {cycle}: the child ended by itself");

        let report = doctor(dir.path(), false).unwrap();
        assert!(report.is_clean(), "cycle {cycle}: {report}");
        runtime().block_on(told.check(dir.path(), cycle));
    }
    assert!(told.admitted.len() as u64 == KEYS && told.purged.len() > 10, "the child did not get far: {told:?}");
}

fn start_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_writer_leaves_all_it_acknowledged_and_nothing_it_purged", "--nocapture"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// What the child said it had done, or was about to do.
#[derive(Debug, Default)]
struct Told {
    /// The newest acknowledged entry of each key.
    admitted: BTreeMap<u64, EntryId>,
    /// Aliases of entries, acknowledged.
    aliases: BTreeMap<u64, EntryId>,
    /// Entries before this one were outdated by an update of their source, acknowledged.
    outdated_before: Option<EntryId>,
    /// Purges by meaning, acknowledged.
    bans: BTreeSet<u64>,
    purging: BTreeSet<EntryId>,
    purged: BTreeSet<EntryId>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["admitted", key, id] => drop(self.admitted.insert(key.parse().unwrap(), id.parse().unwrap())),
            ["aliased", key, id] => drop(self.aliases.insert(key.parse().unwrap(), id.parse().unwrap())),
            ["updated", id] => self.outdated_before = Some(id.parse().unwrap()),
            ["banned", id] => drop(self.bans.insert(id.parse().unwrap())),
            ["purging", id] => drop(self.purging.insert(id.parse().unwrap())),
            ["purged", id] => drop(self.purged.insert(id.parse().unwrap())),
            // The test harness's own lines.
            _ => {}
        }
    }

    async fn check(&self, dir: &Path, cycle: u32) {
        let store = SqliteStore::open(dir, StoreSettings::default()).unwrap();
        for (&key, &newest) in &self.admitted {
            let found = store.find(fingerprint("key", key)).await.unwrap().map(|found| found.entry);
            let id = found.as_ref().map(|entry| entry.id);
            // A newer one may have been committed without having been acknowledged.
            let allowed = match id {
                None => self.purging.contains(&newest),
                Some(id) => id >= newest && !self.purged.contains(&id),
            };
            assert!(allowed, "cycle {cycle}: key {key} acknowledged as {newest}, found {id:?}");
            if let Some(entry) = found {
                assert_eq!(entry.answer.text, text(entry.id), "cycle {cycle}");
                assert_eq!(entry.tags, [entry.id.to_string()], "cycle {cycle}");
                assert_eq!(entry.sources, sources(entry.id), "cycle {cycle}");
                let outdated = self.outdated_before.is_some_and(|before| entry.id < before);
                assert!(!outdated || entry.invalidated_at.is_some(), "cycle {cycle}: {} is fresh again", entry.id);
            }
        }
        for &id in &self.purged {
            assert!(store.get(id).await.unwrap().is_none(), "cycle {cycle}: {id} came back");
        }
        for (&key, &id) in &self.aliases {
            let found = store.find(fingerprint("alias", key)).await.unwrap().map(|found| found.entry.id);
            let lives = store.get(id).await.unwrap().is_some();
            assert!(found.is_some() || !lives, "cycle {cycle}: the alias of {id} is gone");
        }
        let version = store.source(SOURCE.to_owned()).await.unwrap().and_then(|source| source.version);
        let version: Option<EntryId> = version.map(|version| version.parse().unwrap());
        assert!(version >= self.outdated_before, "cycle {cycle}: {SOURCE} is at {version:?}");
        let bans: BTreeSet<u64> = store.bans().await.unwrap().iter().map(|ban| ban.id.0).collect();
        assert!(self.bans.is_subset(&bans), "cycle {cycle}: {:?} are lost", &self.bans - &bans);
        let next = store.next_id(fingerprint("key", 0));
        assert!(self.admitted.values().all(|id| *id < next), "cycle {cycle}: ids are used again");
        store.close().await.unwrap();
    }
}

/// The child: admits in groups, replaces, aliases and purges, and says so, until it is killed.
fn write_until_killed(dir: &Path) {
    let store = SqliteStore::open(dir, StoreSettings::default()).unwrap();
    runtime().block_on(async {
        loop {
            let group: Vec<_> = (0..fastrand::usize(1..8))
                .map(|_| (fastrand::u64(0..KEYS), store.next_id(fingerprint("key", 0))))
                .collect();
            let writes = group.iter().map(|(key, id)| store.admit(entry(*key, *id), Durability::Through));
            join_all(writes).await.into_iter().for_each(Result::unwrap);
            group.iter().for_each(|(key, id)| println!("admitted {key} {id}"));
            let (key, id) = group[group.len() - 1];
            match fastrand::u8(0..8) {
                0 => {
                    println!("purging {id}");
                    let selector = Selector { entry: Some(id), ..Selector::default() };
                    assert_eq!(store.purge(selector, Hardness::Hard, false).await.unwrap(), [id]);
                    println!("purged {id}");
                }
                1 => {
                    store.alias(fingerprint("alias", key), id).unwrap();
                    store.flush().await.unwrap();
                    println!("aliased {key} {id}");
                }
                2 => store
                    .admit(entry(fastrand::u64(0..KEYS), store.next_id(fingerprint("key", 0))), Durability::Behind)
                    .await
                    .unwrap(),
                3 => {
                    let now = store.next_id(fingerprint("key", 0));
                    let hardness = Hardness::Soft(Timestamp::from_millis(2));
                    let (name, version) = (SOURCE.to_owned(), Some(now.to_string()));
                    let update = SourceUpdate { name, version, hardness, at: Timestamp::from_millis(2) };
                    store.update_source(update).await.unwrap();
                    println!("updated {now}");
                }
                4 if fastrand::u8(0..8) == 0 => {
                    let (id, _) = store.ban(ban()).await.unwrap();
                    println!("banned {}", id.0);
                }
                _ => {}
            }
        }
    });
}

/// What all entries are built on.
const SOURCE: &str = "doc:1";

fn sources(id: EntryId) -> Vec<SourceRef> {
    vec![SourceRef { name: SOURCE.to_owned(), version: Some(id.to_string()) }]
}

/// Near to nothing.
fn ban() -> Ban {
    Ban {
        id: BanId(0),
        near: Near {
            text: "nothing".to_owned(),
            vector: Embedding::normalised(vec![1.0; 384]).unwrap(),
            embedder: "e".to_owned(),
            radius: Similarity::IDENTICAL,
        },
        category: None,
        scope: None,
        until: Timestamp::from_millis(5),
        hardness: Hardness::Hard,
    }
}

fn partition() -> (Scope, Partition) {
    let scope =
        Scope::derive(&ScopeParts { principal: None, tenant: "", upstream: "u", organisation: &[], namespace: "" });
    (scope, Partition::derive(&scope, "chat", b"shape"))
}

fn fingerprint(kind: &str, key: u64) -> Fingerprint {
    Fingerprint::derive(&partition().1, format!("{kind} {key}").as_bytes())
}

/// Of some pages' length even when compressed, and different for each entry.
fn text(id: EntryId) -> String {
    let mut chance = fastrand::Rng::with_seed(id.0);
    (0..chance.usize(100..60_000)).map(|_| chance.alphanumeric()).collect()
}

fn entry(key: u64, id: EntryId) -> Entry {
    let (scope, partition) = partition();
    let noise: Vec<f32> = (0..384).map(|_| fastrand::f32() - 0.5).collect();
    Entry {
        id,
        scope,
        principal: None,
        partition,
        fingerprint: fingerprint("key", key),
        category: "default".to_owned(),
        policy_revision: "r1".to_owned(),
        query: Some(format!("question {key}")),
        embedding: Embedding::normalised(noise),
        embedder: Some("e".to_owned()),
        answer: Answer {
            family: Family::Chat,
            body: Bytes::from_static(b"{}"),
            id_span: None,
            created_span: None,
            text: text(id),
            model: "m".to_owned(),
            usage: None,
            raw_stream: None,
        },
        generated_at: Timestamp::from_millis(1),
        invalidated_at: None,
        ttl_limit_ms: None,
        tags: vec![id.to_string()],
        sources: sources(id),
    }
}
