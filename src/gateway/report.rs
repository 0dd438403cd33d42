//! One request's record: what became of it, told to the client in headers, to the log and to the metrics (I8).

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};

use super::{
    Call, Gateway, Reply, ReplyBody,
    flight::{Chunk, End, Ending, Reader},
    identity::{Keys, Question},
    lead::{Head, Landed, Opening},
    lookup::Served,
    recent::Recalled,
    reply::{self, insert_text},
    traffic::{Telling, Traffic},
};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    headers::{self, CacheFacts, Stored, append_cache_status, cache_status},
    http::error::ClientError,
    key::Principal,
    metrics::{FollowerStatus, InFlight, Metrics},
    otel::{self, Otel, Step, Trace},
    outcome::{BypassReason, HitKind, MissReason, NotStored, Outcome},
    policy::{Policy, PolicyWatch, Sharing},
    telemetry::{self, RequestFacts},
    traffic::{Record, Weighed},
    upstream::{BodyError, UpstreamBody, UpstreamError, UpstreamRequest, UpstreamResponse},
    wire::{self, Answer, Echo, Family, Fresh, Shape, Usage},
};

/// How logs write the status of a request whose client left before it had one (nginx's convention).
const CLIENT_GONE: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::REQUEST_TIMEOUT,
};

/// The record of a running request.
#[derive(Debug)]
pub(super) struct Ticket {
    id: String,
    family: Option<Family>,
    /// The protocol that the client understands errors in.
    spoken: Family,
    started: tokio::time::Instant,
    now: Timestamp,
    model: String,
    /// The question, if it may be matched by meaning.
    asked: Option<String>,
    /// Its keys, for a record.
    keys: Option<Keys>,
    /// It holds personal data.
    personal: bool,
    streamed: bool,
    weighed: Option<Arc<Weighed>>,
    /// Tokens of what the cache served.
    usage: Option<Usage>,
    answered: Answered,
    principal: Option<Principal>,
    /// What an answer repeats of the request.
    echo: Echo,
    category: String,
    outcome: Outcome,
    error: Option<&'static str>,
    not_stored: Option<NotStored>,
    /// It reads a flight of another question that means the same.
    joined: bool,
    served: Option<Served>,
    also_used: Vec<EntryId>,
    /// Before what says that the request is being answered: a stop waits for that, and then sends the last spans.
    step: Step,
    in_flight: Option<InFlight>,
    metrics: Arc<Metrics>,
    otel: Otel,
    traffic: Arc<Traffic>,
    policies: Arc<PolicyWatch>,
}

/// What is known of an answer that was fetched.
#[derive(Debug, Default)]
enum Answered {
    #[default]
    Nothing,
    /// It is all there.
    By(Arc<Answer>),
    /// It will be, at the end of its flight.
    Later(Ending),
}

/// What following a flight came to.
#[derive(Debug)]
pub(super) enum Followed {
    /// Answer with this.
    Reply(Reply),
    /// The cache has no part in it.
    Bypass(BypassReason, String),
    /// The flight's answer is not for this request.
    GoAlone,
    /// The leader vanished.
    StartOver,
}

impl Ticket {
    /// The record of `call`, which then knows its trace.
    pub(super) fn open(gateway: &Gateway, call: &mut Call) -> Self {
        let otel = gateway.parts().otel.clone();
        let (step, trace) = otel.request(call.family, &call.method, &call.headers);
        call.trace = trace;
        Self {
            id: format!("sem-{:016x}", fastrand::u64(..)),
            family: call.family,
            spoken: call.spoken(),
            started: tokio::time::Instant::now(),
            now: gateway.parts().clock.now(),
            model: String::new(),
            asked: None,
            keys: None,
            personal: false,
            streamed: false,
            weighed: None,
            usage: None,
            answered: Answered::Nothing,
            principal: None,
            echo: Echo::default(),
            category: String::new(),
            outcome: Outcome::Bypass(BypassReason::Refused),
            error: None,
            not_stored: None,
            joined: false,
            served: None,
            also_used: Vec::new(),
            step,
            in_flight: Some(gateway.parts().metrics.in_flight()),
            metrics: Arc::clone(&gateway.parts().metrics),
            otel,
            traffic: Arc::clone(&gateway.parts().traffic),
            policies: Arc::clone(&gateway.parts().policies),
        }
    }

    /// The one reading of the clock for this request.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn question(&mut self, gateway: &Gateway, question: &Question) {
        question.request.model.clone_into(&mut self.model);
        // It may end in a file of replay cases, where no personal data belongs.
        self.principal = Some(question.principal);
        self.asked = question.query().filter(|_| question.personal.is_none()).map(str::to_owned);
        // As everybody would ask it: who asked stands beside it.
        self.keys = self.traffic.wants_records().then(|| gateway.keys(question, Sharing::Shared));
        self.personal = question.personal.is_some();
        self.streamed = question.request.shape != Shape::Json;
        self.echo = question.request.echo.clone();
    }

    /// Notes the model asked for, of a request that is no [`Question`].
    pub(super) fn model(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    pub(super) fn category(&mut self, category: &str) {
        category.clone_into(&mut self.category);
    }

    /// Refuses or fails the request in its own protocol.
    pub(super) fn refused(&mut self, error: &ClientError) -> Reply {
        self.error = Some(error.reason());
        let mut reply = error.reply(self.spoken);
        if matches!(error, ClientError::OnlyIfCached) {
            self.outcome = Outcome::Unsatisfied;
            append_cache_status(&mut reply.headers, &cache_status(Outcome::Unsatisfied, &CacheFacts::default()));
        }
        reply
    }

    /// Serves an entry.
    pub(super) fn serve(&mut self, served: &Served, shape: Shape) -> Reply {
        self.outcome = served.outcome;
        self.weighed.clone_from(&served.weighed);
        self.usage = served.entry.answer.usage;
        self.category(&served.entry.category);
        self.step.answered(&served.entry.answer);
        self.served = Some(served.clone());
        let mut reply = reply::hit(served, shape, &self.echo, self.now);
        let anthropics = served.entry.answer.family == Family::Messages;
        let name = if anthropics { headers::ANTHROPIC_REQUEST_ID } else { headers::X_REQUEST_ID };
        insert_text(&mut reply.headers, name, &self.id);
        reply
    }

    /// Serves a batch of which every element was found, `found`, as `body`: as old as its oldest element, as fresh as its
    /// least fresh one, and stale if one of them is.
    pub(super) fn serve_batch(&mut self, found: &[Served], body: Bytes) -> Reply {
        let Some(oldest) = found.iter().max_by_key(|served| served.age) else {
            return self.refused(&ClientError::BrokenAnswer);
        };
        let stale = found.iter().find(|served| matches!(served.outcome, Outcome::StaleHit(..)));
        let served = Served {
            ttl_left: found.iter().map(|served| served.ttl_left).min().unwrap_or_default(),
            outcome: stale.unwrap_or(oldest).outcome,
            ..oldest.clone()
        };
        self.outcome = served.outcome;
        self.category(&served.entry.category);
        let mut reply = reply::json(body);
        reply::describe(&mut reply.headers, &served);
        let saved: Option<u64> = found.iter().map(|served| Some(served.entry.answer.usage?.input)).sum();
        if let Some(saved) = saved {
            reply.headers.insert(headers::SAVED_INPUT_TOKENS, HeaderValue::from(saved));
        }
        self.usage = saved.map(|input| Usage { input, output: 0 });
        insert_text(&mut reply.headers, headers::X_REQUEST_ID, &self.id);
        self.used(found.iter().filter(|one| one.entry.id != served.entry.id));
        self.served = Some(served);
        reply
    }

    /// Whether the answer just fetched came from a fallback upstream.
    pub(super) fn is_from_stand_in(&self) -> bool {
        self.not_stored == Some(NotStored::FallbackUpstream)
    }

    /// Counts entries that had a part in the answer without being all of it.
    pub(super) fn used<'s>(&mut self, found: impl Iterator<Item = &'s Served>) {
        for served in found {
            self.also_used.push(served.entry.id);
            self.metrics.saved(served.entry.answer.usage, None);
        }
    }

    /// Serves what is kept of another kind than entries.
    pub(super) fn serve_kept(&mut self, body: Bytes, age: Duration, ttl_left: i64) -> Reply {
        self.outcome = Outcome::Hit(HitKind::Exact);
        let mut reply = reply::json(body);
        let facts = CacheFacts { ttl: Some(ttl_left), ..CacheFacts::default() };
        append_cache_status(&mut reply.headers, &cache_status(self.outcome, &facts));
        reply.headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        insert_text(&mut reply.headers, headers::X_REQUEST_ID, &self.id);
        reply
    }

    /// Notes that the request boards a flight, as its leader or as a follower.
    pub(super) const fn boards(&mut self, reason: MissReason, leads: bool) {
        self.joined = false;
        self.fetching(reason, leads);
    }

    const fn fetching(&mut self, reason: MissReason, leads: bool) {
        let reason = if self.joined { MissReason::SameMeaning } else { reason };
        self.outcome = if leads { Outcome::Miss(reason) } else { Outcome::Collapsed(reason) };
        self.not_stored = None;
    }

    /// Waits for a flight's answer and puts it in the shape asked for.
    pub(super) async fn follow(&mut self, mut reader: Reader, shape: Shape, leads: bool) -> Followed {
        let mut leads = leads;
        let head = loop {
            if shape != Shape::Json {
                reader.wants_stream();
            }
            match reader.head().await {
                Head::Elsewhere(seat) => (reader, leads, self.joined) = (seat.reader(), false, true),
                head => break head,
            }
            self.fetching(MissReason::SameMeaning, leads);
        };
        match head {
            Head::Entry(served) => Followed::Reply(self.serve(&served, shape)),
            Head::Failed(error) => Followed::Reply(self.refused(&ClientError::Upstream(error))),
            Head::Unsatisfied => Followed::Reply(self.refused(&ClientError::OnlyIfCached)),
            Head::Bypass(why, category) => Followed::Bypass(why, category),
            Head::Abandoned | Head::Elsewhere(_) => Followed::StartOver,
            Head::Streaming(opening) => self.streaming(reader, &opening, shape, leads).await,
            Head::Whole(landed) => self.whole(&landed, shape, leads),
        }
    }

    async fn streaming(&mut self, mut reader: Reader, opening: &Arc<Opening>, shape: Shape, leads: bool) -> Followed {
        if opening.exclusive && !leads {
            return Followed::GoAlone;
        }
        self.category(&opening.category);
        self.answered = Answered::Later(reader.ending());
        match shape {
            Shape::Stream { include_usage } => {
                let mut reply = self.fetched(opening, opening.stored_so_far(), None, leads);
                if !include_usage {
                    // Frames may get shorter or be left out.
                    reply.headers.remove(header::CONTENT_LENGTH);
                }
                reply.body = ReplyBody::Stream(follow_body(reader, include_usage, self.step.clone()));
                Followed::Reply(reply)
            }
            // What the leader's client asked for, passed through as it comes: an answer that is too large to keep.
            Shape::Json if leads && !opening.reshaped => {
                let mut reply = self.fetched(opening, opening.stored_so_far(), None, leads);
                reply.body = ReplyBody::Stream(follow_body(reader, true, self.step.clone()));
                Followed::Reply(reply)
            }
            Shape::Json => match reader.end().await {
                (End::Complete, Some(answer)) if answer.can_render(shape) => {
                    let mut reply = self.fetched(opening, opening.stored_so_far(), None, leads);
                    self.step.answered(&*answer);
                    reshape(&mut reply, &answer, shape);
                    Followed::Reply(reply)
                }
                (End::Complete, _) => Followed::GoAlone,
                (End::Broken, _) => Followed::Reply(self.refused(&ClientError::BrokenAnswer)),
            },
        }
    }

    fn whole(&mut self, landed: &Landed, shape: Shape, leads: bool) -> Followed {
        let Landed { opening, body, answer, stored } = landed;
        if opening.exclusive && !leads {
            return Followed::GoAlone;
        }
        self.category(&opening.category);
        let (told, ttl) = match stored {
            Ok(ttl) => (Stored::Yes, Some(*ttl)),
            Err(why) => (Stored::No(*why), None),
        };
        if let Some(answer) = answer {
            self.step.answered(&**answer);
        }
        let mut reply = self.fetched(opening, told, ttl, leads);
        self.answered = answer.as_ref().map_or(Answered::Nothing, |answer| Answered::By(Arc::clone(answer)));
        let streamed = matches!(shape, Shape::Stream { .. }) && opening.status == StatusCode::OK;
        match answer {
            _ if !streamed => {
                reply.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
                reply.body = ReplyBody::Whole(body.clone());
            }
            Some(answer) => {
                reshape(&mut reply, answer, shape);
            }
            None if leads => return Followed::Reply(self.unstreamable(reply, body)),
            None => return Followed::GoAlone,
        }
        Followed::Reply(reply)
    }

    /// JSON that answers a stream request and cannot become a stream. A body with an `error` goes as one event, which
    /// SDKs raise; anything else is our error, for a JSON body would read as an empty stream (wire.md 0, finding 10).
    fn unstreamable(&mut self, mut reply: Reply, body: &Bytes) -> Reply {
        let Some(event) = wire::error_event(self.spoken, body) else {
            return self.refused(&ClientError::WrongShape);
        };
        reply.headers.remove(header::CONTENT_LENGTH);
        reply.headers.insert(header::CONTENT_TYPE, reply::stream_type(self.spoken));
        reply.body = ReplyBody::Whole(event);
        reply
    }

    fn fetched(&mut self, opening: &Opening, stored: Stored, ttl: Option<i64>, leads: bool) -> Reply {
        self.fetching(opening.reason, leads);
        self.weighed.clone_from(&opening.nearest);
        if let Stored::No(why) = stored {
            self.not_stored = Some(why);
        }
        let mut headers = opening.headers.clone();
        let facts = CacheFacts { ttl, fwd_status: Some(opening.status), stored, apart: opening.apart };
        append_cache_status(&mut headers, &cache_status(self.outcome, &facts));
        Reply { status: opening.status, headers, body: ReplyBody::Whole(Bytes::new()) }
    }

    /// Closes the record: the headers every reply has, one log event, the metrics.
    pub(super) fn close(mut self, gateway: &Gateway, mut reply: Reply) -> Reply {
        let headers = &mut reply.headers;
        insert_text(headers, headers::REQUEST_ID, &self.id);
        headers.insert(headers::CACHE, HeaderValue::from_static(self.outcome.label()));
        if !self.category.is_empty() {
            insert_text(headers, headers::CATEGORY, &self.category);
        }
        self.also_used.iter().for_each(|id| gateway.parts().cache.mark_used(*id));
        if let Some(served) = &self.served {
            gateway.parts().cache.mark_used(served.entry.id);
            let saved = self.saved_usd(served);
            self.metrics.saved(served.entry.answer.usage, saved);
            if let Some(saved) = saved {
                insert_text(headers, headers::SAVED_USD, &format!("{saved:.6}"));
            }
            gateway.recent.note(&self.id, recalled(served, self.asked.as_deref(), self.principal));
        }
        let telling = self.record(reply.status);
        // A streamed answer is being answered until its last byte.
        let answering = (std::mem::take(&mut self.step), self.in_flight.take(), telling);
        if let ReplyBody::Stream(stream) = reply.body {
            let held = stream.map(move |piece| {
                let _answering = &answering;
                piece
            });
            reply.body = ReplyBody::Stream(held.boxed());
        }
        reply
    }

    /// What a hit saved, where its model has a price.
    fn saved_usd(&self, served: &Served) -> Option<f64> {
        self.traffic.cost(&served.entry.answer.model, &self.model, self.usage?)
    }

    /// Tells log and metrics what became of it; the rest is told when the returned is dropped, at its answer's end.
    fn record(&mut self, status: StatusCode) -> Telling {
        let latency = self.started.elapsed();
        self.traffic.began(self.now, self.outcome, latency);
        self.metrics.request(self.family, &self.category, self.outcome, latency);
        let served = self.served.as_ref();
        let facts = RequestFacts {
            request_id: &self.id,
            family: self.family,
            model: &self.model,
            category: &self.category,
            outcome: self.outcome,
            status: status.as_u16(),
            entry: served.map(|served| served.entry.id),
            age_ms: served.map(|served| millis(served.age)),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            upstream_ms: None,
            usage: served.and_then(|served| served.entry.answer.usage),
            not_stored: self.not_stored,
            broken: self.error,
        };
        telemetry::request_event(&facts);
        self.otel.observe(&facts);
        self.step.closed(&facts);
        self.telling(status, latency)
    }

    fn telling(&mut self, status: StatusCode, latency: Duration) -> Telling {
        let policies = self.policies.current();
        let counted = Record {
            at_ms: self.now.as_millis(),
            category: self.category.clone(),
            model: self.model.clone(),
            policy_revision: policies.revision().to_owned(),
            ..Record::default()
        };
        let record = match self.traffic.wants_records() {
            true => self.facts(counted, status, latency, policies.get(&self.category).map(Arc::as_ref)),
            false => counted,
        };
        let served = self.served.as_ref();
        let (answered_by, usage, ending) = match (served, std::mem::take(&mut self.answered)) {
            (Some(served), _) => (Some(served.entry.answer.model.clone()), self.usage, None),
            (None, Answered::Nothing) => (None, None, None),
            (None, Answered::By(answer)) => (Some(answer.model.clone()), answer.usage, None),
            (None, Answered::Later(ending)) => (None, None, Some(ending)),
        };
        let (traffic, outcome, started) = (Arc::clone(&self.traffic), self.outcome, self.started);
        Telling { traffic, record, outcome, answered_by, usage, ending, started }
    }

    /// What a record says beyond what is `counted`. Of a question of no category, or of one that is never cached, nothing
    /// that could tell it; of one with personal data no words; of the others its words only where the policy allows it.
    fn facts(&self, counted: Record, status: StatusCode, latency: Duration, policy: Option<&Policy>) -> Record {
        let never = matches!(self.outcome, Outcome::Bypass(BypassReason::ZeroTtl | BypassReason::PersonalData));
        let policy = policy.filter(|policy| !never && !policy.is_never_cached());
        let keys = self.keys.filter(|_| policy.is_some());
        let query = self.asked.as_ref().filter(|_| policy.is_some_and(|policy| policy.privacy.traffic_text));
        let weighed = self
            .weighed
            .as_deref()
            .map(|weighed| Weighed { detail: weighed.detail.clone().filter(|_| query.is_some()), ..weighed.clone() });
        let served = self.served.as_ref();
        Record {
            answered_at_ms: counted.at_ms,
            request_id: self.id.clone(),
            family: self.family.map(|family| family.as_str().into()),
            outcome: self.outcome.label().into(),
            reason: self.outcome.reason().into(),
            status: status.as_u16(),
            fingerprint: keys.map(|keys| keys.fingerprint.to_hex()),
            partition: keys.map(|keys| keys.partition.to_hex()),
            principal: self.principal.map(|principal| principal.to_hex()),
            entry: served.map(|served| served.entry.id.to_string()),
            weighed,
            age_ms: served.map(|served| millis(served.age)),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            query: query.cloned(),
            streamed: self.streamed,
            personal: self.personal,
            ..counted
        }
    }
}

impl Drop for Ticket {
    /// A client that left before its answer began has an outcome too.
    fn drop(&mut self) {
        if self.in_flight.is_some() {
            self.error = Some("client-gone");
            drop(self.record(CLIENT_GONE));
        }
    }
}

impl Followed {
    /// The same as a metric's label.
    pub(super) fn status(&self) -> FollowerStatus {
        match self {
            Self::Reply(reply) if reply.status.is_success() => FollowerStatus::Served,
            Self::Reply(_) => FollowerStatus::Failed,
            Self::Bypass(..) | Self::GoAlone => FollowerStatus::Released,
            Self::StartOver => FollowerStatus::Elected,
        }
    }
}

impl Gateway {
    /// Sends a call with its whole body to the upstream, without the cache.
    pub(super) async fn send_alone(&self, call: Call, body: Bytes, why: BypassReason, ticket: &mut Ticket) -> Reply {
        self.pipe(call, UpstreamBody::Whole(body), Outcome::Bypass(why), ticket).await
    }

    /// Sends a request upstream as a step of `trace`, which lasts as long as what comes back beside the answer.
    pub(super) async fn send_traced(
        &self,
        trace: &Trace,
        mut request: UpstreamRequest,
    ) -> (Result<UpstreamResponse, UpstreamError>, Step) {
        let upstream = &self.parts.upstream;
        let step = trace.call(&mut request, |request| upstream.base_url(&request.target()).to_owned());
        let sent = upstream.send(request).await;
        step.responded(&sent);
        (sent, step)
    }

    /// Upstream to client, byte for byte.
    pub(super) async fn pipe(&self, call: Call, body: UpstreamBody, outcome: Outcome, ticket: &mut Ticket) -> Reply {
        // A body that is passed through in pieces is not waited for only to learn its model.
        let model = match &body {
            UpstreamBody::Whole(body) => call.family.and_then(|_| wire::model_of(body)),
            UpstreamBody::Stream(_) => None,
        };
        // Few upstreams call groups out of date; how far that would reach is found out when one does.
        let asker = (!call.method.is_safe()).then(|| (Call { body: Bytes::new(), ..call.clone() }, model.clone()));
        let reach = || asker.map_or_else(Vec::new, |(call, model)| self.reach(&call, model.as_deref()));
        let Call { method, path_and_query, mut headers, holder, trace, .. } = call;
        let asked = method.clone();
        headers::prepare_for_upstream(&mut headers);
        if matches!(body, UpstreamBody::Whole(_)) {
            headers.remove(header::CONTENT_LENGTH);
        }
        let request = UpstreamRequest {
            method,
            path_and_query,
            headers,
            model,
            may_fall_back: true,
            needs_own_key: holder.is_some(),
            body,
        };
        let started = tokio::time::Instant::now();
        let (sent, step) = self.send_traced(&trace, request).await;
        self.parts.metrics.upstream(sent.as_ref(), started.elapsed());
        match sent {
            Ok(response) => {
                ticket.outcome = outcome;
                self.heed_groups(&asked, &response, reach).done().await;
                let mut headers = response.headers;
                let facts = CacheFacts { fwd_status: Some(response.status), ..CacheFacts::default() };
                append_cache_status(&mut headers, &cache_status(outcome, &facts));
                let body = step.lasting(response.body, otel::BROKEN);
                let body = ticket.step.clone().lasting(body, ClientError::BrokenAnswer.reason());
                Reply { status: response.status, headers, body: ReplyBody::Stream(body) }
            }
            Err(error) => ticket.refused(&ClientError::Upstream(error)),
        }
    }
}

fn recalled(served: &Served, asked: Option<&str>, by: Option<Principal>) -> Recalled {
    let entry = &served.entry;
    Recalled {
        entry: entry.id,
        cached: entry.fingerprint,
        cached_text: entry.query.clone(),
        asked: served.asked,
        asked_text: asked.map(str::to_owned),
        category: entry.category.clone(),
        of: [entry.principal, by].into_iter().flatten().collect(),
    }
}

/// Gives a reply with the upstream's headers the answer in another shape than the upstream's.
fn reshape(reply: &mut Reply, answer: &Answer, shape: Shape) {
    let rendered = reply::rendered(answer, &Fresh::original(answer), shape);
    reply.headers.remove(header::CONTENT_LENGTH);
    reply.headers.extend(rendered.headers);
    reply.body = rendered.body;
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A flight's chunks as a body: all that is there at once, then as they come.
/// `step` is told what the answer says of itself.
fn follow_body(
    reader: Reader,
    include_usage: bool,
    step: Step,
) -> stream::BoxStream<'static, Result<Bytes, BodyError>> {
    stream::unfold(Some((reader, step)), move |following| async move {
        let (mut reader, step) = following?;
        loop {
            match reader.next().await {
                Ok(chunks) => {
                    let bytes = joined(&chunks, include_usage);
                    if !bytes.is_empty() {
                        return Some((Ok(bytes), Some((reader, step))));
                    }
                }
                Err(End::Complete) => {
                    if let (_, Some(answer)) = reader.end().await {
                        step.answered(&*answer);
                    }
                    return None;
                }
                Err(End::Broken) => {
                    step.broke(ClientError::BrokenAnswer.reason());
                    return Some((Err(BodyError("the upstream broke off".to_owned())), None));
                }
            }
        }
    })
    .boxed()
}

fn joined(chunks: &[Chunk], include_usage: bool) -> Bytes {
    let mut parts =
        chunks.iter().filter_map(|chunk| if include_usage { Some(&chunk.raw) } else { chunk.without_usage.as_ref() });
    let Some(first) = parts.next() else { return Bytes::new() };
    let Some(second) = parts.next() else { return first.clone() };
    let mut joined = BytesMut::from(first.as_ref());
    joined.extend_from_slice(second);
    for part in parts {
        joined.extend_from_slice(part);
    }
    joined.freeze()
}
