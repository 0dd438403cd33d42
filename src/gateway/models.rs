//! Lists of models: kept in memory, for a minute, for the credential that asked.
//!
//! An SDK or a worker pool that starts asks for them again and again, and page by page. What is kept is the upstream's
//! body as it came, under its path with the query string, so pages never mix. Any purge forgets all of them. Everything
//! but a plain `GET` that is answered 200 with JSON passes through.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use quick_cache::{Weighter, sync::Cache as Bounded};

use super::{Call, Gateway, Reply, ReplyBody, identity, lead, report::Ticket};
use crate::{
    cache::Epoch,
    clock::Timestamp,
    freshness::{self, Facts, Freshness, Verdict},
    headers::{CacheFacts, Stored, append_cache_status, cache_status},
    http::error::ClientError,
    key::{Fingerprint, Partition},
    keys::Right,
    outcome::{BypassReason, MissReason, NotStored, Outcome},
    upstream::{BodyError, UpstreamResponse},
    wire::{BodyKind, directives::Directives},
};

/// How long a list is kept.
const TTL: Duration = Duration::from_secs(60);
/// Name under which lists are keyed.
const FAMILY: &str = "models";
/// Lists are kept up to this size each,
const LARGEST: usize = 4 << 20;
/// and up to this size together.
const ROOM: u64 = 32 << 20;
/// Lists expected at a time; a wrong guess costs a little memory.
const EXPECTED: usize = 256;

/// A list as the upstream gave it.
#[derive(Debug)]
struct List {
    body: Bytes,
    generated_at: Timestamp,
    /// The app's own bound on its life.
    ttl_limit: Option<Duration>,
    epoch: Epoch,
}

#[derive(Debug, Clone)]
struct BySize;

impl Weighter<Fingerprint, Arc<List>> for BySize {
    fn weight(&self, _: &Fingerprint, list: &Arc<List>) -> u64 {
        list.body.len() as u64 + 128
    }
}

/// The lists kept.
#[derive(Debug)]
pub(super) struct Lists(Bounded<Fingerprint, Arc<List>, BySize>);

impl Default for Lists {
    fn default() -> Self {
        Self(Bounded::with_weighter(EXPECTED, ROOM, BySize))
    }
}

impl Gateway {
    /// Answers a `GET` without a body for a list of models, or for one model.
    pub async fn list_models(self: &Arc<Self>, mut call: Call) -> Reply {
        let mut ticket = Ticket::open(self, &mut call);
        let reply = match self.let_in(&mut call) {
            Ok(()) => Box::pin(self.list(call, &mut ticket)).await,
            Err(error) => ticket.refused(&error),
        };
        ticket.close(self, reply)
    }

    async fn list(&self, call: Call, ticket: &mut Ticket) -> Reply {
        // Who asks without a credential is the upstream's business.
        let Ok(principal) = self.identify(&call) else {
            return self.send_alone(call, Bytes::new(), BypassReason::Passthrough, ticket).await;
        };
        let directives = match self.directives(&call) {
            Ok(directives) => directives,
            Err(error) => return ticket.refused(&error),
        };
        if let Some(why) = identity::opted_out(&directives) {
            return match directives.only_if_cached {
                true => ticket.refused(&ClientError::OnlyIfCached),
                false => self.send_alone(call, Bytes::new(), why, ticket).await,
            };
        }
        let path = call.path_and_query.split('?').next().unwrap_or_default().to_owned();
        let shape = identity::answer_shape(FAMILY.as_bytes(), &call.headers, &call.path_and_query, &directives);
        let partition = Partition::derive(&self.own_scope(&call, None, principal, &directives), FAMILY, &shape);
        let key = Fingerprint::derive(&partition, path.as_bytes());
        let reason = match self.kept(key, &directives, ticket) {
            Ok(reply) => return reply,
            Err(reason) => reason,
        };
        if directives.only_if_cached {
            return ticket.refused(&ClientError::OnlyIfCached);
        }
        self.fetch_list(call, key, (reason, directives.ttl), ticket).await
    }

    /// The list that is kept, if it may be served.
    fn kept(&self, key: Fingerprint, directives: &Directives, ticket: &mut Ticket) -> Result<Reply, MissReason> {
        if directives.refresh() {
            return Err(MissReason::Refresh);
        }
        let list = self.lists.0.get(&key).filter(|list| list.epoch == self.parts.cache.epoch());
        let list = list.ok_or(MissReason::Empty)?;
        let facts = Facts { generated_at: list.generated_at, invalidated_at: None, ttl_limit: list.ttl_limit };
        let lifetimes = Freshness { ttl: TTL, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::ZERO };
        let assessed = freshness::assess(&facts, &lifetimes, &identity::bounds(directives), ticket.now());
        match assessed.verdict {
            Verdict::Fresh { .. } => {
                Ok(ticket.serve_kept(list.body.clone(), assessed.age, assessed.ttl_remaining_secs()))
            }
            _ => Err(MissReason::Expired),
        }
    }

    async fn fetch_list(
        &self,
        call: Call,
        key: Fingerprint,
        (reason, ttl_limit): (MissReason, Option<Duration>),
        ticket: &mut Ticket,
    ) -> Reply {
        let (epoch, generated_at) = (self.parts.cache.epoch(), self.parts.clock.now());
        let may_be_kept = call.may(Right::Write);
        let started = tokio::time::Instant::now();
        let (sent, _step) = self.send_traced(&call.trace, lead::recordable(&call, None, Bytes::new())).await;
        self.parts.metrics.upstream(sent.as_ref(), started.elapsed());
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return ticket.refused(&ClientError::Upstream(error)),
        };
        ticket.boards(reason, true);
        let may_keep = match ttl_limit {
            Some(Duration::ZERO) => Err(NotStored::Policy),
            _ if !may_be_kept => Err(NotStored::KeyScope),
            _ => may_keep(&response, self.parts.settings.record.obey_upstream),
        };
        let taken = match may_keep {
            Ok(()) => take(&mut response).await,
            Err(why) => Taken { begun: Bytes::new(), stopped_at: None, ended: false, whole: Err(why) },
        };
        let Taken { begun, stopped_at, ended, whole } = taken;
        if whole.is_ok() {
            self.lists.0.insert(key, Arc::new(List { body: begun.clone(), generated_at, ttl_limit, epoch }));
        }
        let ttl = ttl_limit.map_or(TTL, |limit| limit.min(TTL)).as_secs();
        let facts = CacheFacts {
            fwd_status: Some(response.status),
            stored: whole.map_or_else(Stored::No, |()| Stored::Yes),
            apart: false,
            ttl: whole.ok().and_then(|()| i64::try_from(ttl).ok()),
        };
        let mut headers = response.headers;
        append_cache_status(&mut headers, &cache_status(Outcome::Miss(reason), &facts));
        let body = if ended {
            ReplyBody::Whole(begun)
        } else {
            let begun = (!begun.is_empty()).then_some(Ok(begun));
            ReplyBody::Stream(stream::iter(begun.into_iter().chain(stopped_at)).chain(response.body).boxed())
        };
        Reply { status: response.status, headers, body }
    }
}

/// Whether what this head announces may be kept.
fn may_keep(response: &UpstreamResponse, obey: bool) -> Result<(), NotStored> {
    if response.status != StatusCode::OK {
        Err(NotStored::Status)
    } else if response.stand_in {
        Err(NotStored::FallbackUpstream)
    } else if obey && lead::forbids_sharing(&response.headers) {
        Err(NotStored::UpstreamForbids)
    } else if response.headers.contains_key(header::CONTENT_ENCODING) {
        Err(NotStored::Encoded)
    } else if BodyKind::of(&response.headers) != BodyKind::Json {
        Err(NotStored::Malformed)
    } else {
        Ok(())
    }
}

/// What was read of a body.
struct Taken {
    begun: Bytes,
    /// The piece at which reading stopped before the body ended.
    stopped_at: Option<Result<Bytes, BodyError>>,
    /// The body has ended.
    ended: bool,
    /// Whether it is a whole list, or why it is not kept.
    whole: Result<(), NotStored>,
}

/// Reads a body up to the size that is kept.
async fn take(response: &mut UpstreamResponse) -> Taken {
    let mut body = BytesMut::new();
    loop {
        match response.body.next().await {
            Some(Ok(piece)) if body.len() + piece.len() <= LARGEST => body.extend_from_slice(&piece),
            Some(piece) => {
                let why = if piece.is_ok() { NotStored::TooLarge } else { NotStored::Incomplete };
                return Taken { begun: body.freeze(), stopped_at: Some(piece), ended: false, whole: Err(why) };
            }
            None => {
                let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
                let whole = if is_json { Ok(()) } else { Err(NotStored::Malformed) };
                return Taken { begun: body.freeze(), stopped_at: None, ended: true, whole };
            }
        }
    }
}
