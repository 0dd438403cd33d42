//! The leader of a flight: category by meaning, semantic lookup, upstream, recording, admission.
//!
//! Runs as a task of its own, so a client that hangs up never takes the answer from the others. Whatever happens, the
//! flight gets a head and an end; a panic leaves it abandoned, which readers take as "start over".

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use quick_cache::sync::Cache as Bounded;

use super::{
    Call, Gateway,
    audit::{Pairing, Reading},
    flight::{Chunk, End, FlightKey, Leader},
    identity::Question,
    lookup::{Lookup, Served},
};
use crate::{
    cache::Epoch,
    clock::Timestamp,
    embed::EmbedError,
    entry::Entry,
    headers,
    matcher::guard,
    outcome::{BypassReason, HitKind, MissReason, NotStored, Outcome},
    policy::{Classification, Facts, Tier, Write},
    similarity::Embedding,
    store::Durability,
    upstream::{UpstreamBody, UpstreamError, UpstreamRequest, UpstreamResponse},
    wire::{self, Answer, BodyKind, Family, Recorder, sse},
};

/// How often a client starts over when leaders vanish, before it is told so.
pub(super) const ELECTIONS: usize = 4;
/// A flight that nobody reads any more may still finish within this time: its answer is paid for.
const ORPHAN_TIME: Duration = Duration::from_secs(60);
/// How long a question whose answers cannot be shared is not queued.
const ALONE_FOR: Duration = Duration::from_secs(60);
/// How many such questions are remembered.
const ALONE_REMEMBERED: usize = 4096;
/// Bytes of a query too long for the embedder from which its category is still told.
const CATEGORY_HEAD: usize = 600;

/// A request that has to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The client's request.
    pub(super) call: Call,
    /// The same, understood.
    pub(super) question: Question,
    /// Why the exact lookup did not serve.
    pub(super) reason: MissReason,
    /// A stale entry to serve should the upstream fail.
    pub(super) fallback: Option<Served>,
    /// No client waits: this is a refresh.
    pub(super) background: bool,
}

/// What an upstream's answer begins with.
#[derive(Debug)]
pub struct Opening {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Why the cache did not serve.
    pub reason: MissReason,
    /// The question's category.
    pub category: String,
    /// Only the leader's own client may have it.
    pub exclusive: bool,
}

/// An upstream's answer that is all there.
#[derive(Debug)]
pub struct Landed {
    /// Status, headers and the rest of what is known at the start.
    pub opening: Opening,
    /// Body as received.
    pub body: Bytes,
    /// The answer in canonical form, when it can be told.
    pub answer: Option<Arc<Answer>>,
    /// Seconds of freshness it was stored with, or why it was not.
    pub stored: Result<i64, NotStored>,
}

/// What a flight's answer will be.
#[derive(Debug, Clone)]
pub enum Head {
    /// An entry of the cache.
    Entry(Served),
    /// The upstream's, as it comes.
    Streaming(Arc<Opening>),
    /// The upstream's, complete.
    Whole(Arc<Landed>),
    /// The upstream gave none.
    Failed(UpstreamError),
    /// The cache has no part in it; everybody goes alone.
    Bypass(BypassReason, String),
    /// Not cached, and the request wanted nothing else.
    Unsatisfied,
    /// The leader vanished.
    Abandoned,
}

/// Questions whose answers could not be shared lately: their requests do not queue behind one another.
#[derive(Debug)]
pub(super) struct AloneMemory(Bounded<FlightKey, Timestamp>);

impl Default for AloneMemory {
    fn default() -> Self {
        Self(Bounded::new(ALONE_REMEMBERED))
    }
}

impl AloneMemory {
    pub(super) fn remember(&self, key: FlightKey, now: Timestamp) {
        self.0.insert(key, now.plus(ALONE_FOR));
    }

    pub(super) fn remembers(&self, key: FlightKey, now: Timestamp) -> bool {
        self.0.get(&key).is_some_and(|until| now < until)
    }
}

/// What the leader knows once the cache has been asked.
#[derive(Debug)]
struct Plan {
    class: Classification,
    vector: Option<Embedding>,
    by_meaning: bool,
    /// False when the category could not be told for want of a vector: then nothing is kept.
    may_store: bool,
    reason: MissReason,
    fallback: Option<Served>,
    /// What would have been served by meaning, to be compared with what the upstream says.
    withheld: Option<Pairing>,
}

impl Gateway {
    /// Runs the leader's work as a task.
    pub(super) fn take_off(self: &Arc<Self>, leader: Leader, job: Job) {
        let gateway = Arc::clone(self);
        self.parts.tasks.spawn("flight", async move { Box::pin(gateway.lead(leader, job)).await });
    }

    /// Starts a background refresh of a stale entry, unless one runs.
    pub(super) fn refresh_behind(self: &Arc<Self>, call: &Call, question: &Question) {
        if let super::flight::Joined::Lead(leader, _) = self.flights.join(question.flight_key()) {
            let job = Job {
                call: call.clone(),
                question: question.clone(),
                reason: MissReason::Expired,
                fallback: None,
                background: true,
            };
            self.take_off(leader, job);
        }
    }

    async fn lead(self: Arc<Self>, leader: Leader, job: Job) {
        let now = self.parts.clock.now();
        let facts = job.question.facts(&job.call);
        if !job.background && job.reason != MissReason::Refresh {
            // Another flight may have ended between this request's lookup and its take-off.
            if let Some(served) = self.look_up_hot(&job.question, &facts, now) {
                return leader.resolve(Head::Entry(served));
            }
        }
        let plan = match self.plan(&job, &facts, now).await {
            Ok(plan) => plan,
            Err(head) => {
                self.watch(&job, &head);
                return leader.resolve(head);
            }
        };
        if job.question.directives.only_if_cached {
            return leader.resolve(Head::Unsatisfied);
        }
        self.fly(leader, &job, plan).await;
    }

    /// Books a hit by meaning, and asks some of them again in the background.
    fn watch(&self, job: &Job, head: &Head) {
        let Head::Entry(served) = head else { return };
        let (Outcome::Hit(HitKind::Semantic(_)) | Outcome::StaleHit(HitKind::Semantic(_), _)) = served.outcome else {
            return;
        };
        let Served { entry, asked, .. } = served;
        self.auditor.served(&entry.category);
        let policies = self.parts.policies.current();
        let share = policies.get(&entry.category).unwrap_or_else(|| policies.default_policy()).reuse.audit;
        // A stale answer may differ for its age, which says nothing about the pairing.
        let comparable = matches!(served.outcome, Outcome::Hit(_)) && !job.question.directives.only_if_cached;
        if comparable && fastrand::f64() < share {
            let reading = Reading { family: job.question.request.family, wants_json: job.question.request.wants_json };
            let pairing = Pairing { entry: Arc::clone(entry), asked: *asked };
            self.auditor.ask_again_behind(pairing, upstream_request(job), reading);
        }
    }

    /// Category and neighbours: everything before the upstream. `Err` is an answer without it.
    async fn plan(&self, job: &Job, facts: &Facts<'_>, now: Timestamp) -> Result<Plan, Head> {
        let policies = self.parts.policies.current();
        let question = &job.question;
        let rules = policies.classify_by_rules(facts);
        let examples = if rules.decided { self.examples() } else { self.examples_when_warm().await };
        if !rules.decided && examples.is_none() {
            return Err(Head::Bypass(BypassReason::Warming, rules.policy.category.clone()));
        }
        let wants_meaning = question.query().is_some() && rules.policy.reuse.tier == Tier::Semantic;
        let vector = if rules.decided && !wants_meaning { Ok(None) } else { self.embed(question.last_words()).await };
        let telling = vector.as_ref().ok().and_then(|v| v.as_ref()).map(|v| &v.vector);
        let class = match telling {
            Some(vector) => policies.classify(facts, Some(vector), examples.as_deref()),
            None => rules,
        };
        if class.freshness.is_never() {
            return Err(Head::Bypass(BypassReason::ZeroTtl, class.policy.category.clone()));
        }
        let may_store = class.decided || telling.is_some();
        let failed = vector.is_err();
        let vector = vector.ok().flatten().filter(|v| v.whole).map(|v| v.vector);
        let by_meaning = class.policy.reuse.tier == Tier::Semantic && vector.is_some() && may_match(question);
        let (reason, fallback) = (job.reason, job.fallback.clone());
        let mut plan = Plan { class, vector, by_meaning, may_store, reason, fallback, withheld: None };
        if job.reason == MissReason::Refresh || job.background {
            return Ok(plan);
        }
        if failed {
            plan.reason = MissReason::EmbedderDown;
        } else if !plan.by_meaning {
            plan.reason = first_told(job.reason, MissReason::ExactOnly);
        } else if let (Some(query), Some(vector)) = (question.query(), &plan.vector) {
            match self.look_up_semantic(question, (query, vector), &plan.class, now).await {
                Lookup::Serve(served) => return Err(Head::Entry(served)),
                Lookup::Miss(reason, _) => plan.reason = first_told(job.reason, reason),
                Lookup::Withheld(reason, pairing) => {
                    plan.reason = first_told(job.reason, reason);
                    plan.withheld = Some(pairing);
                }
            }
        }
        Ok(plan)
    }

    /// The vector of a query, or of its beginning when it is longer than the embedder's window: that tells its category
    /// and nothing more.
    async fn embed(&self, query: &str) -> Result<Option<QueryVector>, EmbedError> {
        if query.trim().is_empty() {
            return Ok(None);
        }
        match self.parts.embedder.embed(query).await {
            Ok(vector) => Ok(Some(QueryVector { vector, whole: true })),
            Err(EmbedError::TooLong { .. }) => {
                let end = query.floor_char_boundary(CATEGORY_HEAD);
                let vector = self.parts.embedder.embed(&query[..end]).await?;
                Ok(Some(QueryVector { vector, whole: false }))
            }
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "no embedding");
                Err(error)
            }
        }
    }

    async fn fly(&self, leader: Leader, job: &Job, plan: Plan) {
        let flown = Flown { epoch: self.parts.cache.epoch(), generated_at: self.parts.clock.now(), plan };
        let response = match self.parts.upstream.send(upstream_request(job)).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "upstream failed");
                return leader.resolve(flown.plan.fallback.map_or(Head::Failed(error), Head::Entry));
            }
        };
        if let Some(fallback) = &flown.plan.fallback
            && (response.status.is_server_error() || response.status == StatusCode::TOO_MANY_REQUESTS)
        {
            return leader.resolve(Head::Entry(fallback.clone()));
        }
        let opening = Opening {
            status: response.status,
            reason: flown.plan.reason,
            category: flown.plan.class.policy.category.clone(),
            exclusive: self.parts.settings.record.obey_upstream && forbids_sharing(&response.headers),
            headers: response.headers.clone(),
        };
        if opening.exclusive {
            leader.close_to_joiners();
            self.alone.remember(job.question.flight_key(), flown.generated_at);
        }
        if response.status == StatusCode::OK && BodyKind::of(&response.headers) == BodyKind::Stream {
            Box::pin(self.record_stream(leader, job, flown, opening, response)).await;
        } else {
            Box::pin(self.record_whole(leader, job, flown, opening, response)).await;
        }
    }

    async fn record_stream(
        &self,
        leader: Leader,
        job: &Job,
        flown: Flown,
        opening: Opening,
        mut response: UpstreamResponse,
    ) {
        let mut tape = Tape::new(self.recorder(job, &opening), &job.question, self.limits().answer_bytes);
        leader.head(Head::Streaming(Arc::new(opening)));
        let mut orphaned: Option<tokio::time::Instant> = None;
        while let Some(piece) = response.body.next().await {
            let Ok(bytes) = piece else { return leader.end(End::Broken, None) };
            leader.push(tape.record(&bytes));
            if job.background || !leader.is_orphan() {
                orphaned = None;
                continue;
            }
            let since = *orphaned.get_or_insert_with(tokio::time::Instant::now);
            if !self.parts.settings.finish_without_clients || since.elapsed() > ORPHAN_TIME {
                return leader.end(End::Broken, None);
            }
        }
        let (rest, finished) = tape.finish();
        let end = if finished.verdict == Err(NotStored::Incomplete) { End::Broken } else { End::Complete };
        let (answer, _) = self.keep(job, &flown, finished).await;
        leader.push(rest);
        leader.end(end, answer);
    }

    async fn record_whole(
        &self,
        leader: Leader,
        job: &Job,
        flown: Flown,
        opening: Opening,
        mut response: UpstreamResponse,
    ) {
        let mut body = Vec::new();
        while let Some(piece) = response.body.next().await {
            let Ok(bytes) = piece else {
                let broken = UpstreamError::Broken("the body ended early".to_owned());
                return leader.resolve(flown.plan.fallback.map_or(Head::Failed(broken), Head::Entry));
            };
            body.extend_from_slice(&bytes);
            if body.len() > self.limits().answer_bytes {
                self.settle(job, &flown, Err(NotStored::TooLarge));
                leader.head(Head::Streaming(Arc::new(opening)));
                leader.push([Chunk::plain(Bytes::from(body))]);
                return copy_rest(leader, response).await;
            }
        }
        let body = Bytes::from(body);
        let finished = self.recorder(job, &opening).finish_json(&body, true);
        let (answer, stored) = self.keep(job, &flown, finished).await;
        leader.resolve(Head::Whole(Arc::new(Landed { opening, body, answer, stored })));
    }

    fn recorder(&self, job: &Job, opening: &Opening) -> Recorder {
        let request = &job.question.request;
        let mut recorder = Recorder::new(request.family, self.parts.settings.record.clone(), request.wants_json);
        recorder.head(opening.status, &opening.headers);
        recorder
    }

    /// Stores what was recorded, if it may be; returns the answer for readers of either shape all the same.
    async fn keep(
        &self,
        job: &Job,
        flown: &Flown,
        finished: wire::Finished,
    ) -> (Option<Arc<Answer>>, Result<i64, NotStored>) {
        let wire::Finished { answer, verdict } = finished;
        let answer = answer.map(Arc::new);
        if let (Ok(()), Some(answer), Some(pairing)) = (verdict, &answer, &flown.plan.withheld) {
            self.auditor.compare_behind(pairing.clone(), Arc::clone(answer));
        }
        let stored = match (verdict, &answer) {
            (Err(why), _) => Err(why),
            (Ok(()), None) => Err(NotStored::Malformed),
            (Ok(()), Some(answer)) => self.admit(job, flown, answer).await,
        };
        self.settle(job, flown, stored);
        (answer, stored)
    }

    /// Stores an answer, if its category keeps any. Returns its ttl in seconds.
    async fn admit(&self, job: &Job, flown: &Flown, answer: &Arc<Answer>) -> Result<i64, NotStored> {
        let Flown { plan, epoch, generated_at } = flown;
        let policy = &plan.class.policy;
        let durability = match policy.reuse.write {
            Write::Around => return Err(NotStored::Policy),
            Write::Behind => Durability::Behind,
            Write::Through => Durability::Through,
        };
        if !plan.may_store {
            return Err(NotStored::Policy);
        }
        let question = &job.question;
        let keys = self.keys(question, policy.reuse.scope);
        let ttl_limit = [question.directives.ttl, Some(plan.class.freshness.ttl)].into_iter().flatten().min();
        // A tool call carries its arguments, which another wording would get wrong.
        let by_meaning = plan.by_meaning && !answer.calls_tools();
        let vector = plan.vector.clone().filter(|_| by_meaning);
        let entry = Entry {
            id: self.parts.cache.store().next_id(),
            scope: keys.scope,
            partition: keys.partition,
            fingerprint: keys.fingerprint,
            category: policy.category.clone(),
            policy_revision: self.parts.policies.current().revision().to_owned(),
            query: question.query().filter(|_| by_meaning).map(str::to_owned),
            embedder: vector.as_ref().map(|_| self.parts.embedder.fingerprint().to_owned()),
            embedding: vector,
            answer: Answer::clone(answer),
            generated_at: *generated_at,
            invalidated_at: None,
            ttl_limit_ms: question.directives.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            tags: question.tags(),
        };
        self.parts.cache.admit(entry, *epoch, durability).await?;
        Ok(ttl_limit.map_or(0, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)))
    }

    fn settle(&self, job: &Job, flown: &Flown, stored: Result<i64, NotStored>) {
        self.parts.metrics.admission(stored.err());
        tracing::debug!(
            category = flown.plan.class.policy.category,
            background = job.background,
            reason = stored.err().map_or("stored", NotStored::as_str),
            "admission"
        );
    }
}

/// A query's vector; `whole` when it stands for all of the query.
#[derive(Debug)]
struct QueryVector {
    vector: Embedding,
    whole: bool,
}

/// A plan on its way to the upstream.
#[derive(Debug)]
struct Flown {
    plan: Plan,
    epoch: Epoch,
    generated_at: Timestamp,
}

/// Records an event stream while it passes. The terminal marker is held back until the answer is kept, so that a client
/// that has seen the end finds the answer in the cache.
#[derive(Debug)]
struct Tape {
    family: Family,
    reader: sse::Reader,
    recorder: Recorder,
    held: Vec<Chunk>,
    /// A frame was too large: from then on bytes pass unread.
    unread: bool,
}

impl Tape {
    fn new(recorder: Recorder, question: &Question, largest_frame: usize) -> Self {
        Self {
            family: question.request.family,
            reader: sse::Reader::new(largest_frame),
            recorder,
            held: Vec::new(),
            unread: false,
        }
    }

    fn record(&mut self, bytes: &Bytes) -> Vec<Chunk> {
        if self.unread {
            return vec![Chunk::plain(bytes.clone())];
        }
        let mut frames = Vec::new();
        let fed = self.reader.feed(bytes, &mut frames);
        let mut ready: Vec<Chunk> = frames.into_iter().filter_map(|frame| self.take(&frame)).collect();
        if fed.is_err() {
            self.recorder.refuse(NotStored::TooLarge);
            self.unread = true;
            ready.append(&mut self.held);
            let reader = std::mem::replace(&mut self.reader, sse::Reader::new(0));
            ready.push(Chunk::plain(reader.finish().leftover));
        }
        ready
    }

    /// Records a frame and returns it, unless it is held back.
    fn take(&mut self, frame: &sse::Frame) -> Option<Chunk> {
        self.recorder.frame(frame);
        let chunk = Chunk { without_usage: wire::strip_usage(self.family, frame), raw: frame.raw.clone() };
        if !self.held.is_empty() || wire::is_terminal(self.family, frame) {
            self.held.push(chunk);
            return None;
        }
        Some(chunk)
    }

    fn finish(mut self) -> (Vec<Chunk>, wire::Finished) {
        let reader = std::mem::replace(&mut self.reader, sse::Reader::new(0));
        let ending = reader.finish();
        let last = ending.frame.and_then(|frame| self.take(&frame));
        let clean = ending.leftover.is_empty();
        let Self { recorder, mut held, .. } = self;
        held.extend(last);
        if !clean {
            held.push(Chunk::plain(ending.leftover));
        }
        (held, recorder.finish_stream(clean))
    }
}

async fn copy_rest(leader: Leader, mut response: UpstreamResponse) {
    while let Some(piece) = response.body.next().await {
        let Ok(bytes) = piece else { return leader.end(End::Broken, None) };
        leader.push([Chunk::plain(bytes)]);
    }
    leader.end(End::Complete, None);
}

/// Whether meaning may be used at all: plain text, no context to lean on.
fn may_match(question: &Question) -> bool {
    question.query().is_some_and(|query| !(question.request.first_turn && guard::leans_on_context(query)))
}

/// What the exact lookup found out (expired, too long) says more than that no neighbour was found.
const fn first_told(exact: MissReason, then: MissReason) -> MissReason {
    match exact {
        MissReason::Empty => then,
        told => told,
    }
}

fn upstream_request(job: &Job) -> UpstreamRequest {
    let mut headers = job.call.headers.clone();
    headers::prepare_for_upstream(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    // Recorded bytes must be readable; a coding would be the client's, not ours.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    UpstreamRequest {
        method: job.call.method.clone(),
        path_and_query: job.call.path_and_query.clone(),
        headers,
        body: UpstreamBody::Whole(job.question.request.upstream_body.clone()),
    }
}

fn forbids_sharing(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL);
    values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|directive| {
        let name = directive.trim().split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("private")
    })
}
