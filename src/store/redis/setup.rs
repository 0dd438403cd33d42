//! Whether the engine can be used as it is, and whether the nodes that use it fit together.

use redis::cmd;

use super::{core::Core, link::Link, purge::Report, reply, rows};
use crate::{
    key::PrincipalKey,
    store::{
        StoreError,
        encryption::EncryptionKey,
        shared::Models,
        vault::{Part, Vault},
    },
};

/// How keys are laid out. Another layout gets another number.
const LAYOUT: u64 = 1;
/// The oldest server whose scripts do what ours need.
const OLDEST: u64 = 7;
const SECRET_ROW: i64 = 1;
/// Leases after its last report for which a node is taken to live.
const LIVES_FOR: u64 = 5;

/// Refuses a server that is too old, or would throw away what must stay.
pub(super) async fn check(link: &Link) -> Result<(), StoreError> {
    for info in link.ask_all(cmd("INFO").arg("everything")).await? {
        let info = reply::text(info)?.unwrap_or_default();
        check_info(&info, link.address().parts() > 1)?;
    }
    Ok(())
}

fn check_info(info: &str, wants_cluster: bool) -> Result<(), StoreError> {
    let field = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.map(str::trim).unwrap_or_default()
    };
    let unusable = |what: String| Err(StoreError::EngineUnusable(what));
    let version = field("redis_version");
    let major: u64 = version.split('.').next().unwrap_or_default().parse().unwrap_or_default();
    if major < OLDEST {
        return unusable(format!("it is version {version:?}; use Redis {OLDEST} or later, or Valkey"));
    }
    let policy = field("maxmemory_policy");
    if policy != "noeviction" && !policy.starts_with("volatile-") {
        return unusable(format!(
            "its maxmemory-policy is {policy:?}, under which purges are forgotten when memory is short; set it to volatile-lfu, or to noeviction"
        ));
    }
    match (field("cluster_enabled") == "1", wants_cluster) {
        (true, false) => unusable("it is a cluster; write redis+cluster:// in front of its address".to_owned()),
        (false, true) => unusable("it is no cluster; write redis:// in front of its address".to_owned()),
        _ if field("role") == "slave" => {
            unusable("it is a replica, which takes no writes; name its master, or use redis+sentinel://".to_owned())
        }
        _ => Ok(()),
    }
}

fn meta(prefix: &str) -> String {
    format!("{{{prefix}:0}}:meta")
}

/// What `field` holds, after `value` was put there if it was empty.
async fn once(link: &Link, prefix: &str, field: &str, value: &str) -> Result<String, StoreError> {
    link.ask(cmd("HSETNX").arg(meta(prefix)).arg(field).arg(value)).await?;
    let kept = link.ask(cmd("HGET").arg(meta(prefix)).arg(field)).await?;
    reply::text(kept)?.ok_or_else(|| reply::odd("what was written a moment ago"))
}

/// The vault of what is in the engine; the first node decides whether it is sealed.
pub(super) async fn unlock(link: &Link, prefix: &str, key: Option<&EncryptionKey>) -> Result<Vault, StoreError> {
    let proposed = match key {
        Some(key) => {
            let (salt, proof) = Vault::found(key)?;
            format!("{} {}", rows::hex(&salt), rows::hex(&proof))
        }
        None => "plain".to_owned(),
    };
    let kept = once(link, prefix, "sealing", &proposed).await?;
    let unhex = |text| rows::unhex(text).unwrap_or_default();
    let sealing = kept.split_once(' ').map(|(salt, proof)| (unhex(salt), unhex(proof)));
    Vault::unlock(sealing, key, || link.address().to_string())
}

/// Refuses keys that are laid out otherwise.
pub(super) async fn check_parts(core: &Core) -> Result<(), StoreError> {
    let parts = core.ids.parts();
    let ours = format!("{LAYOUT} {parts}");
    let theirs = once(&core.link, &core.prefix, "layout", &ours).await?;
    if theirs == ours {
        return Ok(());
    }
    Err(StoreError::EngineUnusable(format!(
        "its keys under the prefix {:?} are laid out as {theirs:?} (layout and parts) and this node would use {ours:?}; choose another prefix",
        core.prefix
    )))
}

impl Core {
    /// Joins the nodes that live, which must use the same models. It is told to them before theirs are looked at, so that of
    /// two that start at the same time and differ at least one is refused.
    pub(super) async fn agree(&self, models: &Models) -> Result<(), StoreError> {
        let Models { embedder, verifier } = models;
        let ours = format!("{embedder}\n{verifier}");
        let (applied, now) = (self.order(0).applied(), self.engine_time().await?);
        let mut join = self.on("HSET", 0, "models");
        join.arg(&self.node).arg(&ours);
        self.link.ask(&join).await?;
        let mut live = self.on("HSET", 0, "nodes");
        live.arg(&self.node).arg(format!("{applied} {now}"));
        self.link.ask(&live).await?;
        let of_others = self.models_of_others().await?;
        let Some(theirs) = of_others.into_iter().find(|theirs| *theirs != ours) else { return Ok(()) };
        self.leave().await;
        let (their_embedder, their_verifier) = theirs.split_once('\n').unwrap_or((&theirs, ""));
        let (what, theirs, ours) = if their_embedder == embedder {
            ("verifier", their_verifier, verifier)
        } else {
            ("embedder", their_embedder, embedder)
        };
        Err(StoreError::Mixed { what, theirs: theirs.to_owned(), ours: ours.clone() })
    }

    /// What the other nodes use that reported within the last leases.
    async fn models_of_others(&self) -> Result<Vec<String>, StoreError> {
        let nodes = reply::pairs(self.link.ask(&self.on("HGETALL", 0, "nodes")).await?)?;
        let models = reply::pairs(self.link.ask(&self.on("HGETALL", 0, "models")).await?)?;
        let now = self.engine_time().await?;
        let recently = u64::try_from(self.terms.lease.as_millis()).unwrap_or(u64::MAX).saturating_mul(LIVES_FOR);
        let lives = |node: &str| {
            let report = nodes.iter().find(|(known, _)| known == node).map(|(_, report)| Report::parse(report));
            node != self.node && report.is_some_and(|report| report.at.saturating_add(recently) >= now)
        };
        let of_others = models.into_iter().filter(|(node, _)| lives(node));
        Ok(of_others.map(|(_, models)| String::from_utf8_lossy(&models).into_owned()).collect())
    }

    /// Tells the others that this node is gone. It is forgotten anyway if that does not reach them.
    pub(super) async fn leave(&self) {
        for (part, name) in self.parts().map(|part| (part, "nodes")).chain([(0, "models")]) {
            let mut leave = self.on("HDEL", part, name);
            leave.arg(&self.node);
            if self.link.ask(&leave).await.is_err() {
                return;
            }
        }
    }

    /// Milliseconds, by the clock of the server that holds part 0.
    pub(super) async fn engine_time(&self) -> Result<u64, StoreError> {
        let mut time = cmd("EVAL");
        time.arg("local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)")
            .arg(1)
            .arg(self.key(0, "nodes"));
        reply::number(self.link.ask(&time).await?)?.ok_or_else(|| reply::odd("a time"))
    }

    /// The secret of all nodes.
    pub(super) async fn principal_key(&self, own: &PrincipalKey) -> Result<PrincipalKey, StoreError> {
        let sealed = self.vault.seal(Part::Secret, SECRET_ROW, own.expose().to_vec())?;
        let kept = once(&self.link, &self.prefix, "secret", &rows::hex(&sealed)).await?;
        let opened = rows::unhex(&kept).and_then(|sealed| self.vault.open(Part::Secret, SECRET_ROW, sealed));
        let bytes = opened.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let damaged =
            || StoreError::EngineUnusable("its secret for principals is damaged; choose another prefix".to_owned());
        bytes.map(PrincipalKey::from_bytes).ok_or_else(damaged)
    }

    pub(super) async fn used_memory(&self) -> Result<u64, StoreError> {
        let mut used = 0;
        for info in self.link.ask_all(cmd("INFO").arg("memory")).await? {
            let info = reply::text(info)?.unwrap_or_default();
            let field = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
            used += field.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, policy: &str, cluster: &str, role: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\ncluster_enabled:{cluster}\r\nrole:{role}\r\n"
        )
    }

    #[test]
    fn an_engine_that_would_forget_purges_is_refused_with_what_to_change() {
        for policy in ["noeviction", "volatile-lfu", "volatile-ttl"] {
            assert!(check_info(&info("7.2.4", policy, "0", "master"), false).is_ok(), "{policy}");
        }
        for (info, cluster, said) in [
            (info("6.2.1", "noeviction", "0", "master"), false, "use Redis 7 or later"),
            (info("", "noeviction", "0", "master"), false, "use Redis 7 or later"),
            (info("8.0.1", "allkeys-lru", "0", "master"), false, "set it to volatile-lfu"),
            (info("8.0.1", "", "0", "master"), false, "set it to volatile-lfu"),
            (info("8.0.1", "noeviction", "1", "master"), false, "redis+cluster://"),
            (info("8.0.1", "noeviction", "0", "master"), true, "redis://"),
            (info("8.0.1", "noeviction", "0", "slave"), false, "name its master"),
        ] {
            let error = check_info(&info, cluster).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
