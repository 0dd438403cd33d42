//! The contract of [`Store`](super::Store) and [`Upkeep`](super::Upkeep), sentence by sentence, for any implementation.
//!
//! [`conformance_suite`] makes one test of each sentence, over a store that its constructor opens empty.

use bytes::Bytes;

use super::{
    Durability, Expired, Hardness, Selector, USE_RESOLUTION_MS, Upkeep,
    transfer::Cover,
    verdicts::{KeptLedger, Pair},
};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope, ScopeParts},
    similarity::Embedding,
    wire::{Answer, Family, Usage},
};

/// One test for each sentence of the contract. `$open` gives an empty store and whatever must outlive it.
macro_rules! conformance_suite {
    ($open:expr) => {
        $crate::store::conformance::conformance_suite!($open;
            an_admitted_entry_comes_back_as_it_was
            an_absent_entry_is_none_and_no_error
            a_newer_entry_replaces_the_one_of_its_fingerprint_and_its_aliases
            an_alias_leads_to_its_entry_until_that_is_gone
            an_alias_never_hides_or_outlives_an_entry_of_its_own
            the_newest_of_two_aliases_counts
            a_purge_removes_an_entry_admitted_before_it_though_still_queued
            a_purge_selects_what_the_selector_selects
            a_dry_run_changes_nothing
            a_soft_purge_keeps_the_earliest_moment
            a_write_counts_though_its_future_was_dropped
            ids_grow
            a_list_is_newest_first_and_in_parts
            totals_count_entries_and_aliases
            vectors_come_in_parts_and_without_gaps
            an_entry_of_another_embedder_is_found_and_embedded_again
            reaping_removes_the_expired_of_one_category
            eviction_removes_the_least_recently_used_first
            eviction_within_the_bound_removes_nothing
            example_vectors_are_kept_by_embedder
            a_blocked_pair_loses_its_alias_and_is_kept_once
            books_are_replaced_by_category
            ids_come_in_parts_as_the_selector_selects
            a_purge_of_an_entry_is_told_again_under_any_id
        );
    };
    ($open:expr; $($sentence:ident)+) => {
        $(
            #[tokio::test]
            async fn $sentence() {
                let (store, _guard) = $open;
                $crate::store::conformance::$sentence(&store).await;
            }
        )+
    };
}
pub(crate) use conformance_suite;

pub(crate) fn scope(name: &str) -> Scope {
    Scope::derive(&ScopeParts { principal: None, tenant: "", upstream: name, organisation: &[], namespace: "" })
}

pub(crate) fn fingerprint(question: &str) -> Fingerprint {
    Fingerprint::derive(&Partition::derive(&scope("a"), "chat", b"shape"), question.as_bytes())
}

/// A vector that differs for each question.
pub(crate) fn vector(question: &str) -> Embedding {
    let digest = blake3::hash(question.as_bytes());
    Embedding::normalised(digest.as_bytes().iter().map(|b| f32::from(*b) - 127.5).collect()).unwrap()
}

/// An entry with something in every field.
pub(crate) fn entry(id: EntryId, question: &str) -> Entry {
    let text = format!("The answer to {question}");
    Entry {
        id,
        scope: scope("a"),
        principal: Some(Principal::from_bytes([7; 32])),
        partition: Partition::derive(&scope("a"), "chat", b"shape"),
        fingerprint: fingerprint(question),
        category: "product-faq".to_owned(),
        policy_revision: "r1".to_owned(),
        query: Some(question.to_owned()),
        embedding: Some(vector(question)),
        embedder: Some("minilm@1".to_owned()),
        answer: Answer {
            family: Family::Chat,
            body: Bytes::from(format!(r#"{{"id":"x","created":7,"content":{text:?}}}"#)),
            id_span: Some((6, 9)),
            created_span: Some((20, 21)),
            text,
            model: "m-1".to_owned(),
            usage: Some(Usage { input: 3, output: 4 }),
            raw_stream: None,
        },
        generated_at: Timestamp::from_millis(1_000),
        invalidated_at: None,
        ttl_limit_ms: Some(60_000),
        tags: vec!["docs".to_owned(), "eu".to_owned()],
    }
}

/// Field by field, the vector bit for bit.
pub(crate) fn assert_same(left: &Entry, right: &Entry) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

async fn admitted(store: &dyn Upkeep, question: &str) -> Entry {
    let entry = entry(store.next_id(), question);
    store.admit(entry.clone(), Durability::Through).await.unwrap();
    entry
}

async fn found(store: &dyn Upkeep, question: &str) -> Option<EntryId> {
    store.find(fingerprint(question)).await.unwrap().map(|found| found.entry.id)
}

pub(crate) async fn an_admitted_entry_comes_back_as_it_was(store: &dyn Upkeep) {
    let full = admitted(store, "q").await;
    let bare = Entry {
        id: store.next_id(),
        fingerprint: fingerprint("bare"),
        principal: None,
        query: None,
        embedding: None,
        embedder: None,
        invalidated_at: Some(Timestamp::from_millis(-5)),
        ttl_limit_ms: None,
        tags: Vec::new(),
        answer: Answer {
            id_span: None,
            created_span: None,
            usage: None,
            raw_stream: Some(Bytes::from_static(b"data: {}\n\ndata: [DONE]\n\n")),
            ..full.answer.clone()
        },
        ..full.clone()
    };
    store.admit(bare.clone(), Durability::Behind).await.unwrap();
    store.flush().await.unwrap();
    for entry in [full, bare] {
        assert_same(&store.get(entry.id).await.unwrap().unwrap(), &entry);
        let found = store.find(entry.fingerprint).await.unwrap().unwrap();
        assert!(!found.via_alias);
        assert_same(&found.entry, &entry);
    }
}

pub(crate) async fn an_absent_entry_is_none_and_no_error(store: &dyn Upkeep) {
    assert_eq!(found(store, "q").await, None);
    for id in [0, 1, u64::MAX] {
        assert!(store.get(EntryId(id)).await.unwrap().is_none());
    }
    store.alias(fingerprint("q"), EntryId(77)).unwrap();
    store.flush().await.unwrap();
    assert_eq!(found(store, "q").await, None);
}

pub(crate) async fn a_newer_entry_replaces_the_one_of_its_fingerprint_and_its_aliases(store: &dyn Upkeep) {
    let old = admitted(store, "q").await;
    store.alias(fingerprint("other wording"), old.id).unwrap();
    let new = admitted(store, "q").await;
    assert_eq!(found(store, "q").await, Some(new.id));
    assert_eq!(found(store, "other wording").await, None);
    assert!(store.get(old.id).await.unwrap().is_none());
    assert_eq!(store.stats().await.unwrap().entries, 1);
}

pub(crate) async fn an_alias_leads_to_its_entry_until_that_is_gone(store: &dyn Upkeep) {
    let entry = admitted(store, "q").await;
    store.alias(fingerprint("other wording"), entry.id).unwrap();
    store.flush().await.unwrap();
    let via = store.find(fingerprint("other wording")).await.unwrap().unwrap();
    assert!(via.via_alias);
    assert_eq!(store.aliases(entry.id).await.unwrap(), [fingerprint("other wording")]);
    assert_same(&via.entry, &entry);
    let selector = Selector { entry: Some(entry.id), ..Selector::default() };
    store.purge(selector, Hardness::Hard, false).await.unwrap();
    assert_eq!(found(store, "other wording").await, None);
}

pub(crate) async fn an_alias_never_hides_or_outlives_an_entry_of_its_own(store: &dyn Upkeep) {
    let first = admitted(store, "first").await;
    store.alias(fingerprint("second"), first.id).unwrap();
    let second = admitted(store, "second").await;
    store.alias(fingerprint("second"), first.id).unwrap();
    store.flush().await.unwrap();
    assert_eq!(found(store, "second").await, Some(second.id));
    let selector = Selector { entry: Some(second.id), ..Selector::default() };
    store.purge(selector, Hardness::Hard, false).await.unwrap();
    assert_eq!(found(store, "second").await, None, "a purged answer must not be followed by an older one");
}

pub(crate) async fn the_newest_of_two_aliases_counts(store: &dyn Upkeep) {
    let first = admitted(store, "first").await;
    let second = admitted(store, "second").await;
    store.alias(fingerprint("wording"), first.id).unwrap();
    store.alias(fingerprint("wording"), second.id).unwrap();
    store.flush().await.unwrap();
    assert_eq!(found(store, "wording").await, Some(second.id));
    assert_eq!(store.stats().await.unwrap().aliases, 1);
}

pub(crate) async fn a_purge_removes_an_entry_admitted_before_it_though_still_queued(store: &dyn Upkeep) {
    let entry = entry(store.next_id(), "q");
    store.admit(entry.clone(), Durability::Behind).await.unwrap();
    let purged = store.purge(Selector::default(), Hardness::Hard, false).await.unwrap();
    assert_eq!(purged, [entry.id]);
    assert_eq!(found(store, "q").await, None);
}

/// Entries that differ in everything a selector looks at, and selectors over all of it.
async fn variety(store: &dyn Upkeep) -> (Vec<Entry>, Vec<Selector>) {
    let mut entries = Vec::new();
    for n in 0..16i64 {
        let mut entry = entry(store.next_id(), &format!("q{n}"));
        entry.category = ["faq", "news"][usize::from(n & 1 != 0)].to_owned();
        entry.scope = scope(["a", "b"][usize::from(n & 2 != 0)]);
        entry.tags = if n & 4 != 0 { vec!["eu".to_owned(), "x".to_owned()] } else { Vec::new() };
        let principal = |byte| Some(Principal::from_bytes([byte; 32]));
        entry.principal = [principal(1), None, principal(2)][usize::try_from(n % 3).unwrap()];
        entry.generated_at = Timestamp::from_millis(n * 10);
        store.admit(entry.clone(), Durability::Behind).await.unwrap();
        entries.push(entry);
    }
    store.flush().await.unwrap();
    let mut selectors = vec![Selector::default()];
    let mut vary = |change: &dyn Fn(&mut Selector)| {
        for n in 0..selectors.len() {
            let mut selector = selectors[n].clone();
            change(&mut selector);
            selectors.push(selector);
        }
    };
    vary(&|s| s.entry = Some(entries[5].id));
    vary(&|s| s.tag = Some("eu".to_owned()));
    vary(&|s| s.category = Some("news".to_owned()));
    vary(&|s| s.scope = Some(scope("b")));
    vary(&|s| s.principals = vec![Principal::from_bytes([1; 32]), Principal::from_bytes([9; 32])]);
    vary(&|s| s.generated_until = Some(Timestamp::from_millis(70)));
    selectors.push(Selector { tag: Some("' OR 1 --".to_owned()), ..Selector::default() });
    selectors.push(Selector { entry: Some(EntryId(u64::MAX)), ..Selector::default() });
    (entries, selectors)
}

pub(crate) async fn a_purge_selects_what_the_selector_selects(store: &dyn Upkeep) {
    let (entries, selectors) = variety(store).await;
    for selector in selectors.into_iter().rev() {
        let selected: Vec<_> = entries.iter().filter(|entry| selector.selects(entry)).map(|entry| entry.id).collect();
        let counted = store.purge(selector.clone(), Hardness::Hard, true).await.unwrap();
        let listed = store.list(selector.clone(), 0, 100).await.unwrap();
        assert_eq!(listed.iter().rev().map(|s| s.id.clone()).collect::<Vec<_>>(), texts(&counted), "{selector:?}");
        assert_eq!(store.purge(selector.clone(), Hardness::Hard, false).await.unwrap(), counted);
        assert_eq!(counted, selected, "{selector:?}");
        for entry in &entries {
            assert_eq!(store.get(entry.id).await.unwrap().is_none(), selected.contains(&entry.id), "{selector:?}");
            store.admit(entry.clone(), Durability::Behind).await.unwrap();
        }
        store.flush().await.unwrap();
    }
}

fn texts(ids: &[EntryId]) -> Vec<String> {
    ids.iter().map(EntryId::to_string).collect()
}

pub(crate) async fn a_dry_run_changes_nothing(store: &dyn Upkeep) {
    let queued = entry(store.next_id(), "q");
    store.admit(queued.clone(), Durability::Behind).await.unwrap();
    for hardness in [Hardness::Hard, Hardness::Soft(Timestamp::from_millis(9))] {
        let counted = store.purge(Selector::default(), hardness, true).await.unwrap();
        assert_eq!(counted, [queued.id], "what is queued is counted");
        assert_same(&store.get(queued.id).await.unwrap().unwrap(), &queued);
    }
}

pub(crate) async fn a_soft_purge_keeps_the_earliest_moment(store: &dyn Upkeep) {
    let entry = admitted(store, "q").await;
    for (at, expected) in [(500, 500), (900, 500), (200, 200)] {
        let hardness = Hardness::Soft(Timestamp::from_millis(at));
        assert_eq!(store.purge(Selector::default(), hardness, false).await.unwrap(), [entry.id]);
        let stored = store.get(entry.id).await.unwrap().unwrap();
        assert_eq!(stored.invalidated_at, Some(Timestamp::from_millis(expected)));
    }
}

pub(crate) async fn a_write_counts_though_its_future_was_dropped(store: &dyn Upkeep) {
    let kept = entry(store.next_id(), "kept");
    drop(store.admit(kept.clone(), Durability::Through));
    store.flush().await.unwrap();
    assert_eq!(found(store, "kept").await, Some(kept.id));
    drop(store.purge(Selector::default(), Hardness::Hard, false));
    store.flush().await.unwrap();
    assert_eq!(found(store, "kept").await, None);
}

pub(crate) async fn ids_grow(store: &dyn Upkeep) {
    let first = admitted(store, "q").await;
    assert!(first.id > EntryId(0));
    assert!(store.next_id() > first.id);
}

pub(crate) async fn a_list_is_newest_first_and_in_parts(store: &dyn Upkeep) {
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(admitted(store, &format!("q{n}")).await.id);
    }
    store.alias(fingerprint("wording"), ids[3]).unwrap();
    store.flush().await.unwrap();
    let page = store.list(Selector::default(), 1, 2).await.unwrap();
    assert_eq!(page.iter().map(|s| s.id.clone()).collect::<Vec<_>>(), texts(&[ids[3], ids[2]]));
    let summary = &page[0];
    assert_eq!(summary.query.as_deref(), Some("q3"));
    assert_eq!((summary.category.as_str(), summary.model.as_str()), ("product-faq", "m-1"));
    assert_eq!(summary.scope, scope("a").to_hex());
    assert_eq!((summary.generated_at_ms, summary.invalidated_at_ms), (1_000, None));
    assert_eq!(summary.tags, ["docs", "eu"]);
    assert_eq!(summary.aliases, 1);
    assert!(summary.bytes > 0);
    assert!(store.list(Selector::default(), 5, u64::MAX).await.unwrap().is_empty());
}

pub(crate) async fn totals_count_entries_and_aliases(store: &dyn Upkeep) {
    let entry = admitted(store, "q").await;
    store.alias(fingerprint("wording"), entry.id).unwrap();
    store.flush().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.aliases), (1, 1));
    assert_eq!(stats.answer_bytes, store.list(Selector::default(), 0, 1).await.unwrap()[0].bytes);
    assert!(stats.file_bytes > 0);
}

pub(crate) async fn vectors_come_in_parts_and_without_gaps(store: &dyn Upkeep) {
    let mut expected = Vec::new();
    for n in 0..7 {
        let mut entry = entry(store.next_id(), &format!("q{n}"));
        if n == 3 {
            entry.embedding = None;
        } else {
            expected.push((entry.id, entry.embedding.clone().unwrap(), entry.query.clone()));
        }
        store.admit(entry, Durability::Through).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.vectors(after, 3).await.unwrap();
        assert!(page.items.len() <= 3);
        for vector in page.items {
            assert_eq!(vector.embedder, "minilm@1");
            assert_eq!(vector.partition, Partition::derive(&scope("a"), "chat", b"shape"));
            seen.push((vector.id, vector.embedding, vector.query));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn an_entry_of_another_embedder_is_found_and_embedded_again(store: &dyn Upkeep) {
    let entry = admitted(store, "q").await;
    assert!(store.unembedded("minilm@1".to_owned(), None, 10).await.unwrap().items.is_empty());
    let others = store.unembedded("minilm@2".to_owned(), None, 10).await.unwrap();
    assert_eq!(others.next, None);
    assert_eq!((others.items[0].id, others.items[0].query.as_str()), (entry.id, "q"));
    store.set_embedding(entry.id, "minilm@2".to_owned(), vector("new")).unwrap();
    store.set_embedding(EntryId(77), "minilm@2".to_owned(), vector("gone")).unwrap();
    store.flush().await.unwrap();
    assert!(store.unembedded("minilm@2".to_owned(), None, 10).await.unwrap().items.is_empty());
    let stored = store.get(entry.id).await.unwrap().unwrap();
    assert_eq!((stored.embedding, stored.embedder.as_deref()), (Some(vector("new")), Some("minilm@2")));
}

pub(crate) async fn reaping_removes_the_expired_of_one_category(store: &dyn Upkeep) {
    let (entries, _) = variety(store).await;
    assert_eq!(store.categories().await.unwrap(), [("faq".to_owned(), 8), ("news".to_owned(), 8)]);
    let invalidated = Selector { entry: Some(entries[15].id), ..Selector::default() };
    store.purge(invalidated, Hardness::Soft(Timestamp::from_millis(30)), false).await.unwrap();
    let expired = Expired {
        category: "news".to_owned(),
        generated_before: Timestamp::from_millis(50),
        generated_after: Timestamp::from_millis(i64::MAX),
        invalidated_before: Timestamp::from_millis(31),
    };
    // News are the odd ones: 10 and 30 are too old, 50 is not, the last was invalidated too long ago.
    assert_eq!(store.reap(expired.clone(), 1).await.unwrap(), [entries[1].id]);
    assert_eq!(store.reap(expired.clone(), 9).await.unwrap(), [entries[3].id, entries[15].id]);
    assert!(store.reap(expired.clone(), 9).await.unwrap().is_empty());
    let ahead = Expired { generated_after: Timestamp::from_millis(entries[9].generated_at.as_millis()), ..expired };
    assert_eq!(store.reap(ahead, 9).await.unwrap(), [entries[11].id, entries[13].id]);
    assert_eq!(store.stats().await.unwrap().entries, 11);
}

pub(crate) async fn eviction_removes_the_least_recently_used_first(store: &dyn Upkeep) {
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(admitted(store, &format!("q{n}")).await.id);
    }
    let far = Timestamp::from_millis(i64::MAX / 2);
    store.touch(vec![ids[0], ids[2], EntryId(77)], far).unwrap();
    // Nearer than the resolution to the last use: the same use.
    store.touch(vec![ids[2]], Timestamp::from_millis(far.as_millis() + USE_RESOLUTION_MS - 1)).unwrap();
    assert_eq!(store.evict_to(0, 2).await.unwrap(), [ids[1], ids[3]]);
    assert_eq!(store.evict_to(0, 1).await.unwrap(), [ids[0]]);
    assert_eq!(store.evict_to(0, 9).await.unwrap(), [ids[2]]);
    assert!(store.evict_to(0, 9).await.unwrap().is_empty());
}

pub(crate) async fn eviction_within_the_bound_removes_nothing(store: &dyn Upkeep) {
    let entry = admitted(store, "q").await;
    assert!(store.evict_to(1 << 40, 9).await.unwrap().is_empty());
    assert_eq!(found(store, "q").await, Some(entry.id));
}

pub(crate) async fn example_vectors_are_kept_by_embedder(store: &dyn Upkeep) {
    store.keep_example_vectors("one".to_owned(), vec![("hello".to_owned(), vector("old"))]).unwrap();
    store.keep_example_vectors("one".to_owned(), vec![("hello".to_owned(), vector("new"))]).unwrap();
    store.flush().await.unwrap();
    let texts = vec!["unknown".to_owned(), "hello".to_owned()];
    let kept = store.example_vectors("one".to_owned(), texts.clone()).await.unwrap();
    assert_eq!(kept, [None, Some(vector("new"))]);
    assert_eq!(store.example_vectors("two".to_owned(), texts).await.unwrap(), [None, None]);
}

pub(crate) async fn a_blocked_pair_loses_its_alias_and_is_kept_once(store: &dyn Upkeep) {
    let entry = admitted(store, "kettle").await;
    let (wrong, right) = (fingerprint("kettle bells"), fingerprint("the kettle"));
    store.alias(wrong, entry.id).unwrap();
    store.alias(right, entry.id).unwrap();
    let mut wordings = store.wordings(entry.id).await.unwrap();
    wordings.sort_unstable();
    let mut both = [wrong, right];
    both.sort_unstable();
    assert_eq!(wordings, both, "queued ones too");
    let pair = Pair::of(entry.fingerprint, wrong);
    assert_eq!(pair, Pair::of(wrong, entry.fingerprint));
    assert!(store.block(pair, "feedback", Timestamp::from_millis(1)).await.unwrap());
    assert!(!store.block(pair, "audit", Timestamp::from_millis(2)).await.unwrap());
    assert_eq!(store.blocked().await.unwrap(), [pair]);
    assert_eq!(store.wordings(entry.id).await.unwrap(), [right]);
    assert_eq!(found(store, "kettle bells").await, None);
    assert_eq!(found(store, "the kettle").await, Some(entry.id));
    assert_eq!(found(store, "kettle").await, Some(entry.id), "it stays for its own question");
}

pub(crate) async fn books_are_replaced_by_category(store: &dyn Upkeep) {
    let kept = |category: &str, ledger: &str| KeptLedger { category: category.into(), ledger: ledger.into() };
    for (category, ledger) in [("faq", "1"), ("writing", "2"), ("faq", "3")] {
        store.keep_ledger(kept(category, ledger), Timestamp::from_millis(1)).unwrap();
    }
    store.flush().await.unwrap();
    assert_eq!(store.ledgers().await.unwrap(), [kept("faq", "3"), kept("writing", "2")]);
}

pub(crate) async fn ids_come_in_parts_as_the_selector_selects(store: &dyn Upkeep) {
    let (entries, selectors) = variety(store).await;
    for selector in selectors {
        let selected: Vec<_> = entries.iter().filter(|entry| selector.selects(entry)).map(|entry| entry.id).collect();
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.ids(selector.clone(), after, 3).await.unwrap();
            assert!(page.items.len() <= 3);
            ids.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids, selected, "{selector:?}");
    }
}

pub(crate) async fn a_purge_of_an_entry_is_told_again_under_any_id(store: &dyn Upkeep) {
    let old = admitted(store, "q").await;
    let selector = Selector { entry: Some(old.id), ..Selector::default() };
    store.purge(selector, Hardness::Hard, false).await.unwrap();
    store.purge(Selector { tag: Some("us".to_owned()), ..Selector::default() }, Hardness::Hard, false).await.unwrap();
    let purges = store.past_purges().await.unwrap();
    let covers = |entry: &Entry| purges.iter().map(|purge| purge.covers(entry, false)).collect::<Vec<_>>();
    assert_eq!(covers(&Entry { id: EntryId(77), ..old.clone() }), [Cover::Yes, Cover::No]);
    assert_eq!(covers(&Entry { fingerprint: fingerprint("other"), ..old }), [Cover::No, Cover::No]);
    assert!(purges.iter().all(|purge| purge.is_hard));
}
