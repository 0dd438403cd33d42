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

/// A gateway process.
struct Gateway {
    process: Child,
    url: String,
    admin: String,
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
        let admin = format!("http://{}", listening["admin"].as_str().unwrap());
        Self { process, url, admin }
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

/// Two files whose categories change places: a half of the edit would be two files of one category, which no gateway starts
/// on.
fn trading_places(even: bool, ttl: usize) -> [(&'static str, String); 2] {
    let file = |category: &str| {
        format!("category = \"{category}\"\n[match]\nphrases = [\"{category}\"]\n[freshness]\nttl = \"{ttl}s\"\n")
    };
    if even {
        [("a.toml", file("coffee")), ("b.toml", file("tea"))]
    } else {
        [("a.toml", file("tea")), ("b.toml", file("coffee"))]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_while_policies_are_saved_starts_on_the_old_set_or_the_new_one() {
    install_tls();
    let dir = TempDir::new().unwrap();
    let policies = dir.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("default.toml"), POLICY).unwrap();
    for (name, text) in trading_places(false, 1) {
        std::fs::write(policies.join(name), text).unwrap();
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut newest, mut saves) = (0, 0);
    for cycle in 0..cycles() {
        let gateway = Gateway::start(dir.path());
        let get = |path: &str| client.get(format!("{}{path}", gateway.admin)).send();
        let files: serde_json::Value =
            serde_json::from_str(&get("/semblance/policies/files").await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!((&files["problems"], &files["in_use"]), (&json!([]), &files["revision"]), "cycle {cycle}");
        let history: serde_json::Value =
            serde_json::from_str(&get("/semblance/policies/history").await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!(history["versions"][0]["revision"], files["revision"], "cycle {cycle}");
        let number = history["versions"][0]["version"].as_u64().unwrap();
        assert!(number >= newest, "version {newest} was acknowledged and is gone");
        let (admin, mut base) = (gateway.admin.clone(), files["revision"].clone());
        let saver = client.clone();
        #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
        let saving = tokio::spawn(async move {
            let mut last = number;
            for turn in 1.. {
                let files: serde_json::Map<_, _> = trading_places(turn % 2 == 0, cycle * 10_000 + turn)
                    .into_iter()
                    .map(|(name, text)| (name.to_owned(), text.into()))
                    .collect();
                let body = json!({"files": files, "base_revision": base, "who": "crash"}).to_string();
                let request = saver.put(format!("{admin}/semblance/policies/files"));
                let request = request.header("content-type", "application/json").body(body);
                let Ok(response) = request.send().await else { break };
                let Ok(text) = response.text().await else { break };
                let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
                base = saved["revision"].clone();
                last = saved["version"].as_u64().unwrap_or_else(|| unreachable!("{saved}"));
            }
            last
        });
        tokio::time::sleep(std::time::Duration::from_millis(100 + fastrand::u64(0..150))).await;
        gateway.kill();
        newest = saving.await.unwrap();
        saves += newest - number;
    }
    assert!(saves > 0, "nothing was saved before a kill");
    // Nothing was left to complete by a start that there was not.
    Gateway::start(dir.path()).kill();
    assert!(semblance::policy::PolicySet::load(&policies).is_ok());
}
