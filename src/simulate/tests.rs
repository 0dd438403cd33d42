use std::time::Duration;

use super::*;
use crate::{
    app,
    config::Config,
    embed::scripted::ScriptedEmbedder,
    matcher::verifier::{Verifier, scripted::ScriptedVerifier},
    simulate::report::Side,
};

const DEFAULT: &str =
    "category = \"default\"\nsummary = \"The rest.\"\n[freshness]\nttl = \"1h\"\n[reuse]\ntier = \"semantic\"\n";

fn set(files: &[(&str, &str)]) -> Arc<PolicySet> {
    let texts: Vec<(String, String)> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Arc::new(PolicySet::from_texts(&texts, "policies").unwrap())
}

fn default(text: &str) -> Arc<PolicySet> {
    set(&[("default.toml", text)])
}

/// A request every so many seconds.
fn traffic(lines: &[(i64, &str, &str)]) -> Traffic {
    let mut traffic = Traffic::default();
    let text: String = lines
        .iter()
        .map(|(second, who, query)| {
            serde_json::json!({
                "at_ms": second * 1000, "principal": who, "query": query, "model": "gpt-4o",
                "input_tokens": 1_000_000, "output_tokens": 0, "answer_ms": 2000,
            })
            .to_string()
                + "\n"
        })
        .collect();
    traffic.read(text.as_bytes(), |number, why| panic!("{number}: {why}")).unwrap();
    traffic.sort();
    traffic
}

async fn simulated(traffic: &Traffic, today: &Arc<PolicySet>, proposed: &Arc<PolicySet>) -> Report {
    let embedder = ScriptedEmbedder::new();
    for (text, cosine) in [("How do I pay?", 1.0_f32), ("How can I pay?", 0.95), ("How do I leave?", 0.9)] {
        let mut values = vec![0.0; embedder.dimensions()];
        (values[0], values[1]) = (cosine, (1.0 - cosine * cosine).sqrt());
        embedder.fix(text, Embedding::normalised(values).unwrap());
    }
    let verifier = ScriptedVerifier::new(&[(0.001, 0.5)]).unwrap();
    verifier.otherwise(0.1);
    verifier.say("How do I pay?", "How can I pay?", 0.9);
    let verifier: Arc<dyn Verifier> = Arc::new(verifier);
    let setup = Setup {
        today: Arc::clone(today),
        proposed: Arc::clone(proposed),
        embedder: Arc::new(embedder),
        matcher: Arc::new(Matcher::new(app::matcher_settings(&Config::defaults().unwrap()), Some(verifier))),
        prices: Prices::shipped(),
        parallel: 4,
        changes_listed: 10,
    };
    run(traffic, &setup, &AtomicBool::new(false), |_| {}).await.unwrap()
}

/// Of one policy set alone.
async fn alone(lines: &[(i64, &str, &str)], text: &str) -> Side {
    let set = default(text);
    simulated(&traffic(lines), &set, &set).await.today
}

#[tokio::test]
async fn the_same_question_hits_after_its_answer_has_come_and_collapses_before() {
    let side = alone(&[(0, "a", "What?"), (1, "a", "What?"), (3, "a", "What?")], DEFAULT).await;
    assert_eq!((side.misses, side.collapsed, side.hits_exact), (1, 1, 1));
    assert_eq!((side.upstream_calls, side.tokens, side.cost_usd), (1, 1_000_000, Some(2.5)));
}

#[tokio::test]
async fn a_shorter_ttl_makes_a_later_ask_a_miss_and_the_change_is_listed() {
    let (today, proposed) = (default(DEFAULT), default(&DEFAULT.replace("1h", "1m")));
    let report = simulated(&traffic(&[(0, "a", "What?"), (120, "a", "What?")]), &today, &proposed).await;
    assert_eq!((report.today.hits_exact, report.proposed.hits_exact, report.proposed.misses), (1, 0, 2));
    assert_eq!(report.changes_total, 1);
    let change = &report.changes[0];
    assert_eq!((change.query.as_deref(), change.at_ms), (Some("What?"), 120_000));
    assert_eq!(
        (change.today.outcome, change.proposed.outcome, change.proposed.reason),
        ("hit-exact", "miss", "expired")
    );
    assert_eq!(change.today.age_ms, Some(120_000));
}

#[tokio::test]
async fn a_stale_answer_is_served_once_more_and_costs_one_refresh() {
    let text = DEFAULT.replace("ttl = \"1h\"", "ttl = \"1m\"\nstale_while_revalidate = \"1h\"");
    let side = alone(&[(0, "a", "What?"), (120, "a", "What?"), (121, "a", "What?"), (130, "a", "What?")], &text).await;
    assert_eq!((side.misses, side.stale, side.hits_exact, side.refreshes, side.upstream_calls), (1, 2, 1, 1, 2));
}

#[tokio::test]
async fn a_category_of_zero_ttl_is_bypassed_and_leaves_nothing() {
    let never =
        "category = \"never\"\nsummary = \"Never.\"\n[match]\nphrases = [\"my balance\"]\n[freshness]\nttl = \"0s\"\n";
    let set = set(&[("default.toml", DEFAULT), ("never.toml", never)]);
    let lines = [(0, "a", "What is my balance?"), (10, "a", "What is my balance?")];
    let report = simulated(&traffic(&lines), &set, &set).await;
    assert_eq!((report.today.bypass, report.today.upstream_calls), (2, 2));
    assert_eq!(report.categories[0].category, "never");
}

#[tokio::test]
async fn scopes_do_not_mix_unless_the_policy_shares() {
    let lines = [(0, "a", "What?"), (10, "b", "What?")];
    assert_eq!(alone(&lines, DEFAULT).await.hits_exact, 0);
    let shared = DEFAULT.replace("tier = \"semantic\"", "tier = \"semantic\"\nscope = \"shared\"");
    assert_eq!(alone(&lines, &shared).await.hits_exact, 1);
}

#[tokio::test]
async fn meaning_hits_where_the_tier_allows_it_and_what_may_be_wrong_is_summed() {
    let lines = [(0, "a", "How do I pay?"), (10, "a", "How can I pay?"), (20, "a", "How can I pay?")];
    let side = alone(&lines, DEFAULT).await;
    assert_eq!((side.hits_semantic, side.hits_exact), (1, 1), "the second time it is an alias");
    assert!((side.expected_wrong_hits - 0.2).abs() < 1e-6, "{}", side.expected_wrong_hits);
    let exact = alone(&lines, &DEFAULT.replace("semantic", "exact")).await;
    assert_eq!((exact.hits_semantic, exact.hits_exact, exact.misses), (0, 1, 2));
}

#[tokio::test]
async fn a_near_miss_is_refused_by_the_verifier() {
    let side = alone(&[(0, "a", "How do I pay?"), (10, "a", "How do I leave?")], DEFAULT).await;
    assert_eq!((side.hits_semantic, side.misses), (0, 2));
}

#[tokio::test]
async fn a_simulation_can_be_cancelled() {
    let set = default(DEFAULT);
    let traffic = traffic(&[(0, "a", "What?")]);
    let setup = Setup {
        today: Arc::clone(&set),
        proposed: set,
        embedder: Arc::new(ScriptedEmbedder::new()),
        matcher: Arc::new(Matcher::new(app::matcher_settings(&Config::defaults().unwrap()), None)),
        prices: Prices::none(),
        parallel: 4,
        changes_listed: 0,
    };
    let cancelled = run(&traffic, &setup, &AtomicBool::new(true), |_| {}).await;
    assert!(matches!(cancelled, Err(SimulateError::Cancelled)));
    tokio::time::sleep(Duration::ZERO).await;
}

#[test]
fn looks_ahead_become_rare_while_there_is_nothing_to_see_and_frequent_when_there_is() {
    let mut glances = Glances::default();
    let mut steps = |pairs: usize| {
        glances.saw(pairs);
        (0..).position(|_| glances.due()).unwrap()
    };
    assert_eq!([steps(0), steps(0), steps(3), steps(0), steps(0), steps(4), steps(0)], [1, 3, 7, 15, 15, 0, 1]);
}
