//! Records of traffic, the ledger and the overview, as an operator sees them.

use serde_json::{Value, json};

use crate::harness::{Setup, TestGateway, eventually, streaming, user, with};

/// A category of public questions, one of private ones and one that is never cached.
const POLICIES: &[(&str, &str)] = &[
    (
        "default.toml",
        "category = \"default\"\nsummary = \"The rest.\"\n[freshness]\nttl = \"1h\"\n[reuse]\ntier = \"semantic\"\n",
    ),
    (
        "faq.toml",
        "category = \"faq\"\nsummary = \"Public.\"\n[match]\nphrases = [\"refund\"]\n[freshness]\nttl = \"1h\"\n\
         [reuse]\ntier = \"semantic\"\n[privacy]\ntraffic_text = true\n",
    ),
    (
        "balance.toml",
        "category = \"balance\"\nsummary = \"Never.\"\n[match]\nphrases = [\"my balance\"]\n[freshness]\nttl = \"0s\"\n\
         [privacy]\ntraffic_text = true\n",
    ),
];

async fn recording() -> TestGateway {
    Setup::new().policies(POLICIES).config(|config| config.traffic.record = true).start().await
}

async fn records(gateway: &TestGateway, filter: &str) -> Vec<Value> {
    let listed = gateway.admin_get(&format!("/semblance/traffic{filter}")).await;
    listed["records"].as_array().unwrap_or_else(|| panic!("{listed}")).clone()
}

#[tokio::test]
async fn a_record_says_what_became_of_a_request_and_its_words_where_the_policy_allows_them() {
    let gateway = recording().await;
    let miss = gateway.ask("What is the refund period?").await;
    let hit = gateway.ask("What is the refund period?").await;
    gateway.ask("What is the capital of France?").await;
    let all = records(&gateway, "").await;
    assert_eq!(all.len(), 3);
    let (other, second, first) = (&all[0], &all[1], &all[2]);
    assert_eq!(first["outcome"], "miss");
    assert_eq!(first["request_id"], miss.header("x-semblance-request-id"));
    assert_eq!(first["query"], "What is the refund period?");
    assert_eq!((second["outcome"].as_str(), second["reason"].as_str()), (Some("hit-exact"), Some("exact")));
    assert_eq!(second["entry"], hit.header("x-semblance-entry"));
    assert_eq!(second["output_tokens"].to_string(), hit.header("x-semblance-saved-output-tokens"));
    assert_eq!(first["output_tokens"], second["output_tokens"], "what was fetched is what was served");
    assert_eq!(first["fingerprint"], second["fingerprint"]);
    assert_eq!((other["query"].as_str(), other["category"].as_str()), (None, Some("default")));
    let shown = gateway.admin_get(&format!("/semblance/traffic/{}", second["request_id"].as_str().unwrap())).await;
    assert_eq!(&shown["record"], second);
}

#[tokio::test]
async fn a_record_has_no_words_of_personal_data_and_nothing_that_could_tell_a_question_that_is_never_cached() {
    let gateway = recording().await;
    gateway.ask("What is my balance?").await;
    gateway.ask("Send my refund to jane.doe@gmail.com please").await;
    let all = records(&gateway, "").await;
    let (personal, never) = (&all[0], &all[1]);
    assert_eq!(
        (&never["query"], &never["fingerprint"], &never["partition"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&personal["query"], &personal["personal"]), (&Value::Null, &json!(true)), "{personal}");
}

#[tokio::test]
async fn without_the_switch_nothing_is_recorded_and_the_ledger_still_counts() {
    let gateway = Setup::new().policies(POLICIES).start().await;
    gateway.ask("What is the refund period?").await;
    gateway.ask("What is the refund period?").await;
    let listed = gateway.admin_get("/semblance/traffic").await;
    assert_eq!((&listed["enabled"], listed["records"].as_array().unwrap().len()), (&json!(false), 0));
    let ledger = gateway.admin_get("/semblance/ledger?by=category").await;
    let faq = &ledger["rows"][0];
    assert_eq!(
        (faq["category"].as_str(), faq["requests"].as_u64(), faq["hits_exact"].as_u64()),
        (Some("faq"), Some(2), Some(1))
    );
}

#[tokio::test]
async fn a_near_miss_is_recorded_with_what_refused_it() {
    let gateway = recording().await;
    gateway.ask("Is a refund possible within 5 days?").await;
    gateway.ask("Is a refund possible within 6 days?").await;
    let refused = records(&gateway, "?refused=1").await;
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0]["reason"].as_str(), refused[0]["slot"].as_str()), (Some("guard-rejected"), Some("number")));
    assert!(refused[0]["similarity"].as_f64().unwrap() > 0.8, "{}", refused[0]);
    assert!(refused[0]["detail"].as_str().unwrap().contains('5'), "{}", refused[0]);
}

#[tokio::test]
async fn a_hit_by_meaning_is_recorded_with_how_it_was_weighed() {
    let gateway = recording().await;
    gateway.ask("How do I get a refund?").await;
    let hit = gateway.ask("How can I get a refund?").await;
    assert_eq!(hit.outcome(), "hit-semantic");
    let record = &records(&gateway, "?outcome=hit-semantic").await[0];
    assert_eq!(record["candidate"], record["entry"]);
    assert!(record["p"].as_f64().unwrap() >= record["bar"].as_f64().unwrap(), "{record}");
}

#[tokio::test]
async fn a_streamed_answer_is_recorded_at_its_end_with_its_tokens() {
    let gateway = recording().await;
    let ask = with(streaming(user("What is the refund period?")), &json!({"stream_options": {"include_usage": true}}));
    gateway.chat(&ask).await;
    eventually("the record is there", async || records(&gateway, "").await.len() == 1).await;
    let record = &records(&gateway, "").await[0];
    assert_eq!((record["streamed"].as_bool(), record["outcome"].as_str()), (Some(true), Some("miss")));
    assert!(record["output_tokens"].as_u64().unwrap() > 0, "{record}");
}

#[tokio::test]
async fn a_hit_says_what_it_saved_and_a_model_without_a_price_says_nothing() {
    let gateway = recording().await;
    gateway.ask("What is the refund period?").await;
    let hit = gateway.ask("What is the refund period?").await;
    let tokens = |name: &str| hit.header(name).parse::<f64>().unwrap();
    let (input, output) = (tokens("x-semblance-saved-input-tokens"), tokens("x-semblance-saved-output-tokens"));
    let expected = (input * 0.15 + output * 0.60) / 1e6;
    assert_eq!(hit.header("x-semblance-saved-usd"), format!("{expected:.6}"));
    let unknown = with(user("What is the refund period?"), &json!({"model": "home-made"}));
    gateway.chat(&unknown).await;
    let hit = gateway.chat(&unknown).await;
    assert_eq!((hit.outcome(), hit.header("x-semblance-saved-usd")), ("hit-exact", ""));
    let ledger = gateway.admin_get("/semblance/ledger?by=model").await;
    let row = |model: &str| {
        let rows = ledger["rows"].as_array().unwrap().iter();
        rows.clone().find(|row| row["model"] == model).unwrap_or_else(|| panic!("{ledger}")).clone()
    };
    assert!((row("gpt-4o-mini")["saved_usd"].as_f64().unwrap() - expected).abs() < 1e-9);
    let home_made = row("home-made");
    assert_eq!(home_made["saved_usd"], 0.0);
    assert!(home_made["unpriced_tokens"].as_u64().unwrap() > 0);
    assert_eq!(home_made["tokens_saved"]["output"].as_f64(), Some(output));
}

#[tokio::test]
async fn the_ledger_survives_a_restart_and_names_the_policies_in_force() {
    let gateway = recording().await;
    gateway.ask("What is the refund period?").await;
    gateway.ask("What is the refund period?").await;
    let gateway = gateway.restart().await;
    gateway.ask("What is the refund period?").await;
    let ledger = gateway.admin_get("/semblance/ledger").await;
    let row = &ledger["rows"][0];
    assert_eq!(
        (row["requests"].as_u64(), row["hits_exact"].as_u64(), row["misses"].as_u64()),
        (Some(3), Some(2), Some(1))
    );
    assert_eq!(row["policy_revisions"].as_array().unwrap().len(), 1);
    assert!(
        row["wrong_hit_bound"].as_f64().unwrap() > row["wrong_hit_budget"].as_f64().unwrap(),
        "nothing audited yet"
    );
}

#[tokio::test]
async fn an_erased_person_is_in_no_record() {
    let gateway = recording().await;
    gateway.ask("What is the refund period?").await;
    gateway.chat_with(&user("What is the refund period?"), &[("authorization", "Bearer sk-other")]).await;
    assert_eq!(records(&gateway, "").await.len(), 2);
    let (status, _) = gateway.admin_post("/semblance/purge", &json!({"credential": "sk-test"})).await;
    assert_eq!((status, records(&gateway, "").await.len()), (200, 1));
}

#[tokio::test]
async fn the_live_feed_tells_requests_as_they_end_also_when_none_are_recorded() {
    let gateway = Setup::new().policies(POLICIES).start().await;
    let mut feed = gateway.client.get(gateway.admin("/semblance/traffic/live")).send().await.unwrap();
    assert_eq!(feed.headers()["content-type"], "text/event-stream");
    gateway.ask("What is the refund period?").await;
    let mut heard = String::new();
    while !heard.contains("\n\n") {
        heard.push_str(std::str::from_utf8(&feed.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(heard.starts_with("event: request\ndata: {"), "{heard}");
    assert!(heard.contains("\"What is the refund period?\""), "{heard}");
    // An open feed does not hold up a stop.
    gateway.stop().await;
}

#[tokio::test]
async fn the_overview_tells_rates_savings_and_health() {
    let gateway = recording().await;
    gateway.ask("What is the refund period?").await;
    gateway.ask("What is the refund period?").await;
    gateway.admin_get("/semblance/ledger").await;
    let overview = gateway.admin_get("/semblance/overview").await;
    assert_eq!(overview["rates"]["hit_share"], 0.5);
    let minutes = overview["series"].as_array().unwrap();
    assert_eq!((minutes.len(), minutes[59]["hits"].as_u64(), minutes[59]["misses"].as_u64()), (60, Some(1), Some(1)));
    assert!(overview["saved"]["today_usd"].as_f64().unwrap() > 0.0, "{overview}");
    assert!(overview["latency_ms"]["hit"]["p50"].as_f64().unwrap() > 0.0);
    for check in overview["health"].as_array().unwrap() {
        assert_eq!(check["ok"], true, "{check}");
    }
    assert_eq!(overview["trips"], json!([]));
}

#[tokio::test]
async fn a_bad_filter_is_refused_with_a_reason() {
    let gateway = recording().await;
    let answer = gateway.admin_get("/semblance/ledger?by=colour").await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("category"), "{answer}");
}
