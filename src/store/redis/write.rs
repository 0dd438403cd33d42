//! The writes that are no change of what may be served: admissions, wordings, vectors, and removal of what is spent.

use futures_util::future::try_join_all;

use super::{
    core::Core,
    ids::{BLOCK, LARGEST},
    reply,
    rows::{Facts, Row},
    scripts,
};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::Fingerprint,
    similarity::Embedding,
    store::{
        Expired, StoreError, USE_RESOLUTION_MS, codec,
        shared::{Admission, Position},
        vault::Part,
    },
};

/// How often an entry is judged anew before its admission is given up.
const TRIES: usize = 16;
/// Entries removed between two looks at the size.
const EVICTION_STEP: usize = 16;

impl Core {
    /// Reserves ids, if they run short.
    pub(super) async fn reserve_ids(&self) -> Result<(), StoreError> {
        if !self.ids.wants_block() {
            return Ok(());
        }
        let mut take = self.on("INCRBY", 0, "nextid");
        take.arg(BLOCK);
        let first = reply::number(self.link.ask(&take).await?)?.ok_or_else(|| reply::odd("a number"))?;
        self.ids.give(first);
        Ok(())
    }

    /// Admits an entry that nothing has to be judged of.
    pub(super) async fn admit(&self, entry: &Entry) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let part = self.part_of(&entry.fingerprint);
            let judged = Position { part, sequence: self.order(part).applied() };
            if self.admit_at(entry, judged).await? == Admission::Admitted {
                return Ok(());
            }
        }
        Err(StoreError::Full)
    }

    /// Admits an entry that was judged at a position; catches up where there are changes beyond it.
    pub(super) async fn admit_at(&self, entry: &Entry, judged: Position) -> Result<Admission, StoreError> {
        self.ready()?;
        if entry.id.0 > LARGEST {
            return Err(StoreError::Unreachable("no id could be reserved".to_owned()));
        }
        let Row { facts, record } = Row::of(entry, &self.vault)?;
        let part = judged.part;
        let age = self.terms.max_age.as_millis();
        let invalidated = record.invalidated_at.map(|at| at.to_string()).unwrap_or_default();
        let text = |number: i64| number.to_string().into_bytes();
        let json = serde_json::to_vec(&facts).map_err(|error| StoreError::Unfit(Box::new(error)))?;
        // Behind a letter, so that an empty question differs from none.
        let query = record.query.map(|query| format!("q{query}").into_bytes()).unwrap_or_default();
        let mut args: Vec<Vec<u8>> = vec![
            judged.sequence.to_string().into(),
            text(self.clock.now().as_millis()),
            entry.id.0.to_string().into(),
            facts.fingerprint.clone().into(),
            facts.category.clone().into(),
            json,
            facts.bytes.to_string().into(),
            text(facts.generated_at),
            invalidated.into(),
            query,
            record.body,
            record.embedding.unwrap_or_default(),
            record.embedder.unwrap_or_default().into(),
            age.to_string().into(),
            self.node.clone().into(),
            self.terms.news_kept.to_string().into(),
        ];
        args.extend(facts.labels().into_iter().map(String::into_bytes));
        let answer = reply::texts(self.call(&scripts::ADMIT, part, args).await?)?;
        match answer.first().map(String::as_str) {
            Some("admitted") => {
                // It was another wording of an entry in another part.
                if let Some(other) = answer.get(1).and_then(|id| id.parse().ok()) {
                    self.forget_wording(EntryId(other), &facts.fingerprint).await?;
                }
                Ok(Admission::Admitted)
            }
            Some("behind" | "missing") => {
                self.catch_up(part, None).await?;
                Ok(Admission::Behind)
            }
            _ => Err(reply::odd("an admission")),
        }
    }

    async fn forget_wording(&self, id: EntryId, fingerprint: &str) -> Result<(), StoreError> {
        let args = (id.0.to_string(), fingerprint, "-");
        self.call(&scripts::WORDING, self.part_of_id(id), args).await.map(drop)
    }

    /// Remembers another wording: first at its entry, if that lives, then where it is looked for.
    pub(super) async fn alias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        let wording = alias.to_hex();
        let noted = self.call(&scripts::WORDING, self.part_of_id(entry), (entry.0.to_string(), &wording, "+")).await?;
        if matches!(noted, redis::Value::Int(..0)) {
            return Ok(());
        }
        let pointed = self.call(&scripts::POINT, self.part_of(&alias), (&wording, entry.0.to_string(), "+")).await?;
        let before = reply::text(pointed)?.unwrap_or_default();
        let of = if before.is_empty() {
            None
        } else if let Some(other) = before.strip_prefix('a') {
            other.parse().ok().map(EntryId).filter(|other| *other != entry)
        } else {
            // It has an entry of its own.
            Some(entry)
        };
        match of {
            Some(of) => self.forget_wording(of, &wording).await,
            None => Ok(()),
        }
    }

    /// Forgets that `alias` is another wording of `entry`.
    pub(super) async fn unalias(&self, alias: Fingerprint, entry: EntryId) -> Result<(), StoreError> {
        let wording = alias.to_hex();
        self.call(&scripts::POINT, self.part_of(&alias), (&wording, entry.0.to_string(), "-")).await?;
        self.forget_wording(entry, &wording).await
    }

    pub(super) async fn set_embedding(
        &self,
        id: EntryId,
        embedder: &str,
        embedding: &Embedding,
    ) -> Result<(), StoreError> {
        let row = i64::try_from(id.0).unwrap_or(-1);
        let stored = self.vault.seal(Part::Vector, row, codec::encode_vector(embedding))?;
        let args = (id.0.to_string(), stored, embedder, &self.node, self.terms.news_kept.to_string());
        self.call(&scripts::EMBEDDING, self.part_of_id(id), args).await.map(drop)
    }

    pub(super) async fn touch(&self, ids: &[EntryId], now: Timestamp) -> Result<(), StoreError> {
        try_join_all(self.by_part(ids).map(|(part, ids)| async move {
            let head = [now.as_millis().to_string(), USE_RESOLUTION_MS.to_string()];
            self.call(&scripts::TOUCH, part, head.into_iter().chain(ids).collect::<Vec<_>>()).await
        }))
        .await
        .map(drop)
    }

    /// Takes entries out of everything; which of them were there, ascending.
    pub(super) async fn remove(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, StoreError> {
        let gone = try_join_all(self.by_part(ids).map(|(part, ids)| async move {
            let head = [String::new(), self.node.clone(), self.terms.news_kept.to_string()];
            let args: Vec<String> = head.into_iter().chain(ids).collect();
            reply::numbers(self.call(&scripts::REMOVE, part, args).await?)
        }));
        let mut gone: Vec<EntryId> = gone.await?.into_iter().flatten().map(EntryId).collect();
        gone.sort_unstable();
        Ok(gone)
    }

    fn by_part(&self, ids: &[EntryId]) -> impl Iterator<Item = (u16, Vec<String>)> {
        self.parts().filter_map(move |part| {
            let own = ids.iter().filter(|id| self.part_of_id(**id) == part);
            let own: Vec<String> = own.map(|id| id.0.to_string()).collect();
            (!own.is_empty()).then_some((part, own))
        })
    }

    pub(super) async fn reap(&self, expired: &Expired, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let Expired { category, generated_before, generated_after, invalidated_before } = expired;
        let before = |at: &Timestamp| format!("({}", at.as_millis());
        let ranges = [
            (format!("g:{category}"), "-inf".to_owned(), before(generated_before)),
            (format!("g:{category}"), before(generated_after), "+inf".to_owned()),
            (format!("i:{category}"), "-inf".to_owned(), before(invalidated_before)),
        ];
        let mut found: Vec<(f64, EntryId)> = Vec::new();
        for part in self.parts() {
            for (name, least, most) in &ranges {
                let mut range = self.on("ZRANGEBYSCORE", part, name);
                range.arg(least).arg(most).arg("LIMIT").arg(0).arg(limit);
                for id in reply::numbers(self.link.ask(&range).await?)? {
                    let mut generated = self.on("ZSCORE", part, &format!("g:{category}"));
                    generated.arg(id);
                    let at = reply::text(self.link.ask(&generated).await?)?.and_then(|at| at.parse().ok());
                    found.push((at.unwrap_or_default(), EntryId(id)));
                }
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.dedup();
        let ids: Vec<EntryId> = found.into_iter().take(limit).map(|(_, id)| id).collect();
        self.remove(&ids).await
    }

    pub(super) async fn evict_to(&self, bytes: u64, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let mut evicted = Vec::new();
        while evicted.len() < limit && self.live_bytes().await? > bytes {
            let step = EVICTION_STEP.min(limit - evicted.len());
            let mut oldest: Vec<(f64, EntryId)> = Vec::new();
            for part in self.parts() {
                let mut range = self.on("ZRANGE", part, "lru");
                range.arg(0).arg(step - 1).arg("WITHSCORES");
                let mut answer = reply::texts(self.link.ask(&range).await?)?.into_iter();
                while let (Some(id), Some(at)) = (answer.next(), answer.next()) {
                    oldest.extend(id.parse().ok().map(EntryId).zip(at.parse().ok()).map(|(id, at)| (at, id)));
                }
            }
            oldest.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let ids: Vec<EntryId> = oldest.into_iter().take(step).map(|(_, id)| id).collect();
            let removed = self.remove(&ids).await?;
            if removed.is_empty() {
                break;
            }
            evicted.extend(removed);
        }
        evicted.sort_unstable();
        Ok(evicted)
    }

    /// Bytes of the answers, and what each entry takes beside its answer.
    async fn live_bytes(&self) -> Result<u64, StoreError> {
        /// Vector, facts and the names under which an entry is found; measured.
        const BESIDE: u64 = 4096;
        let mut live = 0;
        for part in self.parts() {
            let mut counts = self.on("HMGET", part, "n");
            counts.arg("entries").arg("bytes");
            let mut counts = reply::array(self.link.ask(&counts).await?)?.into_iter();
            let mut next = || counts.next().map_or(Ok(None), reply::number).map(Option::unwrap_or_default);
            live += next()? * BESIDE + next()?;
        }
        Ok(live)
    }

    /// What entry `id` is found by.
    pub(super) async fn fingerprint_of(&self, id: EntryId) -> Result<Option<Fingerprint>, StoreError> {
        let mut get = self.on("HGET", self.part_of_id(id), &format!("m:{}", id.0));
        get.arg("p");
        Ok(reply::text(self.link.ask(&get).await?)?.and_then(|hex| Fingerprint::from_hex(&hex)))
    }

    /// The facts of the entry that `fingerprint` is its own question of.
    pub(super) async fn facts_of(&self, fingerprint: Fingerprint) -> Result<Option<(EntryId, Facts)>, StoreError> {
        let part = self.part_of(&fingerprint);
        let pointer = self.link.ask(&self.on("GET", part, &format!("f:{}", fingerprint.to_hex()))).await?;
        let Some(id) = reply::text(pointer)?.and_then(|id| id.parse().ok()).map(EntryId) else { return Ok(None) };
        let mut get = self.on("HGET", part, &format!("m:{}", id.0));
        get.arg("f");
        let Some(json) = reply::bytes(self.link.ask(&get).await?)? else { return Ok(None) };
        Ok(Some((id, Facts::parse(id, &json)?)))
    }

    /// The entry that `fingerprint` is another wording of.
    pub(super) async fn alias_of(&self, fingerprint: Fingerprint) -> Result<Option<EntryId>, StoreError> {
        let part = self.part_of(&fingerprint);
        let pointer = self.link.ask(&self.on("GET", part, &format!("f:{}", fingerprint.to_hex()))).await?;
        Ok(reply::text(pointer)?.and_then(|of| of.strip_prefix('a')?.parse().ok()).map(EntryId))
    }
}
