//! The gateway at a glance: what it does now, what it saved, and whether all is well.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;

use super::{AdminError, Control, Shared};
use crate::{
    binomial::as_f64,
    clock::Timestamp,
    traffic::{
        ledger::Sums,
        window::{Minute, Quantiles},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Rates are over this time.
const WINDOW_S: u64 = 60;

#[derive(Debug, Serialize)]
struct Rates {
    requests_per_s: f64,
    /// Of those that the cache was asked for; `None` without any.
    hit_share: Option<f64>,
    window_s: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    hit: Option<Quantiles>,
    miss: Option<Quantiles>,
}

#[derive(Debug, Default, Serialize)]
struct Saved {
    today_usd: f64,
    week_usd: f64,
    /// Less what audits, refreshes, the judge and bought vectors cost.
    today_net_usd: f64,
    week_net_usd: f64,
    today_tokens: u64,
    week_tokens: u64,
    unpriced_tokens: u64,
    prices_dated: String,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Tripped {
    category: String,
    at_ms: Option<i64>,
    why: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Overview {
    version: &'static str,
    uptime_s: u64,
    policy_revision: String,
    recording: bool,
    rates: Rates,
    latency_ms: Latency,
    saved: Saved,
    health: Vec<Check>,
    trips: Vec<Tripped>,
    /// The last hour by the minute.
    series: Vec<Minute>,
}

pub(super) async fn overview(State(control): Shared) -> Result<Json<Overview>, AdminError> {
    let parts = control.gateway.parts();
    let now = parts.clock.now();
    let (series, (hit, miss)) = {
        let window = parts.traffic.window();
        (window.minutes(now), window.latencies(now))
    };
    Ok(Json(Overview {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: control.started.elapsed().as_secs(),
        policy_revision: parts.policies.current().revision().to_owned(),
        recording: parts.traffic.records(),
        rates: rates(&series, now),
        latency_ms: Latency { hit, miss },
        saved: saved(&control, now).await,
        health: health(&control).await,
        trips: trips(&control),
        series,
    }))
}

/// Over the last whole minute and what there is of this one.
fn rates(series: &[Minute], now: Timestamp) -> Rates {
    let recent = series.get(series.len().saturating_sub(2)..).unwrap_or_default();
    let begun = recent.first().map_or(0, |minute| minute.at_ms);
    let seconds = now.since(Timestamp::from_millis(begun)).as_secs_f64().max(1.0);
    let total = |of: fn(&Minute) -> u64| recent.iter().map(of).sum::<u64>();
    let (hits, asked) = (total(|m| m.hits + m.stale), total(|m| m.requests() - m.bypass));
    Rates {
        requests_per_s: as_f64(total(Minute::requests)) / seconds,
        hit_share: (asked > 0).then(|| as_f64(hits) / as_f64(asked)),
        window_s: WINDOW_S,
    }
}

async fn saved(control: &Control, now: Timestamp) -> Saved {
    let traffic = &control.gateway.parts().traffic;
    let mut saved = Saved { prices_dated: traffic.prices().dated().to_owned(), ..Saved::default() };
    let Some(log) = traffic.log() else { return saved };
    let sum = async |since: Timestamp| {
        let lines = log.sums(since, now.plus(Duration::from_millis(1))).await.unwrap_or_default();
        lines.into_iter().fold(Sums::default(), |mut sum, (_, line)| {
            sum += line;
            sum
        })
    };
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    let midnight = Timestamp::from_millis(now.as_millis().div_euclid(day) * day);
    let (today, week) = (sum(midnight).await, sum(now.minus(DAY * 7)).await);
    (saved.today_usd, saved.today_net_usd) = (today.saved.usd, today.net_usd());
    (saved.week_usd, saved.week_net_usd) = (week.saved.usd, week.net_usd());
    (saved.today_tokens, saved.week_tokens) = (today.saved.tokens, week.saved.tokens);
    saved.unpriced_tokens = week.unpriced_tokens();
    saved
}

async fn health(control: &Control) -> Vec<Check> {
    let parts = control.gateway.parts();
    let check = |name, ok, detail: String| Check { name, ok, detail };
    let store = match parts.cache.store().stats().await {
        Ok(stats) => check("store", true, format!("{} entries, {} bytes on disk", stats.entries, stats.file_bytes)),
        Err(error) => check("store", false, error.to_string()),
    };
    let index = parts.cache.index();
    let embedder = match parts.embedder.embed("health").await {
        Ok(_) => check("embedder", true, parts.embedder.fingerprint().to_owned()),
        Err(error) => check("embedder", false, error.to_string()),
    };
    let policies = parts.policies.current();
    let warm = control.gateway.is_warm();
    let traffic = &parts.traffic;
    let log = match (traffic.log(), traffic.lost()) {
        (None, _) => check("traffic", false, "its file cannot be used: no records, no ledger".to_owned()),
        (Some(_), 0) => {
            check("traffic", true, if traffic.records() { "recording" } else { "recording is off" }.to_owned())
        }
        (Some(_), lost) => check("traffic", false, format!("{lost} records were lost: they came too fast")),
    };
    vec![
        store,
        check("index", true, format!("{} vectors in {} partitions", index.len(), index.partitions())),
        embedder,
        check(
            "policies",
            warm,
            if warm {
                format!("revision {}", policies.revision())
            } else {
                "their examples are being learnt".to_owned()
            },
        ),
        log,
    ]
}

fn trips(control: &Control) -> Vec<Tripped> {
    let ledgers = control.gateway.auditor().ledgers();
    let tripped = ledgers.into_iter().filter(|(_, ledger)| ledger.is_tripped());
    let told = tripped.map(|(category, ledger)| Tripped {
        category,
        at_ms: ledger.trip.map(|trip| trip.at_ms),
        why: format!(
            "{} of {} audited hits were wrong, {} reported",
            ledger.audited().wrong,
            ledger.audited().seen,
            ledger.reports.wrong
        ),
    });
    told.collect()
}
