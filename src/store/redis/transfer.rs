//! The walk over ids that an export makes, the trail of purges, and vectors of examples.

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{RedisStore, core::Core, reply, rows, walk::Wanted};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::Fingerprint,
    similarity::Embedding,
    store::{
        Page, Selector, StoreError, codec,
        transfer::{PastPurge, Transfer},
    },
};

/// Purges that the trail tells of; beyond that the oldest go.
pub(super) const TRAIL_KEPT: i64 = 100_000;

#[derive(Deserialize)]
struct Line {
    at: i64,
    selector: String,
    hard: bool,
    removed: u64,
}

impl Transfer for RedisStore {
    fn ids(
        &self,
        selector: Selector,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<EntryId>, StoreError>> {
        self.read(async move {
            let limit = limit as usize;
            let items = if selector == Selector::default() {
                self.core.page_of_ids(after, limit).await?
            } else {
                let found = self.core.all_matching(Wanted { selector: &selector, text: None, before: None }).await?;
                let beyond = found.into_iter().map(|found| found.id).filter(|id| after.is_none_or(|after| *id > after));
                beyond.take(limit).collect()
            };
            let next = items.last().copied().filter(|_| items.len() >= limit);
            Ok(Page { items, next })
        })
    }

    fn aliases(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        self.read(self.core.wordings(entry))
    }

    fn past_purges(&self) -> BoxFuture<'_, Result<Vec<PastPurge>, StoreError>> {
        self.read(async move {
            let mut all = self.core.on("LRANGE", 0, "trail");
            all.arg(0).arg(-1);
            let lines = reply::texts(self.core.link.ask(&all).await?)?;
            let read = |line: &String| {
                let Line { at, selector, hard, removed } = serde_json::from_str(line).ok()?;
                Some(PastPurge::of(Timestamp::from_millis(at), &selector, hard, removed))
            };
            Ok(lines.iter().filter_map(read).collect())
        })
    }
}

impl Core {
    pub(super) async fn example_vectors(
        &self,
        embedder: &str,
        texts: &[String],
    ) -> Result<Vec<Option<Embedding>>, StoreError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = self.on("HMGET", 0, &format!("x:{embedder}"));
        get.arg(texts.iter().map(|text| digest(text)).collect::<Vec<_>>());
        let kept = reply::array(self.link.ask(&get).await?)?;
        kept.into_iter().map(|kept| Ok(reply::bytes(kept)?.and_then(|kept| codec::decode_vector(&kept)))).collect()
    }

    pub(super) async fn keep_example_vectors(
        &self,
        embedder: &str,
        vectors: &[(String, Embedding)],
    ) -> Result<(), StoreError> {
        if vectors.is_empty() {
            return Ok(());
        }
        let mut set = self.on("HSET", 0, &format!("x:{embedder}"));
        for (text, vector) in vectors {
            set.arg(digest(text)).arg(codec::encode_vector(vector));
        }
        self.link.ask(&set).await.map(drop)
    }
}

fn digest(text: &str) -> String {
    rows::hex(blake3::hash(text.as_bytes()).as_bytes())
}
