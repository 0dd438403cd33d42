//! The real binary at its chattiest: personal data, keys and prompts stay out of the log.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use semblance::upstream::http::install_tls;
use serde_json::json;
use tempfile::TempDir;

const KEY: &str = "sk-proj-AbCdEf0123456789GhIjKl";
const ADDRESS: &str = "jane.doe@gmail.com";
const MARK: &str = "zanzibar";

#[tokio::test]
async fn personal_questions_leave_no_text_in_the_log() {
    install_tls();
    let dir = TempDir::new().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_semblance"))
        .args(["serve", "--json", "--upstream", "demo", "--log-level", "trace"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--data-dir", dir.path().join("data").to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = process.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}/v1/chat/completions", listening["listen"].as_str().unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for question in [
        format!("Why does the {MARK} reject {KEY}?"),
        format!("How do I invite {ADDRESS} to {MARK}?"),
        format!("How can I invite {ADDRESS} to {MARK}?"),
    ] {
        for _ in 0..2 {
            let body = json!({"model": "demo", "messages": [{"role": "user", "content": question}]}).to_string();
            let request = client.post(&url).header("authorization", "Bearer sk-who").body(body);
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let log = reading.join().unwrap();
    assert!(log.contains("personal-data"), "{log}");
    for text in [KEY, ADDRESS, MARK] {
        assert!(!log.contains(text), "{text} is in the log");
    }
}
