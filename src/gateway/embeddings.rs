//! Embeddings: each element of a batch is found on its own, what is missing is asked for in one call.
//!
//! A batch of which all is there is answered without the upstream; one of which nothing is there gets the upstream's
//! answer byte for byte; of any other the missing elements are asked for together and put between those that were there.
//! An answer that cannot be taken apart is never put together either: then the client's own request goes upstream whole.
//!
//! # Decisions
//! - A vector does not go stale and its entry holds no text, only a digest in the credential's own scope, so what a text
//!   is about does not decide how long its vector is kept: the policy of the category `embeddings` does. An operator's
//!   route rule on path or model, and the category that the app names, can shorten that, down to never.
//! - Stale vectors are served where the request allows them (`max-stale`), and where the upstream fails and the policy
//!   does. `stale_while_revalidate` is not used: a batch that has to wait for one element need not have others stale.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use http::{HeaderValue, StatusCode, header};

use super::{
    Call, Gateway, Reply, ReplyBody,
    flight::{FlightKey, Leader},
    identity::{self, Keys, Unanswerable},
    lead::{self, ALONE_FOR, Head, KEEP_PATIENCE, Landed, Opening, Read},
    lookup::{self, Lookup, Served},
    report::{Followed, Ticket},
};
use crate::{
    cache::Epoch,
    clock::Timestamp,
    entry::Entry,
    freshness::Freshness,
    headers::groups,
    http::error::ClientError,
    key::{Fingerprint, Partition, Principal, Scope},
    keys::Right,
    otel::Bill,
    outcome::{BypassReason, HitKind, MissReason, NotStored},
    policy::{ClassifiedBy, EMBEDDINGS, Facts, PersonalData, Policy, Write},
    privacy,
    store::Durability,
    upstream::UpstreamResponse,
    wire::{
        Answer, BodyKind, Family, Shape, Usage,
        directives::Directives,
        embeddings::{self, Batch, Element},
    },
};

/// Elements looked up at a time.
const LOOKUPS: usize = 16;

/// A batch with everything that decides where its elements are kept and for how long.
#[derive(Debug)]
struct Order {
    call: Call,
    principal: Principal,
    batch: Batch,
    directives: Directives,
    policy: Arc<Policy>,
    policy_revision: String,
    /// Lifetimes that hold for this request, on top of the policy's.
    freshness: Freshness,
    /// Where each element is looked for, in order.
    keys: Vec<Keys>,
    /// Where each is kept and also looked for, if that is elsewhere: who asks is not trusted to write where others read.
    apart: Option<Vec<Keys>>,
}

/// What is there of a batch, element by element.
#[derive(Debug)]
struct Inventory {
    /// Entries that may be served now.
    found: Vec<Option<Served>>,
    /// The same, and those that may be served should the upstream fail.
    at_worst: Vec<Option<Served>>,
    /// Why not all was found.
    reason: MissReason,
}

impl Gateway {
    /// Answers an embeddings request.
    pub(super) async fn answer_batch(self: &Arc<Self>, call: Call, ticket: &mut Ticket) -> Reply {
        let order = match self.order(&call) {
            Ok(order) => Arc::new(order),
            Err(Unanswerable::Refused(error)) => return ticket.refused(&error),
            Err(Unanswerable::Bypassed(why, body)) => return self.send_alone(call, body, why, ticket).await,
        };
        ticket.model(&order.batch.model);
        let stock = self.take_stock(&order, ticket.now()).await;
        if let Some(reply) = serve(&order, &stock.found, ticket) {
            return reply;
        }
        if order.directives.only_if_cached {
            return ticket.refused(&ClientError::OnlyIfCached);
        }
        let reply = self.complete(&order, &stock, ticket).await;
        if !lead::fails(reply.status) {
            return reply;
        }
        for served in stock.at_worst.iter().flatten() {
            if !self.still_there(served).await {
                return reply;
            }
        }
        serve(&order, &stock.at_worst, ticket).unwrap_or(reply)
    }

    /// Gets what is missing and puts it between what is there.
    async fn complete(self: &Arc<Self>, order: &Arc<Order>, stock: &Inventory, ticket: &mut Ticket) -> Reply {
        let Inventory { found, reason, .. } = stock;
        let everything: Vec<usize> = (0..found.len()).collect();
        let missing: Vec<usize> =
            everything.iter().copied().filter(|at| matches!(found.get(*at), Some(None))).collect();
        if missing.is_empty() {
            // What is there does not belong together: the model behind the name has changed.
            return self.fetch_elements(order, everything, MissReason::OtherShape, ticket).await;
        }
        let in_part = missing.len() < found.len();
        let reply = self.fetch_elements(order, missing.clone(), *reason, ticket).await;
        match reply.status {
            // Another upstream's vectors do not belong between this one's.
            StatusCode::OK if in_part && ticket.is_from_stand_in() => {}
            StatusCode::OK if in_part => {
                if let Some(reply) = put_together(&order.batch, found, &missing, reply) {
                    ticket.used(found.iter().flatten());
                    return reply;
                }
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if in_part => {}
            // The answer to all that was asked, or a failure that has nothing to do with it.
            _ => return reply,
        }
        // What the upstream says of a part is not what it says of the client's own request.
        self.fetch_elements(order, everything, MissReason::OtherShape, ticket).await
    }

    /// Understands a call, or says where it goes instead.
    fn order(&self, call: &Call) -> Result<Order, Unanswerable> {
        let principal = self.identify(call).map_err(Unanswerable::Refused)?;
        let asked = self.directives(call).map_err(Unanswerable::Refused)?;
        let only_if_cached = asked.only_if_cached;
        let bypass = |why, body| match only_if_cached {
            true => Err(Unanswerable::Refused(ClientError::OnlyIfCached)),
            false => Err(Unanswerable::Bypassed(why, body)),
        };
        let batch = match embeddings::parse(&call.body, &self.parts.settings.chat) {
            Ok(batch) => batch,
            Err(why) => return bypass(why, call.body.clone()),
        };
        let directives = asked.merged(batch.body_directives.clone());
        let policies = self.parts.policies.current();
        let policy = Arc::clone(policies.embeddings());
        let path = call.path_and_query.split('?').next().unwrap_or_default();
        let routed = policies.classify_by_rules(&Facts { path, model: &batch.model, ..Facts::default() });
        let named = directives.category.as_deref().and_then(|name| policies.get(name)).map(|policy| policy.freshness);
        let freshness = [Some(routed.freshness).filter(|_| routed.by == ClassifiedBy::Route), named]
            .into_iter()
            .flatten()
            .fold(policy.freshness, Freshness::tightened);
        let zero = freshness.is_never().then_some(BypassReason::ZeroTtl);
        if let Some(why) = identity::opted_out(&directives).or(zero) {
            return bypass(why, batch.whole_body());
        }
        let personal = personal_data(&batch, &policy);
        if personal.contains(&PersonalData::KeepOut) {
            return bypass(BypassReason::PersonalData, batch.whole_body());
        }
        let own = self.own_scope(call, Some(&batch.model), principal, &directives);
        let scope = self.scope_of(policy.reuse.scope, own, self.provider(call, Some(&batch.model)), &directives);
        let shape = identity::answer_shape(&batch.partition, &call.headers, &call.path_and_query, &directives);
        let partition = |scope| Partition::derive(&scope, Family::Embeddings.as_str(), &shape);
        let (own, shared) = ((own, partition(own)), (scope, partition(scope)));
        let keys_in = |(scope, partition): (Scope, Partition), element: &Element| Keys {
            scope,
            partition,
            fingerprint: Fingerprint::derive(&partition, &element.key),
        };
        let keys = batch.elements.iter().zip(personal);
        let keys = keys
            .map(|(element, personal)| keys_in(if personal == PersonalData::Exact { own } else { shared }, element));
        let keys = keys.collect();
        let apart = (!identity::is_trusted(call.holder.as_deref(), &policy.reuse))
            .then(|| batch.elements.iter().map(|element| keys_in(own, element)).collect());
        let policy_revision = policies.revision().to_owned();
        Ok(Order { call: call.clone(), principal, batch, directives, policy, policy_revision, freshness, keys, apart })
    }

    /// Looks every element up.
    async fn take_stock(&self, order: &Order, now: Timestamp) -> Inventory {
        if order.directives.refresh() {
            let none = vec![None; order.keys.len()];
            return Inventory { found: none.clone(), at_worst: none, reason: MissReason::Refresh };
        }
        let looked_up: Vec<Lookup> = stream::iter(0..order.keys.len())
            .map(|at| self.find_element(order, at, now))
            .buffered(LOOKUPS)
            .collect()
            .await;
        let (mut found, mut at_worst, mut worst) = (Vec::new(), Vec::new(), MissReason::Empty);
        for lookup in looked_up {
            let (served, stale, reason) = match lookup {
                Lookup::Serve(served) if served.needs_refresh() => (None, Some(served), MissReason::Expired),
                Lookup::Serve(served) => (Some(served.clone()), Some(served), MissReason::Empty),
                Lookup::Miss(reason, fallback) => (None, fallback, reason),
                Lookup::Withheld(reason, _) => (None, None, reason),
            };
            found.push(served);
            at_worst.push(stale);
            worst = if weight(reason) > weight(worst) { reason } else { worst };
        }
        let reason = if found.iter().any(Option::is_some) { MissReason::Partial } else { worst };
        Inventory { found, at_worst, reason }
    }

    async fn find_element(&self, order: &Order, at: usize, now: Timestamp) -> Lookup {
        let place = |keys: &Vec<Keys>| keys.get(at).map(|keys| keys.fingerprint);
        let mut miss = (MissReason::Empty, None);
        for key in place(&order.keys).into_iter().chain(order.apart.as_ref().and_then(place)) {
            match self.find_element_at(order, key, now).await {
                Lookup::Miss(reason, stale) => {
                    miss = (if weight(reason) > weight(miss.0) { reason } else { miss.0 }, miss.1.or(stale));
                }
                found => return found,
            }
        }
        Lookup::Miss(miss.0, miss.1)
    }

    async fn find_element_at(&self, order: &Order, key: Fingerprint, now: Timestamp) -> Lookup {
        match self.parts.cache.find(key).await {
            Ok(None) => Lookup::Miss(MissReason::Empty, None),
            Ok(Some(hit)) => {
                let bounds = identity::bounds(&order.directives);
                lookup::assess(&hit.entry, &order.freshness, &bounds, (HitKind::Exact, key), now)
            }
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "exact lookup failed");
                Lookup::Miss(MissReason::CacheError, None)
            }
        }
    }

    /// Asks the upstream for the elements at `wanted`, or joins who is asking already. The reply is the upstream's.
    async fn fetch_elements(
        self: &Arc<Self>,
        order: &Arc<Order>,
        wanted: Vec<usize>,
        reason: MissReason,
        ticket: &mut Ticket,
    ) -> Reply {
        let key = order.flight_key(&wanted, self.parts.cache.epoch());
        for _ in 0..lead::ELECTIONS {
            let Some((leader, reader)) = self.board(key, ticket.now()) else {
                let (call, body) = (order.call.clone(), order.batch.body_for(&wanted));
                return Box::pin(self.send_alone(call, body, BypassReason::Overloaded, ticket)).await;
            };
            let leads = leader.is_some();
            if let Some(leader) = leader {
                let (gateway, order, wanted) = (Arc::clone(self), Arc::clone(order), wanted.clone());
                self.parts.tasks.spawn("flight", async move {
                    Box::pin(gateway.lead_elements(leader, &order, &wanted, reason)).await;
                });
            }
            ticket.boards(reason, leads);
            let followed = ticket.follow(reader, Shape::Json, leads).await;
            if !leads {
                self.parts.metrics.follower(followed.status());
            }
            match followed {
                Followed::Reply(reply) => return reply,
                Followed::GoAlone => self.alone.remember(key, ticket.now().plus(ALONE_FOR)),
                Followed::Bypass(..) | Followed::StartOver => {}
            }
        }
        ticket.refused(&ClientError::BrokenAnswer)
    }

    async fn lead_elements(&self, leader: Leader, order: &Order, wanted: &[usize], reason: MissReason) {
        let (epoch, generated_at) = (self.parts.cache.epoch(), self.parts.clock.now());
        let started = tokio::time::Instant::now();
        let request = lead::recordable(&order.call, Some(&order.batch.model), order.batch.body_for(wanted));
        let (sent, step) = tokio::select! {
            sent = self.send_traced(&order.call.trace, request) => sent,
            () = self.abandoned(&leader, false) => return,
        };
        self.parts.metrics.upstream(sent.as_ref(), started.elapsed());
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(reason = error.reason(), %error, "upstream failed");
                return leader.resolve(Head::Failed(error));
            }
        };
        let reach = || self.reach(&order.call, Some(&order.batch.model));
        self.heed_groups(&order.call.method, &response, reach).done().await;
        let opening = self.opening(order, &response, reason);
        if opening.exclusive {
            leader.close_to_joiners();
            self.alone.remember(leader.key(), generated_at.plus(ALONE_FOR));
        }
        match self.read_whole(&leader, false, &mut response, self.flight_bytes()).await {
            Read::Whole(body) => {
                let stored = match read(order, wanted, &opening, &body) {
                    Ok(answers) => {
                        step.answered(bill(&answers));
                        order.call.trace.bought(&order.batch.model, bill(&answers));
                        self.keep_elements(order, wanted, &opening, answers, (epoch, generated_at)).await
                    }
                    Err(why) => Err(why),
                };
                self.parts.metrics.admission(stored.err());
                leader.resolve(Head::Whole(Arc::new(Landed { opening, body, answer: None, stored })));
            }
            Read::Broken(error) => leader.resolve(Head::Failed(error)),
            Read::TooLarge(begun) => {
                self.parts.metrics.admission(Some(NotStored::TooLarge));
                self.pass_on(leader, false, opening, begun, response).await;
            }
            Read::Abandoned => {}
        }
    }

    fn opening(&self, order: &Order, response: &UpstreamResponse, reason: MissReason) -> Opening {
        Opening {
            status: response.status,
            reason,
            category: order.policy.category.clone(),
            exclusive: self.parts.settings.record.obey_upstream && lead::forbids_sharing(&response.headers),
            stand_in: response.stand_in,
            apart: order.apart.is_some(),
            reshaped: false,
            nearest: None,
            headers: response.headers.clone(),
        }
    }

    /// Stores what an answer says of each element, if all of it may be. Returns the ttl in seconds.
    async fn keep_elements(
        &self,
        order: &Order,
        wanted: &[usize],
        opening: &Opening,
        answers: Vec<Answer>,
        began: (Epoch, Timestamp),
    ) -> Result<i64, NotStored> {
        if opening.exclusive {
            return Err(NotStored::UpstreamForbids);
        }
        if opening.stand_in {
            return Err(NotStored::FallbackUpstream);
        }
        if !order.call.may(Right::Write) {
            return Err(NotStored::KeyScope);
        }
        let durability = match order.policy.reuse.write {
            Write::Around => return Err(NotStored::Policy),
            Write::Behind => Durability::Behind,
            Write::Through => Durability::Through,
        };
        let ttl = order.directives.ttl.map_or(order.freshness.ttl, |limit| limit.min(order.freshness.ttl));
        if ttl.is_zero() || self.parts.policies.current().embeddings().is_never_cached() {
            return Err(NotStored::Policy);
        }
        let tags = groups::tags(&opening.headers).map_err(|_| NotStored::TooManyTags)?;
        let mut seen = HashSet::new();
        let entries = wanted.iter().zip(answers).filter_map(|(at, answer)| {
            let keys = order.apart.as_ref().unwrap_or(&order.keys).get(*at)?;
            seen.insert(keys.fingerprint).then(|| self.element(order, keys, (answer, &tags), (ttl, began.1)))
        });
        let entries: Vec<Entry> = entries.collect();
        let admitted = join_all(entries.into_iter().map(|entry| self.parts.cache.admit(entry, began.0, durability)));
        // A disk that hangs must not hold the answer for ever (I7).
        let admitted = tokio::time::timeout(KEEP_PATIENCE, admitted).await.map_err(|_| NotStored::CacheError)?;
        admitted.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
    }

    fn element(
        &self,
        order: &Order,
        keys: &Keys,
        (answer, tags): (Answer, &[String]),
        (ttl, now): (Duration, Timestamp),
    ) -> Entry {
        // The policy may change; what this request alone shortened stays short.
        let limit = Some(ttl).filter(|ttl| *ttl < order.policy.freshness.ttl);
        Entry {
            id: self.parts.cache.store().next_id(keys.fingerprint),
            scope: keys.scope,
            principal: Some(order.principal),
            partition: keys.partition,
            fingerprint: keys.fingerprint,
            category: EMBEDDINGS.to_owned(),
            policy_revision: order.policy_revision.clone(),
            query: None,
            embedder: None,
            embedding: None,
            answer,
            generated_at: now,
            invalidated_at: None,
            ttl_limit_ms: limit.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            tags: identity::tags(&order.directives, tags),
            sources: order.directives.sources.clone(),
        }
    }
}

impl Order {
    /// What makes two requests wait for the same call: the same elements, written the same way, under the same terms.
    fn flight_key(&self, wanted: &[usize], epoch: Epoch) -> FlightKey {
        let mut all = Vec::with_capacity(wanted.len() * 32);
        // Who is not trusted to write for others does not fetch for them either.
        let places = self.apart.as_ref().unwrap_or(&self.keys);
        for keys in wanted.iter().filter_map(|at| places.get(*at)) {
            all.extend_from_slice(keys.fingerprint.as_bytes());
        }
        let partition = places.first().map_or(Partition::from_bytes([0; 32]), |keys| keys.partition);
        // Two keys of one name may have different rights.
        let rights = self.call.holder.as_ref().map(|holder| &holder.rights);
        let terms = format!("{:?}{:?}{epoch:?}{rights:?}", self.batch.encoding, self.directives);
        identity::flight_key(Fingerprint::derive(&partition, &all), &terms)
    }
}

/// What the policy says of each element's personal data.
fn personal_data(batch: &Batch, policy: &Policy) -> Vec<PersonalData> {
    let of = |at| {
        let text = batch.text(at).filter(|_| policy.privacy.questions != PersonalData::Allow);
        policy.privacy.of_question(text.as_deref().and_then(privacy::worst))
    };
    (0..batch.elements.len()).map(of).collect()
}

/// Answers from entries alone. `None` when one is missing, or they do not belong together.
fn serve(order: &Order, entries: &[Option<Served>], ticket: &mut Ticket) -> Option<Reply> {
    let entries: Vec<Served> = entries.iter().cloned().collect::<Option<_>>()?;
    let elements: Vec<&Answer> = entries.iter().map(|served| &served.entry.answer).collect();
    let body = embeddings::render(&elements, order.batch.encoding)?;
    Some(ticket.serve_batch(&entries, body))
}

/// A lookup that failed says more than an old entry, and that more than none.
const fn weight(reason: MissReason) -> u8 {
    match reason {
        MissReason::CacheError => 2,
        MissReason::Expired => 1,
        _ => 0,
    }
}

/// One answer for each wanted element, when the upstream's is a whole one.
fn read(order: &Order, wanted: &[usize], opening: &Opening, body: &Bytes) -> Result<Vec<Answer>, NotStored> {
    if opening.status != StatusCode::OK {
        return Err(NotStored::Status);
    }
    if opening.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(NotStored::Encoded);
    }
    if BodyKind::of(&opening.headers) != BodyKind::Json {
        return Err(NotStored::Malformed);
    }
    embeddings::read(body, &order.batch.weights(wanted))
}

/// What these elements took together.
fn bill(answers: &[Answer]) -> Bill<'_> {
    let model = answers.first().map_or("", |answer| &answer.model);
    let input: Option<u64> = answers.iter().map(|answer| Some(answer.usage?.input)).sum();
    Bill { family: Family::Embeddings, model, usage: input.map(|input| Usage { input, output: 0 }) }
}

/// Puts what the upstream gave for the `missing` elements between those that were there. `None` when it cannot be done.
fn put_together(batch: &Batch, found: &[Option<Served>], missing: &[usize], mut reply: Reply) -> Option<Reply> {
    let ReplyBody::Whole(body) = &reply.body else { return None };
    let new = embeddings::read(body, &batch.weights(missing)).ok()?;
    let mut new = new.iter();
    let parts = found.iter().map(|served| served.as_ref().map_or_else(|| new.next(), |one| Some(&one.entry.answer)));
    let whole = embeddings::render(&parts.collect::<Option<Vec<_>>>()?, batch.encoding)?;
    reply.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.body = ReplyBody::Whole(whole);
    Some(reply)
}
