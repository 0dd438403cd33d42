//! The same requests through the gateway and through a simulation: each outcome, reason and age held against the other's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use semblance::upstream::scripted::{Gate, Reply};
use serde_json::{Value, json};

use super::{QUESTIONS, simulated};
use crate::harness::{START, Setup, TestGateway, asking, eventually, user};

const DEFAULT: &str = "category = \"default\"\nsummary = \"The rest.\"\n[freshness]\nttl = \"10m\"\n\
     stale_while_revalidate = \"5m\"\n[reuse]\ntier = \"semantic\"\n";
const FAQ: &str = "category = \"faq\"\nsummary = \"Public.\"\n[match]\nphrases = [\"password\"]\n\
     [freshness]\nttl = \"20m\"\n[reuse]\ntier = \"semantic\"\nscope = \"shared\"\n";
const TERMS: &str = "category = \"terms\"\nsummary = \"Word for word.\"\n[match]\nphrases = [\"refund\"]\n\
     [freshness]\nttl = \"30m\"\n[reuse]\ntier = \"exact\"\nscope = \"shared\"\n";
const BALANCE: &str = "category = \"balance\"\nsummary = \"Never.\"\n[match]\nphrases = [\"my balance\"]\n\
     [freshness]\nttl = \"0s\"\n";
const POLICIES: &[(&str, &str)] =
    &[("default.toml", DEFAULT), ("faq.toml", FAQ), ("terms.toml", TERMS), ("balance.toml", BALANCE)];
/// What an answer takes that somebody else waits for.
const SLOW_MS: i64 = 2000;

/// Outcome, reason and age by the time of asking.
type Told = BTreeMap<i64, (String, String, Option<u64>)>;

/// The requests made so far, as lines of traffic.
#[derive(Debug, Default)]
struct Script {
    now: i64,
    lines: String,
}

impl Script {
    fn note(&mut self, who: &str, question: &str, answer_ms: i64) {
        let line = json!({
            "at_ms": self.now, "query": question, "principal": who, "model": "gpt-4o-mini", "answer_ms": answer_ms,
        });
        self.lines.push_str(&format!("{line}\n"));
    }

    fn pass(&mut self, gateway: &TestGateway, time: Duration) {
        gateway.hand.advance(time);
        self.now += i64::try_from(time.as_millis()).unwrap();
    }
}

/// Asks in the middle of another's waiting for the same answer.
async fn collapsing(gateway: &Arc<TestGateway>, script: &mut Script) {
    const ASKED: &str = "Why is the sky blue?";
    let gate = Gate::closed();
    let calls = gateway.calls();
    gateway.script.push(Reply::text("It scatters.").behind(&gate));
    script.note("sk-test", ASKED, SLOW_MS);
    let first = asking(gateway, user(ASKED), &[]);
    gateway.script.reached(calls + 1).await;
    script.pass(gateway, Duration::from_secs(1));
    script.note("sk-test", ASKED, SLOW_MS);
    let second = asking(gateway, user(ASKED), &[]);
    eventually("both wait", async || gateway.app.gateway().flights().waiting() >= 2).await;
    script.pass(gateway, Duration::from_secs(1));
    gate.open();
    assert_eq!(first.await.unwrap().outcome(), "miss");
    assert_eq!(second.await.unwrap().outcome(), "collapsed");
    script.pass(gateway, Duration::from_secs(1));
}

async fn lived(gateway: &TestGateway, count: usize) -> Told {
    let listed = gateway.admin_get("/semblance/traffic?limit=500").await;
    let records = listed["records"].as_array().unwrap();
    assert_eq!(records.len(), count);
    records.iter().map(|record| (record["at_ms"].as_i64().unwrap(), told(record))).collect()
}

fn told(value: &Value) -> (String, String, Option<u64>) {
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    (text("outcome"), text("reason"), value["age_ms"].as_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn request_by_request_a_simulation_decides_what_the_gateway_decided() {
    let setup = Setup::new().really_verified().policies(POLICIES).config(|config| config.traffic.record = true);
    let gateway = Arc::new(setup.start().await);
    let mut script = Script { now: START.as_millis(), ..Script::default() };
    collapsing(&gateway, &mut script).await;
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..170 {
        let who = format!("sk-{}", random.u8(..3));
        let question = QUESTIONS[random.usize(..QUESTIONS.len())];
        script.note(&who, question, 0);
        let key = format!("Bearer {who}");
        gateway.chat_with(&user(question), &[("authorization", key.as_str())]).await;
        // A background refresh ends before the next request, as it does when seconds pass.
        eventually("nothing runs", async || gateway.app.gateway().flights().is_empty()).await;
        script.pass(&gateway, Duration::from_secs(random.u64(5..150)));
    }
    let live = lived(&gateway, 172).await;

    // Against policies under which nothing is cached, every decision but a bypass is a change, and so is listed.
    let never =
        |category: &str| format!("category = \"{category}\"\nsummary = \"Never.\"\n[freshness]\nttl = \"0s\"\n");
    let matching = |category: &str, phrase: &str| format!("{}[match]\nphrases = [\"{phrase}\"]\n", never(category));
    let files = json!({
        "default.toml": never("default"), "faq.toml": matching("faq", "password"),
        "terms.toml": matching("terms", "refund"),
    });
    let report = simulated(&gateway, &json!({"files": files, "traffic": script.lines})).await;
    let changes = report["changes"].as_array().unwrap();
    assert_eq!(report["changes_total"].as_u64(), u64::try_from(changes.len()).ok(), "all are listed");
    let decided: Told =
        changes.iter().map(|change| (change["at_ms"].as_i64().unwrap(), told(&change["today"]))).collect();
    let cached: Told = live.into_iter().filter(|(_, (outcome, ..))| outcome != "bypass").collect();
    for (at, lived) in &cached {
        assert_eq!(decided.get(at), Some(lived), "{} s after the start", (at - START.as_millis()) / 1000);
    }
    assert_eq!(decided.len(), cached.len(), "what bypassed the gateway's cache bypasses the simulated one");
    for outcome in ["hit-exact", "hit-semantic", "stale", "miss", "collapsed"] {
        assert!(cached.values().any(|(seen, ..)| seen == outcome), "{outcome} never happened");
    }
}
