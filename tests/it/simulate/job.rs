//! The job on the admin listener: one at a time, bounded, ended by whatever ends it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use semblance::{
    embed::{EmbedError, Embedder},
    similarity::Embedding,
    upstream::scripted::Gate,
};
use serde_json::{Value, json};

use super::{POLICIES, simulated};
use crate::harness::{Setup, SharedMiniLm, TestGateway, eventually};

/// Embeds, but one text only once the gate is open, and panics over what it must not see.
#[derive(Debug)]
struct Moody {
    model: Arc<SharedMiniLm>,
    gate: Gate,
}

const SLOW: &str = "What takes its time?";
const FATAL: &str = "zanzibar";

impl Embedder for Moody {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        let text = text.to_owned();
        Box::pin(async move {
            assert!(!text.contains(FATAL), "as the test wants it");
            if text == SLOW {
                self.gate.passed().await;
            }
            self.model.embed(&text).await
        })
    }

    fn fingerprint(&self) -> &str {
        self.model.fingerprint()
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions()
    }
}

async fn moody() -> (TestGateway, Gate) {
    let gate = Gate::closed();
    let mut setup = Setup::new().policies(POLICIES);
    setup.embedder = Arc::new(Moody { model: SharedMiniLm::get(), gate: gate.clone() });
    (setup.start().await, gate)
}

async fn begin(gateway: &TestGateway, question: &str) -> (u16, Value) {
    let traffic = json!({"at_ms": 0, "query": question}).to_string();
    gateway.admin_post("/semblance/simulate", &json!({"traffic": traffic})).await
}

async fn ended(gateway: &TestGateway, job: &str) -> Value {
    let path = format!("/semblance/simulate/{job}");
    eventually("the job has ended", async || gateway.admin_get(&path).await["state"] != "running").await;
    gateway.admin_get(&path).await
}

async fn delete(gateway: &TestGateway, job: &str) -> u16 {
    let path = gateway.admin(&format!("/semblance/simulate/{job}"));
    gateway.client.delete(path).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_at_a_time_and_a_cancelled_one_makes_room() {
    let (gateway, gate) = moody().await;
    let (status, begun) = begin(&gateway, SLOW).await;
    assert_eq!((status, &begun["job"]), (202, &json!("s1")));
    let running = gateway.admin_get("/semblance/simulate/s1").await;
    assert_eq!((&running["state"], &running["report"]), (&json!("running"), &Value::Null));
    let (status, refused) = begin(&gateway, "Another?").await;
    assert_eq!((status, refused["error"]["reason"].as_str()), (409, Some("busy")), "{refused}");
    assert_eq!(delete(&gateway, "s1").await, 204);
    gate.open();
    let told = ended(&gateway, "s1").await;
    assert_eq!((&told["state"], &told["error"]), (&json!("failed"), &json!("cancelled")));
    assert_eq!(begin(&gateway, "Another?").await.0, 202);
    assert_eq!(ended(&gateway, "s2").await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_panics_has_failed_and_makes_room() {
    let (gateway, _gate) = moody().await;
    assert_eq!(begin(&gateway, "Who has seen zanzibar?").await.0, 202);
    let told = ended(&gateway, "s1").await;
    assert_eq!(told["state"], "failed", "{told}");
    assert!(told["error"].as_str().unwrap().contains("log"), "{told}");
    assert_eq!(begin(&gateway, "Another?").await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedder_sees_no_personal_data_of_traffic_that_was_brought_along() {
    let (gateway, _gate) = moody().await;
    assert_eq!(begin(&gateway, "Mail the invoice to zanzibar@gmail.com please").await.0, 202);
    assert_eq!(ended(&gateway, "s1").await["state"], "done");
}

#[tokio::test]
async fn a_job_that_is_not_known_is_told_as_such() {
    let gateway = Setup::new().policies(POLICIES).start().await;
    for path in ["/semblance/simulate/s9", "/semblance/simulate/s9/report.html"] {
        assert_eq!(gateway.admin_get(path).await["error"]["reason"], "no-job", "{path}");
    }
    assert_eq!(delete(&gateway, "s9").await, 404);
}

#[tokio::test]
async fn of_what_is_recorded_no_more_is_read_than_was_asked_for() {
    let gateway = Setup::new().policies(POLICIES).config(|config| config.traffic.record = true).start().await;
    for question in ["What is the refund policy?", "Who wrote Hamlet?", "Who painted Guernica?"] {
        gateway.ask(question).await;
    }
    assert_eq!(simulated(&gateway, &json!({"limit": 2})).await["requests"], 2);
    assert_eq!(simulated(&gateway, &json!({})).await["requests"], 3);
    assert_eq!(simulated(&gateway, &json!({"since_ms": i64::MAX})).await["requests"], 0);
}

#[tokio::test]
async fn more_lines_than_other_calls_may_send_can_be_brought_along() {
    let gateway = Setup::new().policies(POLICIES).start().await;
    let line = |at: usize| json!({"at_ms": at, "query": "What is the refund policy?", "model": "m".repeat(1000)});
    let traffic: String = (0..3000).map(|at| format!("{}\n", line(at))).collect();
    assert!(traffic.len() > 3 << 20, "beyond the usual bound of two MiB");
    assert_eq!(simulated(&gateway, &json!({"traffic": traffic})).await["requests"], 3000);
}
