//! The leader of a flight: category by meaning, semantic lookup, upstream, recording, admission.
//!
//! Runs as a task of its own, so a client that hangs up never takes the answer from the others. Whatever happens, the
//! flight gets a head and an end; a panic leaves it abandoned, which readers take as "start over".

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use quick_cache::sync::Cache as Bounded;

use super::{
    Call, Gateway,
    audit::{Pairing, Reading},
    category::Told,
    flight::{Chunk, End, FlightKey, Joined, Leader, Seat},
    identity::{self, Question},
    joinable::Listed,
    lookup::{Lookup, Served},
    personal,
    tape::{Reel, Tape},
    traffic::Bought,
};
use crate::{
    cache::Epoch,
    clock::Timestamp,
    entry::Entry,
    freshness,
    headers::{
        self, Stored,
        groups::{self, TooManyTags},
    },
    matcher::guard,
    otel::{self, Step},
    outcome::{BypassReason, HitKind, MissReason, NotStored, Outcome},
    policy::{Facts, PersonalData, Policy, Sharing, Tier, Write},
    store::Durability,
    traffic::{Weighed, ledger::Purpose},
    upstream::{UpstreamBody, UpstreamError, UpstreamRequest, UpstreamResponse},
    wire::{self, Answer, BodyKind, Recorder, Shape},
};

/// How often a client starts over when leaders vanish, before it is told so.
pub(super) const ELECTIONS: usize = 4;
/// A flight that nobody reads any more may still finish within this time: its answer is paid for.
const ORPHAN_TIME: Duration = Duration::from_secs(60);
/// How long a question whose answers cannot be shared is not queued.
pub(super) const ALONE_FOR: Duration = Duration::from_secs(60);
/// A refresh whose answer was not kept is not tried again within this time.
pub(super) const REFRESH_AGAIN: Duration = Duration::from_secs(30);
/// No answer counts as slower than this.
const MAX_PACE_MS: u64 = 60_000;
/// How many questions are remembered.
const REMEMBERED: usize = 4096;
/// After a stream's marker its connection is listened to no longer than this.
const AFTER_DONE: Duration = Duration::from_secs(1);
/// Storing an answer may hold its last byte no longer than this.
pub(super) const KEEP_PATIENCE: Duration = Duration::from_secs(10);
/// A flight holds at most this many answers' bytes.
const FLIGHT_ANSWERS: usize = 16;

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
    /// A fallback upstream gives it, so it is not kept.
    pub stand_in: bool,
    /// Its category is shared and who asked is not trusted to write there, so it is kept for that credential alone.
    pub apart: bool,
    /// It was asked for as a stream, for its followers, though the leader's client asked for JSON.
    pub reshaped: bool,
    /// How the nearest neighbour was weighed that was not served.
    pub nearest: Option<Arc<Weighed>>,
}

impl Opening {
    /// What is known about storing the answer before it has ended.
    pub(super) const fn stored_so_far(&self) -> Stored {
        if self.stand_in { Stored::No(NotStored::FallbackUpstream) } else { Stored::Unknown }
    }
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
    /// Another running flight, whose question means the same, has the answer.
    Elsewhere(Arc<Seat>),
    /// The leader vanished.
    Abandoned,
}

/// Questions remembered for a while, bounded: those whose answers could not be shared, so that their requests do not
/// queue behind one another, and those refreshed a moment ago.
#[derive(Debug)]
pub(super) struct Remembered(Bounded<FlightKey, Timestamp>);

impl Default for Remembered {
    fn default() -> Self {
        Self(Bounded::new(REMEMBERED))
    }
}

impl Remembered {
    pub(super) fn remember(&self, key: FlightKey, until: Timestamp) {
        self.0.insert(key, until);
    }

    pub(super) fn remembers(&self, key: FlightKey, now: Timestamp) -> bool {
        self.0.get(&key).is_some_and(|until| now < until)
    }
}

/// How long answers take to make: a moving average over the upstream's recent ones.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(1000))
    }
}

impl Pace {
    fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).min(MAX_PACE_MS);
        // A lost update of a racing flight changes an estimate a little.
        let before = self.0.load(Ordering::Relaxed);
        self.0.store((before * 7 + took) / 8, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// What the leader knows once the cache has been asked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) told: Told,
    /// Meaning may be used, now and for the answer.
    by_meaning: bool,
    reason: MissReason,
    fallback: Option<Served>,
    /// What would have been served by meaning, to be compared with what the upstream says.
    withheld: Option<Pairing>,
    /// How the nearest neighbour was weighed that was not served.
    nearest: Option<Arc<Weighed>>,
}

/// How a body's copying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    Clean,
    Broken,
    /// Nobody reads it any more.
    Abandoned,
}

/// How a body's reading ended.
#[derive(Debug)]
pub(super) enum Read {
    /// All of it.
    Whole(Bytes),
    /// It broke.
    Broken(UpstreamError),
    /// It is larger than asked for; this much has been read.
    TooLarge(Bytes),
    /// Nobody waits for it any more.
    Abandoned,
}

impl Gateway {
    /// Runs the leader's work as a task.
    pub(super) fn take_off(self: &Arc<Self>, leader: Leader, job: Arc<Job>) {
        let gateway = Arc::clone(self);
        self.parts.tasks.spawn("flight", async move { Box::pin(gateway.lead(leader, job)).await });
    }

    /// Whether this hit is the one, of the many on a hot entry, that refreshes it before it is stale.
    pub(super) fn refreshes_ahead(&self, served: &Served, question: &Question) -> bool {
        let asks = self.parts.settings.refresh_ahead && !question.directives.only_if_cached;
        let left = served.fresh_for.filter(|_| asks && served.outcome == Outcome::Hit(HitKind::Exact));
        left.is_some_and(|left| {
            let whole = left.saturating_add(served.age);
            freshness::is_due_early(left, whole, self.pace.get(), 1.0 - fastrand::f64())
        })
    }

    /// Starts a background refresh of a stale entry, unless one runs or ran a moment ago.
    pub(super) fn refresh_behind(self: &Arc<Self>, call: &Call, question: &Question) {
        let (key, now) = (self.flight_key(question), self.parts.clock.now());
        if self.refreshed.remembers(key, now) {
            return;
        }
        if let Joined::Lead(leader, _) = self.flights.join(key) {
            self.refreshed.remember(key, now.plus(REFRESH_AGAIN));
            let job = Job {
                call: call.clone(),
                question: question.clone(),
                reason: MissReason::Expired,
                fallback: None,
                background: true,
            };
            self.take_off(leader, Arc::new(job));
        }
    }

    async fn lead(self: Arc<Self>, leader: Leader, job: Arc<Job>) {
        let now = self.parts.clock.now();
        let facts = job.question.facts(&job.call);
        let served = if job.background || job.reason == MissReason::Refresh {
            None
        } else {
            // Another flight may have ended between this request's lookup and its take-off.
            self.look_up_hot(&job.question, &facts, now)
        };
        let plan = match served {
            Some(served) => Err(Head::Entry(served)),
            None => self.plan(&job, &facts, now).await,
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(head) => {
                self.watch(&job, &head);
                let stale = matches!(&head, Head::Entry(served) if served.needs_refresh());
                leader.resolve(head);
                if stale {
                    self.refresh_behind(&job.call, &job.question);
                }
                return;
            }
        };
        if job.question.directives.only_if_cached {
            return leader.resolve(Head::Unsatisfied);
        }
        let _listed = match self.join_by_meaning(&leader, &job, &plan).await {
            Err(head) => return leader.resolve(head),
            Ok(listed) => listed,
        };
        match self.lead_among_nodes(&leader, &job, &plan).await {
            Err(head) => leader.resolve(head),
            Ok(None) => self.fly(leader, &job, plan).await,
            Ok(Some(lease)) => {
                tokio::select! {
                    () = self.fly(leader, &job, plan) => {}
                    never = lease.keep() => match never {},
                }
                lease.end(self.stored(&job).await.is_some()).await;
            }
        }
    }

    /// Lets others join this flight by meaning. `Err` is a running flight that has this request's answer too.
    async fn join_by_meaning(&self, leader: &Leader, job: &Job, plan: &Plan) -> Result<Option<Listed>, Head> {
        let refreshes = job.background || job.reason == MissReason::Refresh;
        // Whom a flight has released once goes alone.
        let released = self.alone.remembers(leader.key(), self.parts.clock.now());
        if refreshes || released || !plan.by_meaning || plan.withheld.is_some() {
            return Ok(None);
        }
        self.find_flight(leader, job, &plan.told.class, plan.told.vector.as_ref()).await
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
        if self.parts.settings.audits && comparable && fastrand::f64() < share {
            let reading = Reading { family: job.question.request.family, wants_json: job.question.request.wants_json };
            let pairing = Pairing { entry: Arc::clone(entry), asked: *asked };
            let request = UpstreamRequest { may_fall_back: false, ..upstream_request(job) };
            self.auditor.ask_again_behind(pairing, request, reading);
        }
    }

    /// Category and neighbours: everything before the upstream. `Err` is an answer without it.
    async fn plan(&self, job: &Job, facts: &Facts<'_>, now: Timestamp) -> Result<Plan, Head> {
        let question = &job.question;
        let told = self.tell_category(question, facts).await?;
        let by_meaning = told.class.policy.reuse.tier == Tier::Semantic && told.vector.is_some() && may_match(question);
        let fallback = job.fallback.clone();
        let mut plan = Plan { told, by_meaning, reason: job.reason, fallback, withheld: None, nearest: None };
        if job.reason == MissReason::Refresh || job.background {
            return Ok(plan);
        }
        if plan.told.embedder_down {
            plan.reason = MissReason::EmbedderDown;
        } else if !plan.by_meaning {
            plan.reason = first_told(job.reason, why_exact(question, &plan.told.class.policy));
        } else if let (Some(query), Some(vector)) = (question.query(), &plan.told.vector) {
            let (found, nearest) = self.look_up_semantic(question, (query, vector), &plan.told.class, now).await;
            plan.nearest = nearest;
            match found {
                Lookup::Serve(served) => return Err(Head::Entry(served)),
                Lookup::Miss(reason, stale) => {
                    plan.reason = first_told(job.reason, reason);
                    plan.fallback = plan.fallback.or(stale);
                }
                Lookup::Withheld(reason, pairing) => {
                    plan.reason = first_told(job.reason, reason);
                    plan.withheld = Some(pairing);
                }
            }
        }
        Ok(plan)
    }

    async fn fly(&self, leader: Leader, job: &Job, plan: Plan) {
        let (epoch, generated_at) = (self.parts.cache.epoch(), self.parts.clock.now());
        let started = tokio::time::Instant::now();
        let (step, tags) = (Step::default(), Ok(Vec::new()));
        let mut flown = Flown { epoch, generated_at, started, plan, stand_in: false, step, tags };
        let (sent, reshaped) = tokio::select! {
            sent = self.ask_upstream(&leader, job, &mut flown.step) => sent,
            () = self.abandoned(&leader, job.background) => return,
        };
        self.parts.metrics.upstream(sent.as_ref(), started.elapsed());
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "upstream failed");
                return leader.resolve(self.fallback(&flown.plan).await.map_or(Head::Failed(error), Head::Entry));
            }
        };
        if fails(response.status)
            && let Some(fallback) = self.fallback(&flown.plan).await
        {
            return leader.resolve(Head::Entry(fallback));
        }
        let encoded = is_encoded(&response.headers);
        let opening = Opening {
            status: response.status,
            reason: flown.plan.reason,
            category: flown.plan.told.class.policy.category.clone(),
            // Whose client takes a coding that the upstream chose unasked is not known.
            exclusive: encoded || (self.parts.settings.record.obey_upstream && forbids_sharing(&response.headers)),
            stand_in: response.stand_in,
            apart: !job.question.is_trusted_by(&flown.plan.told.class.policy.reuse),
            reshaped,
            nearest: flown.plan.nearest.clone(),
            headers: response.headers.clone(),
        };
        flown.stand_in = response.stand_in;
        flown.tags = groups::tags(&response.headers);
        self.heed_groups(&job.call.method, &response, || self.reach_of(&job.question)).done().await;
        if opening.exclusive {
            leader.close_to_joiners();
            self.alone.remember(leader.key(), flown.generated_at.plus(ALONE_FOR));
        }
        if response.status == StatusCode::OK && encoded {
            self.settle(job, &flown, Err(NotStored::Encoded));
            Box::pin(self.pass_on(leader, job.background, opening, Bytes::new(), response)).await;
        } else if response.status == StatusCode::OK
            && BodyKind::of(&response.headers) == job.question.request.family.streams_as()
        {
            Box::pin(self.record_stream(leader, job, flown, opening, response)).await;
        } else {
            Box::pin(self.record_whole(leader, job, flown, opening, response)).await;
        }
    }

    /// Asks for what the flight's readers want: who asked for JSON can wait for a stream's end, while who asked for a stream
    /// would see no token before the end of JSON. A refused stream is asked for again as the leader's client had it.
    /// Also says whether it was asked for in another shape than the client's.
    /// `step` becomes the span of the call that counts.
    async fn ask_upstream(
        &self,
        leader: &Leader,
        job: &Job,
        step: &mut Step,
    ) -> (Result<UpstreamResponse, UpstreamError>, bool) {
        let as_asked = upstream_request(job);
        let sent;
        let reshaped = job.question.request.shape == Shape::Json && leader.has_streaming_readers();
        let Some(body) = reshaped.then(|| job.question.request.streamed_body()).flatten() else {
            (sent, *step) = self.send_traced(&job.call.trace, as_asked).await;
            return (sent, false);
        };
        let streamed = UpstreamRequest { body: UpstreamBody::Whole(body), ..upstream_request(job) };
        let (streaming, of_stream) = self.send_traced(&job.call.trace, streamed).await;
        if streaming.as_ref().is_ok_and(|refused| refuses_shape(refused.status)) {
            drop((streaming, of_stream));
            (sent, *step) = self.send_traced(&job.call.trace, as_asked).await;
            return (sent, false);
        }
        *step = of_stream;
        (streaming, true)
    }

    /// Returns when a flight's work has become pointless: all its clients have gone, and the patience for it with them.
    pub(super) async fn abandoned(&self, leader: &Leader, background: bool) {
        if background {
            return std::future::pending().await;
        }
        let patience = if self.parts.settings.finish_without_clients { ORPHAN_TIME } else { Duration::ZERO };
        leader.abandoned(patience).await;
    }

    /// The stale entry to serve in a failure's stead, unless a purge has removed it meanwhile.
    async fn fallback(&self, plan: &Plan) -> Option<Served> {
        let fallback = plan.fallback.clone()?;
        self.still_there(&fallback).await.then_some(fallback)
    }

    /// Whether an entry found earlier still lives.
    pub(super) async fn still_there(&self, served: &Served) -> bool {
        matches!(self.parts.cache.get(served.entry.id).await, Ok(Some(_)))
    }

    async fn record_stream(
        &self,
        leader: Leader,
        job: &Job,
        flown: Flown,
        opening: Opening,
        mut response: UpstreamResponse,
    ) {
        let recorder = self.recorder(job, &opening);
        let mut tape = Tape::new(job.question.request.family, recorder, self.limits().answer_bytes);
        leader.head(Head::Streaming(Arc::new(opening)));
        let copied = {
            let abandoned = self.abandoned(&leader, job.background);
            tokio::pin!(abandoned);
            loop {
                tokio::select! {
                    piece = response.body.next() => match piece {
                        Some(Ok(bytes)) if leader.has_room(self.flight_bytes()) => leader.push(tape.record(&bytes)),
                        Some(_) => break Copied::Broken,
                        None => break Copied::Clean,
                    },
                    // The marker has come and the connection stays open: nothing more is worth a client's waiting.
                    () = tokio::time::sleep(AFTER_DONE), if tape.is_done() => break Copied::Clean,
                    () = &mut abandoned => break Copied::Abandoned,
                }
            }
        };
        if copied == Copied::Abandoned {
            return leader.end(End::Broken, None);
        }
        let Reel { rest, finished, ended } = tape.finish(copied == Copied::Clean);
        if !ended {
            flown.step.broke(otel::BROKEN);
        }
        let (answer, _) = self.keep(job, &flown, finished).await;
        leader.push(rest);
        leader.end(if ended { End::Complete } else { End::Broken }, answer);
    }

    async fn record_whole(
        &self,
        leader: Leader,
        job: &Job,
        flown: Flown,
        opening: Opening,
        mut response: UpstreamResponse,
    ) {
        let body = match self.read_whole(&leader, job.background, &mut response, self.limits().answer_bytes).await {
            Read::Whole(body) => body,
            Read::Abandoned => return,
            Read::Broken(broken) => {
                flown.step.broke(otel::BROKEN);
                return leader.resolve(self.fallback(&flown.plan).await.map_or(Head::Failed(broken), Head::Entry));
            }
            Read::TooLarge(begun) => {
                self.settle(job, &flown, Err(NotStored::TooLarge));
                return self.pass_on(leader, job.background, opening, begun, response).await;
            }
        };
        let finished = self.recorder(job, &opening).finish_json(&body, true);
        let (answer, stored) = self.keep(job, &flown, finished).await;
        leader.resolve(Head::Whole(Arc::new(Landed { opening, body, answer, stored })));
    }

    /// Reads a body to its end, up to `limit` bytes and while somebody waits for it.
    pub(super) async fn read_whole(
        &self,
        leader: &Leader,
        background: bool,
        response: &mut UpstreamResponse,
        limit: usize,
    ) -> Read {
        let mut body = Vec::new();
        let abandoned = self.abandoned(leader, background);
        tokio::pin!(abandoned);
        while body.len() <= limit {
            tokio::select! {
                piece = response.body.next() => match piece {
                    Some(Ok(bytes)) => body.extend_from_slice(&bytes),
                    Some(Err(_)) => return Read::Broken(UpstreamError::Broken("the body ended early".to_owned())),
                    None => return Read::Whole(Bytes::from(body)),
                },
                () = &mut abandoned => return Read::Abandoned,
            }
        }
        Read::TooLarge(Bytes::from(body))
    }

    /// Passes on what is too large to keep, of which `begun` has been read.
    pub(super) async fn pass_on(
        &self,
        leader: Leader,
        background: bool,
        opening: Opening,
        begun: Bytes,
        mut response: UpstreamResponse,
    ) {
        leader.close_to_joiners();
        leader.head(Head::Streaming(Arc::new(opening)));
        leader.push([Chunk::plain(begun)]);
        let end = {
            let abandoned = self.abandoned(&leader, background);
            tokio::pin!(abandoned);
            loop {
                tokio::select! {
                    piece = response.body.next() => match piece {
                        Some(Ok(bytes)) if leader.has_room(self.flight_bytes()) => leader.push([Chunk::plain(bytes)]),
                        Some(_) => break End::Broken,
                        None => break End::Complete,
                    },
                    () = &mut abandoned => break End::Broken,
                }
            }
        };
        leader.end(end, None);
    }

    /// A flight never holds more than this, however much the upstream sends.
    pub(super) fn flight_bytes(&self) -> usize {
        self.limits().answer_bytes.saturating_mul(FLIGHT_ANSWERS)
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
        let wire::Finished { answer, verdict, whole: _ } = finished;
        let answer = answer.map(Arc::new);
        // The scope names the upstream that failed; nor does another's answer say anything of a pairing, or of a pace.
        let verdict = if flown.stand_in { verdict.and(Err(NotStored::FallbackUpstream)) } else { verdict };
        if let Some(answer) = &answer {
            flown.step.answered(&**answer);
            job.call.trace.bought(&job.question.request.model, &**answer);
        }
        if let Some((answer, usage)) = answer.as_ref().and_then(|answer| Some((answer, answer.usage?))) {
            let purpose = if job.background { Purpose::Refresh } else { Purpose::Fetch };
            let bought = Bought {
                category: &flown.plan.told.class.policy.category,
                model: &job.question.request.model,
                answered_by: &answer.model,
                revision: &flown.plan.told.revision,
                usage,
            };
            self.parts.traffic.spent(purpose, &bought);
        }
        if verdict.is_ok() {
            self.pace.observe(flown.started.elapsed());
        }
        if let (Ok(()), Some(answer), Some(pairing)) = (verdict, &answer, &flown.plan.withheld) {
            self.auditor.compare_behind(pairing.clone(), Arc::clone(answer));
        }
        let stored = match (verdict, &answer) {
            (Err(why), _) => Err(why),
            (Ok(()), None) => Err(NotStored::Malformed),
            // A disk that hangs must not hold the answer's last byte for ever (I7).
            (Ok(()), Some(answer)) => tokio::time::timeout(KEEP_PATIENCE, self.admit(job, flown, answer))
                .await
                .unwrap_or(Err(NotStored::CacheError)),
        };
        self.settle(job, flown, stored);
        (answer, stored)
    }

    /// Stores an answer, if its category keeps any. Returns its ttl in seconds.
    async fn admit(&self, job: &Job, flown: &Flown, answer: &Arc<Answer>) -> Result<i64, NotStored> {
        let Flown { plan, epoch, generated_at, started: _, stand_in: _, step: _, tags: upstream_tags } = flown;
        let class = &plan.told.class;
        let policy = &class.policy;
        if !job.question.may_be_kept() {
            return Err(NotStored::KeyScope);
        }
        let durability = match policy.reuse.write {
            Write::Around => return Err(NotStored::Policy),
            Write::Behind => Durability::Behind,
            Write::Through => Durability::Through,
        };
        let question = &job.question;
        let never = question.directives.ttl == Some(Duration::ZERO) || self.forbidden_meanwhile(job, plan);
        if !plan.told.may_store || never {
            return Err(NotStored::Policy);
        }
        let exact = personal::exact_only(question, answer, policy)?;
        let apart = exact || answer.is_bound_to_account() || !question.is_trusted_by(&policy.reuse);
        let scope = if apart { Sharing::Credential } else { policy.reuse.scope };
        let keys = self.keys(question, scope);
        // Volatile wording caps the answer's life itself: another category's ttl must not outlive it.
        let cap = class.volatile.as_ref().map(|_| class.freshness.ttl);
        let ttl_limit = [question.directives.ttl, cap].into_iter().flatten().min();
        // A tool call carries its arguments, which another wording would get wrong.
        let by_meaning = plan.by_meaning && !exact && !answer.calls_tools();
        let vector = plan.told.vector.clone().filter(|_| by_meaning);
        let entry = Entry {
            id: self.parts.cache.store().next_id(keys.fingerprint),
            scope: keys.scope,
            principal: Some(question.principal),
            partition: keys.partition,
            fingerprint: keys.fingerprint,
            category: policy.category.clone(),
            policy_revision: plan.told.revision.clone(),
            query: question.query().filter(|_| by_meaning).map(str::to_owned),
            embedder: vector.as_ref().map(|_| self.parts.embedder.fingerprint().to_owned()),
            embedding: vector,
            answer: Answer::clone(answer),
            generated_at: *generated_at,
            invalidated_at: None,
            ttl_limit_ms: ttl_limit.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            tags: identity::tags(&question.directives, upstream_tags.as_deref().map_err(|_| NotStored::TooManyTags)?),
            sources: question.directives.sources.clone(),
        };
        let kept = self.parts.cache.admit(entry, *epoch, durability).await?;
        if kept.invalidated_at.is_some() {
            return Ok(0);
        }
        let ttl = ttl_limit.map_or(class.freshness.ttl, |limit| limit.min(class.freshness.ttl));
        Ok(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
    }

    /// Whether policies that changed while the answer was made now say never.
    fn forbidden_meanwhile(&self, job: &Job, plan: &Plan) -> bool {
        let policies = self.parts.policies.current();
        if policies.revision() == plan.told.revision {
            return false;
        }
        let rules = policies.classify_by_rules(&job.question.facts(&job.call));
        let today = policies.get(&plan.told.class.policy.category);
        today.is_none_or(|policy| policy.is_never_cached()) || (rules.decided && rules.is_never_cached())
    }

    fn settle(&self, job: &Job, flown: &Flown, stored: Result<i64, NotStored>) {
        self.parts.metrics.admission(stored.err());
        tracing::debug!(
            category = flown.plan.told.class.policy.category,
            background = job.background,
            reason = stored.err().map_or("stored", NotStored::as_str),
            "admission"
        );
    }
}

/// A plan on its way to the upstream.
#[derive(Debug)]
struct Flown {
    plan: Plan,
    epoch: Epoch,
    generated_at: Timestamp,
    started: tokio::time::Instant,
    /// A fallback upstream answers.
    stand_in: bool,
    /// The upstream call's.
    step: Step,
    /// The groups that the upstream puts the answer into.
    tags: Result<Vec<String>, TooManyTags>,
}

/// Whether meaning may be used at all: plain text, no context to lean on.
pub(super) fn may_match(question: &Question) -> bool {
    question.query().is_some_and(|query| !(question.request.first_turn && guard::leans_on_context(query)))
}

/// Why meaning may not be used for a question that it is not used for.
fn why_exact(question: &Question, policy: &Policy) -> MissReason {
    match personal::treatment(question, policy) {
        PersonalData::Allow => MissReason::ExactOnly,
        PersonalData::Exact | PersonalData::KeepOut => MissReason::PersonalData,
    }
}

/// What the exact lookup found out (expired, too long) says more than that no neighbour was found.
const fn first_told(exact: MissReason, then: MissReason) -> MissReason {
    match exact {
        MissReason::Empty => then,
        told => told,
    }
}

fn upstream_request(job: &Job) -> UpstreamRequest {
    let Question { request, .. } = &job.question;
    UpstreamRequest {
        may_fall_back: !job.background,
        ..recordable(&job.call, Some(&request.model), request.upstream_body.clone())
    }
}

/// A call, which names `model`, as it goes to the upstream when its answer is to be recorded.
pub(super) fn recordable(call: &Call, model: Option<&str>, body: Bytes) -> UpstreamRequest {
    let mut headers = call.headers.clone();
    headers::prepare_for_upstream(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    // Recorded bytes must be readable; a coding would be the client's, not ours.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    UpstreamRequest {
        method: call.method.clone(),
        path_and_query: call.path_and_query.clone(),
        headers,
        model: model.map(str::to_owned),
        may_fall_back: true,
        needs_own_key: call.holder.is_some(),
        body: UpstreamBody::Whole(body),
    }
}

pub(super) fn fails(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether it may have been the shape that the upstream refused: some models do not stream, nor do some accounts.
fn refuses_shape(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
}

/// Whether a body came in a content coding.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

pub(super) fn forbids_sharing(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL);
    values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|directive| {
        let name = directive.trim().split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("private")
    })
}
