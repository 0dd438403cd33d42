//! Groups that an upstream calls out of date (`Cache-Group-Invalidation`, RFC 9875): what is in them becomes stale, in the
//! scopes that the request could have been served from and in no other.

use std::sync::Arc;

use http::Method;
use tokio::sync::oneshot;

use super::{Call, Gateway, identity::Question, lead::KEEP_PATIENCE};
use crate::{
    headers::groups,
    key::Scope,
    policy::Sharing,
    store::{Hardness, Selector, sources::Groups},
    upstream::UpstreamResponse,
    wire::directives::Directives,
};

const SHARINGS: [Sharing; 3] = [Sharing::Credential, Sharing::Tenant, Sharing::Shared];

/// An upstream's word that is being heeded.
#[must_use]
pub(super) struct Heeded(Option<oneshot::Receiver<()>>);

impl Heeded {
    /// Returns when it is done.
    pub(super) async fn done(self) {
        if let Some(purged) = self.0 {
            // A disk that hangs must not hold the answer for ever (I7).
            let _ = tokio::time::timeout(KEEP_PATIENCE, purged).await;
        }
    }
}

impl Gateway {
    /// How far an upstream's word reaches when it answers `question`.
    pub(super) fn reach_of(&self, question: &Question) -> Vec<Scope> {
        SHARINGS.iter().map(|sharing| self.keys(question, *sharing).scope).collect()
    }

    /// The same when it answers a call, which names `model`, that is not understood. Of a caller unknown to us there is
    /// nothing.
    pub(super) fn reach(&self, call: &Call, model: Option<&str>) -> Vec<Scope> {
        let Ok(principal) = self.identify(call) else { return Vec::new() };
        let directives = Directives::from_headers(&call.headers).unwrap_or_default();
        let own = self.own_scope(call, model, principal, &directives);
        let upstream = self.provider(call, model);
        SHARINGS.iter().map(|sharing| self.scope_of(*sharing, own, upstream, &directives)).collect()
    }

    /// Makes stale what the answer to a request of `method` calls out of date, before it is passed on: whoever has seen it
    /// is not served what it replaced. A fallback's word says nothing of what another upstream said.
    pub(super) fn heed_groups(
        &self,
        method: &Method,
        response: &UpstreamResponse,
        scopes: impl FnOnce() -> Vec<Scope>,
    ) -> Heeded {
        let tags = groups::invalidated(method, response.status, &response.headers);
        let told = !tags.is_empty() && !response.stand_in;
        let scopes = if told { scopes() } else { Vec::new() };
        Heeded((!scopes.is_empty()).then(|| self.invalidate(Groups { tags, scopes })))
    }

    /// To the end, also when the client has gone.
    fn invalidate(&self, groups: Groups) -> oneshot::Receiver<()> {
        let selector = Selector { groups: Some(groups), ..Selector::default() };
        let (cache, now) = (Arc::clone(&self.parts.cache), self.parts.clock.now());
        let (done, purged) = oneshot::channel();
        self.parts.tasks.spawn("group-invalidation", async move {
            match cache.purge(selector, Hardness::Soft(now), false).await {
                Ok(ids) => tracing::info!(entries = ids.len(), "the upstream called groups out of date"),
                Err(error) => tracing::warn!(reason = error.reason(), %error, "groups are not invalidated"),
            }
            // Nobody may be waiting any more.
            let _ = done.send(());
        });
        purged
    }
}
