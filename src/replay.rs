//! Fixtures through the real request path: seed a question, ask another, see what the gateway does.
//!
//! Nothing here decides anything: each case is two requests to a [`Gateway`] over a scripted provider, and what it
//! expects is held against the reply's own headers. A case has a cache of its own (a namespace, which no lookup
//! crosses), or all share one pool, where the nearest neighbour may belong to another case. Time passes by hand.

pub mod case;
pub mod desk;
pub mod html;
pub mod memory;
pub mod report;
pub mod tune;

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::json;

use crate::{
    clock::ManualClock,
    explain::{self, Ask},
    gateway::{Call, Gateway, ReplyBody},
    headers,
    matcher::calibration::PSame,
    otel::Trace,
    similarity::Similarity,
    upstream::scripted::Script,
    wire::Family,
};
use case::{Case, Expect, Side};

/// Cases in flight: enough to keep the models' workers busy.
const AT_A_TIME: usize = 8;
const PATH: &str = "/v1/chat/completions";
const NAMESPACE: HeaderName = HeaderName::from_static("x-semblance-namespace");
const SOURCES: HeaderName = HeaderName::from_static("x-semblance-sources");

/// A gateway to replay against.
#[derive(Debug)]
pub struct Replayer {
    /// The gateway, warm.
    pub gateway: Arc<Gateway>,
    /// Its provider.
    pub script: Script,
    /// Its clock.
    pub hand: ManualClock,
}

/// What asking came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// Served fresh.
    Hit,
    /// Served past its ttl.
    Stale,
    /// Not served from the cache.
    Miss,
}

/// A case and what became of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Record {
    /// The case's name.
    pub id: String,
    /// Kind of the difference.
    pub kind: String,
    /// Category of the question asked.
    pub category: String,
    /// What was to be expected.
    pub expect: Expect,
    /// What was seen.
    pub outcome: Seen,
    /// The reason in one word or two; the guard's words where it refused.
    pub why: String,
    /// The question whose answer is cached.
    pub seed: String,
    /// The question asked.
    pub ask: String,
    /// The cached question whose answer was served, when it is not the case's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_for: Option<String>,
    /// Cosine of the two questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<Similarity>,
    /// Calibrated probability of the same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_same: Option<PSame>,
    /// What it had to reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<f32>,
    /// Cost of a wrong hit here, where the case gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// An answer to another question was served.
    #[serde(skip)]
    pub is_wrong_hit: bool,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// Fetch and store, whatever lies near.
    Seed,
    /// Ask as a client does.
    Ask,
    /// Ask and leave nothing behind.
    Look,
}

impl Errand {
    const fn cache_control(self) -> Option<&'static str> {
        match self {
            Self::Seed => Some("no-cache"),
            Self::Ask => None,
            Self::Look => Some("only-if-cached"),
        }
    }
}

/// What a reply says of itself.
#[derive(Debug)]
struct Told {
    outcome: Seen,
    status: String,
    category: String,
    answer: Option<String>,
}

impl Replayer {
    /// Replays `cases`, each in an empty cache of its own; `done` is told after each.
    pub async fn alone(&self, cases: &[Case], done: impl Fn() + Sync) -> Vec<Record> {
        // The clock is everybody's: cases that move it run after the others, one by one.
        let (still, moving): (Vec<_>, Vec<_>) = cases.iter().enumerate().partition(|(_, case)| case.advance.is_zero());
        let run = |(number, case): (usize, &Case)| {
            let (namespace, case, done) = (format!("case-{number}"), case.clone(), &done);
            async move {
                self.seed(&case, &namespace).await;
                let record = self.ask(&case, &namespace, None).await;
                done();
                (number, record)
            }
        };
        let mut records: Vec<_> = stream::iter(still).map(run).buffer_unordered(AT_A_TIME).collect().await;
        for (number, case) in moving {
            records.push(run((number, case)).await);
        }
        records.sort_by_key(|(number, _)| *number);
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Replays `cases` in one cache: all seeds first, then all asks, which leave nothing behind.
    pub async fn pooled(&self, cases: &[Case], done: impl Fn() + Sync) -> Vec<Record> {
        const POOL: &str = "pool";
        let questions = Questions::of(cases);
        let seeding = cases.iter().cloned().map(|case| async move { self.seed(&case, POOL).await });
        stream::iter(seeding).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        let mut order: Vec<_> = cases.iter().enumerate().collect();
        order.sort_by_key(|(_, case)| case.advance);
        let mut passed = std::time::Duration::ZERO;
        let mut records = Vec::with_capacity(cases.len());
        for group in order.chunk_by(|(_, a), (_, b)| a.advance == b.advance) {
            let advance = group.first().map_or(passed, |(_, case)| case.advance);
            self.hand.advance(advance.saturating_sub(passed));
            passed = advance;
            let still = |case: &Case| Case { advance: std::time::Duration::ZERO, ..case.clone() };
            let group: Vec<(usize, Case)> = group.iter().map(|(number, case)| (*number, still(case))).collect();
            let asking = group.into_iter().map(|(number, case)| {
                let (questions, done) = (&questions, &done);
                async move {
                    let record = self.ask(&case, POOL, Some(questions)).await;
                    done();
                    (number, record)
                }
            });
            records.extend(stream::iter(asking).buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await);
        }
        records.sort_by_key(|(number, _)| *number);
        records.into_iter().map(|(_, record)| record).collect()
    }

    async fn seed(&self, case: &Case, namespace: &str) {
        let answer = case.answer.clone().unwrap_or_else(|| answer_of(&case.seed.text));
        self.script.answer(&case.seed.text, &answer);
        let told = self.send(&case.seed, namespace, Errand::Seed).await;
        tracing::debug!(case = case.id, status = told.status, "seeded");
    }

    async fn ask(&self, case: &Case, namespace: &str, pool: Option<&Questions>) -> Record {
        self.hand.advance(case.advance);
        let errand = if pool.is_some() { Errand::Look } else { Errand::Ask };
        let told = self.send(&case.ask, namespace, errand).await;
        let served = told.outcome != Seen::Miss;
        let served_for = pool.filter(|_| served).and_then(|pool| pool.asked_for(told.answer.as_deref()));
        let right = match (pool, served_for) {
            (Some(pool), Some(other)) if other != case.seed.text => pool.are_one(&case.ask.text, other),
            _ => case.expect != Expect::Miss,
        };
        let mut record = Record {
            id: case.id.clone(),
            kind: case.kind.clone(),
            category: told.category,
            expect: case.expect,
            outcome: told.outcome,
            why: told.status,
            seed: case.seed.text.clone(),
            ask: case.ask.text.clone(),
            served_for: served_for.filter(|other| *other != case.seed.text).map(str::to_owned),
            similarity: None,
            p_same: None,
            bar: None,
            cost: case.cost,
            is_wrong_hit: served && !right,
        };
        self.explain(case, &mut record, pool.is_some()).await;
        record
    }

    /// Adds what guard and verifier say of the pair itself.
    async fn explain(&self, case: &Case, record: &mut Record, pooled: bool) {
        let parts = self.gateway.parts();
        let ask = Ask { cached: &case.seed.text, asked: &case.ask.text, category: case.ask.category.as_deref() };
        let policies = parts.policies.current();
        let examples = self.gateway.examples_of(policies.revision());
        let explained =
            explain::explain(ask, parts.embedder.as_ref(), &policies, examples.as_deref(), &parts.matcher).await;
        let Ok(explained) = explained else { return };
        let judgement = explained.judgement;
        record.similarity = Some(judgement.similarity);
        record.p_same = judgement.p_same;
        record.bar = judgement.p_same.map(|_| judgement.bar);
        if record.category.is_empty() {
            record.category.clone_from(&explained.category);
        }
        if record.outcome == Seen::Miss {
            // A miss whose status has no detail of its own.
            if pooled || matches!(record.why.as_str(), "miss" | "uri-miss") {
                judgement.reason.clone_into(&mut record.why);
            }
            if let (Some(slot), Some(detail), "guard-rejected") =
                (judgement.guard.slot, &judgement.guard.detail, record.why.as_str())
            {
                record.why = format!("guard-rejected: {slot}: {detail}");
            }
        }
    }

    async fn send(&self, side: &Side, namespace: &str, errand: Errand) -> Told {
        let reply = match call(side, namespace, errand) {
            Ok(call) => self.gateway.answer(call).await,
            Err(error) => {
                let status = format!("cannot be sent: {error}");
                return Told { outcome: Seen::Miss, status, category: String::new(), answer: None };
            }
        };
        let text = |name: &HeaderName| {
            reply.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (label, category, status) = (text(&headers::CACHE), text(&headers::CATEGORY), text(&headers::CACHE_STATUS));
        let refused = !reply.status.is_success() && errand != Errand::Look;
        let status = if refused { format!("status {}", reply.status.as_u16()) } else { reason(&status) };
        let outcome = match label.as_str() {
            "hit-exact" | "hit-semantic" => Seen::Hit,
            "stale" => Seen::Stale,
            _ => Seen::Miss,
        };
        let body = match reply.body {
            ReplyBody::Whole(body) | ReplyBody::Replay(body) => Some(body),
            // What came from the upstream is read to its end, so that it is in the cache when the next one asks.
            ReplyBody::Stream(stream) => {
                stream.for_each(|_| std::future::ready(())).await;
                None
            }
        };
        let answer = body.and_then(|body| {
            let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
            body.pointer("/choices/0/message/content")?.as_str().map(str::to_owned)
        });
        Told { outcome, status, category, answer }
    }
}

/// The answer that tells by itself what was asked.
fn answer_of(question: &str) -> String {
    format!("The answer to: {question}")
}

fn call(side: &Side, namespace: &str, errand: Errand) -> Result<Call, header::InvalidHeaderValue> {
    let mut messages = Vec::new();
    if let Some(system) = &side.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    messages.extend(side.turns.iter().map(|(role, text)| json!({"role": role, "content": text})));
    messages.push(json!({"role": "user", "content": side.text}));
    let body = json!({"model": side.model, "messages": messages});
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", side.principal))?);
    headers.insert(NAMESPACE, HeaderValue::try_from(namespace)?);
    if !side.sources.is_empty() {
        headers.insert(SOURCES, HeaderValue::try_from(side.sources.join(" "))?);
    }
    if let Some(category) = &side.category {
        headers.insert(headers::CATEGORY, HeaderValue::try_from(category)?);
    }
    if let Some(control) = errand.cache_control() {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    }
    let path_and_query = PATH.to_owned();
    let (family, method, body) = (Some(Family::Chat), Method::POST, body.to_string().into());
    Ok(Call { family, method, path_and_query, headers, body, holder: None, trace: Trace::default() })
}

/// The detail of our `Cache-Status` member, or its `fwd` token where that says it all.
fn reason(status: &str) -> String {
    let parameter = |name: &str| {
        let found = status.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.map(|value| value.trim_matches('"').to_owned())
    };
    parameter("detail").or_else(|| parameter("fwd")).unwrap_or_else(|| status.to_owned())
}

/// Which questions of a pool are one question in other words, as far as its cases say.
#[derive(Debug)]
struct Questions {
    class: HashMap<String, usize>,
    by_answer: HashMap<String, String>,
}

impl Questions {
    fn of(cases: &[Case]) -> Self {
        let mut this = Self { class: HashMap::new(), by_answer: HashMap::new() };
        for case in cases {
            let answer = case.answer.clone().unwrap_or_else(|| answer_of(&case.seed.text));
            let seed = this.class_of(&case.seed.text);
            let ask = this.class_of(&case.ask.text);
            if case.expect != Expect::Miss && seed != ask {
                this.class.values_mut().filter(|class| **class == ask).for_each(|class| *class = seed);
            }
            this.by_answer.entry(answer).or_insert_with(|| case.seed.text.clone());
        }
        this
    }

    fn class_of(&mut self, text: &str) -> usize {
        let next = self.class.len();
        *self.class.entry(text.to_owned()).or_insert(next)
    }

    /// The question to which this is the answer.
    fn asked_for(&self, answer: Option<&str>) -> Option<&str> {
        self.by_answer.get(answer?).map(String::as_str)
    }

    fn are_one(&self, a: &str, b: &str) -> bool {
        a == b || (self.class.contains_key(a) && self.class.get(a) == self.class.get(b))
    }
}

#[cfg(test)]
mod tests;
