use http::{HeaderMap, StatusCode};

use super::*;
use crate::outcome::StaleWhy;

/// The operator's interface: names and types. A change here breaks dashboards.
const NAMES: &[&str] = &[
    "admissions counter",
    "aliases gauge",
    "audits counter",
    "bypasses counter",
    "candidate_similarity histogram",
    "embeddings counter",
    "entries gauge",
    "entry_bytes gauge",
    "feed_behind gauge",
    "feed_lag_seconds gauge",
    "feed_resyncs counter",
    "feedback counter",
    "file_bytes gauge",
    "flight_followers counter",
    "hot_tier_bytes gauge",
    "index_tombstones gauge",
    "index_vectors gauge",
    "judged counter",
    "lookup_duration_seconds histogram",
    "lookups counter",
    "misses counter",
    "node_flights counter",
    "otlp_dropped counter",
    "policy_reloads counter",
    "removals counter",
    "request_duration_seconds histogram",
    "requests counter",
    "requests_in_flight gauge",
    "saved_tokens counter",
    "saved_usd counter",
    "shared_store_reachable gauge",
    "task_panics gauge",
    "tasks_alive gauge",
    "tripped gauge",
    "upstream_duration_seconds histogram",
    "upstream_fallbacks counter",
    "upstream_requests counter",
    "withheld counter",
    "wrong_hit_bound gauge",
    "wrong_hit_budget gauge",
];

/// The value of the sample that starts with `series`.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn touch_all(metrics: &Metrics) {
    let similarity = Similarity::new(0.95).unwrap();
    metrics.request(Some(wire::Family::Chat), "default", Outcome::Miss(MissReason::Empty), Duration::from_millis(3));
    metrics.stage(Stage::Embed, Duration::from_millis(5));
    metrics.candidate(similarity, Verdict::Guard);
    metrics.embedding(Err(&EmbedError::Busy));
    metrics.admission(None);
    metrics.saved(Some(Usage { input: 7, output: 9 }), Some(0.25));
    metrics.feedback("wrong");
    metrics.audit("same", "faq");
    metrics.withheld(MissReason::Shadow, "faq");
    metrics.judged("yes");
    metrics.set_wrong_hits("faq", true, 0.03);
    metrics.set_budgets([("faq", 0.02)].into_iter());
    metrics.upstream(Err(&UpstreamError::Timeout), Duration::from_secs(1));
    metrics.fell_back("primary", "spare");
    metrics.follower(FollowerStatus::Served);
    metrics.set_store(&StoreStats { entries: 3, ..StoreStats::default() });
    metrics.set_memory(1, 2, 3);
}

/// All metrics, none of them without a sample.
fn rendered() -> String {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    touch_all(&metrics);
    tasks.spawn("refresh", std::future::pending());
    metrics.set_tasks(&tasks);
    metrics.render()
}

#[tokio::test]
async fn every_metric_is_listed_and_has_help() {
    let text = rendered();
    let mut types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE semblance_")).collect();
    types.sort_unstable();
    assert_eq!(types, NAMES);
    assert_eq!(text.lines().filter(|line| line.starts_with("# HELP semblance_")).count(), NAMES.len());
    assert!(text.ends_with("# EOF\n"));
}

/// Texts under `key`, anywhere in `json`.
fn texts<'a>(json: &'a serde_json::Value, key: &str, found: &mut Vec<&'a str>) {
    match json {
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| match value.as_str() {
            Some(text) if name == key => found.push(text),
            _ => texts(value, key, found),
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../grafana/semblance.json")).unwrap();
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    assert!(queries.len() > 40, "{}", queries.len());
    texts(&dashboard, "definition", &mut queries);
    let samples = rendered();
    let name = regex::Regex::new("semblance_[a-z_]+").unwrap();
    let label = regex::Regex::new(r#"(?:by|on) \(([a-z_, ]+)\)|([a-z_]+)(?:=~|!~|!=|=)""#).unwrap();
    for query in queries {
        let asked: Vec<&str> = name.find_iter(query).map(|found| found.as_str()).collect();
        assert!(!asked.is_empty(), "{query}");
        let of = |metric: &str| -> Vec<&str> {
            let of_metric = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with([' ', '{']));
            samples.lines().filter(of_metric).collect()
        };
        for metric in &asked {
            assert!(!of(metric).is_empty(), "nobody declares {metric}: {query}");
        }
        let labels = label.captures_iter(query).filter_map(|found| found.get(1).or(found.get(2)));
        for label in labels.flat_map(|list| list.as_str().split(", ")) {
            let is_there = |metric: &&str| of(metric).iter().any(|line| line.contains(&format!("{label}=\"")));
            assert!(matches!(label, "job" | "instance") || asked.iter().any(is_there), "no {label}: {query}");
        }
    }
}

#[test]
fn the_dashboard_asks_the_data_source_that_is_chosen_in_it() {
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../grafana/semblance.json")).unwrap();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!([&variable["type"], &variable["name"], &variable["query"]], ["datasource", "datasource", "prometheus"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<&serde_json::Value> = panels.iter().map(|panel| &panel["id"]).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        for source in targets.iter().chain([panel]).map(|part| &part["datasource"]["uid"]) {
            assert_eq!(source, "${datasource}", "{panel}");
        }
        assert!(panel["title"].is_string() && panel["description"].is_string(), "{panel}");
    }
}

#[test]
fn a_request_is_counted_where_its_outcome_shows() {
    let metrics = Metrics::new();
    let semantic = HitKind::Semantic(Similarity::new(0.9).unwrap());
    let chat = Some(wire::Family::Chat);
    let took = Duration::from_millis(1);
    metrics.request(chat, "faq", Outcome::Hit(semantic), took);
    metrics.request(chat, "faq", Outcome::StaleHit(semantic, StaleWhy::IfError), took);
    metrics.request(chat, "faq", Outcome::Miss(MissReason::GuardRejected), took);
    metrics.request(None, "", Outcome::Bypass(BypassReason::Passthrough), took);
    for (series, count) in [
        ("semblance_requests_total{family=\"chat\",outcome=\"hit-semantic\"}", 1.0),
        ("semblance_requests_total{family=\"other\",outcome=\"bypass\"}", 1.0),
        ("semblance_lookups_total{outcome=\"hit-semantic\",kind=\"semantic\",category=\"faq\"}", 1.0),
        ("semblance_lookups_total{outcome=\"stale\",kind=\"semantic\",category=\"faq\"}", 1.0),
        ("semblance_lookups_total{outcome=\"miss\",kind=\"none\",category=\"faq\"}", 1.0),
        ("semblance_misses_total{reason=\"guard-rejected\"}", 1.0),
        ("semblance_bypasses_total{reason=\"passthrough\"}", 1.0),
        ("semblance_request_duration_seconds_count{outcome=\"miss\"}", 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(count), "{series}");
    }
    assert!(!metrics.render().contains("lookups_total{outcome=\"bypass\""));
}

#[test]
fn every_reason_starts_at_zero() {
    let metrics = Metrics::new();
    for reason in MissReason::ALL {
        assert_eq!(value(&metrics, &format!("semblance_misses_total{{reason=\"{}\"}}", reason.as_str())), Some(0.0));
    }
    for reason in NotStored::ALL {
        let series = format!("semblance_admissions_total{{result=\"not-stored\",reason=\"{}\"}}", reason.as_str());
        assert_eq!(value(&metrics, &series), Some(0.0));
    }
}

#[test]
fn upstream_results_are_classes_and_reasons() {
    let metrics = Metrics::new();
    for (status, class) in [(200, "2xx"), (307, "3xx"), (404, "4xx"), (429, "429"), (529, "5xx")] {
        let status = StatusCode::from_u16(status).unwrap();
        let body = Box::pin(futures_util::stream::empty());
        let response = UpstreamResponse { status, headers: HeaderMap::new(), body, stand_in: false };
        metrics.upstream(Ok(&response), Duration::from_millis(1));
        assert_eq!(value(&metrics, &format!("semblance_upstream_requests_total{{result=\"{class}\"}}")), Some(1.0));
    }
    metrics.upstream(Err(&UpstreamError::Timeout), Duration::from_millis(1));
    assert_eq!(value(&metrics, "semblance_upstream_requests_total{result=\"upstream-timeout\"}"), Some(1.0));
    assert_eq!(value(&metrics, "semblance_upstream_duration_seconds_count"), Some(6.0));
}

#[test]
fn requests_in_flight_fall_when_their_guard_goes() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.in_flight(), metrics.in_flight());
    assert_eq!(value(&metrics, "semblance_requests_in_flight"), Some(2.0));
    drop((one, two));
    assert_eq!(metrics.requests_in_flight(), 0);
}

#[test]
fn savings_add_up_and_never_fall() {
    let metrics = Metrics::new();
    metrics.saved(Some(Usage { input: 7, output: 9 }), Some(0.25));
    metrics.saved(Some(Usage { input: 1, output: 1 }), Some(-3.0));
    assert_eq!(value(&metrics, "semblance_saved_tokens_total{direction=\"input\"}"), Some(8.0));
    assert_eq!(value(&metrics, "semblance_saved_usd_total"), Some(0.25));
}

#[tokio::test]
async fn tasks_and_their_panics_show_by_name() {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    tasks.spawn("bad", async { panic!("on purpose") });
    assert!(tasks.drain(Duration::from_secs(60)).await.is_empty());
    metrics.set_tasks(&tasks);
    assert_eq!(value(&metrics, "semblance_tasks_alive{name=\"bad\"}"), Some(0.0));
    assert_eq!(value(&metrics, "semblance_task_panics{name=\"bad\"}"), Some(1.0));
}

#[test]
fn label_values_are_closed_lists() {
    let all = |values: Vec<&str>| values.iter().all(|value| value.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    assert!(all(Stage::ALL.iter().map(|value| value.as_str()).collect()));
    assert!(all(Verdict::ALL.iter().map(|value| value.as_str()).collect()));
    assert!(all(RemovalCause::ALL.iter().map(|value| value.as_str()).collect()));
}
