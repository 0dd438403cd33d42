//! The real binary, killed while it writes: nothing acknowledged under `write = "through"` is lost, nothing is half
//! written, and the doctor finds nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use semblance::upstream::http::install_tls;
use serde_json::json;
use tempfile::TempDir;

const CLIENTS: usize = 4;
const POLICY: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\ntier = \"exact\"\nwrite = \"through\"\n[match]\npaths = [\"/v1/*\"]\n";

/// Times the gateway is killed.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
fn cycles() -> usize {
    std::env::var("CYCLES").map_or(20, |cycles| cycles.parse().unwrap())
}

/// A gateway process that is killed when dropped.
struct Gateway {
    process: Child,
    url: String,
}

impl Gateway {
    fn start(dir: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_semblance"))
            .args(["serve", "--json", "--upstream", "demo", "--log-level", "warn"])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--data-dir", dir.join("data").to_str().unwrap()])
            .args(["--policies", dir.join("policies").to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = format!("http://{}/v1/chat/completions", listening["listen"].as_str().unwrap());
        Self { process, url }
    }

    /// The signal that no process can catch.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn body(number: usize) -> String {
    json!({"model": "demo", "messages": [{"role": "user", "content": format!("Tell me about number {number}.")}]})
        .to_string()
}

async fn ask(client: &reqwest::Client, url: &str, number: usize, cache_control: &str) -> Option<(u16, String)> {
    let request = client.post(url).header("authorization", "Bearer sk-crash").header("cache-control", cache_control);
    let response = request.body(body(number)).send().await.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_answers_outlive_a_killed_gateway() {
    install_tls();
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    std::fs::write(dir.path().join("policies/default.toml"), POLICY).unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for cycle in 0..cycles() {
        let gateway = Gateway::start(dir.path());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (next, acknowledged, url) = (Arc::clone(&next), Arc::clone(&acknowledged), gateway.url.clone());
                #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
                tokio::spawn(async move {
                    let client = reqwest::Client::builder().no_proxy().build().unwrap();
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        // The answer's last byte is the acknowledgement.
                        let Some((200, _)) = ask(&client, &url, number, "max-age=3600").await else { return };
                        acknowledged.lock().unwrap().push(number);
                    }
                })
            })
            .collect();
        let enough = acknowledged.lock().unwrap().len() + 5 + fastrand::usize(0..20);
        while acknowledged.lock().unwrap().len() < enough {
            tokio::task::yield_now().await;
        }
        gateway.kill();
        for client in clients {
            client.await.unwrap();
        }
        let report = semblance::store::sqlite::doctor::doctor(&dir.path().join("data"), false).unwrap();
        assert!(report.is_clean(), "cycle {cycle}: {report}");
    }
    let gateway = Gateway::start(dir.path());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= cycles() * 5);
    for number in acknowledged {
        let (status, text) = ask(&client, &gateway.url, number, "only-if-cached").await.unwrap();
        assert_eq!(status, 200, "number {number} was acknowledged and is gone");
        assert!(text.contains(&format!("number {number}.")), "another question's answer: {text}");
    }
    gateway.kill();
}
