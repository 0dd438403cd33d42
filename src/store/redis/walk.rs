//! Which entries a selector selects: candidates from the smallest set that holds them all, and then their facts.

use futures_util::future::try_join_all;
use redis::{Pipeline, Value};

use super::{
    core::Core,
    reply,
    rows::{self, Facts, principal_label, scope_label, source_label, tag_label},
};
use crate::{
    entry::EntryId,
    key::Partition,
    similarity::Similarity,
    store::{Selector, StoreError, StoredVector},
};

/// Entries looked at in one round trip.
const PAGE: usize = 256;

/// An entry that was found.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) id: EntryId,
    pub(super) facts: Facts,
    pub(super) similarity: Option<Similarity>,
}

/// What is asked of entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) selector: &'a Selector,
    /// In the question, folded.
    pub(super) text: Option<&'a str>,
    /// Admitted before this change; any when `None`.
    pub(super) before: Option<u64>,
}

/// Where candidates are.
enum Candidates {
    One(EntryId),
    Sets(Vec<String>),
    Category(String),
    All,
}

fn candidates(selector: &Selector) -> Candidates {
    if let Some(id) = selector.entry {
        Candidates::One(id)
    } else if let Some(groups) = &selector.groups {
        Candidates::Sets(groups.tags.iter().map(|tag| tag_label(tag)).collect())
    } else if let Some(tag) = &selector.tag {
        Candidates::Sets(vec![tag_label(tag)])
    } else if let Some(source) = &selector.source {
        Candidates::Sets(vec![source_label(&source.name), tag_label(&source.name)])
    } else if !selector.principals.is_empty() {
        let known = selector.principals.iter().map(|of| principal_label(Some(&of.to_hex())));
        Candidates::Sets(known.chain([principal_label(None)]).collect())
    } else if let Some(scope) = &selector.scope {
        Candidates::Sets(vec![scope_label(&scope.to_hex())])
    } else if let Some(category) = &selector.category {
        Candidates::Category(category.clone())
    } else {
        Candidates::All
    }
}

impl Core {
    /// Everything that is wanted, ids ascending.
    pub(super) async fn all_matching(&self, wanted: Wanted<'_>) -> Result<Vec<Match>, StoreError> {
        let parts = try_join_all(self.parts().map(|part| self.matching(part, wanted))).await?;
        let mut all: Vec<Match> = parts.into_iter().flatten().collect();
        all.sort_unstable_by_key(|found| found.id);
        Ok(all)
    }

    /// The same of one part, in any order.
    pub(super) async fn matching(&self, part: u16, wanted: Wanted<'_>) -> Result<Vec<Match>, StoreError> {
        let mut ids = match candidates(wanted.selector) {
            Candidates::One(id) if self.part_of_id(id) == part => vec![id],
            Candidates::One(_) => Vec::new(),
            Candidates::Sets(sets) => {
                let mut ids = Vec::new();
                for set in sets {
                    ids.extend(self.scan("SSCAN", part, &set, 1).await?);
                }
                ids
            }
            Candidates::Category(category) => self.scan("ZSCAN", part, &format!("g:{category}"), 2).await?,
            Candidates::All => self.scan("ZSCAN", part, "ids", 2).await?,
        };
        ids.sort_unstable();
        ids.dedup();
        let mut found = Vec::new();
        for page in ids.chunks(PAGE) {
            self.weigh(part, page, wanted, &mut found).await?;
        }
        Ok(found)
    }

    /// Members of a set, each followed by as many values as `width` says less one.
    async fn scan(&self, command: &str, part: u16, name: &str, width: usize) -> Result<Vec<EntryId>, StoreError> {
        let (mut ids, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut scan = self.on(command, part, name);
            scan.arg(&cursor).arg("COUNT").arg(1000);
            let answer = reply::array(self.link.ask(&scan).await?)?;
            let [next, members] = <[Value; 2]>::try_from(answer).map_err(|_| reply::odd("a scan"))?;
            for member in reply::array(members)?.into_iter().step_by(width) {
                ids.extend(reply::number(member)?.map(EntryId));
            }
            cursor = reply::text(next)?.unwrap_or_default();
            if cursor == "0" || cursor.is_empty() {
                return Ok(ids);
            }
        }
    }

    async fn weigh(
        &self,
        part: u16,
        ids: &[EntryId],
        wanted: Wanted<'_>,
        found: &mut Vec<Match>,
    ) -> Result<(), StoreError> {
        let Wanted { selector, text, before } = wanted;
        let reads_texts = selector.near.is_some() || text.is_some();
        let mut pipe = Pipeline::with_capacity(ids.len() * 2);
        for id in ids {
            pipe.cmd("HMGET").arg(self.key(part, &format!("m:{}", id.0))).arg("f").arg("s");
            let fields: &[&str] = match (&selector.near, text) {
                (Some(_), Some(_)) => &["n", "x", "q"],
                (Some(_), None) => &["n", "x"],
                (None, Some(_)) => &["n", "n", "q"],
                (None, None) => &["n"],
            };
            // Without its texts it is no entry.
            pipe.cmd("HMGET").arg(self.key(part, &format!("e:{}", id.0))).arg(fields);
            pipe.cmd("EXISTS").arg(self.key(part, &format!("e:{}", id.0)));
        }
        let mut answers = self.link.pipe(&pipe).await?.into_iter();
        for id in ids.iter().copied() {
            let mut next = || answers.next().map_or_else(|| Ok(Vec::new()), reply::array);
            let (facts, texts) = (next()?, next()?);
            let lives = answers.next().map_or(Ok(None), reply::number)?.is_some_and(|lives| lives > 0);
            let mut facts = facts.into_iter();
            let Some(json) = facts.next().map_or(Ok(None), reply::bytes)?.filter(|_| lives) else { continue };
            let admitted = facts.next().map_or(Ok(None), reply::number)?.unwrap_or_default();
            if before.is_some_and(|before| admitted >= before) {
                continue;
            }
            let Ok(facts) = Facts::parse(id, &json) else { continue };
            let mut texts = texts.into_iter();
            let embedder = texts.next().map_or(Ok(None), reply::text)?;
            let vector = if reads_texts { texts.next().map_or(Ok(None), reply::bytes)? } else { None };
            if let Some(text) = text {
                let query = rows::query(&self.vault, id, texts.next().map_or(Ok(None), reply::bytes)?);
                if !query.is_some_and(|query| query.to_lowercase().contains(text)) {
                    continue;
                }
            }
            let vector = selector.near.as_ref().and_then(|_| rows::vector(&self.vault, id, embedder, vector));
            let Ok(outline) = facts.outline(id, vector) else { continue };
            if selector.selects(&outline) {
                let similarity = selector.near.as_ref().and_then(|near| near.similarity_to(&outline));
                found.push(Match { id, facts, similarity });
            }
        }
        Ok(())
    }

    /// Up to `limit` ids of a part after `after`, ascending.
    pub(super) async fn ids_after(
        &self,
        part: u16,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<EntryId>, StoreError> {
        let mut range = self.on("ZRANGEBYSCORE", part, "ids");
        range.arg(after.map_or_else(|| "-inf".to_owned(), |id| format!("({}", id.0))).arg("+inf");
        range.arg("LIMIT").arg(0).arg(limit);
        Ok(reply::numbers(self.link.ask(&range).await?)?.into_iter().map(EntryId).collect())
    }

    /// The same over all parts.
    pub(super) async fn page_of_ids(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let parts = try_join_all(self.parts().map(|part| self.ids_after(part, after, limit))).await?;
        let mut ids: Vec<EntryId> = parts.into_iter().flatten().collect();
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }

    /// The vectors of these entries, those that have one and can be read, in the same order.
    pub(super) async fn vectors_of(&self, ids: &[EntryId]) -> Result<Vec<StoredVector>, StoreError> {
        let parts = self.parts().map(|part| async move {
            let own: Vec<EntryId> = ids.iter().copied().filter(|id| self.part_of_id(*id) == part).collect();
            let mut vectors = Vec::with_capacity(own.len());
            for page in own.chunks(PAGE) {
                let mut pipe = Pipeline::with_capacity(page.len() * 2);
                for id in page {
                    pipe.cmd("HMGET").arg(self.key(part, &format!("e:{}", id.0))).arg("n").arg("x").arg("q");
                    pipe.cmd("HGET").arg(self.key(part, &format!("m:{}", id.0))).arg("f");
                }
                let mut answers = self.link.pipe(&pipe).await?.into_iter();
                for id in page.iter().copied() {
                    let mut texts = answers.next().map_or_else(|| Ok(Vec::new()), reply::array)?.into_iter();
                    let embedder = texts.next().map_or(Ok(None), reply::text)?;
                    let vector = texts.next().map_or(Ok(None), reply::bytes)?;
                    let query = texts.next().map_or(Ok(None), reply::bytes)?;
                    let Some(json) = answers.next().map_or(Ok(None), reply::bytes)? else { continue };
                    let Ok(facts) = Facts::parse(id, &json) else { continue };
                    let Some(partition) = Partition::from_hex(&facts.partition) else { continue };
                    let Some((embedder, embedding)) = rows::vector(&self.vault, id, embedder, vector) else { continue };
                    let query = rows::query(&self.vault, id, query);
                    vectors.push(StoredVector { id, partition, embedder, embedding, query });
                }
            }
            Ok::<_, StoreError>(vectors)
        });
        let mut all: Vec<StoredVector> = try_join_all(parts).await?.into_iter().flatten().collect();
        all.sort_unstable_by_key(|vector| vector.id);
        Ok(all)
    }
}
