//! Where entries are kept.

use std::time::Duration;

use super::{
    super::{ConfigFile, SharedStore, StoreChoice},
    Check,
};
use crate::store::redis::Address;

/// Longest name of a deployment in an engine.
const LONGEST_PREFIX: usize = 64;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Check<'_> {
    pub(super) fn store(&mut self, typed: &ConfigFile) -> StoreChoice {
        let shared = typed.store.as_ref().filter(|typed| typed.value.trim() != "sqlite");
        let Some(store) = shared else {
            self.nothing_of_a_shared_one(typed);
            return StoreChoice::Sqlite;
        };
        let address = match Address::parse(&store.value) {
            Ok(address) => address,
            Err(problem) => {
                self.report("store", store, format!("{problem}; or sqlite"));
                return StoreChoice::Sqlite;
            }
        };
        let usual = SharedStore::of(address);
        let prefix = typed.cluster_prefix.as_ref().map_or(usual.prefix, |typed| typed.value.clone());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if let Some(typed) = typed
            .cluster_prefix
            .as_ref()
            .filter(|_| prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(is_plain))
        {
            self.report("cluster.prefix", typed, "must be 1 to 64 letters, digits or any of - _ . :");
        }
        let degraded = [("miss", false), ("serve-lease", true)];
        let days = self.count("cluster.max_age_days", typed.cluster_max_age_days.as_ref(), 30, 1..=3650);
        StoreChoice::Shared(Box::new(SharedStore {
            address: usual.address,
            prefix,
            lease: self.time("cluster.lease_ms", typed.cluster_lease_ms.as_ref(), millis(usual.lease), 50),
            serves_lease: self.choice("cluster.degraded", typed.cluster_degraded.as_ref(), &degraded, false),
            replicas: u32::try_from(self.count("cluster.replicas", typed.cluster_replicas.as_ref(), 0, 0..=16))
                .unwrap_or(0),
            timeout: self.time("cluster.timeout_ms", typed.cluster_timeout_ms.as_ref(), millis(usual.timeout), 1),
            wait: self.time("cluster.wait_ms", typed.cluster_wait_ms.as_ref(), millis(usual.wait), 0),
            max_age: Duration::from_secs(days as u64 * 24 * 3600),
            authorities: typed.cluster_ca.as_ref().map(|typed| typed.value.clone()),
        }))
    }

    fn nothing_of_a_shared_one(&mut self, typed: &ConfigFile) {
        const WHAT: &str = "is for a store that several nodes share; set store to its URL or remove this";
        for (key, typed) in [("cluster.prefix", &typed.cluster_prefix), ("cluster.degraded", &typed.cluster_degraded)] {
            if let Some(typed) = typed {
                self.report(key, typed, WHAT);
            }
        }
        for (key, typed) in [
            ("cluster.lease_ms", &typed.cluster_lease_ms),
            ("cluster.replicas", &typed.cluster_replicas),
            ("cluster.timeout_ms", &typed.cluster_timeout_ms),
            ("cluster.wait_ms", &typed.cluster_wait_ms),
            ("cluster.max_age_days", &typed.cluster_max_age_days),
        ] {
            if let Some(typed) = typed {
                self.report(key, typed, WHAT);
            }
        }
        if let Some(typed) = &typed.cluster_ca {
            self.report("cluster.ca", typed, WHAT);
        }
    }
}
