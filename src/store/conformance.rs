//! The contract of [`Store`](super::Store) and [`Upkeep`](super::Upkeep), sentence by sentence, for any implementation.
//!
//! [`conformance_suite`] makes one test of each sentence, over a store that its constructor opens empty.

use bytes::Bytes;

use super::{
    Browse, Durability, Expired, Hardness, Selector, USE_RESOLUTION_MS, Upkeep,
    bans::{Ban, BanId, Near},
    sources::{Groups, SourceSelector, SourceSummary, SourceUpdate, Versions},
    transfer::Cover,
    verdicts::{KeptLedger, Pair},
};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope, ScopeParts},
    similarity::{Embedding, Similarity},
    wire::{Answer, Family, Usage, directives::SourceRef},
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
            an_update_of_a_source_outdates_what_is_built_on_other_versions
            a_forgotten_source_takes_what_is_built_on_it_along
            sources_are_listed_with_what_depends_on_them
            a_ban_purges_what_is_near_and_is_kept_until_it_is_lifted
            a_browse_finds_words_and_meaning_and_counts_them_all
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
        sources: sources("doc:42@v7 doc:77"),
    }
}

pub(crate) fn sources(list: &str) -> Vec<SourceRef> {
    list.split_whitespace().map(|source| SourceRef::parse(source).unwrap()).collect()
}

/// Field by field, the vector bit for bit.
pub(crate) fn assert_same(left: &Entry, right: &Entry) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

async fn admitted(store: &dyn Upkeep, question: &str) -> Entry {
    let entry = entry(store.next_id(fingerprint(question)), question);
    store.admit(entry.clone(), Durability::Through).await.unwrap();
    entry
}

async fn found(store: &dyn Upkeep, question: &str) -> Option<EntryId> {
    store.find(fingerprint(question)).await.unwrap().map(|found| found.entry.id)
}

pub(crate) async fn an_admitted_entry_comes_back_as_it_was(store: &dyn Upkeep) {
    let full = admitted(store, "q").await;
    let bare = Entry {
        id: store.next_id(fingerprint("bare")),
        fingerprint: fingerprint("bare"),
        principal: None,
        query: None,
        embedding: None,
        embedder: None,
        invalidated_at: Some(Timestamp::from_millis(-5)),
        ttl_limit_ms: None,
        tags: Vec::new(),
        sources: Vec::new(),
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
    let entry = entry(store.next_id(fingerprint("q")), "q");
    store.admit(entry.clone(), Durability::Behind).await.unwrap();
    let purged = store.purge(Selector::default(), Hardness::Hard, false).await.unwrap();
    assert_eq!(purged, [entry.id]);
    assert_eq!(found(store, "q").await, None);
}

/// Entries that differ in everything a selector looks at, and selectors over all of it.
async fn variety(store: &dyn Upkeep) -> (Vec<Entry>, Vec<Selector>) {
    let mut entries = Vec::new();
    for n in 0..16i64 {
        let mut entry = entry(store.next_id(fingerprint(&format!("q{n}"))), &format!("q{n}"));
        entry.category = ["faq", "news"][usize::from(n & 1 != 0)].to_owned();
        entry.scope = scope(["a", "b"][usize::from(n & 2 != 0)]);
        entry.tags = if n & 4 != 0 { vec!["eu".to_owned(), "x".to_owned()] } else { Vec::new() };
        let built_on = ["", "doc:42@v7", "doc:42@v8", "doc:42", "doc:42@v7 doc:42@v8", "doc:421@v7 \u{e4}@1"];
        entry.sources = sources(built_on[usize::try_from(n % 6).unwrap()]);
        if n == 12 {
            // As an entry of before, and one whose sources only the upstream named.
            entry.tags.push("doc:42".to_owned());
            entry.tags.sort();
        }
        if n % 5 == 0 {
            entry.embedder = Some("other".to_owned());
        }
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
    let source = |name: &str, versions| Some(SourceSelector { name: name.to_owned(), versions });
    for versions in [Versions::Any, Versions::Only("v7".to_owned()), Versions::Except("v8".to_owned())] {
        selectors.push(Selector { source: source("doc:42", versions.clone()), ..Selector::default() });
        let category = Some("faq".to_owned());
        selectors.push(Selector { source: source("doc:42", versions), category, ..Selector::default() });
    }
    for prefix in ["doc:42", "doc:42@", "doc:42@v7", "e", "\u{e4}@", "\0", "%", "x"] {
        selectors.push(Selector { prefix: Some(prefix.to_owned()), ..Selector::default() });
    }
    for tags in [vec!["eu".to_owned(), "none".to_owned()], Vec::new()] {
        let groups = Some(Groups { tags, scopes: vec![scope("a"), scope("c")] });
        selectors.push(Selector { groups, ..Selector::default() });
    }
    for (question, radius) in [("q3", 0.999), ("q3", 0.0), ("q3", -1.0), ("nothing", 0.999)] {
        selectors.push(Selector { near: Some(near(question, radius)), ..Selector::default() });
        let generated_until = Some(Timestamp::from_millis(70));
        selectors.push(Selector { near: Some(near(question, radius)), generated_until, ..Selector::default() });
    }
    selectors.push(Selector { tag: Some("' OR 1 --".to_owned()), ..Selector::default() });
    selectors.push(Selector { entry: Some(EntryId(u64::MAX)), ..Selector::default() });
    (entries, selectors)
}

pub(crate) fn near(question: &str, radius: f32) -> Near {
    let radius = Similarity::new(radius).unwrap();
    Near { text: question.to_owned(), vector: vector(question), embedder: "minilm@1".to_owned(), radius }
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
    let queued = entry(store.next_id(fingerprint("q")), "q");
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
    let kept = entry(store.next_id(fingerprint("kept")), "kept");
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
    assert!(store.next_id(fingerprint("q")) > first.id);
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
        let mut entry = entry(store.next_id(fingerprint(&format!("q{n}"))), &format!("q{n}"));
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

async fn built_on(store: &dyn Upkeep, question: &str, list: &str) -> Entry {
    let entry = Entry { sources: sources(list), ..entry(store.next_id(fingerprint(question)), question) };
    store.admit(entry.clone(), Durability::Behind).await.unwrap();
    entry
}

fn update(name: &str, version: Option<&str>, hardness: Hardness) -> SourceUpdate {
    SourceUpdate {
        name: name.to_owned(),
        version: version.map(str::to_owned),
        hardness,
        at: Timestamp::from_millis(5_000),
    }
}

pub(crate) async fn an_update_of_a_source_outdates_what_is_built_on_other_versions(store: &dyn Upkeep) {
    let old = built_on(store, "old", "doc:42@v7 doc:77@v1").await;
    let unversioned = built_on(store, "unversioned", "doc:42").await;
    let new = built_on(store, "new", "doc:42@v8").await;
    let other = built_on(store, "other", "doc:421@v7").await;
    let at = Timestamp::from_millis(5_000);
    let updated = store.update_source(update("doc:42", Some("v8"), Hardness::Soft(at))).await.unwrap();
    assert_eq!(updated.entries, [old.id, unversioned.id]);
    assert_eq!(updated.replaced, ["v7"]);
    for (entry, stale) in [(&old, true), (&unversioned, true), (&new, false), (&other, false)] {
        let stored = store.get(entry.id).await.unwrap().unwrap();
        assert_eq!(stored.invalidated_at, stale.then_some(at), "{:?}", entry.query);
    }
    let back = store.update_source(update("doc:42", Some("v7"), Hardness::Hard)).await.unwrap();
    assert_eq!((back.entries, back.replaced), (vec![unversioned.id, new.id], vec!["v8".to_owned()]));
    assert_eq!(store.replaced().await.unwrap(), [("doc:42".to_owned(), "v8".to_owned())]);
    let changed = store.update_source(update("doc:42", None, Hardness::Hard)).await.unwrap();
    assert_eq!((changed.entries, changed.replaced), (vec![old.id], vec!["v8".to_owned(), "v7".to_owned()]));
}

pub(crate) async fn a_forgotten_source_takes_what_is_built_on_it_along(store: &dyn Upkeep) {
    let entry = built_on(store, "q", "doc:42@v7").await;
    let kept = built_on(store, "kept", "doc:77@v7").await;
    store.update_source(update("doc:42", Some("v7"), Hardness::Hard)).await.unwrap();
    assert_eq!(store.forget_source("doc:42".to_owned()).await.unwrap(), Some(vec![entry.id]));
    assert_eq!(store.forget_source("doc:42".to_owned()).await.unwrap(), None);
    assert_eq!(store.source("doc:42".to_owned()).await.unwrap(), None);
    assert_eq!(found(store, "kept").await, Some(kept.id));
}

pub(crate) async fn sources_are_listed_with_what_depends_on_them(store: &dyn Upkeep) {
    built_on(store, "one", "doc:1@v1 doc:2@v1").await;
    built_on(store, "two", "doc:1@v2").await;
    let tagged = Entry {
        tags: vec!["doc:1".to_owned()],
        sources: Vec::new(),
        ..entry(store.next_id(fingerprint("tagged")), "tagged")
    };
    store.admit(tagged, Durability::Behind).await.unwrap();
    let at = Timestamp::from_millis(5_000);
    store.update_source(update("doc:2", Some("v1"), Hardness::Soft(at))).await.unwrap();
    store.update_source(update("Page", Some("v9"), Hardness::Soft(at))).await.unwrap();
    let summary = |source: &str, version: Option<&str>, entries| SourceSummary {
        source: source.to_owned(),
        version: version.map(str::to_owned),
        updated_at_ms: version.map(|_| 5_000),
        entries,
    };
    let all = [summary("Page", Some("v9"), 0), summary("doc:1", None, 3), summary("doc:2", Some("v1"), 1)];
    assert_eq!(store.sources(None, 0, 9).await.unwrap(), (all.to_vec(), 3));
    assert_eq!(store.sources(None, 1, 1).await.unwrap(), (vec![all[1].clone()], 3));
    assert_eq!(store.sources(Some("PAG".to_owned()), 0, 9).await.unwrap(), (vec![all[0].clone()], 1));
    assert_eq!(store.source("doc:1".to_owned()).await.unwrap().as_ref(), Some(&all[1]));
    assert_eq!(store.source("doc:3".to_owned()).await.unwrap(), None);
}

pub(crate) async fn a_ban_purges_what_is_near_and_is_kept_until_it_is_lifted(store: &dyn Upkeep) {
    let (near_one, far) = (admitted(store, "kettle").await, admitted(store, "teapot").await);
    let ban = |hardness| Ban {
        id: BanId(0),
        near: near("kettle", 0.99),
        category: Some("product-faq".to_owned()),
        scope: Some(scope("a")),
        until: Timestamp::from_millis(9_000),
        hardness,
    };
    let at = Timestamp::from_millis(8_000);
    let (soft, stale) = store.ban(ban(Hardness::Soft(at))).await.unwrap();
    assert_eq!(stale, [near_one.id]);
    let (hard, gone) = store.ban(ban(Hardness::Hard)).await.unwrap();
    assert_eq!(gone, [near_one.id]);
    assert!(soft < hard && hard > BanId(0));
    assert_eq!(found(store, "teapot").await, Some(far.id));
    let kept = [Ban { id: soft, ..ban(Hardness::Soft(at)) }, Ban { id: hard, ..ban(Hardness::Hard) }];
    assert_eq!(store.bans().await.unwrap(), kept);
    assert_eq!(store.lift(vec![hard, BanId(77)]).await.unwrap(), [hard]);
    assert_eq!(store.bans().await.unwrap(), kept[..1]);
    let (next, _) = store.ban(ban(Hardness::Hard)).await.unwrap();
    assert!(next > hard, "an id is never used again");
}

pub(crate) async fn a_browse_finds_words_and_meaning_and_counts_them_all(store: &dyn Upkeep) {
    let mut ids = Vec::new();
    for question in ["How do I wash it?", "WASHING a car", "Can a cat swim?"] {
        ids.push(admitted(store, question).await.id.to_string());
    }
    let seen = async |browse: Browse| {
        let browsed = store.browse(browse).await.unwrap();
        let seen: Vec<String> = browsed.entries.into_iter().map(|(summary, _)| summary.id).collect();
        (seen, browsed.total)
    };
    let all = Browse { limit: 2, offset: 1, ..Browse::default() };
    assert_eq!(seen(all).await, (vec![ids[1].clone(), ids[0].clone()], 3));
    let text = Browse { text: Some("wAsH".to_owned()), limit: 1, ..Browse::default() };
    assert_eq!(seen(text).await, (vec![ids[1].clone()], 2));
    let selector = Selector { near: Some(near("How do I wash it?", -1.0)), ..Selector::default() };
    let browsed = store.browse(Browse { selector, limit: 9, ..Browse::default() }).await.unwrap();
    assert_eq!((browsed.total, &browsed.entries[0].0.id), (3, &ids[0]));
    let nearness: Vec<Similarity> = browsed.entries.iter().map(|(_, similarity)| similarity.unwrap()).collect();
    assert!(nearness[0].get() > 0.999 && nearness.is_sorted_by(|a, b| a >= b), "{nearness:?}");
    assert_eq!(browsed.entries[0].0.sources, ["doc:42@v7", "doc:77"]);
}
