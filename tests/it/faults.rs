//! When things break: a row of the README's table each. What clients get, what the cache keeps, and how it gets well.

mod store;
mod upstream;

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use semblance::embed::{EmbedError, scripted::ScriptedEmbedder};

use crate::harness::{Setup, TestGateway, user, with};

const ASKED: &str = "How do I descale a kettle?";
const OTHER: &str = "Who wrote the novel Emma?";
/// Everything for an hour, stale for a day where the upstream fails; on disk before the answer's last byte.
const POLICY: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\nstale_if_error = \"1d\"\n\
    [reuse]\nwrite = \"through\"\n[match]\npaths = [\"/v1/*\"]\n";

fn setup() -> Setup {
    Setup::new().policies(&[("default.toml", POLICY)])
}

fn detail(answer: &crate::harness::Answer) -> &str {
    answer.header("cache-status")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_that_fails_or_is_too_slow_costs_matching_by_meaning_and_nothing_else() {
    let embedder = Arc::new(ScriptedEmbedder::new());
    let gateway = Setup { embedder: Arc::<ScriptedEmbedder>::clone(&embedder), ..setup() }.start().await;
    for (number, error) in [EmbedError::Timeout, EmbedError::Busy].into_iter().enumerate() {
        embedder.fail_with(error);
        let question = format!("{OTHER} Attempt {number}.");
        let miss = gateway.ask(&question).await;
        assert_eq!((miss.status, miss.outcome()), (200, "miss"));
        assert!(detail(&miss).contains("detail=embedder-down"), "{}", detail(&miss));
        assert_eq!(gateway.ask(&question).await.outcome(), "hit-exact");
        embedder.recover();
    }
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    assert_eq!(gateway.ask("How can I descale a kettle?").await.outcome(), "hit-semantic", "well again");
}

#[test]
fn policies_that_cannot_be_read_at_start_stop_it_and_name_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("default.toml"), "category = \"default\"\n[freshness]\nttl = \"soon\"\n").unwrap();
    let (policies, data) = (dir.path().to_str().unwrap(), dir.path().join("data"));
    let said = refused_start(&["--policies", policies, "--data-dir", data.to_str().unwrap()]);
    assert!(said.contains("default.toml:3") && said.contains("ttl"), "{said}");
    assert!(!data.exists(), "a start that fails writes nothing");
}

/// How old an answer is that was made under a clock set back since, nobody knows: it is not served, and a purge stays one.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_expires_early_at_worst_and_brings_nothing_back() {
    let gateway = setup().start().await;
    let hour = Duration::from_secs(3600);
    gateway.ask(ASKED).await;
    gateway.hand.set_back(hour * 5);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    let (_, purged) = gateway.admin_post("/semblance/purge", &serde_json::json!({"category": "default"})).await;
    assert!(purged["purged"].as_u64().is_some_and(|purged| purged > 0), "{purged}");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    gateway.hand.advance(hour * 100);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss", "long expired by this clock");
    gateway.hand.advance(hour * 24 * 365 * 200);
    assert_eq!(gateway.ask(ASKED).await.status, 200);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

/// An index is built from the vectors in the database at every start, so there is no file of it to be damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_cannot_be_read_costs_its_own_wordings_only() {
    let gateway = setup().on_disk().start().await;
    gateway.ask(ASKED).await;
    gateway.ask(OTHER).await;
    let gateway = store::damaged(gateway, "UPDATE vectors SET embedding = x'00' WHERE entry_id = 1").await;
    assert_eq!(gateway.ask("Who is the author of the novel Emma?").await.outcome(), "hit-semantic");
    assert_eq!(gateway.ask("How can I descale a kettle?").await.outcome(), "miss");
}

/// What a start that must not succeed says.
fn refused_start(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
    command.args(["serve", "--upstream", "demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut process = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..1000 {
        if let Some(status) = process.try_wait().unwrap() {
            assert!(!status.success());
            let mut said = String::new();
            process.stderr.unwrap().read_to_string(&mut said).unwrap();
            return said;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    process.kill().unwrap();
    panic!("it started");
}

/// A gateway that has answered both questions, and the answers' text.
async fn with_two_answers(setup: Setup) -> TestGateway {
    let gateway = setup.start().await;
    for question in [ASKED, OTHER] {
        let short = with(user(question), &serde_json::json!({"max_tokens": 1000}));
        assert_eq!(gateway.chat(&short).await.outcome(), "miss");
    }
    gateway
}
