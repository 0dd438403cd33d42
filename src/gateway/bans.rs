//! How long a ban is kept: until nothing that it covers could be served any more, by today's policies.

use super::Gateway;
use crate::{
    clock::Timestamp,
    freshness::Freshness,
    store::{StoreError, bans::Ban},
};

impl Gateway {
    /// From when on no answer that `ban` covers can be served, fresh or stale.
    pub fn expires(&self, ban: &Ban) -> Timestamp {
        let policies = self.parts.policies.current();
        let life = |freshness: &Freshness| freshness.ttl.saturating_add(freshness.longest_stale());
        let of_default = life(&policies.default_policy().freshness);
        let longest = match &ban.category {
            Some(category) => policies.get(category).map_or(of_default, |policy| life(&policy.freshness)),
            None => policies.policies().iter().map(|policy| life(&policy.freshness)).fold(of_default, Ord::max),
        };
        ban.until.plus(longest)
    }

    /// Forgets the bans that have nothing left to cover.
    pub async fn lift_expired_bans(&self) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let over: Vec<_> =
            self.parts.cache.bans().iter().filter(|ban| self.expires(ban) < now).map(|ban| ban.id).collect();
        if !over.is_empty() {
            let lifted = self.parts.cache.lift_bans(over).await?;
            tracing::info!(bans = lifted.len(), "bans have nothing left to cover");
        }
        Ok(())
    }
}
