//! What lies in the data directory: sealed under a key, and erased when a person asks for it.

use std::path::Path;

use semblance::{
    app::{App, Seams, StartError},
    store::{StoreError, encryption::EncryptionKey},
    upstream::scripted::Reply,
};
use serde_json::json;

use crate::harness::{Setup, SharedMiniLm, TestGateway, asking, user};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";
const ANSWER: &str = "Boil it with citric acid, then rinse.";

fn key(byte: u8) -> Option<EncryptionKey> {
    Some(EncryptionKey::from_bytes([byte; 32]))
}

/// The files under `dir`, at any depth, that hold `part`.
fn holding(dir: &Path, part: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, part));
        } else if std::fs::read(&path).unwrap().windows(part.len()).any(|window| window == part) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A hit by meaning, an audit, a complaint and a restart: everything that writes something down.
async fn use_it(gateway: &TestGateway) {
    gateway.script.push(Reply::text(ANSWER));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    let hit = gateway.ask(REWORDED).await;
    assert_eq!(hit.outcome(), "hit-semantic");
    let complaint = json!({"request_id": hit.header("x-semblance-request-id"), "verdict": "wrong"});
    assert_eq!(gateway.admin_post("/semblance/feedback", &complaint).await.0, 200);
    gateway.app.store().flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_key_no_file_holds_a_text_and_a_restart_with_it_serves_hits() {
    let plain = Setup::new().on_disk().start().await;
    use_it(&plain).await;
    // Answers are compressed as well: what shows that they are there without a key is the question.
    assert!(!holding(plain.data_dir(), b"descale").is_empty(), "the search finds what is there");

    let gateway = Setup::new().on_disk().config(|config| config.encryption_key = key(1)).start().await;
    use_it(&gateway).await;
    let texts = [ASKED, REWORDED, ANSWER, "descale", "citric"];
    for text in texts {
        assert_eq!(holding(gateway.data_dir(), text.as_bytes()), Vec::<String>::new(), "{text}");
    }
    let gateway = gateway.restart().await;
    for text in texts {
        assert_eq!(holding(gateway.data_dir(), text.as_bytes()), Vec::<String>::new(), "{text}");
    }
    let exact = gateway.ask(ASKED).await;
    assert_eq!((exact.outcome(), exact.content().as_str()), ("hit-exact", ANSWER));
    assert_eq!(gateway.ask("How do I descale the kettle?").await.outcome(), "hit-semantic", "the index is rebuilt");
    let (_, purged) = gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
    assert_eq!(purged["purged"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_another_key_or_none_is_refused_with_what_to_do() {
    let gateway = Setup::new().on_disk().config(|config| config.encryption_key = key(1)).start().await;
    gateway.ask(ASKED).await;
    let (config, _dir) = gateway.stop().await;
    for (wrong, reason) in [(key(2), "store-wrong-key"), (None, "store-key-missing")] {
        let mut config = config.clone();
        config.encryption_key = wrong;
        let seams = Seams { embedder: Some(SharedMiniLm::get()), ..Seams::default() };
        let error = App::start(config, seams).await.unwrap_err();
        assert!(error.to_string().contains("SEMBLANCE_ENCRYPTION_KEY"), "{error}");
        let StartError::Store(error) = error else { panic!("{error}") };
        assert_eq!(StoreError::reason(&error), reason);
    }
}

/// Asks twice, in other words the second time, and complains: an entry, an alias, a blocked pair and a case on disk.
async fn leave_traces(gateway: &TestGateway, who: &str, thing: &str) {
    let headers = [("authorization", who), ("x-semblance-tags", thing)];
    gateway.script.push(Reply::text(&format!("Boil the {thing} with citric acid.")));
    gateway.chat_with(&user(&format!("How do I descale a {thing}?")), &headers).await;
    let hit = gateway.chat_with(&user(&format!("How can I descale a {thing}?")), &headers).await;
    assert_eq!(hit.outcome(), "hit-semantic");
    let complaint = json!({"request_id": hit.header("x-semblance-request-id"), "verdict": "wrong"});
    assert_eq!(gateway.admin_post("/semblance/feedback", &complaint).await.0, 200);
    gateway.chat_with(&user(&format!("How do I descale the {thing}?")), &headers).await;
    gateway.app.store().flush().await.unwrap();
}

async fn principal_of(gateway: &TestGateway, tag: &str) -> String {
    let listed = gateway.admin_get(&format!("/semblance/entries?tag={tag}")).await;
    listed["entries"][0]["principal"].as_str().unwrap().to_owned()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

async fn assert_erased(gateway: &TestGateway, principal: &str, who: &str, thing: &str) {
    for trace in [thing.as_bytes(), principal.as_bytes(), &bytes_of(principal)] {
        let holding = holding(gateway.data_dir(), trace);
        assert!(holding.is_empty(), "{} stands in {holding:?}", String::from_utf8_lossy(trace));
    }
    for question in ["How do I descale a", "How can I descale a", "How do I descale the"] {
        let headers = [("authorization", who), ("cache-control", "only-if-cached")];
        assert_eq!(gateway.chat_with(&user(&format!("{question} {thing}?")), &headers).await.status, 504);
    }
    let entries = gateway.admin_get(&format!("/semblance/entries?principal={principal}")).await;
    assert_eq!(entries["entries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_a_person_leaves_no_trace_of_them_and_all_of_others() {
    let gateway = Setup::new().on_disk().start().await;
    leave_traces(&gateway, "Bearer sk-ann", "samovar").await;
    leave_traces(&gateway, "Bearer sk-bob", "kettle").await;
    let (ann, bob) = (principal_of(&gateway, "samovar").await, principal_of(&gateway, "kettle").await);
    assert!(holding(gateway.data_dir(), b"samovar").len() > 1, "database and cases");
    let order = json!({"principal": ann, "dry_run": true});
    assert_eq!(gateway.admin_post("/semblance/purge", &order).await.1["purged"], 1);
    assert!(!holding(gateway.data_dir(), b"samovar").is_empty(), "counting changes nothing");
    let (status, purged) = gateway.admin_post("/semblance/purge", &json!({"principal": ann})).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(1)));
    assert_erased(&gateway, &ann, "Bearer sk-ann", "samovar").await;
    let gateway = gateway.restart().await;
    assert_erased(&gateway, &ann, "Bearer sk-ann", "samovar").await;
    let headers = [("authorization", "Bearer sk-bob")];
    assert_eq!(gateway.chat_with(&user("How do I descale a kettle?"), &headers).await.outcome(), "hit-exact");
    assert_eq!(gateway.app.store().blocked().await.unwrap().len(), 1, "bob's complaint stands");
    let cases = std::fs::read_to_string(gateway.data_dir().join("feedback.jsonl")).unwrap();
    assert!(cases.lines().count() == 1 && cases.contains("kettle") && cases.contains(&bob), "{cases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_by_a_credential_that_stands_on_no_command_line() {
    let gateway = Setup::new().on_disk().start().await;
    for (way, header, sent) in
        [("stdin", "authorization", "Bearer sk-ann"), ("env", "x-api-key", "sk-ann"), ("both", "api-key", "sk-ann")]
    {
        let sending = [("authorization", if way == "both" { "Bearer sk-ann" } else { "" }), (header, sent)];
        let sending = if way == "stdin" { &sending[1..] } else { &sending[..] };
        gateway.chat_with(&user("How do I descale a samovar?"), sending).await;
        gateway.app.store().flush().await.unwrap();
        assert!(!holding(gateway.data_dir(), b"samovar").is_empty(), "{way}");
        let mut purge = std::process::Command::new(env!("CARGO_BIN_EXE_semblance"));
        purge.args(["purge", "--json", "--admin", &gateway.app.admin.to_string()]);
        match way {
            "env" => purge.args(["--credential-env", "ANNS_KEY"]).env("ANNS_KEY", "sk-ann"),
            _ => purge.arg("--credential-stdin"),
        };
        let output = tokio::task::spawn_blocking(move || {
            let piped = std::process::Stdio::piped;
            let mut child = purge.stdin(piped()).stdout(piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"sk-ann\n").unwrap();
            child.wait_with_output().unwrap()
        });
        let output = String::from_utf8(output.await.unwrap().stdout).unwrap();
        assert!(output.contains("\"purged\":1"), "{way}: {output}");
        assert_eq!(holding(gateway.data_dir(), b"samovar"), Vec::<String>::new(), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_being_made_for_a_person_does_not_come_back_after_their_erasure() {
    use semblance::upstream::scripted::Gate;
    let gateway = std::sync::Arc::new(Setup::new().on_disk().start().await);
    let gate = Gate::closed();
    gateway.script.push(Reply::text("Use vinegar.").behind(&gate));
    let running = asking(&gateway, user(ASKED), &[]);
    gateway.script.reached(1).await;
    assert_eq!(gateway.admin_post("/semblance/purge", &json!({"credential": "sk-test"})).await.0, 200);
    gate.open();
    let answer = running.await.unwrap();
    assert!(answer.header("cache-status").ends_with("detail=purged"), "{}", answer.header("cache-status"));
    assert_eq!(holding(gateway.data_dir(), b"descale"), Vec::<String>::new());
}
