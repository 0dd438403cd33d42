//! Pairs that must not share an answer, and the books of audits.
//!
//! Pairs are everybody's. Books are each node's own, for two nodes that count into one would overwrite each other; a node that
//! has none of a category takes up the newest of the others.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use super::{RedisStore, core::Core, reply, scripts};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::{Fingerprint, Principal},
    store::{
        StoreError,
        shared::Change,
        verdicts::{KeptLedger, PAIRS_KEPT, Pair, Verdicts},
    },
};

impl Verdicts for RedisStore {
    fn block(&self, pair: Pair, why: &'static str, _: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        let new = std::sync::Arc::new(std::sync::atomic::AtomicBool::default());
        let is_new = std::sync::Arc::clone(&new);
        self.change(
            move |core| async move {
                tracing::debug!(why, "a pair is blocked");
                is_new.store(core.block(pair).await?, std::sync::atomic::Ordering::SeqCst);
                Ok(Change::Blocked(pair))
            },
            move |_, _, _| async move { Ok(new.load(std::sync::atomic::Ordering::SeqCst)) },
        )
    }

    fn blocked(&self) -> BoxFuture<'_, Result<Vec<Pair>, StoreError>> {
        self.read(async move {
            let mut all = self.core.on("ZRANGE", 0, "blocked");
            all.arg(0).arg(-1);
            let pairs = reply::texts(self.core.link.ask(&all).await?)?;
            Ok(pairs.iter().filter_map(|pair| read_pair(pair)).collect())
        })
    }

    fn wordings(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        // After the aliases that are still queued.
        self.alone(move |core| async move { core.wordings(entry).await })
    }

    fn keep_ledger(&self, ledger: KeptLedger, now: Timestamp) -> Result<(), StoreError> {
        self.behind(move |core| async move {
            let KeptLedger { category, ledger } = ledger;
            let mut keep = core.on("HSET", 0, "books");
            keep.arg(format!("{} {category}", core.node)).arg(format!("{} {ledger}", now.as_millis()));
            core.link.ask(&keep).await.map(drop)
        })
    }

    fn ledgers(&self) -> BoxFuture<'_, Result<Vec<KeptLedger>, StoreError>> {
        self.read(async move {
            let kept = reply::pairs(self.core.link.ask(&self.core.on("HGETALL", 0, "books")).await?)?;
            let mut best: BTreeMap<String, ((bool, i64), String)> = BTreeMap::new();
            for (field, value) in kept {
                let value = String::from_utf8_lossy(&value).into_owned();
                let (Some((node, category)), Some((at, ledger))) = (field.split_once(' '), value.split_once(' '))
                else {
                    continue;
                };
                let rank = (node == self.core.node, at.parse().unwrap_or(i64::MIN));
                if best.get(category).is_none_or(|(known, _)| *known < rank) {
                    best.insert(category.to_owned(), (rank, ledger.to_owned()));
                }
            }
            Ok(best.into_iter().map(|(category, (_, ledger))| KeptLedger { category, ledger }).collect())
        })
    }
}

fn write_pair(pair: Pair) -> String {
    let (first, second) = pair.questions();
    format!("{}{}", first.to_hex(), second.to_hex())
}

fn read_pair(text: &str) -> Option<Pair> {
    let (first, second) = text.split_at_checked(64)?;
    Some(Pair::of(Fingerprint::from_hex(first)?, Fingerprint::from_hex(second)?))
}

impl Core {
    /// Keeps a pair and forgets the aliases that it makes wrong; whether it is news.
    async fn block(&self, pair: Pair) -> Result<bool, StoreError> {
        let (first, second) = pair.questions();
        let (one, other) = (self.facts_of(first).await?, self.facts_of(second).await?);
        let principal = [&one, &other].into_iter().flatten().find_map(|(_, facts)| facts.principal.clone());
        for (wording, entry) in [(second, &one), (first, &other)] {
            if let Some((id, _)) = entry
                && self.alias_of(wording).await? == Some(*id)
            {
                self.unalias(wording, *id).await?;
            }
        }
        let args = (write_pair(pair), PAIRS_KEPT, principal.unwrap_or_default());
        Ok(reply::number(self.call(&scripts::BLOCK, 0, args).await?)? == Some(1))
    }

    /// Forgets the pairs that entries of these are part of.
    pub(super) async fn unblock(&self, principals: &[Principal]) -> Result<(), StoreError> {
        let principals: Vec<String> = principals.iter().map(Principal::to_hex).collect();
        self.call(&scripts::UNBLOCK, 0, principals).await.map(drop)
    }

    /// Other wordings that lead to `entry`.
    pub(super) async fn wordings(&self, entry: EntryId) -> Result<Vec<Fingerprint>, StoreError> {
        let members = self.on("SMEMBERS", self.part_of_id(entry), &format!("w:{}", entry.0));
        let wordings = reply::texts(self.link.ask(&members).await?)?;
        Ok(wordings.iter().filter_map(|hex| Fingerprint::from_hex(hex)).collect())
    }
}
