//! Who fetches an answer for all nodes: a key that expires, beside the fingerprint that the answer will be found under.
//!
//! Nothing that may be served depends on it: an engine that loses a lease costs a second call to the upstream.

use std::time::Duration;

use super::{core::Core, reply, scripts};
use crate::store::{
    StoreError,
    shared::{FlightName, Lead, LeaseToken},
};

/// A leader that has not renewed its lease for so long has died.
const LEASE: Duration = Duration::from_secs(3);
/// How long it is known that a question's answers are not kept.
const ALONE: Duration = Duration::from_secs(2);
/// What stands for a lease where everybody goes alone.
const NOBODY: &str = "-";

/// What is done with a lease.
#[derive(Debug, Clone, Copy)]
enum Act {
    Take,
    Keep,
    End,
    Alone,
}

impl Core {
    pub(super) async fn lead(&self, flight: FlightName, token: LeaseToken) -> Result<Lead, StoreError> {
        let holder = self.lease(flight, token, Act::Take).await?.ok_or_else(|| reply::odd("the holder of a lease"))?;
        Ok(match holder.as_str() {
            NOBODY => Lead::Nobody,
            ours if *ours == self.name_of(token) => Lead::Ours,
            _ => Lead::Theirs,
        })
    }

    pub(super) async fn keep_lead(&self, flight: FlightName, token: LeaseToken) -> Result<(), StoreError> {
        self.lease(flight, token, Act::Keep).await.map(drop)
    }

    pub(super) async fn end_lead(&self, flight: FlightName, token: LeaseToken, kept: bool) -> Result<(), StoreError> {
        self.lease(flight, token, if kept { Act::End } else { Act::Alone }).await.map(drop)
    }

    async fn lease(&self, flight: FlightName, token: LeaseToken, act: Act) -> Result<Option<String>, StoreError> {
        let FlightName { fingerprint, terms } = flight;
        let (time, act) = match act {
            Act::Take => (LEASE, "take"),
            Act::Keep => (LEASE, "keep"),
            Act::End => (LEASE, "end"),
            Act::Alone => (ALONE, "alone"),
        };
        let name = format!("{}-{terms:016x}", fingerprint.to_hex());
        let time = time.as_millis().to_string();
        let args = (name, self.name_of(token), time, act);
        reply::text(self.call(&scripts::LEASE, self.part_of(&fingerprint), args).await?)
    }

    fn name_of(&self, LeaseToken(token): LeaseToken) -> String {
        format!("{}-{token:016x}", self.node)
    }
}
