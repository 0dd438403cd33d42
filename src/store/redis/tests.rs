use super::*;
use crate::store::conformance::{self, conformance_suite, entry, fingerprint};

#[expect(dead_code, reason = "the gateway's own tests use the rest")]
#[path = "../../../tests/engine/server.rs"]
pub(crate) mod server;
use server::{Server, cluster, cluster_url};

/// What a test's node uses.
pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings::of(Address::parse(url).unwrap())
}

async fn node(url: &str) -> RedisStore {
    RedisStore::connect(settings(url)).await.unwrap()
}

/// A store in an engine of its own.
async fn open() -> (RedisStore, Server) {
    let server = Server::start();
    (node(&server.url()).await, server)
}

conformance_suite!(open().await);

mod in_a_cluster {
    use super::*;

    async fn open() -> (RedisStore, Vec<Server>) {
        let servers = cluster();
        (node(&cluster_url(&servers)).await, servers)
    }

    conformance_suite!(open().await);
}

mod sealed {
    use super::*;

    async fn open() -> (RedisStore, Server) {
        let server = Server::start();
        let encryption = Some(EncryptionKey::from_bytes([7; 32]));
        let settings = RedisSettings { encryption, ..settings(&server.url()) };
        (RedisStore::connect(settings).await.unwrap(), server)
    }

    conformance_suite!(open().await);

    #[tokio::test]
    async fn no_text_stands_in_the_engine_and_another_key_is_refused() {
        let (store, server) = open().await;
        let secret = "a very private question";
        store.admit(entry(store.next_id(fingerprint(secret)), secret), Durability::Through).await.unwrap();
        let selector = Selector { near: Some(conformance::near("another private text", 0.99)), ..Selector::default() };
        store.purge(selector, Hardness::Hard, false).await.unwrap();
        let keys = server.cli(&["--scan"]);
        assert!(keys.lines().count() > 10, "{keys}");
        for key in keys.lines() {
            let dumped = server.cli(&["--no-raw", "dump", key]);
            assert!(!dumped.contains("private"), "{key}");
            assert!(!key.contains("private"), "{key}");
        }
        for (encryption, reason) in [(None, "store-key-missing"), (Some([8; 32]), "store-wrong-key")] {
            let encryption = encryption.map(EncryptionKey::from_bytes);
            let settings = RedisSettings { encryption, ..settings(&server.url()) };
            assert_eq!(RedisStore::connect(settings).await.unwrap_err().reason(), reason);
        }
    }
}

async fn found(store: &RedisStore, question: &str) -> Option<EntryId> {
    store.find(fingerprint(question)).await.unwrap().map(|found| found.entry.id)
}

async fn admitted(store: &RedisStore, question: &str) -> Entry {
    let entry = entry(store.next_id(fingerprint(question)), question);
    store.admit(entry.clone(), Durability::Through).await.unwrap();
    entry
}

#[tokio::test]
async fn two_nodes_give_no_id_twice_and_see_each_others_entries() {
    let (one, server) = open().await;
    let two = node(&server.url()).await;
    let (first, second) = (admitted(&one, "first").await, admitted(&two, "second").await);
    assert_ne!(first.id, second.id);
    assert_eq!((found(&two, "first").await, found(&one, "second").await), (Some(first.id), Some(second.id)));
}

#[tokio::test]
async fn an_admission_that_was_judged_before_a_purge_of_another_node_is_sent_back() {
    use crate::store::shared::Admission;
    let (one, server) = open().await;
    let two = node(&server.url()).await;
    let late = entry(two.next_id(fingerprint("late")), "late");
    let judged = two.position(late.fingerprint);
    one.purge(Selector::default(), Hardness::Hard, false).await.unwrap();
    assert_eq!(two.admit_at(late.clone(), judged).await.unwrap(), Admission::Behind);
    assert_eq!(found(&one, "late").await, None);
    let judged = two.position(late.fingerprint);
    assert_eq!(two.admit_at(late.clone(), judged).await.unwrap(), Admission::Admitted);
    assert_eq!(found(&one, "late").await, Some(late.id));
}

#[tokio::test]
async fn a_purge_whose_node_died_before_it_swept_is_not_served_past_and_is_finished() {
    let (one, server) = open().await;
    let two = node(&server.url()).await;
    let (gone, stale) = (admitted(&one, "gone").await, admitted(&one, "stale").await);
    let at = Timestamp::from_millis(500);
    let of = |id| Selector { entry: Some(id), ..Selector::default() };
    for (id, hardness) in [(gone.id, Hardness::Hard), (stale.id, Hardness::Soft(at))] {
        let change = Change::Purged { selector: of(id), hardness };
        one.core.tell(&change).await.unwrap();
    }
    for node in [&one, &two] {
        assert!(node.get(gone.id).await.unwrap().is_none());
        assert_eq!(node.get(stale.id).await.unwrap().unwrap().invalidated_at, Some(at));
    }
    let again = admitted(&two, "gone").await;
    assert_eq!(found(&one, "gone").await, Some(again.id), "what is admitted after it is good");
    // A node that starts now knows of it too.
    let three = node(&server.url()).await;
    assert_eq!(three.get(stale.id).await.unwrap().unwrap().invalidated_at, Some(at));
    drop(one);
    let pending = || server.cli(&["zcard", "{semblance:0}:pending"]);
    assert_eq!(pending(), "2");
    two.tidy().await.unwrap();
    assert_eq!(pending(), "2", "its node may still be at it");
    // As if the first look had been a while ago.
    server.cli(&["hset", "{semblance:0}:left", "at", &format!("1 {}", two.core.order(0).applied())]);
    server.cli(&["del", "{semblance:0}:tidying"]);
    two.tidy().await.unwrap();
    assert_eq!(pending(), "0");
    assert_eq!(two.get(stale.id).await.unwrap().unwrap().invalidated_at, Some(at), "written now");
    assert_eq!(found(&two, "gone").await, Some(again.id));
}

#[tokio::test]
async fn what_ran_out_is_no_entry_and_is_taken_out_of_everything() {
    let server = Server::start();
    let store = RedisStore::connect(RedisSettings { max_age: Duration::from_millis(50), ..settings(&server.url()) });
    let store = store.await.unwrap();
    let (one, two) = (admitted(&store, "one").await, admitted(&store, "two").await);
    store.alias(fingerprint("wording"), two.id).unwrap();
    store.flush().await.unwrap();
    for entry in [&one, &two] {
        while server.cli(&["exists", &format!("{{semblance:0}}:e:{}", entry.id.0)]) == "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(found(&store, "one").await, None);
    assert_eq!(store.list(Selector::default(), 0, 9).await.unwrap(), []);
    store.tidy().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.aliases, stats.answer_bytes), (0, 0, 0));
    assert_eq!(store.categories().await.unwrap(), []);
    let left = server.cli(&["--scan", "--pattern", "*:[mefwtsopgi]:*"]);
    assert_eq!(left, "", "nothing names it any more");
}

#[tokio::test]
async fn an_order_that_a_failover_shortened_is_told_again() {
    let (one, server) = open().await;
    let entry = admitted(&one, "q").await;
    let before = server.cli(&["get", "{semblance:0}:seq"]);
    let dumped: Vec<String> = ["e", "m"].iter().map(|kind| format!("{{semblance:0}}:{kind}:{}", entry.id.0)).collect();
    for key in &dumped {
        server.cli(&["copy", key, &format!("{key}:kept")]);
    }
    let selector = Selector { entry: Some(entry.id), ..Selector::default() };
    one.purge(selector, Hardness::Hard, false).await.unwrap();
    // As the replica had it that is the master now: without the purge, and with what it purged.
    server.cli(&["set", "{semblance:0}:seq", &before]);
    server.cli(&["del", "{semblance:0}:log"]);
    for key in &dumped {
        server.cli(&["rename", &format!("{key}:kept"), key]);
    }
    assert!(one.get(entry.id).await.unwrap().is_none());
    let two = node(&server.url()).await;
    assert!(two.get(entry.id).await.unwrap().is_none(), "a node that comes later knows of it too");
    let late = conformance::entry(two.next_id(fingerprint("late")), "late");
    two.admit(late, Durability::Through).await.unwrap();
    assert!(found(&one, "late").await.is_some(), "and all go on");
}

#[tokio::test]
async fn a_node_with_another_model_is_refused_while_others_live_and_takes_over_when_none_does() {
    use crate::store::shared::Models;
    let models = |embedder: &str| Models { embedder: embedder.to_owned(), verifier: "v1".to_owned() };
    let (one, server) = open().await;
    one.agree(models("minilm@1")).await.unwrap();
    one.follow().await.unwrap();
    let two = node(&server.url()).await;
    two.agree(models("minilm@1")).await.unwrap();
    let refused = two.agree(models("minilm@2")).await.unwrap_err();
    assert_eq!(refused.reason(), "store-mixed");
    assert!(refused.to_string().contains("minilm@1") && refused.to_string().contains("minilm@2"), "{refused}");
    one.leave().await;
    two.agree(models("minilm@2")).await.unwrap();
}

#[tokio::test]
async fn all_nodes_have_the_secret_of_the_first() {
    use crate::key::PrincipalKey;
    let (one, server) = open().await;
    let two = node(&server.url()).await;
    let secret = |byte| PrincipalKey::from_bytes([byte; 32]);
    assert_eq!(one.principal_key(secret(1)).await.unwrap().expose(), secret(1).expose());
    assert_eq!(two.principal_key(secret(2)).await.unwrap().expose(), secret(1).expose());
}

#[tokio::test]
async fn an_engine_that_may_forget_purges_is_refused() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru"]);
    let refused = RedisStore::connect(settings(&server.url())).await.unwrap_err();
    assert_eq!(refused.reason(), "store-engine-unusable");
    assert!(refused.to_string().contains("volatile-lfu"), "{refused}");
    let server = Server::with(&["--requirepass", "right"]);
    let refused = RedisStore::connect(settings(&server.url().replace("//", "//:wrong@"))).await.unwrap_err();
    assert_eq!(refused.reason(), "store-engine-unusable", "{refused}");
    assert!(!refused.to_string().contains("wrong@"));
    RedisStore::connect(settings(&server.url().replace("//", "//:right@"))).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_does_not_answer_fails_calls_at_once_and_works_again_when_it_does() {
    let server = Server::start();
    let settings = RedisSettings { response: Duration::from_millis(200), ..settings(&server.url()) };
    let store = RedisStore::connect(settings).await.unwrap();
    let kept = admitted(&store, "kept").await;
    server.freeze(true);
    assert_eq!(store.get(kept.id).await.unwrap_err().reason(), "store-unreachable");
    assert!(!store.is_reachable());
    server.freeze(false);
    while store.get(kept.id).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(store.is_reachable());
}

#[tokio::test]
async fn news_that_were_cut_off_are_noticed() {
    let server = Server::start();
    let one = node(&server.url()).await;
    let two = node(&server.url()).await;
    admitted(&one, "one").await;
    assert_eq!(two.follow().await.unwrap(), crate::store::shared::Followed::default());
    for n in 0..3 {
        admitted(&one, &format!("q{n}")).await;
    }
    server.cli(&["xtrim", "{semblance:0}:feed", "MAXLEN", "1"]);
    assert!(two.follow().await.unwrap().resync);
    assert!(!two.follow().await.unwrap().resync, "it goes on from there");
}

#[tokio::test]
async fn a_purge_waits_for_every_node_that_lives_and_for_no_dead_one_longer_than_a_lease() {
    let (one, server) = open().await;
    let two = node(&server.url()).await;
    two.follow().await.unwrap();
    let purging = one.purge(Selector::default(), Hardness::Hard, false);
    let following = async {
        while two.core.order(0).applied() != one.core.order(0).applied()
            || server.cli(&["xlen", "{semblance:0}:log"]) != "1"
        {
            two.follow().await.unwrap();
        }
    };
    let (purged, ()) = tokio::join!(purging, following);
    purged.unwrap();
    two.follow().await.unwrap();
    assert!(two.trusts_hot());
    one.purge(Selector::default(), Hardness::Hard, false).await.unwrap();
    assert!(!two.trusts_hot(), "its lease had to run out");
}

#[tokio::test]
async fn a_purge_is_not_acknowledged_without_the_replicas_that_it_needs() {
    let server = Server::start();
    let mut replica = server.replica();
    let settings = RedisSettings { replicas: 1, ..settings(&server.url()) };
    let store = RedisStore::connect(settings).await.unwrap();
    let kept = admitted(&store, "q").await;
    assert_eq!(store.purge(Selector::default(), Hardness::Hard, false).await.unwrap(), [kept.id]);
    replica.kill();
    admitted(&store, "q").await;
    let refused = store.purge(Selector::default(), Hardness::Hard, false).await.unwrap_err();
    assert_eq!(refused.reason(), "store-not-replicated");
    assert_eq!(found(&store, "q").await, None, "it is in force all the same");
}

#[tokio::test]
async fn a_sentinel_leads_to_the_master_and_after_a_failover_to_the_new_one() {
    let mut server = Server::start();
    let replica = server.replica();
    let sentinel = server.sentinel();
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    let settings = RedisSettings { replicas: 1, ..settings(&url) };
    let store = RedisStore::connect(settings).await.unwrap();
    admitted(&store, "purged").await;
    let selector = Selector { tag: Some("docs".to_owned()), ..Selector::default() };
    store.purge(selector, Hardness::Hard, false).await.unwrap();
    let kept = admitted(&store, "kept").await;
    while replica.cli(&["exists", &format!("{{semblance:0}}:e:{}", kept.id.0)]) != "1" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.kill();
    while store.get(kept.id).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(found(&store, "kept").await, Some(kept.id));
    assert_eq!(found(&store, "purged").await, None);
    let new = admitted(&store, "new").await;
    assert_eq!(found(&store, "new").await, Some(new.id), "it takes writes");
}

#[tokio::test]
async fn an_engine_behind_tls_is_trusted_by_its_authority_only() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    crate::upstream::http::install_tls();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, secret) = (write("cert.pem", certificate.pem()), write("key.pem", key.serialize_pem()));
    let port = server::free_port();
    let tls = ["--tls-port", &port.to_string(), "--tls-cert-file", &cert, "--tls-key-file", &secret];
    let _server = Server::with(&[&tls[..], &["--tls-ca-cert-file", &cert, "--tls-auth-clients", "no"]].concat());
    let settings = settings(&format!("rediss://127.0.0.1:{port}"));
    let stranger = RedisStore::connect(settings.clone()).await.unwrap_err();
    assert_eq!(stranger.reason(), "store-unreachable", "{stranger}");
    let authorities = Some(authority.pem().into_bytes());
    let store = RedisStore::connect(RedisSettings { authorities, ..settings }).await.unwrap();
    let entry = admitted(&store, "q").await;
    assert_eq!(found(&store, "q").await, Some(entry.id));
}

#[tokio::test]
async fn changes_beyond_those_that_a_node_may_need_leave_the_log() {
    let (store, server) = open().await;
    for n in 0..300 {
        let selector = Selector { tag: Some(format!("tag {n}")), ..Selector::default() };
        store.purge(selector, Hardness::Hard, false).await.unwrap();
    }
    let log = || server.cli(&["xlen", "{semblance:0}:log"]).parse::<u64>().unwrap();
    assert_eq!(log(), 300);
    store.core.call(&scripts::SWEPT, 0, (store.core.order(0).applied(), 3)).await.unwrap();
    assert!((3..150).contains(&log()), "{}: the engine trims whole nodes of the stream", log());
    let kept = admitted(&store, "q").await;
    assert_eq!(found(&store, "q").await, Some(kept.id));
}
