//! `semblance simulate` as a product manager runs it.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use semblance::store::encryption::EncryptionKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{DEFAULT, FAQ, POLICIES};
use crate::harness::Setup;

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Policies of today and proposed ones, whose answers live a minute instead of an hour.
fn policies() -> (TempDir, String, String) {
    let dir = TempDir::new().unwrap();
    for (side, faq) in [("today", FAQ.to_owned()), ("proposed", FAQ.replace("ttl = \"1h\"", "ttl = \"1m\""))] {
        write(dir.path(), &format!("{side}/default.toml"), DEFAULT);
        write(dir.path(), &format!("{side}/faq.toml"), &faq);
    }
    let side = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (today, proposed) = (side("today"), side("proposed"));
    (dir, today, proposed)
}

fn traffic(question: &str) -> String {
    let line = |at: &str| json!({"at": at, "query": question, "model": "gpt-4o", "input_tokens": 10, "output_tokens": 90, "answer_ms": 500});
    ["2026-11-01T12:00:00Z", "2026-11-01T12:05:00Z"].map(|at| format!("{}\n", line(at))).concat()
}

fn simulate(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_semblance"))
        .arg("simulate")
        .args(args)
        .env_remove("SEMBLANCE_PRICES")
        .env_remove("SEMBLANCE_ENCRYPTION_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has already refused its arguments reads no more.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn refused(args: &[&str], stdin: &str) -> String {
    let output = simulate(args, stdin);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_file_of_traffic_is_told_as_json_and_as_a_page() {
    let (dir, today, proposed) = policies();
    let file = write(dir.path(), "traffic.jsonl", &traffic("How do I reset <b>my</b> password?"));
    let page = dir.path().join("report.html");
    let args = [&file, "--today", &today, "--policies", &proposed, "--json", "--html", page.to_str().unwrap()];
    let output = simulate(&args, "");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["requests"], &report["span_ms"]), (&json!(2), &json!(300_000)));
    assert_eq!((&report["today"]["upstream_calls"], &report["proposed"]["upstream_calls"]), (&json!(1), &json!(2)));
    assert_eq!((&report["today"]["tokens"], &report["proposed"]["tokens"]), (&json!(100), &json!(200)));
    assert_eq!((&report["changes_total"], &report["changes"][0]["proposed"]["reason"]), (&json!(1), &json!("expired")));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("&lt;b&gt;my&lt;/b&gt;") && !page.contains("<b>my"));
}

#[test]
fn traffic_comes_through_a_pipe_and_the_report_is_words() {
    let (_dir, today, proposed) = policies();
    let args = ["-", "--today", &today, "--policies", &proposed, "--limit-changes", "0"];
    let output = simulate(&args, &traffic("How do I reset my password?"));
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(told.contains("2 requests over 5m"), "{told}");
    assert!(told.contains("1 decisions would change") && !told.contains("How do I"), "counted, none listed: {told}");
}

#[test]
fn bad_lines_are_named_by_file_and_number() {
    let dir = TempDir::new().unwrap();
    let file = write(dir.path(), "traffic.jsonl", "{\"at_ms\":1,\"query\":\"a\"}\n\nnonsense\n{\"query\":\"b\"}\n");
    let told = refused(&[&file], "");
    assert!(told.contains(&format!("{file}:3: not a request")), "{told}");
    assert!(told.contains(&format!("{file}:4: no time: give at_ms")), "{told}");
    assert!(!told.contains(":1:") && !told.contains(":2:"), "{told}");
}

#[test]
fn what_cannot_be_simulated_is_said_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().to_str().unwrap();
    assert!(refused(&[], "").contains("<FILES>"), "neither file nor directory");
    assert!(refused(&["-"], "").contains("--traffic-record"), "no traffic");
    assert!(refused(&["--data-dir", place], "").contains("--traffic-record"), "nothing recorded");
    assert!(refused(&["missing.jsonl"], "").contains("cannot read missing.jsonl"));
    let bad = write(dir.path(), "bad/default.toml", "category = \"default\"\n[freshness]\nttl = \"soon\"\n");
    let bad = Path::new(&bad).parent().unwrap().to_str().unwrap();
    let told = refused(&["-", "--policies", bad], &traffic("Why?"));
    assert!(told.contains("default.toml:3: freshness.ttl"), "{told}");
}

#[tokio::test]
async fn what_a_gateway_recorded_is_read_from_its_directory_with_its_key() {
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let setup = Setup::new().policies(POLICIES).config(|config| {
        config.traffic.record = true;
        config.encryption_key = Some(EncryptionKey::parse(KEY).unwrap());
    });
    let gateway = setup.start().await;
    for _ in 0..2 {
        gateway.ask("How do I reset my password?").await;
    }
    let (config, _dir) = gateway.stop().await;
    let place = config.data_dir.to_str().unwrap().to_owned();
    let (_policies, today, _) = policies();
    let args = ["--data-dir", &place, "--today", &today, "--policies", &today, "--json"];
    let output = simulate(&[&args[..], &["--encryption-key", KEY]].concat(), "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!((&report["requests"], &report["categories"][0]["category"]), (&json!(2), &json!("faq")));
    assert_eq!(report["changes_total"], 0);
    assert!(refused(&args, "").contains("key"), "without it nothing is read");
}
