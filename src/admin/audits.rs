//! Wrong hits by category: what audits and people found, the bound that follows, and whether the category is tripped.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared};
use crate::matcher::audit::{Ledger, Tally, Trip};

/// One category.
#[derive(Debug, Serialize)]
pub(super) struct Audited {
    category: String,
    /// Share of served semantic hits that may be wrong.
    budget: f64,
    /// Share of them asked again.
    audit: f64,
    audited: u64,
    wrong: u64,
    /// Comparisons that said neither.
    unsure: u64,
    /// One-sided 95 % bounds on the share wrong.
    lower_bound: f64,
    bound: f64,
    hits: u64,
    reported: u64,
    tripped: bool,
    trip: Option<Trip>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    shadow: bool,
    categories: Vec<Audited>,
}

pub(super) async fn list(State(control): Shared) -> Json<Listed> {
    let gateway = &control.gateway;
    let ledgers = gateway.auditor().ledgers();
    let policies = gateway.parts().policies.current();
    let names: BTreeSet<&str> = policies
        .policies()
        .iter()
        .map(|policy| policy.category.as_str())
        .chain(ledgers.keys().map(String::as_str))
        .collect();
    let categories = names.into_iter().map(|category| {
        let reuse = &policies.get(category).unwrap_or_else(|| policies.default_policy()).reuse;
        audited(category, reuse.max_wrong_hits, reuse.audit, &ledgers)
    });
    Json(Listed { shadow: gateway.parts().oversight.shadow, categories: categories.collect() })
}

fn audited(category: &str, budget: f64, audit: f64, ledgers: &BTreeMap<String, Ledger>) -> Audited {
    let ledger = ledgers.get(category).copied().unwrap_or_default();
    let Tally { seen, wrong } = ledger.audited();
    let (lower_bound, bound) = ledger.audited().bounds();
    Audited {
        category: category.to_owned(),
        budget,
        audit,
        audited: seen,
        wrong,
        unsure: ledger.unsure,
        lower_bound,
        bound,
        hits: ledger.reports.seen,
        reported: ledger.reports.wrong,
        tripped: ledger.is_tripped(),
        trip: ledger.trip,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetRequest {
    category: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Reset {
    category: String,
    /// False when it had no books.
    reset: bool,
}

/// Begins a category's books anew: it serves by meaning again.
pub(super) async fn reset(
    State(control): Shared,
    Json(request): Json<ResetRequest>,
) -> Result<Json<Reset>, AdminError> {
    let ResetRequest { category } = request;
    let reset = control.gateway.auditor().reset(&category);
    if !reset && control.gateway.parts().policies.current().get(&category).is_none() {
        return Err(AdminError::BadRequest(format!("no category {category:?}; see /semblance/audits")));
    }
    Ok(Json(Reset { category, reset }))
}
