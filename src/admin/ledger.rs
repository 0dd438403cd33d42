//! What was saved and what was spent, by category and model, with the wrong hits that the savings rest on beside it.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared, traffic::log};
use crate::{
    clock::Timestamp,
    traffic::ledger::{HOUR_MS, Key, Sums},
};

/// Looked back where nothing is asked for.
const WEEK_MS: i64 = 7 * 24 * HOUR_MS;
/// Points of a series at most.
const POINTS: i64 = 2000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LedgerQuery {
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    /// `category`, `model`, or both with a comma between them, which is the default.
    by: Option<String>,
    bucket_ms: Option<i64>,
    /// Of this category only.
    category: Option<String>,
}

#[derive(Debug, Serialize)]
struct Tokens {
    input: u64,
    output: u64,
}

/// What the cache itself cost.
#[derive(Debug, Serialize)]
struct Overhead {
    embedding_usd: f64,
    judge_usd: f64,
    audit_usd: f64,
    refresh_usd: f64,
    tokens: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    requests: u64,
    hits_exact: u64,
    hits_semantic: u64,
    stale: u64,
    misses: u64,
    collapsed: u64,
    bypass: u64,
    tokens_saved: Tokens,
    saved_usd: f64,
    /// What answers cost that clients waited for.
    fetched_usd: f64,
    spent: Overhead,
    net_usd: f64,
    unpriced_tokens: u64,
    /// Upper 95 % bound on the share of wrong semantic hits; of lines of a category only.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong_hit_bound: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong_hit_budget: Option<f64>,
    /// Policies that were in force.
    policy_revisions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Point {
    at_ms: i64,
    requests: u64,
    hits: u64,
    saved_usd: f64,
    net_usd: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    currency: &'static str,
    prices_dated: String,
    since_ms: i64,
    until_ms: i64,
    rows: Vec<Line>,
    series: Vec<Point>,
}

pub(super) async fn show(State(control): Shared, Query(query): Query<LedgerQuery>) -> Result<Json<Shown>, AdminError> {
    let parts = control.gateway.parts();
    let now = parts.clock.now().as_millis();
    let until = query.until_ms.unwrap_or(now + 1);
    let since = query.since_ms.unwrap_or(until - WEEK_MS);
    let (by_category, by_model) = match query.by.as_deref() {
        None | Some("category,model" | "model,category") => (true, true),
        Some("category") => (true, false),
        Some("model") => (false, true),
        Some(_) => {
            let message = "by: write category, model or category,model";
            return Err(AdminError::BadRequest(message.to_owned()));
        }
    };
    let bucket = query.bucket_ms.unwrap_or(HOUR_MS).max(HOUR_MS).max((until - since) / POINTS);
    let log = log(&control)?;
    parts.traffic.flush(parts.embedder.as_ref()).await?;
    let moment = Timestamp::from_millis;
    let mut hours = log.sums(moment(since.div_euclid(HOUR_MS) * HOUR_MS), moment(until)).await?;
    hours.retain(|(key, _)| query.category.as_ref().is_none_or(|category| *category == key.category));

    let mut lines: BTreeMap<(String, String), (Sums, Vec<String>)> = BTreeMap::new();
    let mut points: BTreeMap<i64, Sums> = BTreeMap::new();
    for (Key { hour_ms, category, model, policy_revision }, sums) in hours {
        let name = |shown: bool, name: String| if shown { name } else { String::new() };
        let line = lines.entry((name(by_category, category), name(by_model, model))).or_default();
        line.0 += sums;
        if !policy_revision.is_empty() && !line.1.contains(&policy_revision) {
            line.1.push(policy_revision);
        }
        *points.entry(hour_ms.div_euclid(bucket) * bucket).or_default() += sums;
    }
    let rows = lines.into_iter().map(|((category, model), (sums, revisions))| {
        let mut line = line(&sums, revisions);
        if by_category {
            let (bound, budget) = wrong_hits(&control, &category);
            (line.wrong_hit_bound, line.wrong_hit_budget) = (Some(bound), Some(budget));
            line.category = Some(category);
        }
        line.model = by_model.then_some(model);
        line
    });
    let series = points.into_iter().map(|(at_ms, sums)| Point {
        at_ms,
        requests: sums.requests,
        hits: sums.hits_exact + sums.hits_semantic + sums.stale,
        saved_usd: sums.saved.usd,
        net_usd: sums.net_usd(),
    });
    Ok(Json(Shown {
        currency: "USD",
        prices_dated: parts.traffic.prices().dated().to_owned(),
        since_ms: since,
        until_ms: until,
        rows: rows.collect(),
        series: series.collect(),
    }))
}

fn line(sums: &Sums, policy_revisions: Vec<String>) -> Line {
    Line {
        category: None,
        model: None,
        requests: sums.requests,
        hits_exact: sums.hits_exact,
        hits_semantic: sums.hits_semantic,
        stale: sums.stale,
        misses: sums.misses,
        collapsed: sums.collapsed,
        bypass: sums.bypass,
        tokens_saved: Tokens { input: sums.saved_input, output: sums.saved_output },
        saved_usd: sums.saved.usd,
        fetched_usd: sums.fetch.usd,
        spent: Overhead {
            embedding_usd: sums.embedding.usd,
            judge_usd: sums.judge.usd,
            audit_usd: sums.audit.usd,
            refresh_usd: sums.refresh.usd,
            tokens: sums.overhead().tokens,
        },
        net_usd: sums.net_usd(),
        unpriced_tokens: sums.unpriced_tokens(),
        wrong_hit_bound: None,
        wrong_hit_budget: None,
        policy_revisions,
    }
}

/// The bound on a category's share of wrong semantic hits, and its budget.
fn wrong_hits(control: &super::Control, category: &str) -> (f64, f64) {
    let gateway = &control.gateway;
    let policies = gateway.parts().policies.current();
    let policy = policies.get(category).unwrap_or_else(|| policies.default_policy());
    let bound = gateway.auditor().ledgers().get(category).map_or(1.0, |ledger| ledger.audited().bounds().1);
    (bound, policy.reuse.max_wrong_hits)
}
