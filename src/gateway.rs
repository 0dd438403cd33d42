//! The request path: parse, key, exact lookup, category, flight, semantic lookup, upstream, admission.
//!
//! [`Gateway::answer`] reads top to bottom as design.md section 2. Cache trouble never fails a request: it becomes a
//! miss with a reason and the upstream answers; identity trouble always fails it (I7).

mod across;
mod audit;
mod bans;
mod category;
mod embeddings;
pub mod erase;
pub mod feedback;
pub mod flight;
mod groups;
mod identity;
mod joinable;
mod judge;
pub mod lead;
mod lookup;
mod models;
mod personal;
mod recent;
mod reply;
mod report;
mod tape;
pub mod traffic;
pub mod warm;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    cache::Cache,
    clock::{Clock, Timestamp},
    config::Limits,
    embed::Embedder,
    http::error::ClientError,
    key::PrincipalKey,
    keys::{self, Holder, Keyring, Refusal, Right},
    matcher::Matcher,
    metrics::Metrics,
    otel::{Otel, Trace},
    outcome::{BypassReason, Outcome},
    policy::{Examples, PolicyWatch},
    tasks::Tasks,
    upstream::{Upstream, UpstreamBody},
    wire::{Family, RecordSettings, chat::ChatSettings},
};
pub use audit::Auditor;
use flight::{FlightKey, Flights, Joined, Leader, Reader};
use identity::{Question, Unanswerable};
pub use judge::Judge;
use lead::Job;
use lookup::Lookup;
use recent::Recent;
pub use reply::{Reply, ReplyBody};
use report::{Followed, Ticket};
use traffic::Traffic;

/// How long a request waits for the gateway to be able to tell categories, before it goes upstream uncached.
const WARM_UP: Duration = Duration::from_secs(5);

/// What room for request bodies is counted in, in bytes.
const BODY_UNIT: usize = 1024;

/// What the request path needs to know beside its collaborators.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds on one request.
    pub limits: Limits,
    /// How chat requests are read.
    pub chat: ChatSettings,
    /// What may be recorded.
    pub record: RecordSettings,
    /// Name of the tenant: what is shared inside it stays inside it.
    pub tenant: String,
    /// Serve requests without a credential, in a scope of their own.
    pub allow_anonymous: bool,
    /// Refuse requests that carry no key of the gateway's own.
    pub require_keys: bool,
    /// Refresh entries that are asked for often before they are stale.
    pub refresh_ahead: bool,
    /// Ask some hits by meaning again, as policies say.
    pub audits: bool,
    /// When every client of a flight has gone: finish and keep the answer, or cancel.
    pub finish_without_clients: bool,
    /// How long a request waits for an answer that another node is fetching.
    pub wait_for_nodes: Duration,
}

/// How the gateway watches over its own hits.
#[derive(Debug, Clone, Default)]
pub struct Oversight {
    /// Look up by meaning, record what is found, serve none of it.
    pub shadow: bool,
    /// Where wrong pairs are appended as replay cases.
    pub feedback_file: Option<PathBuf>,
    /// Where the desk adds replay cases; an erasure reaches it.
    pub desk_file: Option<PathBuf>,
    /// Asked about close refusals.
    pub judge: Option<Arc<Judge>>,
}

/// A client's request, before it is understood.
#[derive(Debug, Clone)]
pub struct Call {
    /// The protocol its path speaks; `None` where it is only passed through.
    pub family: Option<Family>,
    /// Method.
    pub method: Method,
    /// Path and query as sent.
    pub path_and_query: String,
    /// Headers as sent.
    pub headers: HeaderMap,
    /// Body as sent; empty when it is streamed beside.
    pub body: Bytes,
    /// Who holds the key of the gateway's own that it carried; nothing of that key is left in it.
    pub holder: Option<Arc<Holder>>,
    /// The trace that it belongs to, once it is being answered.
    pub trace: Trace,
}

impl Call {
    /// The same without its body, and its headers in no more room than they need and apart from the buffer that its
    /// connection reads into: who waits must not keep that as well.
    fn detached(mut self) -> Self {
        let mut values = Bytes::from_iter(self.headers.values().flat_map(HeaderValue::as_bytes).copied());
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let copy = values.split_to(value.len());
            let mut own = HeaderValue::from_maybe_shared(copy).unwrap_or_else(|_| value.clone());
            own.set_sensitive(value.is_sensitive());
            headers.append(name.clone(), own);
        }
        self.headers = headers;
        self.body = Bytes::new();
        self
    }

    /// Whether whoever sent it may do this; the holder of a provider's key may do all that a policy allows.
    fn may(&self, right: Right) -> bool {
        may(self.holder.as_deref(), right)
    }

    /// The protocol that its client understands errors in.
    pub fn spoken(&self) -> Family {
        self.family.unwrap_or_else(|| Family::spoken(&self.path_and_query, &self.headers))
    }
}

/// Whether a key gives this right, where it is one of the gateway's own.
fn may(holder: Option<&Holder>, right: Right) -> bool {
    holder.is_none_or(|holder| holder.may(right))
}

/// Everything a gateway works with; the composition root makes one.
#[derive(Debug)]
pub struct Parts {
    /// Store, hot tier and index.
    pub cache: Arc<Cache>,
    /// Text to vector.
    pub embedder: Arc<dyn Embedder>,
    /// The hit decision.
    pub matcher: Arc<Matcher>,
    /// Today's policies.
    pub policies: Arc<PolicyWatch>,
    /// The provider.
    pub upstream: Arc<dyn Upstream>,
    /// The time.
    pub clock: Clock,
    /// Background work.
    pub tasks: Tasks,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Traces and metrics by OTLP.
    pub otel: Otel,
    /// Turns credentials into principals.
    pub principal_key: PrincipalKey,
    /// The gateway's own keys.
    pub keys: Keyring,
    /// The rest.
    pub settings: Settings,
    /// Shadow mode, feedback and judge.
    pub oversight: Oversight,
    /// What is told of each request.
    pub traffic: Arc<Traffic>,
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    parts: Parts,
    flights: Flights,
    joinable: joinable::Joinable,
    alone: lead::Remembered,
    refreshed: lead::Remembered,
    /// How long answers take to make.
    pace: lead::Pace,
    lists: models::Lists,
    auditor: Arc<Auditor>,
    recent: Recent,
    /// Room for request bodies, in units of [`BODY_UNIT`].
    bodies: Arc<Semaphore>,
    /// Held while the file of feedback cases is written.
    feedback_file: tokio::sync::Mutex<()>,
    examples: watch::Sender<Option<Learnt>>,
    /// Until then a request may wait for the examples.
    warm_until: Mutex<tokio::time::Instant>,
}

/// Room in memory for a request's body.
#[derive(Debug)]
pub struct BodyRoom(OwnedSemaphorePermit);

impl BodyRoom {
    /// `body` in this room, of which what it does not need is given back; the rest follows when the last of its bytes go.
    pub fn hold(mut self, body: Bytes) -> Bytes {
        let needed = body.len().div_ceil(BODY_UNIT);
        drop(self.0.split(self.0.num_permits().saturating_sub(needed)));
        Bytes::from_owner(Held { body, _room: self })
    }
}

/// A body and the room that it takes.
struct Held {
    body: Bytes,
    _room: BodyRoom,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Vectors of the examples of one revision of the policies.
#[derive(Debug, Clone)]
struct Learnt {
    revision: String,
    examples: Arc<Examples>,
}

impl Gateway {
    /// A gateway of these parts. It serves by rules alone until [`Self::learn_examples`] has run.
    pub fn new(parts: Parts) -> Arc<Self> {
        let body_room = parts.settings.limits.bodies_bytes.div_ceil(BODY_UNIT).min(Semaphore::MAX_PERMITS);
        let flights = Flights::new(parts.settings.limits.followers, parts.settings.limits.flights);
        Arc::new(Self {
            auditor: Auditor::new(&parts),
            parts,
            flights,
            joinable: joinable::Joinable::default(),
            alone: lead::Remembered::default(),
            refreshed: lead::Remembered::default(),
            pace: lead::Pace::default(),
            lists: models::Lists::default(),
            recent: Recent::default(),
            bodies: Arc::new(Semaphore::new(body_room)),
            feedback_file: tokio::sync::Mutex::default(),
            examples: watch::Sender::new(None),
            warm_until: Mutex::new(tokio::time::Instant::now() + WARM_UP),
        })
    }

    /// Bounds on one request.
    pub const fn limits(&self) -> &Limits {
        &self.parts.settings.limits
    }

    /// What it was made of.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The books of wrong hits.
    pub const fn auditor(&self) -> &Arc<Auditor> {
        &self.auditor
    }

    /// Running flights.
    pub const fn flights(&self) -> &Flights {
        &self.flights
    }

    /// Vectors of the examples of the policies of `revision`, from which categories are told by meaning.
    pub fn learn_examples(&self, revision: &str, examples: Examples) {
        self.examples.send_replace(Some(Learnt { revision: revision.to_owned(), examples: Arc::new(examples) }));
    }

    /// Notes that other policies are in force: requests may wait a moment for their examples.
    pub fn policies_changed(&self) {
        *self.warm_until.lock().unwrap_or_else(PoisonError::into_inner) = tokio::time::Instant::now() + WARM_UP;
    }

    /// The examples of the policies of `revision`; `None` until they are learnt.
    pub fn examples_of(&self, revision: &str) -> Option<Arc<Examples>> {
        let learnt = self.examples.borrow();
        learnt.as_ref().filter(|learnt| learnt.revision == revision).map(|learnt| Arc::clone(&learnt.examples))
    }

    /// The same, waited for while the gateway starts or its policies have just changed.
    async fn examples_when_warm(&self, revision: &str) -> Option<Arc<Examples>> {
        let until = *self.warm_until.lock().unwrap_or_else(PoisonError::into_inner);
        let mut learnt = self.examples.subscribe();
        let waiting = learnt.wait_for(|learnt| learnt.as_ref().is_some_and(|learnt| learnt.revision == revision));
        // A late answer is none: what no rule decides then goes upstream uncached.
        let _ = tokio::time::timeout_at(until, waiting).await;
        self.examples_of(revision)
    }

    /// True once categories can be told by meaning.
    pub fn is_warm(&self) -> bool {
        self.examples_of(self.parts.policies.current().revision()).is_some()
    }

    /// True once the gateway is as ready as it will be: warm, or long enough without an embedder to go on without.
    pub fn is_settled(&self) -> bool {
        let until = *self.warm_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_warm() || tokio::time::Instant::now() > until
    }

    /// Answers a request of a cacheable protocol.
    pub async fn answer(self: &Arc<Self>, mut call: Call) -> Reply {
        let mut ticket = Ticket::open(self, &mut call);
        if let Err(error) = self.let_in(&mut call) {
            let reply = ticket.refused(&error);
            return ticket.close(self, reply);
        }
        // Boxed and gone before the wait for an answer begins: thousands may wait at once.
        let reply = match Box::pin(self.answer_at_once(call, &mut ticket)).await {
            Ok(reply) => reply,
            Err(job) => Box::pin(self.fetch(job, &mut ticket)).await,
        };
        ticket.close(self, reply)
    }

    /// The answer, unless it has to be fetched.
    async fn answer_at_once(self: &Arc<Self>, call: Call, ticket: &mut Ticket) -> Result<Reply, Arc<Job>> {
        if call.family == Some(Family::Embeddings) {
            return Ok(Box::pin(self.answer_batch(call, ticket)).await);
        }
        match self.understand(&call) {
            Ok(question) => self.answer_question(call, question, ticket).await,
            Err(Unanswerable::Refused(error)) => Ok(ticket.refused(&error)),
            Err(Unanswerable::Bypassed(why, body)) => Ok(Box::pin(self.send_alone(call, body, why, ticket)).await),
        }
    }

    /// Passes a request through untouched, its body streamed.
    pub async fn forward(self: &Arc<Self>, mut call: Call, body: UpstreamBody, why: BypassReason) -> Reply {
        let mut ticket = Ticket::open(self, &mut call);
        let known = self.let_in(&mut call).and_then(|()| match why {
            // Where no cache is asked, who asks is the upstream's business: a preflight carries no credential.
            BypassReason::Passthrough => Ok(()),
            _ => self.may_go_uncached(&call),
        });
        let reply = match known {
            Ok(()) => self.pipe(call, body, Outcome::Bypass(why), &mut ticket).await,
            Err(error) => ticket.refused(&error),
        };
        ticket.close(self, reply)
    }

    /// The first check of every request: whether there is room for it, and whose key of ours it carries, which is then in
    /// `call.holder` and nowhere else.
    fn let_in(&self, call: &mut Call) -> Result<(), ClientError> {
        if self.is_overloaded() {
            return Err(ClientError::Overloaded);
        }
        match keys::presented::key(&call.headers, identity::query(&call.path_and_query))? {
            Some(key) => {
                call.holder = Some(Arc::new(self.parts.keys.holder(&key, self.parts.clock.now())?));
                keys::presented::take_out(&mut call.headers, &mut call.path_and_query);
                Ok(())
            }
            None if self.parts.settings.require_keys => Err(ClientError::Key(Refusal::Missing)),
            None => Ok(()),
        }
    }

    /// Whether a request of a cacheable protocol may go upstream with its body unread.
    fn may_go_uncached(&self, call: &Call) -> Result<(), ClientError> {
        self.identify(call)?;
        if self.directives(call)?.only_if_cached { Err(ClientError::OnlyIfCached) } else { Ok(()) }
    }

    /// Room in memory for a request body of up to `bytes`, until the returned guard is dropped; `None` when the bodies
    /// being answered take all there is.
    pub fn room_for_body(&self, bytes: usize) -> Option<BodyRoom> {
        let permits = u32::try_from(bytes.div_ceil(BODY_UNIT)).ok()?;
        Arc::clone(&self.bodies).try_acquire_many_owned(permits).ok().map(BodyRoom)
    }

    fn is_overloaded(&self) -> bool {
        let limit = i64::try_from(self.limits().requests).unwrap_or(i64::MAX);
        self.parts.metrics.requests_in_flight() > limit
    }

    async fn answer_question(
        self: &Arc<Self>,
        call: Call,
        question: Question,
        ticket: &mut Ticket,
    ) -> Result<Reply, Arc<Job>> {
        ticket.question(self, &question);
        let facts = question.facts(&call);
        if let Some(category) = self.keeps_out(&question, &facts) {
            let bypass = self.bypass_category(call, &question, BypassReason::PersonalData, &category, ticket);
            return Ok(Box::pin(bypass).await);
        }
        let (reason, fallback) = match self.look_up_exact(&question, &facts, ticket.now()).await {
            Lookup::Serve(served) => {
                if served.needs_refresh() || self.refreshes_ahead(&served, &question) {
                    self.refresh_behind(&call, &question);
                }
                return Ok(ticket.serve(&served, question.request.shape));
            }
            Lookup::Miss(reason, fallback) => (reason, fallback),
            Lookup::Withheld(reason, _) => (reason, None),
        };
        let rules = self.parts.policies.current().classify_by_rules(&facts);
        if rules.decided && rules.is_never_cached() {
            let category = &rules.policy.category;
            let bypass = self.bypass_category(call, &question, BypassReason::ZeroTtl, category, ticket);
            return Ok(Box::pin(bypass).await);
        }
        let (call, question) = (call.detached(), question.detached());
        Err(Arc::new(Job { call, question, reason, fallback, background: false }))
    }

    /// Joins a running fetch of the same question or leads one, until there is an answer.
    async fn fetch(self: &Arc<Self>, job: Arc<Job>, ticket: &mut Ticket) -> Reply {
        let key = self.flight_key(&job.question);
        let shape = job.question.request.shape;
        for _ in 0..lead::ELECTIONS {
            let Some((leader, reader)) = self.board(key, ticket.now()) else {
                let call = job.call.clone();
                let bypass = self.bypass_category(call, &job.question, BypassReason::Overloaded, "", ticket);
                return Box::pin(bypass).await;
            };
            let leads = leader.is_some();
            if let Some(leader) = leader {
                self.take_off(leader, Arc::clone(&job));
            }
            ticket.boards(job.reason, leads);
            let followed = ticket.follow(reader, shape, leads).await;
            if !leads {
                self.parts.metrics.follower(followed.status());
            }
            match followed {
                Followed::Reply(reply) => return self.or_stale(reply, &job, ticket).await,
                Followed::Bypass(why, category) => {
                    let bypass = self.bypass_category(job.call.clone(), &job.question, why, &category, ticket);
                    return Box::pin(bypass).await;
                }
                Followed::GoAlone => self.alone.remember(key, ticket.now().plus(lead::ALONE_FOR)),
                Followed::StartOver => {}
            }
        }
        ticket.refused(&ClientError::BrokenAnswer)
    }

    /// A seat on the flight of `key`, and its lead when there was none, or none that may be joined. `None` when as many
    /// flights as may be are in memory.
    fn board(&self, key: FlightKey, now: Timestamp) -> Option<(Option<Leader>, Reader)> {
        let joined = if self.alone.remembers(key, now) { Joined::Full } else { self.flights.join(key) };
        match joined {
            Joined::Follow(reader) => Some((None, reader)),
            Joined::Lead(leader, reader) => Some((Some(leader), reader)),
            Joined::Full => self.flights.alone(key).map(|(leader, reader)| (Some(leader), reader)),
            Joined::NoRoom => None,
        }
    }

    /// The client's own stale entry in the place of a failure that reached it through somebody else's flight.
    async fn or_stale(&self, reply: Reply, job: &Job, ticket: &mut Ticket) -> Reply {
        // Without an upstream call there is no failure to cover up.
        let fallback = job.fallback.as_ref().filter(|_| !job.question.directives.only_if_cached);
        match fallback {
            Some(stale) if lead::fails(reply.status) && self.still_there(stale).await => {
                ticket.serve(stale, job.question.request.shape)
            }
            _ => reply,
        }
    }

    fn flight_key(&self, question: &Question) -> FlightKey {
        question.flight_key(self.parts.cache.epoch())
    }

    async fn bypass_category(
        &self,
        call: Call,
        question: &Question,
        why: BypassReason,
        category: &str,
        ticket: &mut Ticket,
    ) -> Reply {
        ticket.category(category);
        if question.directives.only_if_cached {
            return ticket.refused(&ClientError::OnlyIfCached);
        }
        self.send_alone(call, question.request.plain_body.clone(), why, ticket).await
    }
}
